"""The study behind lessons 04 and 05, about 90 minutes on one core.

    python benchmarks/methods_study.py [REGIME ...] [--arms ENDING]

Writes data/results/methods.json, which both lessons draw from and partly run again. How it is run: regimes.py.
"""

import regimes

from kdlab.studies import methods

if __name__ == "__main__":
    regimes.main(methods, __doc__)
