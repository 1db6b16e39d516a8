"""The loss panel: what alpha, temperature and the factor T^2 do to the distillation loss and to its gradient.

Everything it shows follows from one row of student logits, one of teacher logits and a label
(``loss_twin.loss_state``); the learner chooses the row and drags T and alpha.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlab.lab.explorable import TEMPERATURES, Explorable
from kdlab.lab.figures import logit_axis
from kdlab.lab.loss_figure import loss_figure
from kdlab.lab.loss_twin import LossState, loss_state
from kdlab.lab.show import figure_bundle
from kdlab.lab.twins import fine_text, percent_text

__all__ = ["ALPHAS", "loss_explorable"]

ALPHAS = tuple(round(0.05 * step, 2) for step in range(21))
"""The steps of the slider for alpha."""

_DECIMALS = 4
_MAX_CASES = 6
_MAX_CLASSES = 10
_SHORTEST_AXIS = 0.01  # where nothing is left to learn, rounding need not fill the picture
_MAX_LOGIT = 200.0  # beyond it no softmax has anything to show


def loss_explorable(
    student_logits: Any,
    teacher_logits: Any,
    labels: Any,
    *,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    id: str = "loss",  # noqa: A002
    case: int = 0,
    temperature: float = 4.0,
    alpha: float = 0.7,
) -> Explorable:
    r"""A panel on the distillation loss: choose a case, drag T and alpha, switch the factor T^2 off.

    .. math:: L = (1 - \alpha)\, \mathrm{CE}(y, q^1) + \alpha\, T^2\, \mathrm{KL}(p^T \,\|\, q^T)

    Args:
        student_logits: a row for each case, shape (n, K); n up to 6, K from 3 to 10.
        teacher_logits: the teacher's logits for the same samples, same shape.
        labels: the classes that the data set gives, shape (n,).
        names: what to call each case, such as ``"student undecided"``; ``"case 1"`` and so on when left out.
        class_names: K names; the class numbers when left out.
        id: the element's id on the page is ``kd-ID``; use another for a second panel in one notebook.
        case: which case the panel starts with, from 0.
        temperature: which step of ``TEMPERATURES`` the panel starts with.
        alpha: which step of ``ALPHAS`` the panel starts with; it weighs the soft term.

    Returns:
        An :class:`Explorable`: make it the last expression of a cell.

    Raises:
        ValueError: an argument has the wrong shape or range; the message names the likely cause.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Example:
        >>> loss_explorable([[2.0, 1.5, 0.1]], [[3.0, 1.0, 0.2]], [0], class_names=["cat", "dog", "fox"])
        Loss panel (1 case, 3 classes, T from 0.25 to 20, α from 0 to 1), at first case 1. T = 4, α = 0.70: loss ...
    """
    students = _checked_logits("student_logits", student_logits)
    teachers = _checked_logits("teacher_logits", teacher_logits)
    if students.shape != teachers.shape:
        raise ValueError(
            f"teacher_logits has shape {teachers.shape}, student_logits {students.shape}; they must be equal: "
            "did you choose the same rows of both?"
        )
    n, classes = students.shape
    targets = _checked_labels(labels, n, classes)
    cases = _checked_names("names", names, n, [f"case {i + 1}" for i in range(n)], "case")
    words = _checked_names("class_names", class_names, classes, [str(k) for k in range(classes)], "class")
    case = _checked_case(case, n)
    step = _checked_step("temperature", temperature, TEMPERATURES)
    alpha_step = _checked_step("alpha", alpha, ALPHAS)
    axes = [_case_axes(*row) for row in zip(students, teachers, targets, strict=True)]
    data = {
        "student": students.tolist(),
        "teacher": teachers.tolist(),
        "labels": targets,
        "cases": cases,
        "names": words,
        "temperatures": [_plain_number(t) for t in TEMPERATURES],
        "alphas": [_plain_number(a) for a in ALPHAS],
        "case": case,
        "step": step,
        "alphaStep": alpha_step,
        "axes": axes,
    }
    row = (students[case], teachers[case], targets[case])
    state = loss_state(*row, TEMPERATURES[step], ALPHAS[alpha_step])
    return Explorable(
        "loss",
        name=id,
        title="Alpha, temperature and the distillation loss",
        data=data,
        fallback=_picture(state, row, cases[case], words, axes[case]) + _table(*row, ALPHAS[alpha_step]),
        text=(
            f"Loss panel ({n} {'case' if n == 1 else 'cases'}, {classes} classes, T from {TEMPERATURES[0]:g} to "
            f"{TEMPERATURES[-1]:g}, α from 0 to 1), at first {cases[case]}. {state.summary(words)}."
        ),
    )


def _case_axes(student: NDArray[np.float64], teacher: NDArray[np.float64], label: int) -> dict[str, dict[str, Any]]:
    """Ends and ticks that hold one case at every T and alpha, so that no axis moves under a slider.

    Both ends of alpha suffice, as everything is linear in it. What leaves an axis where the factor T^2 is off
    and T below 1 is cut, and marked as cut: an axis that held it would flatten all the rest.
    """
    ends = [loss_state(student, teacher, label, t, alpha) for t in TEMPERATURES for alpha in (0.0, 1.0)]
    slope = max(_SHORTEST_AXIS, *(float(np.abs(state.gradient).max()) for state in ends))
    spans = {
        "gradient": [-slope, slope],
        "terms": [max(_SHORTEST_AXIS, *(state.total for state in ends))],
        "norms": [max(_SHORTEST_AXIS, *(max(state.soft_norm, state.hard_norm) for state in ends))],
    }
    made = {name: logit_axis(values) for name, values in spans.items()}
    return {
        name: {"domain": list(ends), "ticks": [_plain_number(t) for t in ticks]} for name, (ends, ticks) in made.items()
    }


def _picture(
    state: LossState, row: tuple[Any, Any, int], case: str, names: Sequence[str], axes: dict[str, dict[str, Any]]
) -> str:
    _, teacher, label = row
    bundle = figure_bundle(
        loss_figure(state, label, int(teacher.argmax()), names, axes),
        alt=f"Bars for the case “{case}”, labelled {names[label]}: student's probabilities at T over the teacher's; "
        "the gradient of each class, its soft part, its hard part and their sum; the two terms of the loss; and the "
        f"lengths of both parts of the gradient. In short: {state.summary(names)}.",
        caption="A still of the panel: run the cell or trust the notebook, and T and α get sliders.",
    )
    return bundle["text/html"]


def _table(student: NDArray[np.float64], teacher: NDArray[np.float64], label: int, alpha: float) -> str:
    """Why T^2, in numbers: the soft term and its share of the gradient, with the factor and without."""
    few = (0.5, 1.0, 2.0, 4.0, 8.0, 20.0)
    head = ["T", "hard term", "soft term", "soft share of the gradient", "soft term without T²", "share without T²"]
    rows = []
    for t in few:
        states = [loss_state(student, teacher, label, t, alpha, squared=squared) for squared in (True, False)]
        cells = [cell for state in states for cell in (fine_text(state.soft), _share_text(state))]
        rows.append([f"{t:g}", fine_text(states[0].hard), *cells])
    header = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    return (
        f"<details><summary>The same case over T in numbers, at α = {alpha:.2f}</summary>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _share_text(state: LossState) -> str:
    return "n/a" if state.soft_share is None else percent_text(state.soft_share)


def _checked_logits(argument: str, value: Any) -> NDArray[np.float64]:
    logits = _array(argument, value)
    if logits.ndim != 2 or not 1 <= len(logits) <= _MAX_CASES or not 3 <= logits.shape[1] <= _MAX_CLASSES:
        raise ValueError(
            f"{argument} must have shape (n, K), 1 to {_MAX_CASES} cases and 3 to {_MAX_CLASSES} classes, "
            f"got {logits.shape}: choose a few rows, logits[chosen]; one row wants logits[i : i + 1]"
        )
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"{argument} must be scores before softmax, got rows that sum to 1: are these probabilities?")
    if np.abs(logits).max() > _MAX_LOGIT:
        raise ValueError(
            f"{argument} must lie within ±{_MAX_LOGIT:g}, got {np.abs(logits).max():g}: "
            "are these features, or logits of a model that diverged?"
        )
    return logits.round(_DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0


def _checked_labels(value: Any, n: int, classes: int) -> list[int]:
    labels = _array("labels", value)
    if labels.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), one for each case, got {labels.shape}")
    if (labels != labels.round()).any() or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be classes from 0 to {classes - 1}, got {labels.tolist()}")
    return [int(label) for label in labels]


def _checked_names(argument: str, value: Sequence[str] | None, count: int, default: list[str], one: str) -> list[str]:
    if value is None:
        return default
    if isinstance(value, str):
        raise ValueError(f"{argument} must be a list of {count} names, got the string {value!r}")
    names = [str(name) for name in value]
    if len(names) != count:
        raise ValueError(f"{argument} must hold {count} names, one for each {one}, got {len(names)}")
    return names


def _checked_case(value: int, n: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < n:
        raise ValueError(f"case must be an index from 0 to {n - 1}, got {value!r}")
    return int(value)


def _checked_step(argument: str, value: float, steps: Sequence[float]) -> int:
    if isinstance(value, Real) and not isinstance(value, bool):
        for index, step in enumerate(steps):
            if abs(step - value) < 1e-9:  # 3 * 0.05 is not 0.15
                return index
    listed = ", ".join(f"{step:g}" for step in steps)
    raise ValueError(f"{argument} must be one of the slider's steps ({listed}), got {value!r}")


def _array(argument: str, value: Any) -> NDArray[np.float64]:
    """``value`` as float64, whatever it came as: list, NumPy array, or a tensor on any device."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{argument} must be numbers in a regular array: {error}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{argument} must be finite, got NaN or infinity: did training diverge?")
    return array


def _plain_number(value: float) -> int | float:
    """4 for 4.0, so that JSON and JavaScript write what Python's :g writes."""
    return int(value) if value == int(value) else value
