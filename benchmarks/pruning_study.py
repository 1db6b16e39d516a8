"""The study behind lesson 06, about 40 minutes on one core.

    python benchmarks/pruning_study.py [REGIME ...] [--arms ENDING]

Writes data/results/pruning.json, which the lesson draws from and partly runs again. How it is run: regimes.py.
"""

import regimes

from kdlab.studies import pruning

if __name__ == "__main__":
    regimes.main(pruning, __doc__)
