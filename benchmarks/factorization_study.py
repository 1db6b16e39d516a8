"""The study behind lesson 07, about 25 minutes on one core.

    python benchmarks/factorization_study.py [REGIME ...] [--arms ENDING]

Writes data/results/factorization.json, which the lesson draws from and partly runs again. How it is run: regimes.py.
"""

import regimes

from kdlab.studies import factorization

if __name__ == "__main__":
    regimes.main(factorization, __doc__)
