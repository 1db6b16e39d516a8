"""The learner's answers as Markdown: all of them, and exactly as they were typed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kdlab.exercises.export import export_markdown, fenced, save
from kdlab.exercises.store import Store


@dataclass(frozen=True)
class Option:
    id: str
    text: str


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    label: str = ""
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Stub:
    slug: str
    lesson: int = 1
    kind: str = "numeric"
    title: str = "A title"
    prompt: str = "What is $T$?"
    fields: tuple[Field, ...] = (Field("answer", "number"),)
    listing: str = ""
    rubric: tuple[str, ...] = ()
    red_flags: tuple[str, ...] = ()


OPTIONS = (Option("a", "it grows"), Option("b", "it shrinks"), Option("c", "neither"))
BANK = [
    Stub("number"),
    Stub("pick", kind="choice", fields=(Field("answer", "choice", options=OPTIONS),)),
    Stub("several", kind="choices", fields=(Field("answer", "choices", options=OPTIONS),)),
    Stub("steps", lesson=2, kind="derivation", fields=(Field("v", "expression", "velocity"), Field("x", "number"))),
    Stub("code", lesson=2, kind="code", fields=(Field("answer", "code"),)),
    Stub("bug", lesson=2, kind="bug_hunt", fields=(Field("answer", "line"),), listing="x = 1\ny = x +\n"),
    Stub("essay", 2, "open", fields=(Field("answer", "text"),), rubric=("one", "two", "three"), red_flags=("no",)),
    Stub("untouched", lesson=3, prompt="Never shown"),
]  # fmt: skip

NASTY = [
    "plain",
    "```python\nclosed?\n```\n<b>bold</b>",
    "~~~\n````` five\n",
    "<script>alert(1)</script>\n<!-- open",
    "# heading\n> quote\n    code\n- list\n\n---\n| a |",
    "$x$ 蒸馏 \\ & &amp; \t end ",
    "def f(x):\n\treturn '''`'''\n\n\n",
]


@pytest.fixture
def shelf(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def blocks(text: str) -> list[str]:
    """Contents of the code blocks that a Markdown reader sees, at the top level."""
    return [token.content.removesuffix("\n") for token in MarkdownIt().parse(text) if token.type == "fence"]


def handed_in(shelf: Store, slug: str, answer: Any, outcome: str = "incorrect", message: str = "Why.") -> str:
    shelf.append(slug, "attempt", outcome=outcome, answer=answer, message=message)
    return export_markdown(shelf, BANK)


@pytest.mark.parametrize("answer", NASTY)
@pytest.mark.parametrize("slug", ["number", "code", "essay", "removed-exercise"])
def test_any_text_stays_intact_and_breaks_nothing(shelf: Store, slug: str, answer: str) -> None:
    shelf.append("steps", "attempt", outcome="correct", answer={"v": 1, "x": 2})
    text = handed_in(shelf, slug, answer)
    assert answer in blocks(text)
    tokens = MarkdownIt().parse(text)
    assert not [token for token in tokens if token.type == "html_block"]
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[0] == "My answers"
    assert "heading" not in headings


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="`~\n #<>-x\\é"))
def test_fences_hold_any_text(text: str) -> None:
    assert [token.content for token in MarkdownIt().parse(fenced(text)) if token.type == "fence"] == [text + "\n"]


def test_prompt_answer_verdict_attempts_and_hints_stand_together(shelf: Store) -> None:
    shelf.append("number", "hint", answer=2)
    handed_in(shelf, "number", 4)
    text = handed_in(shelf, "number", 5, "correct", "Right:\nbecause $x$.")
    assert "## Lesson 01: Soft labels and temperature\n\n### A title\n\n`number`\n\nWhat is $T$?" in text
    assert blocks(text) == ["5"]
    assert "**Verdict:** correct; attempts: 2; hints used: 2; solved on 20" in text
    assert "> Right:\n> because $x$." in text


def test_choices_come_with_their_words(shelf: Store) -> None:
    handed_in(shelf, "pick", "b")
    text = handed_in(shelf, "several", ["a", "c"])
    assert blocks(text) == ["b", "a, c"]
    assert "- b: it shrinks\n" in text
    assert "- a: it grows\n- c: neither\n" in text


@pytest.mark.parametrize("answer", [{"v": "-beta*v", "x": 3.5}, ["-beta*v", 3.5]])
def test_several_fields_are_named(shelf: Store, answer: Any) -> None:
    text = handed_in(shelf, "steps", answer)
    assert blocks(text) == ["-beta*v", "3.5"]
    assert "velocity:" in text
    assert "`x`:" in text


def test_code_is_marked_as_python_and_a_bug_hunt_shows_its_listing(shelf: Store) -> None:
    assert "```python\ndef f(): ...\n```" in handed_in(shelf, "code", "def f(): ...")
    assert "```python\nx = 1\ny = x +\n```" in handed_in(shelf, "bug", 2)


def test_open_answers_come_with_score_rubric_and_red_flags(shelf: Store) -> None:
    assert "Not scored against the rubric yet." in handed_in(shelf, "essay", "My text.", "not attempted", "Score it.")
    text = handed_in(shelf, "essay", {"text": "My text.", "points": [0, 2], "flags": [0]})
    assert blocks(text) == ["My text."]
    assert "**My score:** 2 of 3 points." in text
    assert "- [x] one\n- [ ] two\n- [x] three" in text
    assert "- [x] no" in text


def test_a_draft_that_was_never_handed_in_is_exported(shelf: Store) -> None:
    shelf.append("number", "draft", answer="half an answ")
    text = export_markdown(shelf, BANK)
    assert blocks(text) == ["half an answ"]
    assert "**Verdict:** not attempted; attempts: 0" in text


def test_a_cleared_input_leaves_the_last_attempt(shelf: Store) -> None:
    handed_in(shelf, "number", 5, "correct")
    shelf.append("number", "draft", answer=None)
    assert blocks(export_markdown(shelf, BANK)) == ["5"]


@pytest.mark.parametrize("answer", [{"odd": {"deep": [1, None]}}, [1, [2], 3], True, "", {"text": 3}])
@pytest.mark.parametrize("slug", ["number", "steps", "essay", "several", "gone"])
def test_answers_of_a_strange_shape_are_exported_too(shelf: Store, slug: str, answer: Any) -> None:
    assert len(blocks(handed_in(shelf, slug, answer, "invalid"))) == 1


def test_predictions_stand_beside_measurements(shelf: Store) -> None:
    shelf.append("01-six", "prediction", answer=0.5)
    shelf.append("01-six", "measurement", answer={"acc": 0.7})
    shelf.append("01-`odd`\n# name", "prediction", answer="```")
    text = export_markdown(shelf, BANK)
    assert blocks(text) == ["0.5", '{"acc": 0.7}', "```"]
    assert (
        text.index("## Predictions") < text.index("### `01-six`") < text.index("Measured:") < text.index("Not measured")
    )
    assert "### `01-'odd' # name`" in text


def test_what_was_not_touched_is_left_out_and_nothing_is_said_to_be_nothing(shelf: Store) -> None:
    assert export_markdown(shelf, BANK) == "# My answers\n\nNothing has been answered yet.\n"
    assert "Never shown" not in handed_in(shelf, "number", 1)


def test_trouble_with_the_store_is_in_the_export(shelf: Store) -> None:
    handed_in(shelf, "number", 1)
    shelf.path.write_bytes(b"damaged")
    assert "is damaged; 0 entries" in export_markdown(shelf, BANK)


# ------------------------------------------------------------------------------------------------- the file


def test_a_file_is_never_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "answers.md"
    save(path, "first é\n")
    with pytest.raises(FileExistsError):
        save(path, "second")
    assert path.read_bytes() == "first é\n".encode()
    save(path, "third \ud800", overwrite=True)
    assert path.read_text() == "third ?"
    assert [file.name for file in tmp_path.iterdir()] == ["answers.md"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_is_cut_short_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "answers.md"
    path.write_text("old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), killed)
    with pytest.raises(KeyboardInterrupt):
        save(path, "new", overwrite=True)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["answers.md"]
