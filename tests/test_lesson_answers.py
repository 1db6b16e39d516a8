"""Second pass over every lesson: its exercise cells, and what they need, with every answer given.

nbval runs the lessons blank, as a learner opens them. Here the same cells run with the references filled in: each must
be accepted, and nothing may go on with a reference in place of an answer. Only the cells that the exercises need are
run (found by the names that they use), so a lesson costs seconds and not a minute.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from kdlab.exercises import Exercise, bank
from kdlab.exercises.catalog import exercise

LESSONS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
VERBS = {"ask", "check", "given", "hint", "solution", "board"}


def _calls(source: str, verbs: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in verbs:
            yield node


def _slugs(source: str, verb: str) -> list[str]:
    """The slugs that a cell asks for, checks, or is given."""
    place = 1 if verb == "given" else 0
    return [ast.literal_eval(call.args[place]) for call in _calls(source, {verb})]


def _names(source: str, context: type[ast.expr_context]) -> set[str]:
    tree = ast.walk(ast.parse(source))
    names = {node.id for node in tree if isinstance(node, ast.Name) and isinstance(node.ctx, context)}
    if context is ast.Store:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return names


def needed(sources: list[str]) -> list[int]:
    """Which cells the exercise cells among them are, and which earlier ones those need."""
    chosen: set[int] = set()
    wanted: set[str] = set()
    for index in reversed(range(len(sources))):
        defined = _names(sources[index], ast.Store)
        if any(_calls(sources[index], VERBS)) or defined & wanted:
            chosen.add(index)
            wanted = (wanted - defined) | _names(sources[index], ast.Load)
    return sorted(chosen)


def with_answers(source: str) -> str:
    """A cell with every answer that it asks for given, each checked by a printed line."""
    lines = [source]
    for slug in _slugs(source, "check"):
        one = exercise(slug)
        starter, answer = one.starter.strip(), one.reference.strip()
        assert starter in source, f"the cell that checks {slug} must hold the bank's starter:\n{starter}"
        lines[0] = lines[0].replace(starter, answer)
        lines.append(f"print({slug!r}, check({slug!r}, {one.fields[0].function}).outcome)")
    lines += [
        f"print({slug!r}, check({slug!r}, exercise({slug!r}).reference).outcome)"
        for slug in _slugs(source, "ask")
        if exercise(slug).kind != "code"
    ]
    for call in _calls(source, {"given"}):
        slug = ast.literal_eval(call.args[1])
        lines.insert(0, f"{ast.unparse(call.args[0])} = exercise({slug!r}).reference")
    return "\n".join(lines)


def _asked(notebook: NotebookNode) -> list[str]:
    return [slug for cell in notebook.cells if cell.cell_type == "code" for slug in _slugs(cell.source, "ask")]


def _number(path: Path) -> int:
    found = re.match(r"\d\d", path.name)
    assert found
    return int(found.group())


def _of_lesson(number: int) -> list[Exercise]:
    return [one for one in bank() if one.lesson == number]


@pytest.mark.parametrize("number", sorted({_number(path) for path in LESSONS}))
def test_a_lesson_asks_each_of_its_exercises_once_and_there_are_at_least_four(number: int) -> None:
    asked = [slug for path in LESSONS if _number(path) == number for slug in _asked(nbformat.read(path, as_version=4))]
    assert sorted(asked) == sorted(one.slug for one in _of_lesson(number))
    assert 4 <= len(asked) <= 14


@pytest.mark.slow
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_answer_is_accepted_and_no_cell_goes_on_with_the_reference(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path))
    monkeypatch.setenv("KDLAB_PROGRESS", "off")
    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    notebook = nbformat.v4.new_notebook()
    first = "from kdlab.exercises import check\nfrom kdlab.exercises.catalog import exercise"
    cells = [first, *(with_answers(sources[index]) for index in needed(sources))]
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    printed = "".join(
        output.text for cell in notebook.cells for output in cell.outputs if output.output_type == "stream"
    )
    asked = _asked(nbformat.read(path, as_version=4))
    assert [line for line in printed.splitlines() if line.startswith("note: ")] == []
    for slug in asked:
        assert f"{slug} correct" in printed, printed


def test_the_slice_finds_what_an_exercise_needs_and_leaves_the_rest() -> None:
    sources = ["import math\nfrom x import ask", "big = 1", "def helper(v): return math.sqrt(v)", "helper(2)\nask('s')"]
    assert needed(sources) == [0, 2, 3]


def test_answers_are_put_where_a_learner_puts_them() -> None:
    one = exercise("softmax-with-temperature")
    cell = f"{one.starter}\ncheck('{one.slug}', soften)"
    assert one.reference.strip() in with_answers(cell)
    with pytest.raises(AssertionError, match="must hold the bank's starter"):
        with_answers(f"check('{one.slug}', soften)")
