"""The learner's own copies of the lessons: brought up to date, never overwritten once changed.

The tracked lessons are never edited, so that an update of the course cannot collide with anyone's answers.
``kdlab lab`` copies them to a work folder and remembers, for each file, the SHA-256 of the source it copied,
and that of its cells alone.
That tells apart the two sides that may have moved since:

    ================  ===================  ================================================
    the lesson        the learner's copy   what happens
    ================  ===================  ================================================
    as copied         as copied            nothing
    changed           as copied            the copy is refreshed
    as copied         changed              the copy is kept
    changed           changed              the copy is kept, the new lesson put beside it
    there             deleted              a fresh copy
    gone              either               the copy stays
    ================  ===================  ================================================

A notebook that was merely run and saved counts as changed; one that was merely opened does not, although
JupyterLab then writes the kernel's version into it. Standard library only.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

_HIDDEN, _FOLDED = "hide-answer", "fold-source"
STATE_NAME = ".kdlab-lessons.json"
_PART_SUFFIX = ".kdlab-part"
_NOT_LESSONS = {"src", "__pycache__", ".ipynb_checkpoints"}


class WorkspaceError(Exception):
    """The work folder cannot be used; the message says why and what to do."""


@dataclass
class Report:
    """What `sync` did, as names relative to the work folder.

    Attributes:
        added: copied because they were missing, be they new or deleted by the learner.
        refreshed: replaced, because the lesson changed and the learner's copy had not.
        kept: changed by the learner, left alone.
        beside: for a lesson that changed as well, the learner's file and the new one's name.
    """

    added: list[str] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    beside: list[tuple[str, str]] = field(default_factory=list)

    @property
    def written(self) -> list[str]:
        """Files that now hold exactly what the course ships."""
        return [*self.added, *self.refreshed, *(new_name for _, new_name in self.beside)]

    def lines(self) -> list[str]:
        """What a learner should be told; empty when nothing happened."""
        told = []
        if self.added:
            told.append(f"copied: {_listed(self.added)}")
        if self.refreshed:
            told.append(f"brought up to date (you had not changed them): {_listed(self.refreshed)}")
        for name, new_name in self.beside:
            told.append(f"{name} is yours and stays as it is; the course's current version is beside it: {new_name}")
        return told


def sync(lessons_dir: Path, work_dir: Path, *, today: date | None = None) -> Report:
    """Copy the lessons to the work folder by the rules at the top of this module.

    Args:
        lessons_dir: the notebooks of the course, with whatever lies beside them (not ``src``).
        work_dir: the learner's folder, made if missing; must not overlap with ``lessons_dir``.
        today: date in the name of a lesson put beside the learner's; the current one if None.

    Returns:
        What was done.

    Raises:
        WorkspaceError: no lessons, overlapping folders, or a work folder that cannot be written.
    """
    lessons = sorted(_lesson_files(lessons_dir))
    if not any(path.suffix == ".ipynb" for path in lessons):
        raise WorkspaceError(f"no lessons (*.ipynb) in {lessons_dir}; in a checkout: python course.py notebooks")
    if _overlap(lessons_dir, work_dir):
        raise WorkspaceError(f"the work folder {work_dir} overlaps with the lessons in {lessons_dir}; choose another")
    try:
        return _sync_files(lessons_dir, lessons, work_dir, today or date.today())
    except OSError as error:
        raise WorkspaceError(_explain(error, work_dir)) from error


def _sync_files(lessons_dir: Path, lessons: list[Path], work_dir: Path, today: date) -> Report:
    work_dir.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(work_dir)
    known = _read_state(work_dir)
    before = json.dumps(known, sort_keys=True)
    report = Report()
    for relative in lessons:
        content = handed_out((lessons_dir / relative).read_bytes())
        _sync_one(relative, content, work_dir, known, report, today)
    if json.dumps(known, sort_keys=True) != before:
        # Written last: if we are stopped before, the copies equal their sources, which the next run sees.
        _write(work_dir / STATE_NAME, json.dumps({"version": 1, "files": known}, indent=1).encode())
    return report


def _sync_one(
    relative: Path, content: bytes, work_dir: Path, known: dict[str, dict[str, str]], report: Report, today: date
) -> None:
    name, copy = relative.as_posix(), work_dir / relative
    current = {"source": _sha256(content), "cells": _sha256(_cells(content))}
    entry = known.get(name, {})
    if not os.path.lexists(copy):
        _write(copy, content)
        report.added.append(name)
        known[name] = current
        return
    mine = copy.read_bytes() if copy.is_file() else None
    cells = None if mine is None else _sha256(_cells(mine))
    source_moved = entry.get("source") != current["source"]
    if mine == content or (not entry and cells == current["cells"]):
        known[name] = current
    elif cells is not None and cells == entry.get("cells"):
        if source_moved:
            _write(copy, content)
            report.refreshed.append(name)
            known[name] = current
    else:
        report.kept.append(name)
        if source_moved and entry.get("offered") != current["source"]:
            new_name = _put_beside(copy, content, today)
            if new_name:
                report.beside.append((name, (relative.parent / new_name).as_posix()))
            known[name] = {**entry, "offered": current["source"]}


def handed_out(content: bytes) -> bytes:
    """A lesson as a learner gets it: without the outputs of cells tagged ``hide-answer``, which ask for a guess first.

    Cells tagged ``fold-source`` come folded, since their code would tell: they run as they are, and a click opens
    them. Other files, and lessons with nothing to hide, stay as they are.
    """
    try:
        notebook = json.loads(content)
        tagged = [(cell, cell["metadata"].get("tags", [])) for cell in notebook["cells"]]
        hidden = [cell for cell, tags in tagged if _HIDDEN in tags and cell["outputs"]]
        folded = [cell for cell, tags in tagged if _FOLDED in tags]
    except (ValueError, KeyError, TypeError, AttributeError):
        return content
    if not hidden and not folded:
        return content
    for cell in hidden:
        cell["outputs"], cell["execution_count"] = [], None
    for cell in folded:
        cell["metadata"]["jupyter"] = {"source_hidden": True}
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def _cells(content: bytes) -> bytes:
    """What a learner can change in a file: of a notebook its cells, of anything else all of it."""
    try:
        return json.dumps(json.loads(content)["cells"], sort_keys=True).encode()
    except (ValueError, KeyError, TypeError):
        return content


def _put_beside(copy: Path, content: bytes, today: date) -> str | None:
    """Write the new lesson under a free name next to the learner's; None if an earlier run did."""
    for earlier in copy.parent.glob(f"{_glob_escape(copy.stem)}.new-*{copy.suffix}"):
        if earlier.is_file() and earlier.read_bytes() == content:
            return None
    stem = f"{copy.stem}.new-{today:%Y%m%d}"
    target, number = copy.with_name(stem + copy.suffix), 1
    while os.path.lexists(target):
        number += 1
        target = copy.with_name(f"{stem}-{number}{copy.suffix}")
    _write(target, content)
    return target.name


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content)


def write_whole(target: Path, content: bytes) -> None:
    """Write a file wholly or not at all, whatever happens on the way."""
    part = target.with_name(f".{target.name}.{os.getpid()}{_PART_SUFFIX}")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _remove_leftovers(work_dir: Path) -> None:
    """Delete what a killed run left half-written; a minute's grace, should one be at work right now."""
    for part in work_dir.glob(f".*{_PART_SUFFIX}"):
        if time.time() - part.stat().st_mtime > 60:
            part.unlink()


def _lesson_files(lessons_dir: Path) -> Iterator[Path]:
    """Everything a learner gets, relative to the folder; sources, caches and hidden files stay behind."""
    for path in lessons_dir.rglob("*"):
        relative = path.relative_to(lessons_dir)
        hidden = any(part.startswith(".") or part in _NOT_LESSONS for part in relative.parts)
        if path.is_file() and not hidden:
            yield relative


def _read_state(work_dir: Path) -> dict[str, dict[str, str]]:
    """What earlier runs copied; empty if the record is lost, so that existing files count as the learner's."""
    try:
        record: Any = json.loads((work_dir / STATE_NAME).read_bytes())
        files = record["files"].items()
        return {str(name): {str(k): str(v) for k, v in entry.items()} for name, entry in files}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _overlap(lessons_dir: Path, work_dir: Path) -> bool:
    lessons, work = lessons_dir.resolve(), work_dir.resolve()
    return lessons == work or lessons in work.parents


def _explain(error: OSError, work_dir: Path) -> str:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return f"the disk is full: {work_dir} holds what fitted, no file is damaged; make room and run it again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return f"cannot write in {work_dir} ({error.strerror}); choose another folder with --work FOLDER"
    return f"cannot bring {work_dir} up to date: {error}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _glob_escape(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _listed(names: list[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
