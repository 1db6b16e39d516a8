"""The small study behind lesson 05, about three minutes on one core: python benchmarks/views_study.py.

Ten paired seeds; every arm is tuned over eight settings, on four other seeds and by validation accuracy. Writes
data/results/views.json.
"""

import torch

from kdlab.experiments import compare
from kdlab.studies import save_results, views

SEEDS = range(10)
TUNING_SEEDS = range(1001, 1005)


def main() -> None:
    torch.set_num_threads(1)
    comparisons = {}
    for name in views.NAMES:
        comparisons[name] = compare(views.arms(name), SEEDS, tuning_seeds=TUNING_SEEDS)
        print(f"\n{name}\n{comparisons[name]}", flush=True)
    save_results("views", comparisons, command="python benchmarks/views_study.py")


if __name__ == "__main__":
    main()
