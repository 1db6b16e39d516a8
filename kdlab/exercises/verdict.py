"""What a checked answer comes to: an outcome of four, and a message that teaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CORRECT", "INCORRECT", "INVALID", "NOT_ATTEMPTED", "OUTCOMES", "Verdict"]

CORRECT, INCORRECT, INVALID, NOT_ATTEMPTED = "correct", "incorrect", "invalid", "not attempted"

OUTCOMES = (CORRECT, INCORRECT, INVALID, NOT_ATTEMPTED)
"""``invalid`` is an answer that could not be judged (it did not run, has the wrong kind or shape): it never counts."""

HEADINGS = {
    CORRECT: "Correct.",
    INCORRECT: "Not yet.",
    INVALID: "This cannot be judged, so it does not count.",
    NOT_ATTEMPTED: "Not attempted.",
}
"""What a verdict begins with where it is shown."""

_COLORS = {
    CORRECT: "var(--jp-success-color1,#2e7d32)",
    INCORRECT: "var(--jp-error-color1,#c62828)",
    INVALID: "var(--jp-warn-color1,#b26a00)",
    NOT_ATTEMPTED: "var(--jp-border-color1,#888)",
}


@dataclass(frozen=True)
class Verdict:
    """The outcome of one answer.

    Attributes:
        outcome: one of :data:`OUTCOMES`.
        message: what was right or wrong and why, Markdown with maths between dollars.
        details: for exercises with several fields, the outcome of each by name.
        notice: trouble with saving the attempt and what to do about it; empty when it was saved.

    Example:
        >>> Verdict("incorrect", "That is the share that is left.")
        incorrect: That is the share that is left.
    """

    outcome: str
    message: str
    details: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome must be one of {OUTCOMES}, got {self.outcome!r}")

    def __repr__(self) -> str:
        lines = [f"{self.outcome}: {self.message}" if self.message else self.outcome]
        return "\n".join([*lines, *filter(None, [self.notice])])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from kdlab.exercises.markup import to_html  # only where a notebook shows it

        body = to_html(self.message) + (to_html(f"*{self.notice}*") if self.notice else "")
        markup = (
            f'<div class="kd-verdict" role="status" style="border-left:4px solid {_COLORS[self.outcome]};'
            f'padding:2px 12px;max-width:56em"><b>{HEADINGS[self.outcome]}</b> {body}</div>'
        )
        return {"text/html": markup, "text/plain": repr(self)}
