"""The study behind lessons 04 and 05, about 90 minutes on one core: python benchmarks/methods_study.py [REGIME ...]

Ten paired seeds; every arm is tuned over eight settings, on four other seeds and by validation accuracy. Writes
data/results/methods.json, which both lessons draw from and partly run again. With names of regimes it runs only those
and keeps the rest of the file; with --arms it runs only arms whose names end so, and the baseline, which must agree
with the file to the last digit.
"""

import argparse
import sys
import time
from dataclasses import replace

import torch

from kdlab.experiments import Comparison, compare
from kdlab.studies import load_results, methods, save_results
from kdlab.studies.results import RESULTS

SEEDS = range(10)
TUNING_SEEDS = range(1001, 1005)


def merged(known: Comparison, found: Comparison) -> Comparison:
    """Known results with some arms run again. Seeds are paired, so arms may be run one by one."""
    first = known.baseline
    if found.scores[first] != known.scores[first] or found.seeds != known.seeds:
        raise SystemExit(f"{first!r} came out otherwise than in the file: run the whole regime again")
    fields = ("scores", "chosen", "labels_seen", "validation_scores", "also")
    together = {field: {**getattr(known, field), **getattr(found, field)} for field in fields}
    return replace(known, **together).against(first)


def run(name: str, ending: str | None) -> Comparison:
    """One regime, or some of its arms."""
    plan = methods.arms(name)
    if ending is not None:
        plan = {one: arm for one, arm in plan.items() if one == "hard labels" or one.endswith(ending)}
    found = compare(plan, SEEDS, tuning_seeds=TUNING_SEEDS, progress=sys.stderr.isatty())
    return found if ending is None else merged(load_results("methods")[0][name], found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regimes", nargs="*", metavar="REGIME", help="all by default")
    parser.add_argument("--arms", metavar="ENDING", help="no arms but those whose names end so")
    options = parser.parse_args()
    if unknown := [name for name in options.regimes if name not in methods.REGIMES]:
        parser.error(f"no regime named {unknown}; there are: {', '.join(methods.REGIMES)}")
    torch.set_num_threads(1)
    for name in options.regimes or methods.REGIMES:
        start = time.perf_counter()
        found = run(name, options.arms)
        print(f"\n{name}, {time.perf_counter() - start:.0f} s\n{found}", flush=True)
        known = load_results("methods")[0] if (RESULTS / "methods.json").is_file() else {}
        together = {**known, name: found}
        ordered = {one: together[one] for one in methods.REGIMES if one in together}
        save_results("methods", ordered, command="python benchmarks/methods_study.py")


if __name__ == "__main__":
    main()
