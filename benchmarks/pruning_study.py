"""The study behind lesson 06, about 40 minutes on one core: python benchmarks/pruning_study.py [REGIME ...]

Ten paired seeds; every arm is tuned over eight settings, on four other seeds and by validation accuracy. Writes
data/results/pruning.json, which the lesson draws from and partly runs again. With names of regimes it runs only those
and keeps the rest of the file.
"""

import argparse
import sys
import time

import torch

from kdlab.experiments import compare
from kdlab.studies import load_results, pruning, save_results
from kdlab.studies.results import RESULTS

SEEDS = range(10)
TUNING_SEEDS = range(1001, 1005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regimes", nargs="*", metavar="REGIME", help="all by default")
    options = parser.parse_args()
    if unknown := [name for name in options.regimes if name not in pruning.REGIMES]:
        parser.error(f"no regime named {unknown}; there are: {', '.join(pruning.REGIMES)}")
    torch.set_num_threads(1)
    for name in options.regimes or pruning.REGIMES:
        start = time.perf_counter()
        found = compare(pruning.arms(name), SEEDS, tuning_seeds=TUNING_SEEDS, progress=sys.stderr.isatty())
        print(f"\n{name}, {time.perf_counter() - start:.0f} s\n{found}\n{found.chosen}", flush=True)
        known = load_results("pruning")[0] if (RESULTS / "pruning.json").is_file() else {}
        together = {**known, name: found}
        ordered = {one: together[one] for one in pruning.REGIMES if one in together}
        save_results("pruning", ordered, command="python benchmarks/pruning_study.py")


if __name__ == "__main__":
    main()
