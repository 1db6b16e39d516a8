"""How sparse each layer may become: measure one layer at a time, then share out a budget."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from kdlab.masks import apply_mask, check_sparsity, magnitude_mask, prunable
from kdlab.progress import progress as progress_bar

__all__ = ["allocate", "sensitivity"]

_PLANS = 20_000  # so many are followed at the same time


def sensitivity(
    model: nn.Module,
    score: Callable[[nn.Module], float],
    sparsities: Sequence[float],
    *,
    layers: Iterable[str] | None = None,
    progress: bool = True,
) -> dict[str, list[float]]:
    """Prune one layer at a time, leave all others alone, and measure.

    Args:
        model: a trained network; it stays as it is.
        score: ``score(model)`` on data that are not the test data, such as the validation loss.
        sparsities: the shares to try, each in [0, 1).
        layers: names of the layers; all that can be pruned by default.
        progress: show a progress bar if it takes longer than a moment.

    Returns:
        Layer name to one score for each sparsity.

    Raises:
        TypeError, ValueError: a sparsity out of range, layers that cannot be pruned.

    References:
        Han, Pool, Tran, Dally (2015), arXiv 1506.02626; Li et al. (2017), arXiv 1608.08710.
    """
    shares = [check_sparsity(share) for share in sparsities]
    names = [name.removesuffix("weight").removesuffix(".") for name in prunable(model, layers)]
    found: dict[str, list[float]] = {name: [] for name in names}
    with progress_bar([], "scanning", total=len(names) * len(shares), show=progress) as bar:
        for name in names:
            for share in shares:
                pruned = copy.deepcopy(model)
                apply_mask(pruned, magnitude_mask(pruned, {name: share}))
                found[name].append(float(score(pruned)))
                bar.update()
    return found


def allocate(
    costs: Mapping[str, Sequence[float]], sizes: Mapping[str, int], sparsities: Sequence[float], budget: float
) -> dict[str, float]:
    r"""Choose a sparsity for each layer so that the costs' sum is least and enough weights go.

    .. math:: \min_{s} \sum_\ell c_\ell(s_\ell) \quad\text{such that}\quad
              \sum_\ell s_\ell n_\ell \ge s \sum_\ell n_\ell

    Adding up what was measured one layer at a time takes the layers to be independent, which they are not quite: the
    result is a plan to be measured, no promise. The sum itself is minimised exactly: layer by layer, a plan is dropped
    if another costs no more and takes as many weights out. Where more than 20,000 are left (dozens of layers, all of
    different sizes), that many are followed, evenly chosen; the budget is reached all the same.

    Args:
        costs: layer name to what it costs (the higher the worse) at each of ``sparsities``, such as
            :func:`sensitivity` measures.
        sizes: layer name to number of weights.
        sparsities: the shares that were tried.
        budget: s, share of all these weights that has to go, in [0, 1).

    Returns:
        Layer name to one of ``sparsities``.

    Raises:
        ValueError: names that differ, costs of another length or not finite, sizes below 1, a budget that cannot be
            reached.

    Example:
        >>> allocate({"a": [0, 2, 9], "b": [0, 3, 3]}, {"a": 100, "b": 100}, [0.0, 0.5, 0.9], budget=0.45)
        {'a': 0.0, 'b': 0.9}
    """
    budget = check_sparsity(budget, "budget")
    shares = [check_sparsity(share) for share in sparsities]
    if not shares:
        raise ValueError("sparsities is empty: there is nothing to choose from")
    if set(costs) != set(sizes) or not costs:
        raise ValueError(f"costs and sizes must name the same layers, got {sorted(costs)} and {sorted(sizes)}")
    for name, values in costs.items():
        if len(values) != len(shares) or not all(math.isfinite(value) for value in values):
            raise ValueError(f"costs[{name!r}] must hold {len(shares)} finite numbers, one per sparsity, got {values}")
    if wrong := {name: size for name, size in sizes.items() if size < 1}:
        raise ValueError(f"sizes must be numbers of weights, at least 1 each, got {wrong}")
    total = sum(sizes.values())
    need = budget * total * (1 - 1e-9)  # so that 0.1 + 0.2 reaches 0.3
    gone = torch.zeros(1, dtype=torch.float64)  # weights that each plan for the layers so far takes out,
    paid = torch.zeros(1, dtype=torch.float64)  # and its costs; both rise from plan to plan
    steps: list[Tensor] = []
    for name, values in costs.items():
        more = torch.tensor(shares, dtype=torch.float64) * sizes[name]
        gone = (gone[:, None] + more).clamp(max=need).flatten()  # (plans * shares,)
        paid = (paid[:, None] + torch.tensor([float(value) for value in values], dtype=torch.float64)).flatten()
        steps.append(_unbeaten(gone, paid))
        gone, paid = gone[steps[-1]], paid[steps[-1]]
    if float(gone[-1]) < need:
        raise ValueError(f"budget={budget} cannot be reached with sparsities up to {max(shares)}: try larger ones")
    chosen: dict[str, float] = {}
    plan = len(gone) - 1
    for name, kept in zip(reversed(list(costs)), reversed(steps), strict=True):
        plan, option = divmod(int(kept[plan]), len(shares))
        chosen[name] = shares[option]
    return {name: chosen[name] for name in costs}


def _unbeaten(gone: Tensor, paid: Tensor) -> Tensor:
    """Indices of the plans that take more weights out than any that costs as much or less, cheapest first."""
    order = gone.argsort(descending=True, stable=True)
    order = order[paid[order].argsort(stable=True)]
    most = gone[order].cummax(0).values
    better = torch.cat([torch.ones(1, dtype=torch.bool), most[1:] > most[:-1]])
    kept = order[better]
    if len(kept) > _PLANS:
        kept = kept[torch.linspace(0, len(kept) - 1, _PLANS, dtype=torch.float64).round().long()]
    return kept
