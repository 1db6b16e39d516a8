"""The features panel: two networks' layers beside each other, and which losses notice a change of the student's.

What a loss can see of a layer is little: the attention map, or the inner products between images. These are all that
the panel is given; ``features_twin`` says what it makes of them, by changing the features themselves.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from kdlab.feature_tap import FeatureTap
from kdlab.lab import features_twin as twin
from kdlab.lab.explorable import Explorable
from kdlab.lab.features_twin import FeaturesState, features_state
from kdlab.lab.show import figure_bundle
from kdlab.lab.theme import COLORS, INK, house_style, new_figure
from kdlab.modes import evaluating

__all__ = ["CONSTANTS", "FACTORS", "features_explorable", "features_figure"]

FACTORS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
"""The steps of the slider for s."""

CONSTANTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
"""The steps of the slider for c, in units of the root mean square of the student's features."""

_AMOUNTS = {"scale": 3.0, "constant": 1.0}
_COUNT, _MAX_SIDE, _MOST = (3, 10), 16, {"students": 4, "layers": 5}
_DIGITS = 999  # whole numbers up to this stand for each image’s values
_SEEN = LinearSegmentedColormap.from_list("seen", ["#FFFFFF", COLORS["blue"]])
_SIGNED = LinearSegmentedColormap.from_list("signed", [COLORS["vermillion"], "#FFFFFF", COLORS["blue"]])

Caught = Mapping[str, Tensor]


def features_explorable(
    teacher: nn.Module,
    students: Mapping[str, nn.Module],
    images: Tensor,
    labels: Any,
    *,
    teacher_layers: Sequence[str],
    student_layers: Sequence[str],
    more_images: Tensor | None = None,
    id: str = "features",  # noqa: A002
    image: int = 0,
    teacher_layer: str | None = None,
    student_layer: str | None = None,
) -> Explorable:
    """A panel on what losses see of a layer: choose two layers, change the student's features, see which losses move.

    Args:
        teacher: any module; run once, in evaluation mode and without gradients, as the students are.
        students: up to four, by name; the first, as it is, is what the bars count as 1.
        images: grey values in 0..1 where 1 is ink, shape (n, 1, H, W); n from 3 to 10, sides up to 16.
        labels: the classes that the data set gives, shape (n,).
        teacher_layers: up to five names as ``teacher.named_modules()`` has them; outputs (n, C, H, W) or (n, C).
        student_layers: the same for every student.
        more_images: further images of the same shape, for the best projector alone: a few images are fitted too easily.
        id: the element's id on the page is ``kd-ID``; use another for a second panel in one notebook.
        image: which image the panel starts with, from 0.
        teacher_layer: the layer that the panel starts with; the first by default.
        student_layer: the same for the student.

    Returns:
        An :class:`Explorable`: make it the last expression of a cell.

    Raises:
        TypeError: no module, or no tensor of images.
        ValueError: an argument has the wrong shape or range, or a name is no layer's.

    References:
        Zagoruyko, Komodakis (2017), arXiv 1612.03928; Tung, Mori (2019), arXiv 1907.09682; Park et al. (2019), arXiv
        1904.05068; Romero et al. (2015), arXiv 1412.6550: the losses of ``kdlab.features``.

    Example:
        >>> from kdlab.models import SmallCNN
        >>> features_explorable(SmallCNN(8), {"untrained": SmallCNN(2)}, torch.rand(4, 1, 8, 8), [0, 0, 1, 1],
        ...     teacher_layers=["features.1"], student_layers=["features.1", "features.4"])
        Features panel (1 student, 1 layer of the teacher, 2 of the student, 4 images). untrained, features.1 beside ...
    """
    classes = _checked_images(images, labels, more_images, image)
    _checked_names("students", list(students), _MOST["students"])
    names = {"teacher_layers": list(teacher_layers), "student_layers": list(student_layers)}
    for argument, layers in names.items():
        _checked_names(argument, layers, _MOST["layers"])
    chosen = (
        _chosen("teacher_layer", teacher_layer, names["teacher_layers"]),
        _chosen("student_layer", student_layer, names["student_layers"]),
    )
    every = images if more_images is None else torch.cat([images, more_images])
    known = _caught("the teacher", teacher, names["teacher_layers"], every)
    caught = {
        name: _caught(f"student {name!r}", student, names["student_layers"], every)
        for name, student in students.items()
    }
    n = len(images)
    data = {
        "images": [[round(float(value), 2) for value in one.flatten()] for one in images],
        "rows": images.shape[2],
        "columns": images.shape[3],
        "labels": classes,
        "teacher": _network(known, [one for layers in caught.values() for one in layers.values()], n),
        "students": [
            {
                "name": name,
                "layers": _network(layers, list(known.values()), n, changes=True),
                "residual": _residuals(known, layers, n),
            }
            for name, layers in caught.items()
        ],
        "factors": [_plain(value) for value in FACTORS],
        "constants": [_plain(value) for value in CONSTANTS],
        "start": {
            "image": image,
            "teacherLayer": names["teacher_layers"].index(chosen[0]),
            "studentLayer": names["student_layers"].index(chosen[1]),
            "factor": FACTORS.index(_AMOUNTS["scale"]),
            "constant": CONSTANTS.index(_AMOUNTS["constant"]),
        },
    }
    first = next(iter(caught))
    states = _every_kind(known[chosen[0]], caught[first][chosen[1]], n, image)
    start = f"{first}, {chosen[1]} beside the teacher’s {chosen[0]}"
    now = states["none"]
    words = twin.features_summary(now.losses, now.losses, start=start, what="as it is", changed=False)
    picture = figure_bundle(
        features_figure(states, classes, image=image, title=start),
        alt=f"Squares: for image {image + 1}, labelled {classes[image]}, where both layers are active and where they "
        f"differ; how alike the {n} images are for both layers; and which of five losses notices which change of the "
        f"student’s features, as in the table below. In short: {words}.",
        caption="A still of the panel: run the cell or trust the notebook, and layers and changes can be chosen.",
    )
    sizes = [len(students), len(teacher_layers), len(student_layers)]
    return Explorable(
        "features",
        name=id,
        title="What losses see of a layer",
        data=data,
        fallback=picture["text/html"] + _table(states, start, image),
        text=(
            f"Features panel ({sizes[0]} {'student' if sizes[0] == 1 else 'students'}, {sizes[1]} "
            f"{'layer' if sizes[1] == 1 else 'layers'} of the teacher, {sizes[2]} of the student, {n} images). {words}."
        ),
    )


def features_figure(states: Mapping[str, FeaturesState], labels: Sequence[int], *, image: int, title: str) -> Figure:
    """A still of the features panel: both maps of one image, both Gram matrices, and which loss notices which change.

    Args:
        states: one pair of layers under each of ``KINDS``; maps and matrices are those of "none".
        labels: a class for each of the n images.
        image: whose maps are drawn, from 0.
        title: which student and which layers.

    Example:
        >>> rows = torch.rand(3, 2, 4, 4)
        >>> states = {kind: features_state(rows, rows.flip(0), kind=kind) for kind in twin.KINDS}
        >>> len(features_figure(states, [0, 1, 2], image=0, title="a pair").axes)
        7
    """
    now = states["none"]
    with house_style():
        figure, grid = new_figure(2, 4, width=8.6, height=4.3, width_ratios=[1, 1, 1, 1.9])
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        places = grid[0, 3].get_gridspec()
        for spare in grid[:, 3]:
            spare.remove()
        if now.teacher_map is None or now.student_map is None:
            for axes in grid[0, :3]:
                axes.axis("off")
            grid[0, 0].text(0, 0.5, "No map: one of the layers is a vector.", fontsize=9)
        else:
            _draw_pair(grid[0, :3], now.teacher_map[image], now.student_map[image], f"map of image {image + 1}")
        _draw_pair(grid[1, :3], now.teacher_gram, now.student_gram, "images alike", labels)
        _draw_noticed(figure.add_subplot(places[:, 3]), states, image)
    return figure


def _draw_pair(places: Any, teacher: NDArray[Any], student: NDArray[Any], what: str, labels: Any = None) -> None:
    most = max(float(abs(teacher).max()), float(abs(student).max())) or 1.0
    titles = (f"Teacher: {what}", "Student", "Student − teacher")
    for axes, values, title in zip(places, (teacher, student, student - teacher), titles, strict=True):
        signed = title == titles[2] or float(values.min()) < 0
        span = most / 2 if title == titles[2] else most
        axes.imshow(values, cmap=_SIGNED if signed else _SEEN, vmin=-span if signed else 0, vmax=span)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9)
        axes.grid(visible=False)
        axes.set_xlabel(f"full colour: {'±' if signed else ''}{span:.2f}", fontsize=8)
        if labels is not None:
            axes.set_yticks(range(len(labels)), [str(label) for label in labels], fontsize=7)


def _draw_noticed(axes: Axes, states: Mapping[str, FeaturesState], image: int) -> None:
    """A row for each change, a column for each loss: filled and ● where it moved, blank and ○ where it is blind."""
    kinds = [kind for kind in states if kind != "none"]
    before = states["none"].losses
    for row, kind in enumerate(kinds):
        for column, (name, value) in enumerate(states[kind].losses.items()):
            moved = twin.notices(value, before[name])
            if moved:
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=COLORS["blue"]))
            sign = "n/a" if value is None else "●" if moved else "○"
            axes.text(column, row, sign, ha="center", va="center", fontsize=9, color="white" if moved else INK)
    axes.set_xticks(range(len(twin.LOSSES)), twin.LOSSES, rotation=60)
    words = [textwrap.fill(twin.kind_text(kind, _AMOUNTS.get(kind, 1.0), image), 16) for kind in kinds]
    axes.set_yticks(range(len(kinds)), words)
    axes.set(xlim=(-0.5, len(twin.LOSSES) - 0.5), ylim=(len(kinds) - 0.5, -0.5))
    axes.set_title("● moved, ○ blind", fontsize=9)
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _every_kind(teacher: Tensor, student: Tensor, n: int, image: int) -> dict[str, FeaturesState]:
    """One pair of layers under each change, for the table of a page where nothing moves."""
    more = (teacher[n:], student[n:])
    return {
        kind: features_state(
            teacher[:n], student[:n], kind=kind, amount=_AMOUNTS.get(kind, 1.0), image=image, more=more
        )
        for kind in twin.KINDS
    }


def _table(states: Mapping[str, FeaturesState], start: str, image: int) -> str:
    before = states["none"].losses
    head = "".join(f'<th scope="col">{name}</th>' for name in ("student’s features", *twin.LOSSES))
    rows = []
    for kind, state in states.items():
        cells = [
            f"<td>{twin.loss_text(value)}{', moved' if twin.notices(value, before[name]) else ''}</td>"
            for name, value in state.losses.items()
        ]
        what = twin.kind_text(kind, _AMOUNTS.get(kind, 1.0), image)
        rows.append(f'<tr><th scope="row">{what}</th>{"".join(cells)}</tr>')
    return (
        f"<details><summary>Which loss notices what, in numbers: {html.escape(start)}</summary>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></details>"
    )


def _caught(whose: str, model: nn.Module, layers: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """What the layers put out for every image, as float64."""
    with FeatureTap(model, layers) as tap, evaluating(model):
        model(images)
    for name in layers:
        shape = list(tap[name].shape)
        if len(shape) not in (2, 4) or shape[0] != len(images):
            raise ValueError(
                f"layer {name!r} of {whose} gives shape {shape}, but the panel needs (n, C, H, W) or (n, C) "
                f"for {len(images)} images: choose another layer"
            )
        if not tap[name].isfinite().all():
            raise ValueError(f"layer {name!r} of {whose} gives NaN or infinity: did its training diverge?")
        if max(shape[2:], default=1) > _MAX_SIDE:
            raise ValueError(
                f"layer {name!r} of {whose} has maps of {shape[2:]}, at most {_MAX_SIDE} a side: take a later one"
            )
    return {name: tap[name].double() for name in layers}


def _network(caught: Caught, partners: Sequence[Tensor], n: int, *, changes: bool = False) -> list[dict[str, Any]]:
    """For each layer what its losses and their changes follow from, all of it in units of its root mean square.

    Energies and sums are means over channels, Gram matrices means over all features, so that no width enters.
    """
    layers = []
    for name, features in caught.items():
        few = features[:n] / twin.rms(features[:n])
        rows = few.flatten(1)
        layer: dict[str, Any] = {
            "name": name,
            "shape": " × ".join(str(side) for side in few.shape[1:]),
            "size": list(few.shape[2:]) if few.dim() == 4 else None,
            "gram": _upper(rows @ rows.T / rows.shape[1]),
        }
        if changes:
            layer["means"] = [round(float(value), 7) for value in rows.mean(dim=1)]
        if few.dim() == 4:
            layer |= _maps(few, [other for other in partners if other.dim() == 4], changes=changes)
        layers.append(layer)
    return layers


def _maps(few: Tensor, partners: Sequence[Tensor], *, changes: bool) -> dict[str, Any]:
    """Energies at every size that a partner asks for; of a student also sums over channels, and what a shift makes."""
    pooled = {_size(small): small for small, _ in (twin.same_size(few, other) for other in [few, *partners])}
    maps: dict[str, Any] = {"energy": {size: _packed(one.square().mean(dim=1)) for size, one in pooled.items()}}
    if changes:
        shifted = {size: twin.same_size(twin.transformed(few, "roll"), one)[0] for size, one in pooled.items()}
        maps["sums"] = {size: _packed(one.mean(dim=1)) for size, one in pooled.items()}
        maps["rolled"] = {  # at its own size a shift only moves the energies
            size: _packed(one.square().mean(dim=1)) for size, one in shifted.items() if size != _size(few)
        }
    return maps


def _residuals(known: Caught, student: Caught, n: int) -> list[list[dict[str, Any] | None]]:
    """Per teacher's and student's layer what the best projector leaves; the other changes leave it as it is."""

    def entry(teacher: Tensor, features: Tensor) -> dict[str, Any] | None:
        plain = twin.residual(teacher, features)
        if plain is None:
            return None
        changed = [twin.residual(teacher, twin.transformed(features, "sample", image=i)) for i in range(n)]
        rolled = twin.residual(teacher, twin.transformed(features, "roll"))
        return {"plain": _rounded(plain), "roll": _rounded(rolled), "sample": [_rounded(one) for one in changed]}

    return [[entry(teacher, features) for features in student.values()] for teacher in known.values()]


def _rounded(value: float | None) -> float:
    assert value is not None  # the same positions and the same teacher as before the change
    return round(value, 7)


def _size(features: Tensor) -> str:
    return "x".join(str(side) for side in features.shape[2:])


def _upper(gram: Tensor) -> list[float]:
    """The triangle above the diagonal and the diagonal, row by row."""
    return [round(float(gram[i, j]), 7) for i in range(len(gram)) for j in range(i, len(gram))]


def _packed(maps: Tensor) -> dict[str, Any]:
    """Maps (n, h, w) as whole numbers of an image's own unit: three digits each, and short."""
    rows = maps.flatten(1)
    units = [float(f"{float(row.abs().max()) / _DIGITS:.6g}") or 1.0 for row in rows]
    return {
        "unit": units,
        "values": [[round(float(v) / unit) for v in row] for row, unit in zip(rows, units, strict=True)],
    }


def _plain(value: float) -> int | float:
    """4 for 4.0, so that JavaScript writes what Python's :g writes."""
    return int(value) if value == int(value) else value


def _checked_images(images: object, labels: Any, more: object, image: object) -> list[int]:
    """The labels, once all that is about images has been found in order."""
    for name, value in (("images", images), ("more_images", more)):
        if value is None and name == "more_images":
            continue
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch tensor, as the networks take it, got {type(value).__name__}")
        if value.dim() != 4 or value.shape[1] != 1 or max(value.shape[2:]) > _MAX_SIDE or not len(value):
            raise ValueError(
                f"{name} must have shape (n, 1, H, W), sides up to {_MAX_SIDE}, got {list(value.shape)}: "
                "one image wants images[i : i + 1]"
            )
    assert isinstance(images, Tensor)
    n = len(images)
    if not _COUNT[0] <= n <= _COUNT[1]:
        raise ValueError(f"images must be {_COUNT[0]} to {_COUNT[1]}, got {n}: choose a few, images[chosen]")
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"images must lie in 0..1, got {images.min():g} to {images.max():g}: bytes want a division by 255"
        )
    classes = [int(label) for label in labels]
    if len(classes) != n:
        raise ValueError(f"labels must be {n}, one for each image, got {len(classes)}: did you choose the same rows?")
    if isinstance(image, bool) or not isinstance(image, int) or not 0 <= image < n:
        raise ValueError(f"image must be an index from 0 to {n - 1}, got {image!r}")
    return classes


def _checked_names(argument: str, names: Sequence[str], most: int) -> None:
    if not 1 <= len(names) <= most or len(set(names)) != len(names):
        raise ValueError(f"{argument} must be 1 to {most} different names, got {list(names)}")


def _chosen(argument: str, name: str | None, layers: Sequence[str]) -> str:
    if name is not None and name not in layers:
        raise ValueError(f"{argument} must be one of {list(layers)}, got {name!r}")
    return layers[0] if name is None else name
