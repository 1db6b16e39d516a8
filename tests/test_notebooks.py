"""Lessons: what is committed is what the sources say, was executed, and keeps to the anatomy of a lesson."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from kdlab import authoring
from kdlab.authoring import STEPS, differences, lint, minutes, read_source

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks" / "src").glob("*.py"))
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def _notebook(name: str = "01_soft_labels") -> NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def test_every_source_has_its_notebook_and_every_notebook_its_source() -> None:
    assert [path.stem for path in SOURCES] == [path.stem for path in LESSONS]
    assert SOURCES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_notebook_is_the_one_its_source_makes(path: Path) -> None:
    problems = differences(read_source(path), _notebook(path.stem))
    assert not problems, f"run `python course.py notebooks {path.stem}` and commit the result: {problems}"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_lesson_keeps_to_its_anatomy(path: Path) -> None:
    assert lint(_notebook(path.stem)) == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_nothing_volatile_is_stored(path: Path) -> None:
    notebook = _notebook(path.stem)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kdlab", "kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    text = path.read_text(encoding="utf-8")
    assert "application/vnd.jupyter.widget" not in text
    assert not re.search(r"(/home/|/Users/|/tmp/|/root/|C:\\\\)", text)


def test_the_readme_lists_every_lesson_with_its_minutes() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in LESSONS:
        row = next((line for line in readme.splitlines() if path.name in line), None)
        assert row, f"README.md has no row for {path.name}"
        assert f"| {minutes(_notebook(path.stem))} |" in row


# --- the lint can fail: break a good lesson in each way ------------------------------------------------------


def _first(notebook: NotebookNode, kind: str, tag: str = "") -> NotebookNode:
    return next(
        cell for cell in notebook.cells if cell.cell_type == kind and tag in "".join(cell.metadata.get("tags", []))
    )


def _picture(notebook: NotebookNode) -> NotebookNode:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return next(output for output in outputs if "image/png" in output.get("data", {}) and "text/html" in output.data)


def _break_prose(notebook: NotebookNode, text: str) -> None:
    _first(notebook, "markdown").source += f"\n\n{text}"


def _drop_alt(notebook: NotebookNode) -> None:
    output = _picture(notebook)
    output.data["text/html"] = re.sub(r'alt="[^"]*"', 'alt=""', "".join(output.data["text/html"]))


def _bare_figure(notebook: NotebookNode) -> None:
    _picture(notebook).data["text/plain"] = "<Figure size 640x480 with 1 Axes>"


def _reorder(notebook: NotebookNode) -> None:
    _first(notebook, "markdown", "step-idea").metadata.tags = ["step-false"]


def _unexecuted(notebook: NotebookNode) -> None:
    _first(notebook, "code").execution_count = None


def _stderr(notebook: NotebookNode) -> None:
    _first(notebook, "code").outputs.append(nbformat.v4.new_output("stream", name="stderr", text="warning"))


def _long_code(notebook: NotebookNode) -> None:
    _first(notebook, "code").source = "\n".join(["x = 1"] * 30)


def _ignored_claim(notebook: NotebookNode) -> None:
    _first(notebook, "code", "claim").metadata.tags.append("nbval-ignore-output")


def _too_short(notebook: NotebookNode) -> None:
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def _no_panel(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell["outputs"] = [o for o in cell.get("outputs", []) if "data-kd-panel" not in str(o.get("data", {}))]


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda nb: _break_prose(nb, "The student gains 3.5 points."), "'3.5' in prose"),
        (lambda nb: _break_prose(nb, "The student gains 30 %."), "'30 %' in prose"),
        (lambda nb: _break_prose(nb, "![](picture.png)"), "picture without an alt"),
        (lambda nb: _break_prose(nb, "word " * 1500), "words before the exercises"),
        (_drop_alt, "<img> without an alt"),
        (_bare_figure, "bare figure"),
        (_reorder, "steps must be"),
        (_unexecuted, "was not executed"),
        (_stderr, "writes to stderr"),
        (_long_code, "30 lines of code"),
        (_ignored_claim, "a claim must print"),
        (_too_short, "a lesson has 30 to 45"),
        (_no_panel, "no figure answers to a slider"),
    ],
)
def test_the_lint_notices(harm: object, complaint: str) -> None:
    notebook = copy.deepcopy(_notebook())
    harm(notebook)  # type: ignore[operator]
    assert any(complaint in problem for problem in lint(notebook)), lint(notebook)


def test_facts_with_a_source_may_carry_numbers() -> None:
    notebook = copy.deepcopy(_notebook())
    _break_prose(notebook, "DistilBERT keeps 97 % (Sanh et al. 2019).")
    _first(notebook, "markdown").metadata.tags.append("given")
    assert not [problem for problem in lint(notebook) if "in prose" in problem]


def test_a_changed_cell_is_noticed() -> None:
    source = read_source(SOURCES[0])
    changed = copy.deepcopy(_notebook(SOURCES[0].stem))
    changed.cells[3].source += "\n# edited in the notebook"
    assert differences(source, changed) == ["cell 3: source differs"]
    del changed.cells[-1]
    assert "cells in the source" in differences(source, changed)[0]


def test_building_runs_the_source_and_drops_what_is_volatile(tmp_path: Path) -> None:
    source = tmp_path / "00_tiny.py"
    source.write_text(
        "# %% [markdown]\n# # Tiny\n\n# %% tags=[\"claim\"]\nfrom IPython.display import display\n"
        "import time\nprint('a', flush=True)\ntime.sleep(0.5)\n"
        "display({'text/plain': 'bar'}, raw=True, metadata={'kdlab': {'transient': True}})\nprint(6 * 7)\n",
        encoding="utf-8",
    )  # fmt: skip
    authoring.build(source, tmp_path / "00_tiny.ipynb")
    notebook = nbformat.read(tmp_path / "00_tiny.ipynb", as_version=4)
    assert differences(read_source(source), notebook) == []
    assert [output.output_type for output in notebook.cells[1].outputs] == ["stream"]
    assert notebook.cells[1].outputs[0].text == "a\n42\n"
    assert list(notebook.cells[1].metadata) == ["tags"]


def test_a_lesson_that_fails_leaves_the_old_notebook(tmp_path: Path) -> None:
    source, target = tmp_path / "00_bad.py", tmp_path / "00_bad.ipynb"
    source.write_text("# %%\n1 / 0\n", encoding="utf-8")
    target.write_text("old", encoding="utf-8")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        authoring.build(source, target)
    assert target.read_text(encoding="utf-8") == "old"


def test_the_steps_are_those_of_the_anatomy() -> None:
    assert len(STEPS) == len(set(STEPS)) == 13
