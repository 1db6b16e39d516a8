"""The list of lessons agrees with the lessons that exist, and costs nothing to read."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from kdlab.outline import GROUPS, LESSONS, Lesson, lesson

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
READY = [stop for stop in LESSONS if stop.ready]


def test_lessons_stand_in_order_and_groups_do_not_mix() -> None:
    assert [stop.number for stop in LESSONS] == list(range(len(LESSONS)))
    places = [GROUPS.index(stop.group) for stop in LESSONS]
    assert places == sorted(places)
    assert set(places) == set(range(len(GROUPS)))


def test_exactly_the_lessons_with_a_notebook_are_ready() -> None:
    expected = [label for stop in READY for label in stop.notebooks]
    assert expected == sorted(path.name.partition("_")[0] for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("stop", READY, ids=lambda stop: stop.label)
def test_a_ready_lesson_bears_its_title_and_has_its_modules(stop: Lesson) -> None:
    for label, title in stop.notebooks.items():
        (path,) = NOTEBOOKS.glob(f"{label}_*.ipynb")
        heading = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0]
        assert heading == f"# {label} · {title}"
    for module in stop.module:
        assert importlib.util.find_spec(f"kdlab.{module}"), module


def test_every_lesson_answers_one_short_question_of_its_own() -> None:
    questions = [stop.question for stop in LESSONS]
    assert len(set(questions)) == len({stop.title for stop in LESSONS}) == len(LESSONS)
    assert all(question.endswith("?") and question.count("?") == 1 and len(question) < 80 for question in questions)


def test_the_list_is_read_without_any_heavy_library() -> None:
    code = "import sys, kdlab.outline; print(sorted({'torch', 'numpy', 'matplotlib', 'IPython'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_lesson_of_several_notebooks_names_each() -> None:
    assert lesson(1).notebooks == {"01": lesson(1).title}
    split = Lesson(8, "Bits", "How few?", (), GROUPS[0], parts=("Rounding", "Training"))
    assert split.notebooks == {"08a": "Rounding", "08b": "Training"}


def test_a_lesson_is_found_by_its_number() -> None:
    assert lesson(15) is LESSONS[15]
    assert lesson(3).label == "03"


@pytest.mark.parametrize("number", [-1, 16, 1.0, "1", True, None])
def test_a_number_without_a_lesson_is_refused(number: object) -> None:
    with pytest.raises(ValueError, match="from 0 to 15, got"):
        lesson(number)  # type: ignore[arg-type]
