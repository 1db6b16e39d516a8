"""What the long studies have in common: their regimes are run one by one, ten paired seeds each, and kept in one file.

Every arm is tuned over its settings, on four other seeds and by validation accuracy. With names of regimes only those
are run, and the rest of the file stays; with --arms only arms whose names end so, and the baseline, which must agree
with the file to the last digit.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from types import ModuleType

import torch

from kdlab.experiments import Comparison, compare
from kdlab.studies import load_results, save_results
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


def run(study: ModuleType, regime: str, known: Comparison | None, ending: str | None) -> Comparison:
    """One regime, or some of its arms."""
    plan = study.arms(regime)
    if ending is not None:
        if known is None:
            raise SystemExit(f"there are no results for {regime!r} yet: run it whole first, without --arms")
        plan = {name: arm for name, arm in plan.items() if name == known.baseline or name.endswith(ending)}
        if len(plan) < 2:
            return known
    found = compare(plan, SEEDS, tuning_seeds=TUNING_SEEDS, progress=sys.stderr.isatty())
    return found if known is None or ending is None else merged(known, found)


def main(study: ModuleType, description: str) -> None:
    """The whole of a study's script; ``study`` has REGIMES and arms(regime), its file is named after it."""
    name = study.__name__.rpartition(".")[2]
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("regimes", nargs="*", metavar="REGIME", help="all by default")
    parser.add_argument("--arms", metavar="ENDING", help="no arms but those whose names end so")
    options = parser.parse_args()
    if unknown := [one for one in options.regimes if one not in study.REGIMES]:
        parser.error(f"no regime named {unknown}; there are: {', '.join(study.REGIMES)}")
    torch.set_num_threads(1)
    for regime in options.regimes or study.REGIMES:
        start = time.perf_counter()
        known = load_results(name)[0] if (RESULTS / f"{name}.json").is_file() else {}
        known[regime] = run(study, regime, known.get(regime), options.arms)
        print(f"\n{regime}, {time.perf_counter() - start:.0f} s\n{known[regime]}", flush=True)
        ordered = {one: known[one] for one in study.REGIMES if one in known}
        save_results(name, ordered, command=f"python benchmarks/{name}_study.py")
