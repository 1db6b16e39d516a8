"""The learner's events: nothing acknowledged is ever lost, and no state of the files stops a lesson."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kdlab
from kdlab.exercises import eventfile, plain, store
from kdlab.exercises.salvage import salvage
from kdlab.exercises.store import Store, default_store

SECOND = "progress-2.sqlite3"


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a new kernel starts with: no file known to fail, no default store, a folder of its own."""
    monkeypatch.setattr(store, "_skip_until", {})
    monkeypatch.setattr(eventfile, "_sound_until", {})
    monkeypatch.setattr(eventfile, "_rescued", {})
    monkeypatch.setattr(store, "_default", None)
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "default"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PATIENCE", 0.05)


def forget_failures() -> None:
    """A minute later, or in another kernel."""
    store._skip_until.clear()
    eventfile._sound_until.clear()


def filled(folder: Path, count: int = 400) -> tuple[Path, list[str]]:
    """A sound file with attempts that fill many pages, two of them longer than a page; its path and their ids."""
    shelf = Store(folder)
    long = {7: "long " * 4000, 31: "x" * 30_000}
    ids = [
        shelf.append(f"slug-{n % 9}", "attempt", outcome="incorrect", answer=long.get(n, f"answer {n}")).event.id
        for n in range(count)
    ]
    return folder / "progress.sqlite3", ids


def ids_of(shelf: Store) -> list[str]:
    return [event.id for event in shelf.events()]


# ------------------------------------------------------------------------------------------------- the ordinary case


def test_what_was_appended_is_read_back_by_another_store_in_order(folder: Path) -> None:
    first = Store(folder)
    saved = first.append(
        "a", "attempt", outcome="incorrect", answer={"n": 1.5, "é": ["b", None]}, message="Almost, $x$"
    )
    assert (saved.durable, saved.notice) == (True, "")
    first.append("b", "hint", answer=1)
    events = Store(folder).events()
    assert events == [saved.event, *Store(folder).events("b")]
    event = events[0]
    assert (event.slug, event.action, event.outcome) == ("a", "attempt", "incorrect")
    assert event.answer == {"n": 1.5, "é": ["b", None]}
    assert event.message == "Almost, $x$"
    assert event.version == kdlab.__version__
    assert datetime.fromisoformat(event.at).utcoffset() == timedelta(0)
    assert [other.slug for other in events] == ["a", "b"]
    assert first.notices() == []
    assert first.path == folder / "progress.sqlite3"


def test_nothing_is_made_before_the_first_append(folder: Path) -> None:
    assert Store(folder).events() == []
    assert not folder.exists()


def test_an_append_is_safe_against_power_cuts_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, said = eventfile._connect, []

    def traced(path: Path, patience: float) -> sqlite3.Connection:
        connection = real(path, patience)
        connection.set_trace_callback(said.append)
        return connection

    monkeypatch.setattr(eventfile, "_connect", traced)
    Store(folder).append("a", "draft", answer="x")
    assert said[0] == "PRAGMA synchronous=EXTRA"
    assert next(line for line in said if not line.startswith("PRAGMA")) == "BEGIN IMMEDIATE"
    with closing(real(folder / "progress.sqlite3", 1)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)  # WAL fails on network homes


@pytest.mark.parametrize(
    ("slug", "action", "error"), [("", "hint", TypeError), (3, "hint", TypeError), ("a", "look", ValueError)]
)
def test_programming_errors_raise_and_store_nothing(folder: Path, slug: Any, action: str, error: type) -> None:
    with pytest.raises(error, match="got"):
        Store(folder).append(slug, action)
    assert Store(folder).events() == []


@pytest.mark.parametrize("where", ["plain", "with spaces and ünïcode 蒸馏", "odd ?#%41&mode=ro"])
def test_default_store_follows_kdlab_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / where))
    assert default_store().append("a", "hint", answer=1).durable
    assert default_store() is default_store()
    assert (tmp_path / where / "progress.sqlite3").is_file()
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "elsewhere"))
    assert default_store().events() == []
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / where))
    assert [event.slug for event in default_store().events()] == ["a"]


@pytest.mark.parametrize("value", [None, ""])
def test_without_kdlab_home_it_is_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("KDLAB_HOME") if value is None else monkeypatch.setenv("KDLAB_HOME", value)
    import platformdirs

    assert default_store().folder == platformdirs.user_data_path("kdlab", appauthor=False)


def test_home_is_expanded_and_does_not_move_with_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "me"))
    monkeypatch.setenv("KDLAB_HOME", "~/kd")
    assert default_store().folder == tmp_path / "me" / "kd"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDLAB_HOME", "relative")
    default_store()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert default_store().folder == tmp_path / "relative"


def test_a_clock_that_runs_backwards_changes_no_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    times = iter([noon, noon - timedelta(hours=5), noon - timedelta(days=900), noon, noon + timedelta(seconds=1)])
    monkeypatch.setattr(store, "_clock", lambda: next(times))
    monkeypatch.setattr(store, "_last_stamp", datetime.min.replace(tzinfo=UTC))
    shelf = Store(folder)
    ids = [shelf.append(f"s{n}", "hint", answer=n).event.id for n in range(5)]
    assert ids_of(Store(folder)) == ids
    stamps = [event.at for event in shelf.events()]
    assert stamps == sorted(set(stamps))
    assert len({len(stamp) for stamp in stamps}) == 1  # texts that compare like times


def test_events_of_one_moment_from_several_files_keep_the_order_of_their_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_stamp", lambda: "2026-03-01T12:00:00.000000+00:00")
    ids = []
    for _ in range(20):
        event = store.Event("a", "hint", at="2026-03-01T12:00:00.000000+00:00")
        ids.append(event.id)
        folder.mkdir(exist_ok=True)
        eventfile.insert(folder / "progress.sqlite3", [store._row(event)], 1)
    assert ids_of(Store(folder)) == ids


# ------------------------------------------------------------------------------------------------- odd answers


class Hostile:
    """Every method raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    __repr__ = __str__ = __iter__ = __len__ = __eq__ = __reduce__ = __getattribute__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class HostileList(list):
    def __iter__(self) -> Any:
        raise SystemExit

    __repr__ = __len__ = __iter__  # type: ignore[assignment]


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (float("inf"), "inf"),
        ({"x": float("nan")}, {"x": "nan"}),
        ({1: 2, None: ("a",)}, {"1": 2, "None": ["a"]}),
        ({"c", "a"}, ["a", "c"]),
        (b"raw", "<bytes>"),
        (10**50, 10**50),
        pytest.param(10**9000, "<whole number of about 9000 digits>", id="large"),
        (print, "<builtin_function_or_method>"),
        ("null \0 and \ud800 alone", "null \0 and \ud800 alone"),
        ("", ""),
    ],
)
def test_any_answer_is_stored_as_json_or_as_a_description(folder: Path, answer: Any, kept: Any) -> None:
    saved = Store(folder).append("a", "attempt", outcome="invalid", answer=answer, message="odd \ud800 \0")
    assert saved.durable
    (event,) = Store(folder).events()
    assert event.answer == kept
    assert event == saved.event


def test_no_method_of_an_answer_is_called(folder: Path) -> None:
    Store(folder).append("a", "attempt", answer=[Hostile(), HostileList([1]), {"x": Hostile()}, 2])
    assert Store(folder).events()[0].answer == ["<Hostile>", "<HostileList>", {"x": "<Hostile>"}, 2]


HUGE: dict[str, Callable[[], Any]] = {
    "endless": endless,
    "list": lambda: list(range(10**6)),
    "dict": lambda: {str(n): n for n in range(10**5)},
    "text": lambda: "é" * 10**6,
    "long parts": lambda: ["ab" * 40_000] * 2,
    "nested": lambda: [[[]] * 90] * 900,
}


@pytest.mark.parametrize("kind", HUGE)
def test_huge_answers_are_cut_with_a_mark(folder: Path, kind: str) -> None:
    answer = HUGE[kind]()
    assert Store(folder).append("a", "attempt", answer=answer, message="m" * 10**6).durable
    (event,) = Store(folder).events()
    text = json.dumps(event.answer, ensure_ascii=False)
    assert "[cut" in text
    assert len(text.encode()) < 1.2 * plain.LONGEST
    assert len(event.message) < plain.LONGEST + 200
    assert event.message.endswith("[cut: 1000000 characters in all]")


# ------------------------------------------------------------------------------------------------- damaged files


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 6 // 10 + 77)


def first_page_lost(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(random.Random(1).randbytes(4096))


def middle_page_lost(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 9)
        file.write(random.Random(2).randbytes(4096))


def root_page_lost(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(3).randbytes(50_000))


def text_file(path: Path) -> None:
    path.write_text("{}")


@pytest.mark.parametrize("harm", [truncated, first_page_lost, middle_page_lost, root_page_lost, garbage, text_file])
def test_a_damaged_file_is_left_alone_and_every_readable_row_still_counts(
    folder: Path, harm: Callable[[Path], None]
) -> None:
    path, ids = filled(folder)
    harm(path)
    before = path.read_bytes()
    forget_failures()
    shelf = Store(folder)
    saved = shelf.append("new", "attempt", outcome="correct", answer="kept")
    assert saved.durable
    assert "is damaged, so your answers now go to progress-2.sqlite3" in saved.notice
    assert str(path) in saved.notice
    assert shelf.append("new", "hint", answer=1).notice == ""  # told once
    forget_failures()
    assert shelf.append("new", "hint", answer=2).notice == ""  # and not every minute
    found = ids_of(shelf)
    assert len(found) == len(set(found))
    assert saved.event.id in found
    left = [one for one in ids if one.encode() in before]
    assert len(left) > 50 or harm in (garbage, text_file)
    assert [one for one in found if one in ids] == left  # all of them, in order
    assert any("could be read" in notice for notice in shelf.notices())
    assert path.read_bytes() == before
    assert not list(folder.glob("*-journal"))


def test_salvaged_rows_are_whole_those_longer_than_a_page_too(folder: Path) -> None:
    path, ids = filled(folder)
    whole = {event.id: event for event in Store(folder).events()}
    first_page_lost(path)
    assert {event.id: event for event in Store(folder).events()} == whole
    assert list(whole) == ids


def test_a_row_with_a_lost_overflow_page_keeps_what_is_left(folder: Path) -> None:
    folder.mkdir()
    path = folder / "progress.sqlite3"
    Store(folder).append("a", "draft", answer="typed " * 3000)
    os.truncate(path, 4096 * 4)
    (event,) = Store(folder).events()
    assert event.slug == "a"
    assert "typed typed" in event.answer
    assert len(event.answer) < 18_000


def test_salvage_survives_any_bytes(folder: Path) -> None:
    path, _ = filled(folder, 60)
    sound = path.read_bytes()
    dice = random.Random(4)
    for _ in range(60):
        harmed = bytearray(sound)
        for _ in range(dice.choice([1, 20, 2000])):
            harmed[dice.randrange(len(harmed))] = dice.randrange(256)
        path.write_bytes(harmed[: dice.randrange(len(harmed))])
        list(salvage(path, 8))
        assert Store(folder).append("b", "hint", answer=1).durable


def test_damage_off_the_path_of_an_insert_is_noticed_before_the_file_is_written(folder: Path) -> None:
    path, _ = filled(folder)
    middle_page_lost(path)
    with closing(sqlite3.connect(path)) as database:  # SQLite itself would go on writing
        database.execute("BEGIN IMMEDIATE")
        database.execute(eventfile._INSERT, ["x"] * 8)
    forget_failures()
    assert SECOND in Store(folder).append("a", "hint").notice


def test_an_empty_file_is_a_new_one(folder: Path) -> None:
    folder.mkdir()
    (folder / "progress.sqlite3").touch()
    assert Store(folder).events() == []
    assert Store(folder).append("a", "hint", answer=1).notice == ""
    assert [event.slug for event in Store(folder).events()] == ["a"]


def test_a_folder_in_place_of_the_file_is_left_alone(folder: Path) -> None:
    (folder / "progress.sqlite3" / "inside").mkdir(parents=True)
    saved = Store(folder).append("a", "hint", answer=1)
    assert saved.durable
    assert "is not a file, so your answers now go to progress-2.sqlite3" in saved.notice
    assert (folder / "progress.sqlite3" / "inside").is_dir()
    assert len(Store(folder).events()) == 1


def newer(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA user_version=2")
    database.execute("ALTER TABLE events ADD COLUMN mood TEXT")


def newer_and_strange(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA user_version=2")
    database.execute("ALTER TABLE events RENAME TO happenings")


def another_programs(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA user_version=0")
    database.execute("ALTER TABLE events RENAME TO songs")


@pytest.mark.parametrize(
    ("change", "said", "readable"),
    [(newer, "newer kdlab", 1), (newer_and_strange, "newer kdlab", 0), (another_programs, "another program's", 0)],
)
def test_a_file_of_a_newer_kdlab_or_another_program_is_never_written(
    folder: Path, change: Callable[[sqlite3.Connection], None], said: str, readable: int
) -> None:
    Store(folder).append("old", "hint", answer=1)
    path = folder / "progress.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        change(database)
        database.commit()
    before = path.read_bytes()
    forget_failures()
    shelf = Store(folder)
    saved = shelf.append("new", "hint", answer=1)
    assert saved.durable
    assert said in saved.notice
    assert [event.slug for event in shelf.events()] == ["old"] * readable + ["new"]
    assert bool(shelf.notices()) == (readable == 0)
    assert path.read_bytes() == before


# ------------------------------------------------------------------------------------------------- locked files


@pytest.fixture
def locked(folder: Path) -> Iterator[Path]:
    """A file that another process holds."""
    path, _ = filled(folder, 5)
    code = (
        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "d.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes)  # type: ignore[call-overload]
    assert holder.stdout.readline() == b"held\n"
    yield path
    holder.communicate(b"")
    assert holder.returncode == 0


def test_a_locked_file_is_waited_for_once_then_passed_over_and_still_read(locked: Path, folder: Path) -> None:
    before = locked.read_bytes()
    shelf = Store(folder)
    start = time.monotonic()
    saved = shelf.append("new", "hint", answer=1)
    waited = time.monotonic() - start
    assert 1.5 < waited < 4
    assert saved.durable
    assert "is locked by another program, so your answers now go to progress-2.sqlite3" in saved.notice
    start = time.monotonic()
    assert shelf.append("new", "hint", answer=2).notice == ""
    assert Store(folder).append("new", "hint", answer=3).durable
    assert len(shelf.events()) == 8
    assert time.monotonic() - start < 1
    assert locked.read_bytes() == before


def test_a_lock_that_is_let_go_in_time_is_only_waited_for(folder: Path) -> None:
    path, _ = filled(folder, 5)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.5, lambda: holder.execute("ROLLBACK")).start()
        assert Store(folder).append("new", "hint", answer=1).notice == ""
    assert not (folder / SECOND).exists()


@pytest.mark.usefixtures("_impatient")
def test_a_file_is_used_again_a_minute_after_it_failed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ids = filled(folder, 5)
    shelf, real = Store(folder), eventfile._connect
    with monkeypatch.context() as patch:
        patch.setattr(eventfile, "_connect", failing("database is locked", only=path))
        diverted = shelf.append("new", "hint", answer=1).event.id
        assert shelf.path == folder / SECOND
    assert eventfile._connect is real
    assert shelf.append("new", "hint", answer=2).durable
    with closing(real(path, 1)) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (5,)
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    last = shelf.append("new", "hint", answer=3).event.id
    with closing(real(path, 1)) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (6,)
    assert [one for one in ids_of(shelf) if one in (*ids, diverted, last)] == [*ids, diverted, last]


# ------------------------------------------------------------------------------------------- nothing can be written


def failing(message: str, *, only: Path | None = None) -> Callable[[Path, float], sqlite3.Connection]:
    """A connect that fails when asked to write, as SQLite does, with ``message``; of one file or of all."""
    real = eventfile._connect

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                raise sqlite3.OperationalError(message)
            return super().execute(sql, *rest)

    def connect(path: Path, patience: float) -> sqlite3.Connection:
        if only not in (None, path):
            return real(path, patience)
        return sqlite3.connect(path, timeout=patience, isolation_level=None, factory=Failing)

    return connect


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("attempt to write a readonly database", "is read-only"),
        ("disk I/O error", "cannot be written: is the disk, or your share of it, full?"),
        ("database is locked", "is locked by another program"),
    ],
)
def test_one_file_that_cannot_be_written_diverts_to_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, message: str, said: str
) -> None:
    path, ids = filled(folder, 5)
    before = path.read_bytes()
    monkeypatch.setattr(eventfile, "_connect", failing(message, only=path))
    saved = Store(folder).append("new", "hint", answer=1)
    assert saved.durable
    assert f"{path} {said}, so your answers now go to {SECOND}" in saved.notice
    assert ids_of(Store(folder)) == [*ids, saved.event.id]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("database or disk is full", "the disk is full"),
        ("attempt to write a readonly database", "read-only"),
        ("unable to open database file", "cannot be opened"),
    ],
)
def test_where_nothing_can_be_written_events_wait_and_are_saved_in_order_as_soon_as_that_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch, message: str, said: str
) -> None:
    _, ids = filled(folder, 5)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shelf = Store(folder)
    with monkeypatch.context() as patch:
        patch.setattr(eventfile, "_connect", failing(message))
        for number in range(3):
            saved = shelf.append("new", "hint", answer=number)
            ids.append(saved.event.id)
            assert not saved.durable
            assert "NOT SAVED" in saved.notice
            assert said in saved.notice
            assert "KDLAB_HOME=FOLDER" in saved.notice
            assert f"{number + 1} {'entry waits' if number == 0 else 'entries wait'} in memory" in saved.notice
        assert ids_of(shelf) == ids
        assert any("NOT SAVED" in notice for notice in shelf.notices())
    if "full" in message:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before  # no litter either
    saved = shelf.append("new", "hint", answer=3)
    assert saved.durable
    assert "Saved after all" in saved.notice
    assert "NOT SAVED" not in saved.notice
    assert ids_of(Store(folder)) == [*ids, saved.event.id]
    assert shelf.notices() == []
    assert shelf.append("new", "hint", answer=4).notice == ""


def test_a_disk_that_is_really_full_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = eventfile._connect

    def small(path: Path, patience: float) -> sqlite3.Connection:
        connection = real(path, patience)
        connection.execute("PRAGMA max_page_count=6")
        return connection

    shelf, ids = Store(folder), []
    with monkeypatch.context() as patch:
        patch.setattr(eventfile, "_connect", small)
        results = [shelf.append("a", "draft", answer="word " * 300) for _ in range(30)]
        ids = [result.event.id for result in results]
        assert results[0].durable
        assert not results[-1].durable
        assert "disk is full" in results[-1].notice
        assert ids_of(shelf) == ids
        assert [path.name for path in folder.iterdir()] == ["progress.sqlite3"]
    assert shelf.append("a", "hint").durable
    assert ids_of(Store(folder))[:-1] == ids


def test_a_home_that_is_a_file_is_told_and_another_folder_takes_over_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "a file"
    wrong.write_text("mine")
    monkeypatch.setenv("KDLAB_HOME", str(wrong))
    saved = default_store().append("a", "attempt", outcome="correct", answer=1)
    assert not saved.durable
    assert f"the folder {wrong} cannot be made" in saved.notice
    assert [event.id for event in default_store().events()] == [saved.event.id]
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "right"))
    assert [event.id for event in default_store().events()] == [saved.event.id]
    assert any("Saved after all" in notice for notice in default_store().notices())
    assert ids_of(Store(tmp_path / "right")) == [saved.event.id]
    assert wrong.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are another matter on Windows")
def test_a_folder_without_write_permission_is_told() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to everybody but their owner
        Path(place).chmod(0o755)
        folder = Path(place) / "home"
        folder.mkdir(mode=0o555)
        with as_an_ordinary_user():
            saved = Store(folder).append("a", "hint")
        assert not saved.durable
        assert "cannot be opened" in saved.notice
        assert not list(folder.iterdir())


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Nothing is forbidden to root, so be somebody else for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_ctrl_c_while_writing_leaves_the_event_to_the_next_append(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Store(folder)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "insert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shelf.append("first", "hint", answer=1)
    assert shelf.append("second", "hint", answer=1).notice == ""
    assert [event.slug for event in Store(folder).events()] == ["first", "second"]


def test_an_event_that_stands_in_two_files_counts_once(folder: Path) -> None:
    saved = Store(folder).append("a", "hint", answer=1)
    eventfile.insert(folder / SECOND, [store._row(saved.event)], 1)
    assert ids_of(Store(folder)) == [saved.event.id]


# ------------------------------------------------------------------------------------------------- many at once


def test_threads_and_several_stores_lose_nothing_and_keep_each_ones_order(folder: Path) -> None:
    stores = [Store(folder), Store(folder)]
    acknowledged: dict[int, list[str]] = {n: [] for n in range(6)}

    def work(number: int) -> None:
        for _ in range(30):
            saved = stores[number % 2].append(f"thread-{number}", "attempt", outcome="correct")
            assert saved.durable
            assert saved.notice == ""
            acknowledged[number].append(saved.event.id)
            stores[1].events(f"thread-{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in acknowledged]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, ids in acknowledged.items():
        assert [event.id for event in Store(folder).events(f"thread-{number}")] == ids
        assert len(ids) == 30
    assert [path.name for path in folder.iterdir()] == ["progress.sqlite3"]


NEEDS_SIGKILL = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")


@NEEDS_SIGKILL
def test_the_journal_of_a_killed_writer_is_rolled_back_by_the_next(folder: Path) -> None:
    path, ids = filled(folder)
    sound = path.read_bytes()
    code = (
        "import os, signal, sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "d.execute('PRAGMA cache_spill=1'); d.execute('PRAGMA cache_size=2'); d.execute('BEGIN IMMEDIATE');"
        "d.execute(\"UPDATE events SET answer = 'spoilt', id = 'spoilt'\"); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.read_bytes() != sound  # half of the spoilt pages are in the file
    assert (folder / "progress.sqlite3-journal").stat().st_size > 0
    spoilt = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert ids_of(Store(folder)) == ids  # a reader mends it
    for name, content in spoilt.items():
        (folder / name).write_bytes(content)
    forget_failures()
    saved = Store(folder).append("new", "hint", answer=1)  # and so does a writer
    assert saved.notice == ""
    assert ids_of(Store(folder)) == [*ids, saved.event.id]


@pytest.mark.slow
def test_four_busy_kernels_share_one_file_and_none_waits_in_vain(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from kdlab.exercises.store import Store\n"
        "shelf = Store(Path(sys.argv[1]))\n"
        "for n in range(150): assert shelf.append('a', 'draft', answer=n).notice == ''"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    for process in [subprocess.Popen(command) for _ in range(4)]:
        assert process.wait() == 0
    assert len(Store(tmp_path / "home").events()) == 600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["progress.sqlite3"]


WRITER = """
import sys
import tempfile
from kdlab.exercises.store import Store
shelf, number = Store(), 0
while True:
    saved = shelf.append("durable", "attempt", outcome="correct", answer=f"{sys.argv[1]} {number}", message="m" * 300)
    number += 1
    if saved.durable:
        sys.stdout.write(saved.event.id + "\\n")
        sys.stdout.flush()
"""


@pytest.mark.slow
@NEEDS_SIGKILL
def test_a_hundred_kills_lose_nothing_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes at once, a thousand attempts in all at the least, a hundred of the processes killed."""
    home, dice = tmp_path / "home", random.Random()
    monkeypatch.setenv("KDLAB_HOME", str(home))
    logs: list[Path] = []

    def writer() -> subprocess.Popen[bytes]:
        logs.append(tmp_path / f"log-{len(logs)}")
        with logs[-1].open("wb") as log:  # a file, not a pipe: what a killed process wrote is all there
            return subprocess.Popen([sys.executable, "-S", "-c", WRITER_PATH + WRITER, str(len(logs))], stdout=log)

    def acknowledged() -> list[str]:
        return [line for log in logs for line in log.read_text().split("\n")[:-1]]

    writers, kills, deadline = [writer() for _ in range(4)], 0, time.monotonic() + 55
    try:
        while (kills < 100 or len(acknowledged()) < 1000) and time.monotonic() < deadline:
            time.sleep(dice.uniform(0, 0.05))
            place = dice.randrange(4)
            if logs[-1].stat().st_size == 0 and dice.random() < 0.8:
                continue  # mostly wait for the newest to begin, since killing imports proves nothing
            writers[place].kill()
            assert writers[place].wait() == -signal.SIGKILL
            writers[place] = writer()
            kills += 1
    finally:
        for process in writers:
            process.kill()
            process.wait()
    promised = acknowledged()
    assert kills >= 100
    assert len(promised) >= 1000
    found = [event.id for event in Store(home).events()]
    assert set(promised) <= set(found)
    rows = []
    for path in home.glob("*.sqlite3"):
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows += database.execute("SELECT id FROM events").fetchall()
    assert len(rows) == len(set(rows)) == len(found)


WRITER_PATH = f"import sys; sys.path[:0] = {[str(Path(kdlab.__file__).parents[1])]!r}\n"


def test_the_store_is_cheap_to_import() -> None:
    code = "import sys, kdlab.exercises.store; print(*sorted(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"torch", "numpy", "yaml", "IPython", "platformdirs", "kdlab.exercises.catalog"}
