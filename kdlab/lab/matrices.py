"""Small matrices side by side: features, maps and relations as grids of squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdlab.lab.theme import COLORS, INK, house_style, new_figure

__all__ = ["matrix_row"]

_MOST_NUMBERED = 6  # rows or columns of a matrix whose values can be read as text
_POSITIVE = LinearSegmentedColormap.from_list("kd-positive", ["white", COLORS["blue"]])
_SIGNED = LinearSegmentedColormap.from_list("kd-signed", [COLORS["vermillion"], "white", COLORS["blue"]])


@house_style()
def matrix_row(panels: Mapping[str, Any], *, per_row: int = 6, together: bool = False, decimals: int = 1) -> Figure:
    """Matrices as grids of squares, blue for positive and vermillion for negative values; small ones with numbers.

    Args:
        panels: title to a matrix ``(rows, columns)``: list, array or tensor. Titles may have two lines.
        per_row: panels in one row of the figure.
        together: one colour scale for all panels; otherwise each has its own, up to its largest absolute value.
        decimals: of the numbers in small matrices.

    Raises:
        ValueError: nothing to draw, something that is no matrix, or values that are not finite.
    """
    arrays = {title: _matrix(title, values) for title, values in panels.items()}
    if not arrays:
        raise ValueError("panels is empty: there is nothing to draw")
    rows = -(-len(arrays) // per_row)
    columns = min(per_row, len(arrays))
    figure, grid = new_figure(rows, columns, width=min(9.0, 1.75 * columns), height=1.95 * rows, squeeze=False)
    largest = max(float(np.abs(array).max()) for array in arrays.values())
    for axes in grid.flat[len(arrays) :]:
        axes.set_axis_off()
    for axes, (title, array) in zip(grid.flat, arrays.items(), strict=False):
        top = (largest if together else float(np.abs(array).max())) or 1.0
        signed = bool((array < 0).any())
        axes.imshow(array, cmap=_SIGNED if signed else _POSITIVE, vmin=-top if signed else 0.0, vmax=top)
        if max(array.shape) <= _MOST_NUMBERED:
            _write_numbers(axes, array, top, decimals)
        axes.set_title(title, fontsize=9, loc="center")
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(True)
    return figure


def _write_numbers(axes: Any, array: NDArray[np.float64], top: float, decimals: int) -> None:
    for (row, column), value in np.ndenumerate(array):
        text = f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}")
        color = "white" if abs(value) > 0.6 * top else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color=color)


def _matrix(title: str, values: Any) -> NDArray[np.float64]:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{title!r} must be a matrix (rows, columns), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{title!r} must be finite, got NaN or infinity")
    return array
