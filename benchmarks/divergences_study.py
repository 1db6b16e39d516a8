"""The study behind lesson 02b's comparison, about ten minutes on one core: python benchmarks/divergences_study.py.

Ten paired seeds, eight learning rates per divergence on six other seeds, selection on validation data. Writes
data/results/divergences.json.
"""

import torch

from kdlab.experiments import compare
from kdlab.studies import save_results
from kdlab.studies.divergences import arms, scales

SEEDS = range(10)
TUNING_SEEDS = range(1001, 1007)


def main() -> None:
    torch.set_num_threads(1)
    print({name: round(scale, 3) for name, scale in scales().items()}, flush=True)
    result = compare(arms(), SEEDS, tuning_seeds=TUNING_SEEDS)
    print(result)
    save_results("divergences", {"few labels": result}, command="python benchmarks/divergences_study.py")


if __name__ == "__main__":
    main()
