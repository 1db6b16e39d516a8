"""One SQLite file of events: rows are added, read, and where it is damaged, salvaged. It never changes otherwise.

A rollback journal, not WAL, which does not work on network homes; one short connection per operation; a killed
writer's journal is rolled back by whoever opens the file next. Callers see to it that a process does one thing at a
time with these files: closing any handle of a file drops the process's POSIX locks on it, so that its bytes must not
be read while another thread writes through SQLite.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from kdlab.exercises.salvage import salvage

__all__ = ["COLUMNS", "TROUBLE", "Unfit", "insert", "is_full", "reason", "rescue", "select"]

COLUMNS = ("id", "at", "slug", "action", "outcome", "version", "message", "answer")
"""Of a row, all text. The longest comes last, so that a damaged row loses its end only."""

_SCHEMA = 1
_CREATE = f"CREATE TABLE events (seq INTEGER PRIMARY KEY, {', '.join(f'{name} TEXT NOT NULL' for name in COLUMNS)})"
_INSERT = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_SELECT = f"SELECT seq, {', '.join(COLUMNS)} FROM events"

_CHECK = 60.0  # seconds for which a file that was found sound counts as sound

_sound_until: dict[Path, float] = {}
_rescued: dict[Path, tuple[tuple[int, int], list[tuple[Any, ...]]]] = {}


class Unfit(Exception):
    """A file that must not be written; the message says why, as the end of a sentence about the file."""


TROUBLE = (sqlite3.Error, sqlite3.Warning, OSError, Unfit)
"""What can go wrong with a file."""


def insert(path: Path, rows: Iterable[Sequence[str]], patience: float) -> None:
    """Add rows to a file, all or none; they are on the disk itself when this returns.

    Args:
        path: made if missing; its folder exists.
        rows: texts in the order of :data:`COLUMNS`.
        patience: seconds to wait for a lock.

    Raises:
        sqlite3.Error, OSError, Unfit: nothing was added, and the file is as it was.
    """
    if path.exists() and not path.is_file():
        raise Unfit("is not a file")
    with closing(_connect(path, patience)) as database:
        # FULL, and the folder synced as well: else a power cut could bring the journal back, and undo the last event.
        database.execute("PRAGMA synchronous=EXTRA")
        _begin(database, patience)
        _prepare(database, path)
        database.executemany(_INSERT, rows)
        database.execute("COMMIT")


def select(path: Path, patience: float) -> list[tuple[Any, ...]]:
    """All rows of a file, each its number and its texts.

    Raises:
        sqlite3.Error, OSError: the file is damaged, locked, or has no such table; see :func:`reason`.
    """
    with closing(_connect(path, patience)) as database:
        database.text_factory = lambda raw: raw.decode("utf-8", "replace")
        database.execute("PRAGMA query_only=1")
        return database.execute(_SELECT).fetchall()


def rescue(path: Path) -> list[tuple[Any, ...]]:
    """What can be read of a damaged or locked file, like :func:`select`; remembered until the file changes.

    Raises:
        OSError: the file cannot be read at all.
    """
    status = path.stat()
    signature = (status.st_mtime_ns, status.st_size)
    known = _rescued.get(path)
    if known is None or known[0] != signature:
        known = (signature, [(seq, *texts) for seq, texts in salvage(path, len(COLUMNS)) if _has_id(texts)])
        _rescued[path] = known
    return known[1]


def reason(error: BaseException) -> str:
    """Why a file could not be used, as the end of a sentence that begins with its name."""
    if isinstance(error, Unfit):
        return str(error)
    return next((words for part, words in _REASONS if part in str(error)), f"cannot be used ({error})")


def is_full(error: BaseException) -> bool:
    """Whether the disk or the learner's share of it is full, so that no other file would take the rows either."""
    return getattr(error, "sqlite_errorcode", None) in _FULL or "disk is full" in str(error)


_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)

_REASONS = (
    ("locked", "is locked by another program"),
    ("malformed", "is damaged"),
    ("not a database", "is damaged"),
    ("readonly", "is read-only"),
    ("disk is full", "cannot grow, because the disk is full"),
    ("disk I/O", "cannot be written: is the disk, or your share of it, full?"),
    ("unable to open", "cannot be opened"),
)


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=patience, isolation_level=None)  # transactions are begun by hand


def _begin(database: sqlite3.Connection, patience: float) -> None:
    """Begin to write as soon as no one else does.

    SQLite itself looks again ten times a second only, so that among busy writers one may wait for seconds.
    """
    deadline = time.monotonic() + patience
    database.execute("PRAGMA busy_timeout=0")
    while True:
        try:
            database.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
        time.sleep(random.uniform(0.001, 0.01))
    database.execute(f"PRAGMA busy_timeout={1000 * patience:.0f}")  # what is left to wait for are readers


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    """Make the table in a new file; refuse a file that is not ours, newer than this kdlab, or damaged."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA:
        raise Unfit("was written by a newer kdlab")
    if version == 0:
        if database.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise Unfit("is another program's database")
        database.execute(_CREATE)
        database.execute(f"PRAGMA user_version={_SCHEMA}")
    elif _sound_until.get(path, 0) < time.monotonic():
        # An insert touches few pages, and would not notice that others are damaged.
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise Unfit("is damaged")
        _sound_until[path] = time.monotonic() + _CHECK


def _has_id(texts: list[str]) -> bool:
    return len(texts[0]) == 32 and set(texts[0]) <= set("0123456789abcdef")
