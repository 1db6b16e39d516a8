"""The progress board: the same facts in a notebook, a terminal and as JSON."""

from __future__ import annotations

import html.parser
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kdlab.exercises import eventfile, store
from kdlab.exercises.overview import Board, LessonRow, board
from kdlab.exercises.store import Store

LATER = datetime.now(UTC) + timedelta(days=2)


@dataclass(frozen=True)
class Stub:
    slug: str
    lesson: int
    title: str = "A title"
    minutes: int = 4


BANK = [Stub("a", 0, "First <b>&"), Stub("b", 0, "With $T^2$ and `code`"), Stub("c", 1), Stub("d", 77, minutes=9)]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(store, "_skip_until", {})
    monkeypatch.setattr(eventfile, "_sound_until", {})
    shelf = Store(tmp_path / "home")
    shelf.append("a", "attempt", outcome="incorrect", answer=1)
    shelf.append("a", "hint", answer=2)
    shelf.append("a", "attempt", outcome="correct", answer=2)
    shelf.append("b", "attempt", outcome="incorrect", answer=2)
    shelf.append("removed", "attempt", outcome="incorrect", answer=2)
    return shelf


def test_lessons_are_counted_and_named(shelf: Store) -> None:
    rows = board(shelf, BANK).lessons
    assert rows[0] == LessonRow(0, "Start here", total=2, solved=1, tried=1, minutes_left=4)
    assert [(row.lesson, row.solved, row.minutes_left) for row in rows] == [(0, 1, 4), (1, 0, 4), (77, 0, 9)]
    assert rows[2].title == "Lesson 77"


def test_what_was_hard_and_what_comes_next_have_reasons(shelf: Store) -> None:
    found = board(shelf, BANK, now=LATER)
    assert [(line.slug, line.reason) for line in found.hard] == [
        ("a", "1 wrong answer, 2 hints."),
        ("b", "1 wrong answer; not solved yet."),
    ]
    assert [line.slug for line in found.review] == ["b", "a"]


def test_dict_is_json_and_complete(shelf: Store) -> None:
    read = json.loads(json.dumps(board(shelf, BANK, now=LATER).as_dict()))
    assert set(read) == {"summary", "lessons", "hard", "review", "notices"}
    assert read["lessons"][0]["solved"] == 1
    assert read["review"][0] == {
        "slug": "b",
        "lesson": 0,
        "title": "With $T^2$ and `code`",
        "reason": "Tried once, not solved yet.",
    }
    assert read["summary"] == "1 of 4 exercises solved; about 17 minutes left."


def test_text_says_all_of_it_without_markup(shelf: Store) -> None:
    text = repr(board(shelf, BANK, now=LATER))
    for part in (
        "00 Start here",
        "[#####.....]  1 of  2  4 min left",
        "What was hard",
        "What to do next",
        "b  With $T^2$",
    ):
        assert part in text
    assert "[..........]  0 of  1" in text
    assert "<td" not in text


def test_a_first_step_shows_in_the_bar_and_only_the_last_one_fills_it() -> None:
    def bar(solved: int) -> str:
        return repr(Board([LessonRow(0, "t", 30, solved, 0, 9)])).partition("[")[2].partition("]")[0]

    assert [bar(solved).count("#") for solved in (0, 1, 29, 30)] == [0, 1, 9, 10]


class Strict(html.parser.HTMLParser):
    """Collects tags, and sees to it that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_nests_escapes_and_needs_neither_script_nor_trust(shelf: Store) -> None:
    markup = board(shelf, BANK, now=LATER)._repr_html_()
    page = Strict()
    page.feed(markup)
    assert page.open == []
    kinds = {tag for tag, _ in page.seen}
    # All of these pass JupyterLab's sanitizer, which strips what it does not know from untrusted notebooks.
    assert kinds <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "progress", "ol", "li", "code"}
    assert not [name for _, attributes in page.seen for name in attributes if name.startswith("on")]
    assert "First &lt;b&gt;&amp;" in markup
    assert "<b>With $T^2$ and <code>code</code></b>" in markup
    bars = [attributes for tag, attributes in page.seen if tag == "progress"]
    assert bars[0] == {"value": "1", "max": "2", "aria-label": "Lesson 00: 1 of 2 solved"}
    assert "<td>1 of 2 (1 tried)</td>" in markup  # also in words


def test_colours_come_from_the_theme_only(shelf: Store) -> None:
    markup = board(shelf, BANK)._repr_html_()
    assert "background" not in markup
    assert markup.count("color:") == markup.count("color:var(--jp-")


def test_trouble_with_the_store_is_on_the_board(shelf: Store) -> None:
    shelf.path.write_bytes(b"damaged <beyond> repair")
    found = board(shelf, BANK)
    assert len(found.notices) == 1
    assert "is damaged; 0 entries" in repr(found)
    assert 'role="alert"' in found._repr_html_()


@pytest.mark.parametrize(("solved", "said"), [(0, "0 of 1 exercises"), (1, "All 1 exercises solved.")])
def test_summary_of_little_and_of_everything(tmp_path: Path, solved: int, said: str) -> None:
    shelf = Store(tmp_path / "home")
    for _ in range(solved):
        shelf.append("c", "attempt", outcome="correct")
    assert board(shelf, [BANK[2]]).summary.startswith(said)
    assert board(shelf, []).summary == "There are no exercises yet."
    assert repr(board(shelf, [])) == "There are no exercises yet."
    assert "There are no exercises yet." in board(shelf, [])._repr_html_()


def test_the_board_of_the_whole_bank_needs_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path))
    show = "from kdlab.exercises import board; b = board(); b._repr_html_(); assert b.lessons"
    code = f"import sys; {show}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "numpy", "matplotlib", "ipywidgets"}


def test_exercises_of_a_lesson_in_the_making_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from kdlab.exercises import overview

    def without_the_third() -> tuple[object, ...]:
        return tuple(replace(one, ready=one.ready and one.number != 3) for one in overview.LESSONS)

    shown = {one.lesson for one in overview._bank()}
    monkeypatch.setattr(overview, "LESSONS", without_the_third())
    assert {one.lesson for one in overview._bank()} == shown - {3}
    assert 3 in shown
