"""The learner's events on disk: appended one by one, durable when :meth:`Store.append` returns, never changed.

A store is a *shelf* of up to nine SQLite files: ``progress.sqlite3``, ``progress-2.sqlite3``, ... An append goes to the
first file that takes it. One that is damaged, locked, read-only or written by a newer kdlab stays exactly as it is,
and the next one is used: nothing is ever renamed, mended or deleted, so there is nothing that several kernels could
race for. Readers merge all files and take every readable row out of a damaged one. Where no file can be written,
events wait in memory, each later append tries again, and the learner is told how to go on.

Standard library only (and platformdirs, for the default folder).
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kdlab import __version__
from kdlab.exercises.eventfile import COLUMNS, TROUBLE, insert, is_full, reason, rescue, select
from kdlab.exercises.plain import cut, from_json, plain, to_json

__all__ = ["ACTIONS", "Event", "Saved", "Store", "default_store"]

ACTIONS = frozenset({"attempt", "hint", "solution", "draft", "prediction", "measurement"})

_SHELF = ("progress.sqlite3", *(f"progress-{number}.sqlite3" for number in range(2, 10)))

_SLUG = COLUMNS.index("slug")
_PATIENCE = 2.0  # seconds to wait for a locked file
_ALL_PATIENCE = 3.0  # and for all of them together
_SKIP = 60.0  # seconds for which a file that failed is passed over

# One thing at a time within a process: it keeps the order of events, and eventfile demands it.
_LOCK = threading.RLock()
_skip_until: dict[Path, float] = {}
_last_stamp = datetime.min.replace(tzinfo=UTC)


def _clock() -> datetime:
    return datetime.now(UTC)


def _stamp() -> str:
    """The time in UTC, ISO 8601 with microseconds, later than any other of this process even if the clock goes back."""
    global _last_stamp
    with _LOCK:
        _last_stamp = max(_clock(), _last_stamp + timedelta(microseconds=1))
        return _last_stamp.isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Event:
    """One thing that a learner did.

    Attributes:
        slug: of the exercise or prediction.
        action: one of :data:`ACTIONS`.
        outcome: of an attempt, such as "correct".
        answer: what was answered, as JSON can hold it; of a hint its number, from 1.
        message: what the learner was told.
        at: when, UTC, ISO 8601 with microseconds.
        id: unique, 32 hexadecimal digits.
        version: of kdlab.
    """

    slug: str
    action: str
    outcome: str = ""
    answer: Any = None
    message: str = ""
    at: str = field(default_factory=_stamp)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    version: str = __version__


def _row(event: Event) -> tuple[str, ...]:
    return tuple(to_json(event.answer) if name == "answer" else getattr(event, name) for name in COLUMNS)


def _event(texts: list[Any]) -> Event | None:
    """The event of a row; None where a damaged one has no id or no time."""
    values = dict(zip(COLUMNS, map(str, texts), strict=True))
    try:
        moment = datetime.fromisoformat(values["at"])
    except ValueError:
        return None
    if moment.tzinfo is None or not values["id"]:
        return None
    return Event(**{**values, "answer": from_json(values["answer"])})


@dataclass(frozen=True)
class Saved:
    """What became of an event.

    Attributes:
        event: as it will be read back.
        durable: whether it is on disk.
        notice: what went wrong and how to go on; empty when all is well or the learner was told before.
    """

    event: Event
    durable: bool
    notice: str = ""


class Store:
    """The events of one learner, in one folder.

    Args:
        folder: where the shelf is; by default ``KDLAB_HOME`` if that is set, else the user's data folder. It is made
            when first needed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(os.path.abspath(_home() if folder is None else folder))  # noqa: PTH100 - never raises
        self._shelf = [self.folder / name for name in _SHELF]
        self._waiting: list[Event] = []  # not on disk yet, in order
        self._trouble = ""  # why they are not, and how to go on
        self._told: set[str] = set()
        self._untold: list[str] = []

    @property
    def path(self) -> Path:
        """The file that the next event goes to, as far as is known."""
        now = time.monotonic()
        return next((path for path in self._shelf if _skip_until.get(path, 0) <= now), self._shelf[0])

    @property
    def all_saved(self) -> bool:
        """Whether every event is on disk, and none waits in memory."""
        return not self._waiting

    def append(self, slug: str, action: str, *, outcome: str = "", answer: Any = None, message: str = "") -> Saved:
        """Keep an event. It is on disk when this returns, or the result says that it is not and what to do.

        Args:
            slug: of the exercise or prediction, not empty.
            action: one of :data:`ACTIONS`.
            outcome: of an attempt.
            answer: anything; what JSON cannot hold is described, what is longer than 64 KiB is cut.
            message: what the learner was told.

        Raises:
            TypeError, ValueError: a slug or action that cannot be right. Trouble with files never raises.
        """
        if not isinstance(slug, str) or not slug:
            raise TypeError(f"slug must be the name of an exercise, got {slug!r}")
        if action not in ACTIONS:
            raise ValueError(f"action must be one of {', '.join(sorted(ACTIONS))}, got {action!r}")
        with _LOCK:
            event = Event(cut(slug), action, cut(outcome), plain(answer), cut(message))
            # Before any attempt to write, so that Ctrl-C in the middle leaves it to the next append.
            self._waiting.append(event)
            durable = self._write_waiting()
            return Saved(event, durable, " ".join(self.notices()))

    def events(self, slug: str | None = None) -> list[Event]:
        """Every event that can be read, by time; those of one exercise if ``slug`` is given."""
        keyed: dict[str, tuple[tuple[str, int, int], Event]] = {}
        with _LOCK:
            for number, path in enumerate(self._shelf):
                for seq, *texts in self._rows(path):
                    event = _event(texts) if slug in (None, texts[_SLUG]) else None
                    if event:
                        keyed.setdefault(event.id, ((event.at, number, seq), event))
            for place, event in enumerate(self._waiting):
                if slug in (None, event.slug):
                    keyed.setdefault(event.id, ((event.at, len(self._shelf), place), event))
        return [event for _, event in sorted(keyed.values(), key=lambda pair: pair[0])]

    def notices(self) -> list[str]:
        """What went wrong and the learner does not know yet; that events wait in memory is said every time."""
        with _LOCK:
            told, self._untold = self._untold, []
            return [*told, self._trouble] if self._waiting and self._trouble else told

    # ------------------------------------------------------------------------------------------------ writing

    def _write_waiting(self) -> bool:
        """Put everything that waits into the first file that takes it, in one transaction."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return self._keep(f"the folder {self.folder} cannot be made ({error.strerror or error})")
        rows = [_row(event) for event in self._waiting]
        problems: list[tuple[Path, str]] = []
        for path, patience in self._candidates():
            try:
                insert(path, rows, patience)
            except TROUBLE as error:
                problems.append((path, reason(error)))
                if is_full(error):
                    break  # no other file would fit either, and trying would only leave empty ones behind
                _skip_until[path] = time.monotonic() + _SKIP
            else:
                self._written(path, problems)
                return True
        return self._keep(" ".join(map(str, problems[0])))

    def _candidates(self) -> Iterator[tuple[Path, float]]:
        """Files to try and seconds to wait for each: those that failed a moment ago come last, without waiting."""
        start = time.monotonic()
        skipped = [path for path in self._shelf if _skip_until.get(path, 0) > start]
        for path in self._shelf:
            if path not in skipped:
                left = start + _ALL_PATIENCE - time.monotonic()
                yield path, min(_PATIENCE, max(left, 0.1))
        for path in skipped:
            yield path, 0.0

    def _written(self, path: Path, problems: list[tuple[Path, str]]) -> None:
        for other, why in problems:
            self._tell(
                f"{other} {why}, so your answers now go to {path.name} beside it. That file stays as it is, and what "
                "can be read in it still counts; there is nothing that you must do."
            )
        if self._trouble:
            self._untold.append(f"Saved after all: what had to wait in memory is now in {path}.")
        self._trouble = ""
        self._waiting.clear()
        _skip_until.pop(path, None)

    def _keep(self, why: str) -> bool:
        count = len(self._waiting)
        self._trouble = (
            f"NOT SAVED: {why}. {count} {'entry waits' if count == 1 else 'entries wait'} in memory until this "
            "kernel stops, and every answer tries again. To go on safely, make that place writable, or choose another "
            "folder: `%env KDLAB_HOME=FOLDER` in a notebook cell, or KDLAB_HOME=FOLDER before you start kdlab."
        )
        return False

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._untold.append(message)

    # ------------------------------------------------------------------------------------------------ reading

    def _rows(self, path: Path) -> list[tuple[Any, ...]]:
        """The rows of one file of the shelf, ``(seq, texts...)``; what can be had of them if it is damaged."""
        try:
            if not path.is_file() or path.stat().st_size == 0:
                return []
            just_failed = _skip_until.get(path, 0) > time.monotonic()
            return select(path, 0.0 if just_failed else _PATIENCE)
        except TROUBLE as error:
            why = reason(error)
        if "no such" in why:  # another program's table, or a newer kdlab's
            self._tell(f"{path} is left out of your progress: it {why}.")
            return []
        try:
            rows = rescue(path)
        except OSError as error:
            self._tell(f"The files in {self.folder} cannot be read ({error.strerror or error}).")
            return []
        _skip_until[path] = time.monotonic() + _SKIP
        self._tell(f"{path} {why}; {len(rows)} entries could be read in it. It stays as it is.")
        return rows

    def _adopt(self, other: Store) -> None:
        """Take over what another store could not write."""
        self._waiting, other._waiting = [*other._waiting, *self._waiting], []
        if self._waiting:
            self._trouble = other._trouble
            self._write_waiting()


# --------------------------------------------------------------------------------------------------- the default store

_default: tuple[str, Store] | None = None


def default_store() -> Store:
    """The store in ``KDLAB_HOME``, or in the user's data folder if that is not set.

    The variable may change at any time; what the former store could not write then moves to the new one.
    """
    global _default
    with _LOCK:
        wanted = os.environ.get("KDLAB_HOME", "")
        if _default is None or _default[0] != wanted:
            store = Store()
            if _default is not None:
                store._adopt(_default[1])
            _default = (wanted, store)
        return _default[1]


def _home() -> Path:
    wanted = os.environ.get("KDLAB_HOME", "")
    if wanted:
        return Path(os.path.expanduser(wanted))  # noqa: PTH111 - never raises, unlike Path.expanduser
    from platformdirs import user_data_path

    return user_data_path("kdlab", appauthor=False)
