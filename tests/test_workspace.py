"""The learner's copies of the lessons: every way in which both sides can have moved."""

import errno
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from kdlab import workspace
from kdlab.workspace import STATE_NAME, Report, WorkspaceError, sync

DAY = date(2026, 3, 1)
LESSON = "01_soft_labels.ipynb"


@pytest.fixture
def lessons(tmp_path: Path) -> Path:
    folder = tmp_path / "note books"
    (folder / "src").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "src" / "01_soft_labels.py").write_text("# the source")
    (folder / "assets" / "teacher.png").write_bytes(b"\x89PNG one")
    (folder / LESSON).write_text("lesson one")
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(errors="replace")
        for path in folder.rglob("*")
        if path.is_file() and path.name != STATE_NAME
    }


def test_first_run_copies_lessons_and_assets_but_not_sources(lessons: Path, work: Path) -> None:
    report = sync(lessons, work)
    assert set(files(work)) == {LESSON, "assets/teacher.png"}
    assert (work / LESSON).read_text() == "lesson one"
    assert report.added == [LESSON, "assets/teacher.png"]


def test_second_run_does_nothing(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    times = {path: path.stat().st_mtime_ns for path in work.rglob("*")}
    assert sync(lessons, work) == Report()
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*")} == times


def test_untouched_copy_is_refreshed(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    (lessons / LESSON).write_text("lesson two")
    (lessons / "assets" / "teacher.png").write_bytes(b"\x89PNG two")
    report = sync(lessons, work)
    assert (work / LESSON).read_text() == "lesson two"
    assert (work / "assets" / "teacher.png").read_bytes() == b"\x89PNG two"
    assert report.refreshed == [LESSON, "assets/teacher.png"]


def test_changed_copy_is_kept(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    (work / LESSON).write_text("mine")
    report = sync(lessons, work)
    assert files(work) == {LESSON: "mine", "assets/teacher.png": files(lessons)["assets/teacher.png"]}
    assert (report.kept, report.lines()) == ([LESSON], [])


def test_answers_to_a_guess_are_handed_out_without_their_outputs(lessons: Path, work: Path) -> None:
    output = {"output_type": "stream", "name": "stdout", "text": "42"}
    cells = [
        {"cell_type": "code", "metadata": {"tags": tags}, "source": "6 * 7", "outputs": [output], "execution_count": 3}
        for tags in (["claim", "hide-answer"], ["claim"])
    ]
    (lessons / LESSON).write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    sync(lessons, work)
    hidden, shown = json.loads((work / LESSON).read_text(encoding="utf-8"))["cells"]
    assert (hidden["outputs"], hidden["execution_count"]) == ([], None)
    assert shown == cells[1]
    assert hidden["source"] == cells[0]["source"]
    assert sync(lessons, work) == Report()  # what was handed out counts as untouched


def test_code_that_would_tell_is_handed_out_folded_and_whole(lessons: Path, work: Path) -> None:
    cell = {"cell_type": "code", "source": "6 * 7", "outputs": [], "execution_count": 3}
    cells = [{**cell, "metadata": {"tags": ["fold-source"]}}, {**cell, "metadata": {}}]
    (lessons / LESSON).write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    sync(lessons, work)
    folded, shown = json.loads((work / LESSON).read_text(encoding="utf-8"))["cells"]
    assert folded["metadata"]["jupyter"] == {"source_hidden": True}
    assert folded["source"] == "6 * 7"
    assert shown == cells[1]


def test_notebook_that_was_only_opened_is_refreshed_but_one_that_was_run_is_kept(lessons: Path, work: Path) -> None:
    def write(path: Path, text: str, count: int | None, **metadata: object) -> None:
        cell = {"cell_type": "code", "source": text, "outputs": [], "execution_count": count}
        path.write_text(json.dumps({"metadata": metadata, "cells": [cell], "nbformat": 4}))

    write(lessons / LESSON, "one", 1)
    (lessons / "02_b.ipynb").write_bytes((lessons / LESSON).read_bytes())
    sync(lessons, work)
    write(work / LESSON, "one", 1, language_info={"version": "3.14.0"})
    write(work / "02_b.ipynb", "one", 7)
    assert sync(lessons, work).kept == ["02_b.ipynb"]
    write(lessons / LESSON, "two", 1)
    write(lessons / "02_b.ipynb", "two", 1)
    report = sync(lessons, work)
    assert (report.refreshed, report.kept) == ([LESSON], ["02_b.ipynb"])
    assert (work / LESSON).read_bytes() == (lessons / LESSON).read_bytes()


def test_lost_record_does_not_put_a_lesson_beside_its_equal(lessons: Path, work: Path) -> None:
    content: dict[str, object] = {"cells": [{"source": "one"}], "metadata": {}}
    (lessons / LESSON).write_text(json.dumps(content))
    sync(lessons, work)
    (work / STATE_NAME).unlink()
    (work / LESSON).write_text(json.dumps({**content, "metadata": {"language_info": {}}}))  # opened, not changed
    assert sync(lessons, work) == Report()


def test_both_changed_keeps_the_learners_and_puts_the_new_one_beside(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    (work / LESSON).write_text("mine")
    (lessons / LESSON).write_text("lesson two")
    report = sync(lessons, work, today=DAY)
    assert (work / LESSON).read_text() == "mine"
    assert (work / "01_soft_labels.new-20260301.ipynb").read_text() == "lesson two"
    assert report.beside == [(LESSON, "01_soft_labels.new-20260301.ipynb")]
    assert "01_soft_labels.new-20260301.ipynb" in "\n".join(report.lines())


def test_new_version_is_put_beside_once_even_if_the_learner_deletes_it(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    (work / LESSON).write_text("mine")
    (lessons / LESSON).write_text("lesson two")
    sync(lessons, work, today=DAY)
    before = files(work)
    assert sync(lessons, work, today=date(2026, 3, 2)).beside == []
    assert files(work) == before
    (work / "01_soft_labels.new-20260301.ipynb").unlink()
    assert sync(lessons, work, today=date(2026, 3, 3)).beside == []
    assert set(files(work)) == {LESSON, "assets/teacher.png"}


def test_second_update_on_one_day_takes_a_free_name(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    (work / LESSON).write_text("mine")
    for text in ("lesson two", "lesson three"):
        (lessons / LESSON).write_text(text)
        sync(lessons, work, today=DAY)
    assert (work / "01_soft_labels.new-20260301.ipynb").read_text() == "lesson two"
    assert (work / "01_soft_labels.new-20260301-2.ipynb").read_text() == "lesson three"


def test_asset_changed_on_both_sides_is_put_beside_in_its_folder(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    (work / "assets" / "teacher.png").write_bytes(b"my drawing")
    (lessons / "assets" / "teacher.png").write_bytes(b"\x89PNG two")
    assert sync(lessons, work, today=DAY).beside == [("assets/teacher.png", "assets/teacher.new-20260301.png")]
    assert (work / "assets" / "teacher.png").read_bytes() == b"my drawing"


def test_learner_who_takes_the_new_version_follows_updates_again(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    (work / LESSON).write_text("mine")
    (lessons / LESSON).write_text("lesson two")
    sync(lessons, work, today=DAY)
    (work / "01_soft_labels.new-20260301.ipynb").replace(work / LESSON)
    sync(lessons, work)
    (lessons / LESSON).write_text("lesson three")
    assert sync(lessons, work).refreshed == [LESSON]


def test_deleted_lesson_comes_back_fresh(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    (work / LESSON).unlink()
    (lessons / LESSON).write_text("lesson two")
    assert sync(lessons, work).added == [LESSON]
    assert (work / LESSON).read_text() == "lesson two"


def test_lesson_removed_from_the_course_stays(lessons: Path, work: Path) -> None:
    (lessons / "02_old.ipynb").write_text("old")
    sync(lessons, work)
    (lessons / "02_old.ipynb").unlink()
    sync(lessons, work)
    assert (work / "02_old.ipynb").read_text() == "old"


def test_learners_own_file_with_the_name_of_a_new_lesson_is_kept(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    (work / "02_kd_loss.ipynb").write_text("my notes")
    (lessons / "02_kd_loss.ipynb").write_text("lesson")
    report = sync(lessons, work, today=DAY)
    assert (work / "02_kd_loss.ipynb").read_text() == "my notes"
    assert report.beside == [("02_kd_loss.ipynb", "02_kd_loss.new-20260301.ipynb")]
    assert sync(lessons, work, today=DAY).beside == []


def test_learners_folder_with_the_name_of_a_lesson_is_kept(lessons: Path, work: Path) -> None:
    (work / LESSON).mkdir(parents=True)
    assert sync(lessons, work, today=DAY).beside == [(LESSON, "01_soft_labels.new-20260301.ipynb")]
    assert (work / LESSON).is_dir()


@pytest.mark.parametrize(
    "damage", [None, "", "{half", "[]", "null", '{"files": []}', '{"files": {"01_soft_labels.ipynb": 3}}', "\x00\xff"]
)
def test_lost_or_corrupt_record_makes_files_the_learners(lessons: Path, work: Path, damage: str | None) -> None:
    sync(lessons, work)
    (work / LESSON).write_text("perhaps mine")
    if damage is None:
        (work / STATE_NAME).unlink()
    else:
        (work / STATE_NAME).write_bytes(damage.encode("latin-1"))
    report = sync(lessons, work, today=DAY)
    assert (work / LESSON).read_text() == "perhaps mine"
    assert report.refreshed == []
    assert [name for name, _ in report.beside] == [LESSON]  # the asset equals its source, so it is not one
    (lessons / "assets" / "teacher.png").write_bytes(b"\x89PNG two")
    assert sync(lessons, work).refreshed == ["assets/teacher.png"]


@pytest.mark.parametrize("moment", ["write", "replace"])
def test_kill_while_refreshing_leaves_the_old_copy_whole_and_the_next_run_refreshes(
    lessons: Path, work: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    sync(lessons, work)
    (lessons / LESSON).write_text("lesson two")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if moment == "write" else (Path, "replace")), killed)
        with pytest.raises(KeyboardInterrupt):
            sync(lessons, work)
    assert files(work)[LESSON] == "lesson one"
    assert not list(work.glob(".*part"))
    assert sync(lessons, work).refreshed == [LESSON]


def test_kill_between_copying_and_recording_is_no_change_of_the_learners(
    lessons: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = workspace._write

    def killed_at_record(target: Path, content: bytes) -> None:
        if target.name == STATE_NAME:
            raise KeyboardInterrupt
        real(target, content)

    with monkeypatch.context() as patch:
        patch.setattr(workspace, "_write", killed_at_record)
        with pytest.raises(KeyboardInterrupt):
            sync(lessons, work)
    sync(lessons, work)
    (lessons / LESSON).write_text("lesson two")
    assert sync(lessons, work).refreshed == [LESSON]


def test_leftover_of_a_power_cut_is_swept(lessons: Path, work: Path) -> None:
    sync(lessons, work)
    leftover = work / f".{LESSON}.1{workspace._PART_SUFFIX}"
    leftover.write_text("half a les")
    os.utime(leftover, (0, 0))
    sync(lessons, work)
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "--work FOLDER"), (errno.EROFS, "--work FOLDER")],
)
def test_full_disk_or_read_only_folder_is_told_in_words(
    lessons: Path, work: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(WorkspaceError, match=said):
        sync(lessons, work)
    assert files(work) == {}


def test_work_folder_that_is_a_file_is_told(lessons: Path, work: Path) -> None:
    work.write_text("a file")
    with pytest.raises(WorkspaceError, match="--work FOLDER"):
        sync(lessons, work)


def test_lessons_folder_cannot_be_the_work_folder(lessons: Path) -> None:
    for folder in (lessons, lessons / "mine"):
        with pytest.raises(WorkspaceError, match="overlaps"):
            sync(lessons, folder)


def test_no_lessons_is_an_error_with_the_fix(tmp_path: Path, work: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkspaceError, match=r"course\.py notebooks"):
        sync(tmp_path / "empty", work)


def test_copies_of_read_only_lessons_can_be_edited(lessons: Path, work: Path) -> None:
    (lessons / LESSON).chmod(0o444)
    sync(lessons, work)
    (work / LESSON).write_text("mine")
    assert (work / LESSON).stat().st_mode & 0o200


def test_workspace_needs_only_the_standard_library() -> None:
    code = "import sys, kdlab.workspace; print(*sorted({'torch', 'numpy', 'jupyterlab'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


# ------------------------------------------------------------------------------------------- a real git pull


def git(folder: Path, *arguments: str) -> str:
    """Run git as nobody in particular, without anyone's configuration."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ["-c", "user.name=course", "-c", "user.email=course@localhost", "-c", "init.defaultBranch=main"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True, text=True).stdout


def notebook(*sources: str) -> str:
    cells = [{"cell_type": "code", "source": s, "outputs": [], "execution_count": None} for s in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def test_git_pull_never_collides_with_the_learner(tmp_path: Path) -> None:
    course, clone = tmp_path / "course", tmp_path / "clone"
    (course / "notebooks").mkdir(parents=True)
    for name in ("01_a", "02_b", "03_c"):
        (course / "notebooks" / f"{name}.ipynb").write_text(notebook(f"# {name}", "answer = ..."))
    ignored = (Path(__file__).parents[1] / ".gitignore").read_text()
    (course / ".gitignore").write_text(ignored)
    git(course, "init", "-q")
    git(course, "add", ".")
    git(course, "commit", "-q", "-m", "first")
    git(tmp_path, "clone", "-q", str(course), str(clone))
    lessons, work = clone / "notebooks", clone / "work"
    sync(lessons, work, today=DAY)

    # The learner answers in two lessons, the course changes two, one of them the same.
    for name in ("01_a", "02_b"):
        (work / f"{name}.ipynb").write_text(notebook(f"# {name}", "answer = 42"))
    for name in ("02_b", "03_c"):
        (course / "notebooks" / f"{name}.ipynb").write_text(notebook(f"# {name}, corrected", "answer = ..."))
    git(course, "commit", "-q", "-a", "-m", "second")

    git(clone, "pull", "-q")  # raises if the learner's work is in the way
    assert git(clone, "status", "--porcelain") == ""
    report = sync(lessons, work, today=DAY)
    assert report.kept == ["01_a.ipynb", "02_b.ipynb"]
    assert report.beside == [("02_b.ipynb", "02_b.new-20260301.ipynb")]
    assert report.refreshed == ["03_c.ipynb"]
    assert "answer = 42" in (work / "01_a.ipynb").read_text()
    assert "answer = 42" in (work / "02_b.ipynb").read_text()
    assert "corrected" in (work / "02_b.new-20260301.ipynb").read_text()
    assert "corrected" in (work / "03_c.ipynb").read_text()
    for path in work.glob("*.ipynb"):
        json.loads(path.read_text())  # no conflict markers: every notebook opens
