"""The study behind lesson 01, about ten minutes on one core: python benchmarks/soft_labels_study.py

Ten paired seeds, sixteen tuning trials per arm on three other seeds, selection on validation data. Writes
data/results/soft_labels.json, which the lesson draws from and partly runs again.
"""

import torch

from kdlab.data import load_digits
from kdlab.experiments import compare
from kdlab.studies import save_results
from kdlab.studies.soft_labels import REGIMES, arms, train_teacher

SEEDS = range(10)
TUNING_SEEDS = (1001, 1002, 1003)


def main() -> None:
    torch.set_num_threads(1)
    teacher = train_teacher(load_digits().train)
    comparisons = {}
    for regime in REGIMES:
        comparisons[regime] = compare(arms(regime, teacher), SEEDS, tuning_seeds=TUNING_SEEDS)
        print(f"\n{regime}\n{comparisons[regime]}")
    save_results("soft_labels", comparisons, command="python benchmarks/soft_labels_study.py")


if __name__ == "__main__":
    main()
