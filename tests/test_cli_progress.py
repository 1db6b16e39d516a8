"""``kdlab progress``, ``kdlab check`` and ``kdlab export``, as a learner types them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdlab import cli
from kdlab.exercises import session, store
from kdlab.exercises.store import Store
from kdlab.exercises.verdict import Verdict

FIRST = "first-exercise"  # 75 %; part of lesson 00 for ever, as every slug
FOUR = "compression-four-numbers"


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(store, "_default", None)
    monkeypatch.chdir(tmp_path)
    return Store()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What reaches ``check``, which is not called."""
    seen: list[Any] = []

    def check(slug: str, answer: Any) -> Verdict:
        seen.append(answer)
        return Verdict("incorrect", "No.")

    monkeypatch.setattr(session, "check", check)
    return seen


Said = Callable[[], tuple[str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: tuple(capsys.readouterr())  # type: ignore[return-value]


# ------------------------------------------------------------------------------------------------- check


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["75"], 0, "correct:"),
        (["300", "/", "4"], 0, "correct:"),
        (["25"], 1, "incorrect: That is"),
        ([], 1, "not attempted"),
    ],
)
def test_the_exit_code_says_whether_it_is_correct(words: list[str], code: int, told: str, said: Said) -> None:
    assert cli.main(["check", FIRST, *words]) == code
    assert said()[0].startswith(told)


def test_an_attempt_is_kept(shelf: Store) -> None:
    cli.main(["check", FIRST, "25"])
    (event,) = shelf.events()
    assert (event.slug, event.action, event.outcome, event.answer) == (FIRST, "attempt", "incorrect", "25")


def test_a_misspelt_slug_is_told_its_neighbours(said: Said, shelf: Store) -> None:
    assert cli.main(["check", "first-exercice", "75"]) == 1
    assert "did you mean first-exercise" in said()[1]
    assert shelf.events() == []


def test_several_fields_are_given_by_name(answers: list[Any]) -> None:
    cli.main(["check", FOUR, "ratio=4", "smaller=75 %", "speed_up=a=b"])
    assert answers == [{"ratio": "4", "smaller": "75 %", "speed_up": "a=b"}]


@pytest.mark.parametrize("word", ["4", "=4", "ratoi=4"])
def test_a_word_that_names_no_field_is_told_the_fields(word: str, answers: list[Any], said: Said) -> None:
    assert cli.main(["check", FOUR, "ratio=4", word]) == 1
    told = said()[1]
    assert "ratio=... smaller=..." in told
    assert f"{word!r} is none of them" in told
    assert answers == []


@pytest.mark.parametrize("words", [["-beta*v"], ["-3"], ["--", "-h*v"], ["-0.5"], ["-x", "+", "1"]])
def test_an_answer_may_begin_with_a_minus(words: list[str], answers: list[Any]) -> None:
    cli.main(["check", FIRST, *words])
    assert [sorted(answers[0].split())] == [sorted(word for word in words if word != "--")]


def test_an_unknown_option_elsewhere_is_still_an_error(said: Said) -> None:
    with pytest.raises(SystemExit):
        cli.main(["progress", "--jsno"])
    assert "--jsno" in said()[1]


def test_an_answer_can_come_from_a_file(tmp_path: Path, answers: list[Any]) -> None:
    (tmp_path / "mine.py").write_text("def f(é):\n    return é\n", encoding="utf-8")
    cli.main(["check", FIRST, "--file", "mine.py"])
    assert answers == ["def f(é):\n    return é\n"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, said: Said, content: bytes | None) -> None:
    if content:
        (tmp_path / "mine.py").write_bytes(content)
    assert cli.main(["check", FIRST, "--file", "mine.py"]) == 1
    assert "cannot read mine.py" in said()[1]


def test_an_answer_and_a_file_are_one_too_many(said: Said) -> None:
    assert cli.main(["check", FIRST, "75", "--file", "mine.py"]) == 1
    assert "not both" in said()[1]


def test_trouble_with_saving_is_told_with_the_verdict(tmp_path: Path, said: Said) -> None:
    (tmp_path / "home").write_text("a file")
    assert cli.main(["check", FIRST, "75"]) == 0
    assert "NOT SAVED" in said()[0]


# ------------------------------------------------------------------------------------------------- progress


def test_progress_shows_the_board(said: Said) -> None:
    cli.main(["check", FIRST, "25"])
    said()
    assert cli.main(["progress"]) == 0
    text = said()[0]
    assert "exercises solved" in text
    assert "1 wrong answer; not solved yet." in text


def test_progress_as_json_is_json(said: Said) -> None:
    cli.main(["check", FIRST, "75"])
    said()
    assert cli.main(["progress", "--json"]) == 0
    assert json.loads(said()[0])["lessons"][0]["solved"] == 1


# ------------------------------------------------------------------------------------------------- export


def test_export_writes_a_file_once(tmp_path: Path, said: Said) -> None:
    cli.main(["check", FIRST, "25"])
    assert cli.main(["export"]) == 0
    path = tmp_path / "kdlab-answers.md"
    assert "kdlab-answers.md" in said()[0]
    first = path.read_text(encoding="utf-8")
    assert "`first-exercise`" in first
    cli.main(["check", FIRST, "75"])
    assert cli.main(["export"]) == 1
    assert "--force" in said()[1]
    assert path.read_text(encoding="utf-8") == first
    assert cli.main(["export", "--force"]) == 0
    assert "**Verdict:** correct" in path.read_text(encoding="utf-8")


def test_export_to_the_terminal_writes_no_file(tmp_path: Path, said: Said) -> None:
    assert cli.main(["export", "--output", "-"]) == 0
    assert said()[0] == "# My answers\n\nNothing has been answered yet.\n"
    assert list(tmp_path.glob("*.md")) == []


def test_export_to_a_place_that_is_not_there_is_told(said: Said) -> None:
    assert cli.main(["export", "--output", "no/such/folder/a.md"]) == 1
    assert "cannot write" in said()[1]


@pytest.mark.parametrize("command", [["progress"], ["progress", "--json"], ["export", "--output", "-"]])
def test_progress_and_export_need_no_torch(command: list[str]) -> None:
    code = f"import sys; from kdlab import cli; cli.main({command!r}); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.splitlines()[-1].split()) & {"torch", "numpy", "matplotlib", "IPython"}
