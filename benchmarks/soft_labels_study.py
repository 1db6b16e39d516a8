"""The study behind lesson 01, about ten minutes on one core: python benchmarks/soft_labels_study.py.

Ten paired seeds; sixteen tuning trials per arm (eight where only T differs) on six other seeds; selection on
validation data. Writes data/results/soft_labels.json, which the lesson draws from and partly runs again.

Six tuning seeds, because three were too few: with them and a grid that went to a rate of 0.09 the baseline picked a
rate at which it is unstable, and the verdict for all labels turned round.
"""

import torch

from kdlab.data import load_digits
from kdlab.experiments import compare
from kdlab.studies import save_results
from kdlab.studies.soft_labels import REGIMES, arms, temperature_arms, train_teacher

SEEDS = range(10)
TUNING_SEEDS = range(1001, 1007)


def main() -> None:
    torch.set_num_threads(1)
    teacher = train_teacher(load_digits().train)
    comparisons = {}
    plans = {**{regime: arms(regime, teacher) for regime in REGIMES}, "temperature": temperature_arms(teacher)}
    for name, plan in plans.items():
        comparisons[name] = compare(plan, SEEDS, tuning_seeds=TUNING_SEEDS)
        print(f"\n{name}\n{comparisons[name]}", flush=True)
    save_results("soft_labels", comparisons, command="python benchmarks/soft_labels_study.py")


if __name__ == "__main__":
    main()
