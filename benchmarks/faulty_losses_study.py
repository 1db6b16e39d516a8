"""The study behind lesson 02b, about ten minutes on one core: python benchmarks/faulty_losses_study.py.

Ten paired seeds, eight learning rates per loss on four other seeds, selection on validation data. Writes
data/results/faulty_losses.json: which wrong distillation losses would accuracy on the digits have shown?
"""

import torch

from kdlab.experiments import compare
from kdlab.studies import save_results
from kdlab.studies.faulty_losses import REGIMES, arms

SEEDS = range(10)
TUNING_SEEDS = range(1001, 1005)


def main() -> None:
    torch.set_num_threads(1)
    comparisons = {}
    for name in REGIMES:
        comparisons[name] = compare(arms(name), SEEDS, tuning_seeds=TUNING_SEEDS)
        print(f"\n{name}\n{comparisons[name]}\n{comparisons[name].on('nll', higher_is_better=False)}", flush=True)
    save_results("faulty_losses", comparisons, command="python benchmarks/faulty_losses_study.py")


if __name__ == "__main__":
    main()
