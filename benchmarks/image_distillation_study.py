"""The study behind lesson 03, about half an hour on one core: python benchmarks/image_distillation_study.py [NAME ...]

Ten paired seeds in every comparison; all arms of a comparison are tuned over the same number of settings, on seeds of
their own and by validation accuracy. Writes data/results/image_distillation.json, which the lesson draws from and
partly runs again. With names of comparisons it runs only those and keeps the rest of the file.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import torch

from kdlab.data import load_digits
from kdlab.experiments import Arm, compare
from kdlab.studies import image_distillation as images
from kdlab.studies import load_results, save_results

SEEDS = range(10)
TUNING_SEEDS = range(1001, 1007)
FEWER = TUNING_SEEDS[:4]  # where there are many arms

Plan = Callable[[], dict[str, Arm]]


def plans() -> dict[str, tuple[Plan, range]]:
    """Per comparison: its arms, and the seeds they are tuned on."""
    teacher = images.train_teacher(load_digits().train)
    found: dict[str, tuple[Plan, range]] = {}
    for name in images.REGIMES:
        found[name] = partial(images.arms, name, teacher), TUNING_SEEDS
    for name, regime in images.MAPS.items():
        found[name] = partial(images.grid_arms, regime, teacher), FEWER
    for width in images.WIDTHS:
        found[f"student width {width}"] = partial(images.capacity_arms, width, teacher), FEWER
    found["teacher width"] = images.teacher_arms, FEWER
    found["start"] = partial(images.start_arms, teacher), TUNING_SEEDS
    return found


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    todo = plans()
    if unknown := [name for name in names if name not in todo]:
        raise SystemExit(f"no comparison named {unknown}; there are: {', '.join(todo)}")
    comparisons = load_results("image_distillation")[0] if names else {}
    for number, name in enumerate(names or todo, start=1):
        start, (plan, tuning_seeds) = time.perf_counter(), todo[name]
        comparisons[name] = compare(plan(), SEEDS, tuning_seeds=tuning_seeds, progress=sys.stderr.isatty())
        seconds = time.perf_counter() - start
        print(f"\n{number} of {len(names or todo)}: {name}, {seconds:.0f} s\n{comparisons[name]}", flush=True)
        save_results("image_distillation", comparisons, command="python benchmarks/image_distillation_study.py")


if __name__ == "__main__":
    main(sys.argv[1:])
