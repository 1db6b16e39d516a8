"""For authors: turn lesson sources into executed notebooks, and lint what comes out.

A lesson is edited in one place only, ``notebooks/src/NAME.py`` (jupytext's py:percent format). ``python course.py
notebooks [NAME ...]`` runs it and writes ``notebooks/NAME.ipynb``. The tests use :func:`differences` to see that the
two agree and :func:`lint` to hold a lesson to its anatomy.

A cell's tags say what it is: ``step-...`` on the first cell of each step of a lesson, ``given`` on prose that quotes
facts with a source, ``claim`` on a cell whose printed output states what was found, and ``nbval-ignore-output`` on a
cell whose output depends on the machine.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import itertools
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

__all__ = ["STEPS", "build", "clean", "differences", "lint", "main", "minutes", "read_source", "word_count"]

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"

STEPS = (
    "step-header",
    "step-surprise",
    "step-predict",
    "step-idea",
    "step-build",
    "step-kdlab",
    "step-play",
    "step-measure",
    "step-false",
    "step-broken",
    "step-tool",
    "step-exercises",
    "step-takeaway",
)
"""The parts of every lesson, in order."""

CELLS = (30, 45)
WORDS = (900, 1500)
FIGURES = (4, 9)  # with the map of the course
CODE_LINES = 24

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_CELL_TIMEOUT = 300  # seconds
_KEPT_METADATA = {"tags"}
_NUMBER_IN_PROSE = re.compile(r"(?<![\w./-])\d+\.\d+|\d+(?:\.\d+)?\s?%|\bper ?cent\b")


def read_source(path: Path) -> NotebookNode:
    """The notebook of a py:percent file: no outputs, fixed cell ids, a python3 kernel."""
    notebook = jupytext.read(path, fmt="py:percent")
    course = notebook.metadata.get("kdlab", {})
    notebook.metadata = NotebookNode(
        kdlab=course,
        kernelspec={"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in _KEPT_METADATA & set(cell.metadata)})
        cell["id"] = hashlib.sha256(f"{path.stem}/{number}".encode()).hexdigest()[:12]
    return notebook


def build(source: Path, target: Path) -> float:
    """Execute ``source`` in a fresh kernel, write ``target``, and return the seconds it took.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; ``target`` is left as it was.
    """
    notebook = read_source(source)
    metadata = copy.deepcopy(notebook.metadata)
    start = time.perf_counter()
    client = NotebookClient(
        notebook, timeout=_CELL_TIMEOUT, kernel_name="python3", store_widget_state=False,
        resources={"metadata": {"path": str(target.parent)}},
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="kdlab-build-") as home:  # a learner who has answered nothing yet
        client.execute(env={**os.environ, "KDLAB_PROGRESS": "off", "KDLAB_HOME": home})
    elapsed = time.perf_counter() - start
    notebook.metadata = metadata  # the kernel adds its own version
    clean(notebook)
    target.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return elapsed


def clean(notebook: NotebookNode) -> None:
    """Drop what changes from run to run and is no result: timings, widget state, cleared progress bars."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in _KEPT_METADATA & set(cell.metadata)})
        if cell.cell_type != "code":
            continue
        cell.outputs = _merged([output for output in cell.outputs if not _is_transient(output)])
        for output in cell.outputs:
            data = output.get("data", {})
            # The static picture or text of a widget stays; the view needs a kernel that a stored page has not.
            if {"image/png", "text/html", "text/markdown"} & set(data):
                data.pop("application/vnd.jupyter.widget-view+json", None)


def differences(source: NotebookNode, notebook: NotebookNode) -> list[str]:
    """Where the cells of an executed notebook are not those of its source; empty if they agree."""
    if len(source.cells) != len(notebook.cells):
        return [f"{len(source.cells)} cells in the source, {len(notebook.cells)} in the notebook"]
    found = []
    for number, (mine, theirs) in enumerate(zip(source.cells, notebook.cells, strict=True)):
        keys = ("id", "cell_type", "source", "metadata")
        found += [f"cell {number}: {key} differs" for key in keys if mine[key] != theirs[key]]
    if source.metadata != notebook.metadata:
        found.append("the notebook's metadata differ")
    return found


def lint(notebook: NotebookNode) -> list[str]:
    """What an executed lesson has that it must not have, or lacks; empty if it is in order."""
    return [
        *_lint_order(notebook),
        *_lint_length(notebook),
        *_lint_prose(notebook),
        *_lint_code(notebook),
        *_lint_figures(notebook),
    ]


def minutes(notebook: NotebookNode) -> int:
    """How long the lesson takes a learner, as its source states."""
    return int(notebook.metadata["kdlab"]["minutes"])


def before_exercises(notebook: NotebookNode) -> Iterable[NotebookNode]:
    """The cells of the lesson proper; what follows are its exercises and the take-away."""
    return itertools.takewhile(lambda cell: "step-exercises" not in _tags(cell), notebook.cells)


def word_count(notebook: NotebookNode) -> int:
    """Words of prose before the exercises; a formula or a diagram counts as one word."""
    prose = [
        re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$]+\$", " formula ", cell.source, flags=re.DOTALL)
        for cell in before_exercises(notebook)
        if cell.cell_type == "markdown"
    ]
    return len(re.findall(r"\w[\w'’-]*", " ".join(prose)))


def _lint_order(notebook: NotebookNode) -> Iterable[str]:
    found = [tag for cell in notebook.cells for tag in _tags(cell) if tag.startswith("step-")]
    if tuple(found) != STEPS:
        missing = [step for step in STEPS if step not in found]
        yield f"steps must be {', '.join(STEPS)} in this order; found {', '.join(found)}; missing {missing}"


def _lint_length(notebook: NotebookNode) -> Iterable[str]:
    cells = len(list(before_exercises(notebook)))
    if not CELLS[0] <= cells <= CELLS[1]:
        yield f"{cells} cells before the exercises, a lesson has {CELLS[0]} to {CELLS[1]}"
    if not WORDS[0] <= word_count(notebook) <= WORDS[1]:
        yield f"{word_count(notebook)} words before the exercises, a lesson has {WORDS[0]} to {WORDS[1]}"


def _lint_prose(notebook: NotebookNode) -> Iterable[str]:
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown":
            continue
        if re.search(r"!\[\s*\]\(", cell.source):
            yield f"cell {number}: a picture without an alt text"
        if "given" in _tags(cell):
            continue
        text = re.sub(r"`[^`]*`|arXiv:?\s?\d{4}\.\d{4,5}|\]\([^)]*\)", " ", cell.source)
        for match in _NUMBER_IN_PROSE.finditer(text):
            yield f"cell {number}: {match.group()!r} in prose: print it in a cell, or tag the cell 'given' and cite it"


def _lint_code(notebook: NotebookNode) -> Iterable[str]:
    claims = 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        lines = sum(bool(line.strip()) for line in cell.source.splitlines())
        if lines > CODE_LINES:
            yield f"cell {number}: {lines} lines of code, at most {CODE_LINES}"
        if cell.execution_count is None:
            yield f"cell {number}: was not executed"
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"cell {number}: ends in {output.ename}"
            elif output.output_type == "stream" and output.name == "stderr":
                yield f"cell {number}: writes to stderr: {output.text[:80]!r}"
        if "claim" in _tags(cell):
            claims += 1
            if "nbval-ignore-output" in _tags(cell) or not cell.outputs:
                yield f"cell {number}: a claim must print something that is compared"
    if not claims:
        yield "no cell is tagged 'claim': what did the lesson find?"


def _lint_figures(notebook: NotebookNode) -> Iterable[str]:
    pictures = sliders = 0
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            markup = _text(data.get("text/html", ""))
            pictures += "image/png" in data or "<img" in markup
            sliders += "data-kd-panel=" in markup  # an explorable: its script adds the slider
            if "image/png" in data and not _text(data.get("text/plain", "")).strip():
                yield f"cell {number}: a picture without words that stand for it"
            if "image/png" in data and _text(data.get("text/plain", "")).startswith("<Figure"):
                yield f"cell {number}: a bare figure; show it with kdlab.lab.show(fig, alt=...)"
            for image in re.findall(r"<img\b[^>]*>", markup):
                if not re.search(r'alt="[^"]+"', image):
                    yield f"cell {number}: an <img> without an alt text"
    if not FIGURES[0] <= pictures <= FIGURES[1]:
        yield f"{pictures} figures, a lesson has {FIGURES[0]} to {FIGURES[1]}"
    if not sliders:
        yield "no figure answers to a slider"


def _merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream as one output; how it was cut depends on the speed of the machine."""
    merged: list[NotebookNode] = []
    for output in outputs:
        stream = output.output_type == "stream"
        if stream and merged and merged[-1].output_type == "stream" and merged[-1].name == output.name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def _is_transient(output: NotebookNode) -> bool:
    return bool(output.get("metadata", {}).get("kdlab", {}).get("transient"))


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _text(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the named lessons, or all of them: ``python -m kdlab.authoring [NAME ...]``."""
    parser = argparse.ArgumentParser(prog="course.py notebooks", description="Run lesson sources and write notebooks.")
    parser.add_argument("names", nargs="*", help="lessons such as 01_soft_labels; all by default")
    names = parser.parse_args(arguments).names
    known = {path.stem: path for path in sorted((NOTEBOOKS / "src").glob("*.py"))}
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no lesson source named {', '.join(unknown)}; there are: {', '.join(known)}")
    failed = 0
    for name in names or known:
        print(f"{name}: running ...", flush=True)
        target = NOTEBOOKS / f"{name}.ipynb"
        try:
            elapsed = build(known[name], target)
        except Exception as error:
            print(f"{name}: FAILED, {target.name} is unchanged\n{_ANSI.sub('', str(error))}")
            failed += 1
            continue
        notebook = nbformat.read(target, as_version=4)
        print(f"{name}: {len(notebook.cells)} cells, {word_count(notebook)} words, {elapsed:.0f} s")
        for problem in lint(notebook):
            print(f"  {problem}")
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
