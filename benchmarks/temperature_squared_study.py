"""The study behind lesson 02a, about five minutes on one core: python benchmarks/temperature_squared_study.py.

Ten paired seeds, eight learning rates per arm on six other seeds, selection on validation data. Writes
data/results/temperature_squared.json.
"""

import torch

from kdlab.experiments import compare
from kdlab.studies import save_results
from kdlab.studies.temperature_squared import CASES, arms

SEEDS = range(10)
TUNING_SEEDS = range(1001, 1007)


def main() -> None:
    torch.set_num_threads(1)
    comparisons = {}
    for name in CASES:
        comparisons[name] = compare(arms(name), SEEDS, tuning_seeds=TUNING_SEEDS)
        print(f"\n{name}\n{comparisons[name]}", flush=True)
    save_results("temperature_squared", comparisons, command="python benchmarks/temperature_squared_study.py")


if __name__ == "__main__":
    main()
