"""The study behind lesson 07, about 25 minutes on one core: python benchmarks/factorization_study.py [REGIME ...]

Ten paired seeds; every arm is tuned over eight settings, on four other seeds and by validation accuracy. Writes
data/results/factorization.json, which the lesson draws from and partly runs again. With names of regimes it runs only
those and keeps the rest of the file.
"""

import argparse
import sys
import time

import torch

from kdlab.experiments import compare
from kdlab.studies import factorization, load_results, save_results
from kdlab.studies.results import RESULTS

SEEDS = range(10)
TUNING_SEEDS = range(1001, 1005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regimes", nargs="*", metavar="REGIME", help="all by default")
    options = parser.parse_args()
    if unknown := [name for name in options.regimes if name not in factorization.REGIMES]:
        parser.error(f"no regime named {unknown}; there are: {', '.join(factorization.REGIMES)}")
    torch.set_num_threads(1)
    for name in options.regimes or factorization.REGIMES:
        start = time.perf_counter()
        found = compare(factorization.arms(name), SEEDS, tuning_seeds=TUNING_SEEDS, progress=sys.stderr.isatty())
        print(f"\n{name}, {time.perf_counter() - start:.0f} s\n{found}\n{found.chosen}", flush=True)
        known = load_results("factorization")[0] if (RESULTS / "factorization.json").is_file() else {}
        together = {**known, name: found}
        ordered = {one: together[one] for one in factorization.REGIMES if one in together}
        save_results("factorization", ordered, command="python benchmarks/factorization_study.py")


if __name__ == "__main__":
    main()
