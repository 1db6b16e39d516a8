"""The course as a list: its lessons in order, the question each one answers, and which of them exist.

Standard library only, so that the launcher, the progress board and the map of lessons read the same list.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GROUPS", "LESSONS", "Lesson", "lesson"]

GROUPS = ("Foundations", "Who and what teaches", "Make it smaller", "Put it together", "Beyond")
"""The stretches of the road, in order."""


@dataclass(frozen=True)
class Lesson:
    """One stop on the road.

    Attributes:
        number: 0 to 15, the two digits that its file name starts with.
        title: as on the lesson's first line.
        question: one short sentence that the lesson answers.
        module: the parts of ``kdlab`` it is built on, the main one first.
        group: one of :data:`GROUPS`.
        ready: whether the lesson can be opened yet.
        parts: titles of its notebooks a, b, ..., where it takes more than one; they share its number, its exercises
            and its place on the map.
    """

    number: int
    title: str
    question: str
    module: tuple[str, ...]
    group: str
    ready: bool = False
    parts: tuple[str, ...] = ()

    @property
    def notebooks(self) -> dict[str, str]:
        """What its notebooks' file names begin with, to their titles: ``{"02a": ..., "02b": ...}``."""
        if not self.parts:
            return {self.label: self.title}
        return {f"{self.label}{letter}": title for letter, title in zip("abc", self.parts, strict=False)}

    @property
    def label(self) -> str:
        """The number as file names have it, such as ``"03"``."""
        return f"{self.number:02d}"


_BASE, _WHO, _SMALLER, _TOGETHER, _BEYOND = GROUPS

LESSONS = (
    Lesson(0, "Start here", "What does compression buy, and what does distillation have to do with it?",
           ("measure", "exercises"), _BASE, ready=True),
    Lesson(1, "Soft labels and temperature", "What does a teacher's answer hold that a label does not?",
           ("losses",), _BASE, ready=True),
    Lesson(2, "The distillation loss", "Where does each factor of the loss come from?",
           ("losses", "loss_properties"), _BASE, ready=True,
           parts=("The distillation loss, derived", "Relatives of the loss, and a bug hunt")),
    Lesson(3, "A fair experiment on images", "How do you find out whether a teacher helped?",
           ("training", "experiments"), _BASE, ready=True),
    Lesson(4, "Features and relations", "What can a student copy besides the answers?",
           ("features", "feature_training"), _WHO, ready=True),
    Lesson(5, "Who teaches", "Does the best teacher make the best student?",
           ("teachers",), _WHO, ready=True),
    Lesson(6, "Pruning", "Which weights can go, and when does anything get faster?",
           ("pruning",), _SMALLER, ready=True),
    Lesson(7, "Low rank, sharing, folding", "How much of a layer is redundant?",
           ("factorization",), _SMALLER),
    Lesson(8, "Quantization", "How few bits does a weight need?",
           ("quantization",), _SMALLER),
    Lesson(9, "Combining and choosing", "In which order, and how far, under a budget?",
           ("pipeline",), _TOGETHER),
    Lesson(10, "A text classifier, end to end", "Does it hold up on a task that nobody prepared?",
           ("text", "deploy"), _TOGETHER),
    Lesson(11, "Language models", "What changes when the answer is a sequence?",
           ("language_model",), _BEYOND),
    Lesson(12, "Recommenders", "How do you distil a ranking?",
           ("ranking",), _BEYOND),
    Lesson(13, "Architecture search", "Which student should you train at all?",
           ("search",), _BEYOND),
    Lesson(14, "Deploy, monitor, scale", "Does it stay good once it runs?",
           ("deploy",), _BEYOND),
    Lesson(15, "Interview gym", "Can you explain it under pressure?",
           ("exercises",), _BEYOND),
)  # fmt: skip
"""Every lesson of the course, in order; those with ``ready=False`` are in the making."""


def lesson(number: int) -> Lesson:
    """The lesson with this number.

    Raises:
        ValueError: there is no such lesson.

    Example:
        >>> lesson(1).title
        'Soft labels and temperature'
    """
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(LESSONS):
        raise ValueError(f"a lesson's number is a whole number from 0 to {len(LESSONS) - 1}, got {number!r}")
    return LESSONS[number]
