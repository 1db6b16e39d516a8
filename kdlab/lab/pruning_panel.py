"""The pruning panel: which weights go at a sparsity, what is left of each layer, and what accuracy and file become.

Masks follow from the weights (``pruning_twin.pruning_state``); accuracies, bytes and times are measured by the lesson
and handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdlab.lab.explorable import Explorable
from kdlab.lab.pruning_still import PruningCase, full_colour, still, table
from kdlab.lab.pruning_twin import DECIMALS, SCOPES, SPARSITIES, sparsity_text
from kdlab.lab.show import figure_bundle
from kdlab.lab.twins import count_text

__all__ = ["SPARSITIES", "pruning_explorable", "pruning_figure"]

_UNIT = 10**DECIMALS
_PLACES = 4  # of shares and times
_MOST = {"weights": 8, "accuracies": 3, "files": 4, "latency": 3}
_MAX_WEIGHTS = 20_000
_MAX_MAGNITUDE = 1e4

Curves = Mapping[str, Mapping[str, Sequence[float]]]
Sizes = Mapping[str, Mapping[str, Sequence[int]]]


def pruning_explorable(
    weights: Mapping[str, Any],
    accuracies: Curves,
    files: Sizes,
    *,
    latency: Mapping[str, Sequence[float]] | None = None,
    id: str = "pruning",  # noqa: A002
    sparsity: float = 0.0,
    layer: str | None = None,
    scope: str = "global",
) -> Explorable:
    """A panel on magnitude pruning: drag the sparsity, see which weights go and what that does to accuracy and file.

    Args:
        weights: layer name to weight, shape (out, ...), up to eight layers and 20,000 numbers in all; the panel holds
            five decimals and computes its masks from these.
        accuracies: "global" and "per layer" to kind, such as "pruned" and "pruned, then trained on" (up to three), to
            the share right at each of ``SPARSITIES``.
        files: "global" and "per layer" to format, "dense" and up to three others, to the bytes of the file that was
            written at each of ``SPARSITIES``; dense at sparsity 0 is the unpruned file, the same for both.
        latency: what was timed, such as "1 image", to (dense time / this time) at each of ``SPARSITIES``; up to three.
        id: the element's id on the page is ``kd-ID``; use another for a second panel in one notebook.
        sparsity: which of ``SPARSITIES`` the panel starts with.
        layer: the layer that it starts with; the largest by default.
        scope: "global" ranks all weights together, "per layer" each layer's own.

    Returns:
        An :class:`Explorable`: make it the last expression of a cell.

    Raises:
        ValueError: an argument has the wrong shape, length or range, or a name is unknown.

    References:
        Han, Pool, Tran, Dally (2015), Learning both Weights and Connections, arXiv 1506.02626.

    Example:
        >>> curves = {"pruned": [0.9] * len(SPARSITIES)}
        >>> sizes = {"dense": [900] * len(SPARSITIES), "bitmap": [500] * len(SPARSITIES)}
        >>> pruning_explorable({"layer": [[0.1, -0.2], [0.3, 0.4]]}, {"global": curves, "per layer": curves},
        ...     {"global": sizes, "per layer": sizes}, sparsity=0.5)
        Pruning panel (1 layer, 4 weights, sparsity from 0 % to 99 %). sparsity 50 %, global: 2 of 4 weights left, ...
    """
    case = _checked(weights, accuracies, files, latency, sparsity, layer, scope)
    names = list(case.weights)
    picture = figure_bundle(
        still(case),
        alt=f"The weights of {case.layer} as squares, pruned ones blank; their histogram with the threshold; the share "
        f"left of each layer; share right over sparsity; and the bytes of the file. In short: {case.words}.",
        caption="A still of the panel: run the cell or trust the notebook, and the sparsity gets a slider.",
    )
    total = sum(values.size for values in case.weights.values())
    return Explorable(
        "pruning",
        name=id,
        title="Pruning: which weights go, and what that buys",
        data={
            "sparsities": list(SPARSITIES),
            "unit": _UNIT,
            "layers": [_layer(name, np.shape(weights[name]), values) for name, values in case.weights.items()],
            "scopes": list(SCOPES),
            "accuracies": {key: _listed(case.accuracies[key]) for key in SCOPES},
            "files": {key: _listed(case.files[key]) for key in SCOPES},
            "latency": _listed(case.latency),
            "start": {"step": case.step, "scope": SCOPES.index(scope), "layer": names.index(case.layer)},
        },
        fallback=picture["text/html"] + table(case),
        text=(
            f"Pruning panel ({len(names)} {'layer' if len(names) == 1 else 'layers'}, {count_text(total)} weights, "
            f"sparsity from {sparsity_text(SPARSITIES[0])} to {sparsity_text(SPARSITIES[-1])}). {case.words}."
        ),
    )


def pruning_figure(
    weights: Mapping[str, Any],
    accuracies: Curves,
    files: Sizes,
    *,
    sparsity: float = 0.0,
    layer: str | None = None,
    scope: str = "global",
) -> Figure:
    """A still of the pruning panel; arguments and errors as :func:`pruning_explorable`.

    Example:
        >>> curves, sizes = {"pruned": [0.9] * len(SPARSITIES)}, {"dense": [900] * len(SPARSITIES)}
        >>> len(pruning_figure({"layer": [[0.1, -0.2]]}, {"global": curves, "per layer": curves},
        ...     {"global": sizes, "per layer": sizes}).axes)
        5
    """
    return still(_checked(weights, accuracies, files, None, sparsity, layer, scope))


def _layer(name: str, shape: Sequence[int], values: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "name": name,
        "shape": " × ".join(str(side) for side in shape),
        "rows": values.shape[0],
        "columns": values.shape[1],
        "full": full_colour(values),
        "values": values.ravel().tolist(),
    }


def _listed(series: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    return [{"name": name, "values": list(values)} for name, values in series.items()]


def _checked(
    weights: Mapping[str, Any],
    accuracies: Curves,
    files: Sizes,
    latency: Mapping[str, Sequence[float]] | None,
    sparsity: float,
    layer: str | None,
    scope: str,
) -> PruningCase:
    stored = _stored(weights)
    curves = {key: _series(f"accuracies[{key!r}]", value, 0, 1) for key, value in _scoped("accuracies", accuracies)}
    sizes = {key: _series(f"files[{key!r}]", value, 1, 2**40) for key, value in _scoped("files", files)}
    if "dense" not in sizes["global"]:
        raise ValueError(
            f"files must hold the format 'dense', got {list(sizes['global'])}: it is what others must beat"
        )
    whole = {key: value["dense"][0] for key, value in sizes.items()}
    if len(set(whole.values())) > 1:
        raise ValueError(
            f"files must hold the same dense file at sparsity 0 for both scopes, got {whole}: which is it?"
        )
    if isinstance(sparsity, bool) or sparsity not in SPARSITIES:
        raise ValueError(f"sparsity must be one of the slider's steps {SPARSITIES}, got {sparsity!r}")
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, got {scope!r}")
    if layer is not None and layer not in stored:
        raise ValueError(f"layer must be one of {list(stored)}, got {layer!r}")
    return PruningCase(
        weights=stored,
        accuracies=curves,
        files={key: {name: [int(n) for n in one] for name, one in value.items()} for key, value in sizes.items()},
        latency=_series("latency", latency, 1e-3, 1e4) if latency else {},
        step=SPARSITIES.index(sparsity),
        layer=max(stored, key=lambda name: stored[name].size) if layer is None else layer,
        scope=scope,
    )


def _stored(weights: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    """Weights as whole numbers of the last decimal, shape (out, inputs): what panel and twin both work on."""
    _counted("weights", weights)
    stored = {}
    for name, weight in weights.items():
        values = np.asarray(weight.detach().cpu() if hasattr(weight, "detach") else weight, dtype=np.float64)
        if values.ndim < 2 or not values.size:
            raise ValueError(
                f"weights[{name!r}] must have shape (out, ...), two axes or more, got {values.shape}: is it a bias?"
            )
        if not (np.abs(values) <= _MAX_MAGNITUDE).all():  # NaN is not
            raise ValueError(
                f"weights[{name!r}] must be finite and at most {_MAX_MAGNITUDE:g} in size: did the training diverge?"
            )
        stored[str(name)] = np.rint(values * _UNIT).astype(np.int64).reshape(len(values), -1)
    total = sum(values.size for values in stored.values())
    if total > _MAX_WEIGHTS:
        raise ValueError(f"weights must be at most {_MAX_WEIGHTS:,} numbers in all, got {total:,}: take a few layers")
    return stored


def _scoped(argument: str, value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Both scopes' entries, in order, with the same names in each."""
    if set(value) != set(SCOPES):
        raise ValueError(f"{argument} must hold {' and '.join(map(repr, SCOPES))}, got {list(value)}")
    first, second = (list(value[key]) for key in SCOPES)
    if first != second:
        raise ValueError(f"{argument} must name the same for both scopes, got {first} and {second}")
    _counted(argument, first)
    return [(key, value[key]) for key in SCOPES]


def _counted(argument: str, names: Any) -> None:
    if not 1 <= len(names) <= _MOST[argument]:
        raise ValueError(f"{argument} must name 1 to {_MOST[argument]}, got {len(names)}: {list(names)}")


def _series(argument: str, series: Mapping[str, Any], lowest: float, highest: float) -> dict[str, list[float]]:
    """For each name one number per sparsity, within bounds, rounded as the panel stores it."""
    if argument == "latency":
        _counted(argument, series)
    found = {}
    for name, values in series.items():
        array = np.asarray(list(values), dtype=np.float64)
        if array.shape != (len(SPARSITIES),):
            raise ValueError(
                f"{argument}[{name!r}] must hold {len(SPARSITIES)} numbers, as SPARSITIES has steps, got {array.shape}"
            )
        if not ((array >= lowest) & (array <= highest)).all():  # NaN is neither
            raise ValueError(
                f"{argument}[{name!r}] must lie in {lowest:g} to {highest:g}, got {array.tolist()}: accuracies are "
                "shares, files bytes, latency dense time over this time"
            )
        found[str(name)] = [float(value) for value in array.round(_PLACES)]
    return found
