"""The kdlab command: what it opens, where, and what it says when it cannot."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary

import kdlab
from kdlab import cli

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two lessons, in which the running kdlab believes itself to be."""
    root = tmp_path / "my course"
    (root / "kdlab").mkdir(parents=True)
    (root / "notebooks").mkdir()
    for name in ("01_soft_labels", "10_text_classifier"):
        (root / "notebooks" / f"{name}.ipynb").write_text("{}")
    for name in ("course.py", "pyproject.toml"):
        (root / name).touch()
    monkeypatch.setattr(cli, "__file__", str(root / "kdlab" / "cli.py"))
    return root


@pytest.fixture(autouse=True)
def jupyter_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jupyter's own folder, where signatures are kept, away from the real one."""
    folder = tmp_path / "jupyter"
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been started."""
    commands: list[list[str]] = []

    def record(command: list[str]) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(cli, "_run_until_stopped", record)
    return commands


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"kdlab {kdlab.__version__}\n"


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "lab" in capsys.readouterr().out


def test_lab_copies_the_lessons_and_opens_the_first(checkout: Path, started: list[list[str]]) -> None:
    assert cli.main(["lab"]) == 0
    assert sorted(path.name for path in (checkout / "work").glob("*.ipynb")) == [
        "01_soft_labels.ipynb",
        "10_text_classifier.ipynb",
    ]
    assert "--LabApp.default_url=/lab/tree/01_soft_labels.ipynb" in started[0]
    assert f"--ServerApp.root_dir={checkout / 'work'}" in started[0]


@pytest.mark.parametrize("name", ["10", "10_text_classifier", "10_text_classifier.ipynb"])
def test_lesson_can_be_named_in_short(checkout: Path, started: list[list[str]], name: str) -> None:
    assert cli.main(["lab", "--lesson", name]) == 0
    assert "--LabApp.default_url=/lab/tree/10_text_classifier.ipynb" in started[0]


@pytest.mark.parametrize(("name", "problem"), [("99", "is no lesson"), ("", "several")])
def test_unclear_lesson_names_the_choices(
    checkout: Path, started: list[list[str]], name: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["lab", "--lesson", name]) == 1
    told = capsys.readouterr().err
    assert problem in told
    assert "01_soft_labels.ipynb" in told
    assert not (checkout / "work").exists()


def test_copies_are_trusted_and_a_learners_own_notebook_never_is(
    checkout: Path, started: list[list[str]], tmp_path: Path
) -> None:
    lesson = nbformat.v4.new_notebook(cells=[_cell("1 + 1")])
    nbformat.write(lesson, checkout / "notebooks" / "01_soft_labels.ipynb")
    own = tmp_path / "work" / "10_text_classifier.ipynb"
    own.parent.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[_cell("my own")]), own)
    assert cli.main(["lab", "--work", str(own.parent)]) == 0
    notary = NotebookNotary()
    assert notary.check_signature(nbformat.read(own.parent / "01_soft_labels.ipynb", as_version=4))
    assert not notary.check_signature(nbformat.read(own, as_version=4))


def _cell(source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, outputs=[nbformat.v4.new_output("stream", text=source)])


def test_a_failing_signature_is_told_and_stops_nothing(
    checkout: Path, started: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(NotebookNotary, "sign", fail)
    nbformat.write(nbformat.v4.new_notebook(), checkout / "notebooks" / "01_soft_labels.ipynb")
    assert cli.main(["lab"]) == 0
    assert started
    assert "disk full; run a cell" in capsys.readouterr().out


def test_lesson_number_needs_no_zero_in_front(checkout: Path, started: list[list[str]]) -> None:
    assert cli.main(["lab", "--lesson", "1"]) == 0
    assert "--LabApp.default_url=/lab/tree/01_soft_labels.ipynb" in started[0]


def test_work_folder_can_be_chosen(checkout: Path, started: list[list[str]], tmp_path: Path) -> None:
    assert cli.main(["lab", "--work", str(tmp_path / "else where")]) == 0
    assert (tmp_path / "else where" / "01_soft_labels.ipynb").exists()
    assert not (checkout / "work").exists()


def test_installed_package_uses_its_own_lessons_and_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[list[str]]
) -> None:
    site = tmp_path / "site-packages"
    (site / "kdlab" / "_lessons").mkdir(parents=True)
    (site / "kdlab" / "_lessons" / "01_soft_labels.ipynb").write_text("{}")
    (site / "notebooks").mkdir()  # another package of that name must not be taken for the course
    (site / "notebooks" / "stranger.ipynb").write_text("{}")
    monkeypatch.setattr(cli, "__file__", str(site / "kdlab" / "cli.py"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert cli.main(["lab"]) == 0
    assert [path.name for path in (tmp_path / "here" / "kdlab-work").glob("*.ipynb")] == ["01_soft_labels.ipynb"]


def test_no_lessons_is_told_with_the_fix(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (checkout / "notebooks").glob("*.ipynb"):
        path.unlink()
    assert cli.main(["lab"]) == 1
    assert "python course.py notebooks" in capsys.readouterr().err


def test_wanted_port_that_is_taken_is_an_error_that_names_it(
    checkout: Path, taken_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["lab", "--port", str(taken_port)]) == 1
    told = capsys.readouterr().err
    assert f"port {taken_port} is in use" in told
    assert "--port" in told


def test_default_port_that_is_taken_gives_the_next_free_one(
    taken_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "DEFAULT_PORT", taken_port)
    assert cli.choose_port(None) > taken_port
    assert f"Port {taken_port} is in use" in capsys.readouterr().out


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "8888.0"])
def test_impossible_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["lab", f"--port={port}"])
    assert "65535" in capsys.readouterr().err


def test_missing_jupyterlab_is_told_with_the_fix(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["lab"]) == 1
    assert "python course.py lab" in capsys.readouterr().err


def test_unusable_work_folder_is_told(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["lab", "--work", str(tmp_path / "file")]) == 1
    assert "--work FOLDER" in capsys.readouterr().err


def test_command_needs_no_torch() -> None:
    code = "import sys, kdlab.cli; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "False"


# ------------------------------------------------------------------------------------------- a real JupyterLab


def wait_for(look: Callable[[], str | None], what: str, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {seconds:.0f} s")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends Ctrl-C in the POSIX way")
def test_real_lab_is_quiet_uses_this_interpreter_and_ends_on_one_ctrl_c(tmp_path: Path) -> None:
    work = tmp_path / "my work"
    hijack = tmp_path / "home" / "data" / "kernels" / "python3"
    hijack.mkdir(parents=True)
    wrong = {"argv": ["false", "{connection_file}"], "display_name": "wrong", "language": "python"}
    (hijack / "kernel.json").write_text(json.dumps(wrong))
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / "home" / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    env = {**os.environ, **folders, "JUPYTER_PATH": str(tmp_path / "home" / "data"), "PYTHONUNBUFFERED": "1"}
    lessons = tmp_path / "course" / "notebooks"
    lessons.mkdir(parents=True)
    (lessons / "01_soft_labels.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    start = (
        "import sys; from pathlib import Path; from kdlab import cli; cli.find_lessons = lambda: Path(sys.argv[1]); "
        "sys.exit(cli.main(['lab', '--no-browser', '--work', sys.argv[2]]))"
    )
    log = tmp_path / "log"
    with log.open("w") as output:
        command = [sys.executable, "-c", start, str(lessons), str(work)]
        terminal, stdin = os.openpty()  # with a terminal, Jupyter would ask "Shut down (y/[n])?" on Ctrl-C
        lab = subprocess.Popen(
            command, env=env, stdin=stdin, stdout=output, stderr=output, cwd=ROOT, start_new_session=True
        )
    try:
        pattern = re.compile(r"http://127\.0\.0\.1:(\d+)(/lab/tree/01_soft_labels\.ipynb)\?token=(\w+)")
        wait_for(lambda: pattern.search(log.read_text()) and "yes", "address of the first lesson")
        port, page, token = pattern.search(log.read_text()).groups()

        def get(path: str) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}?token={token}") as answer:
                return answer.read().decode()

        kernels = json.loads(get("/api/kernelspecs"))["kernelspecs"]
        assert {name: spec["spec"]["argv"][0] for name, spec in kernels.items()} == {"python3": sys.executable}
        assert "@jupyterlab/apputils-extension:announcements" in get(page)  # among the disabled extensions
        assert re.search(r'"news":\s*\{"disabled":\s*true\}', get(page))
        assert json.loads(get("/lab/api/update")) == {"notification": None}
        assert "01_soft_labels.ipynb" in get("/api/contents")
        os.killpg(lab.pid, signal.SIGINT)
        assert lab.wait(timeout=10) == 0  # by itself: kdlab would insist after 15 s
    finally:
        if lab.poll() is None:
            os.killpg(lab.pid, signal.SIGKILL)
        os.close(terminal)
        os.close(stdin)
    assert "Traceback" not in log.read_text()


def test_a_bare_number_opens_the_first_of_several_notebooks(tmp_path: Path) -> None:
    for name in ("02a_loss.ipynb", "02b_relatives.ipynb", "03_images.ipynb"):
        (tmp_path / name).touch()
    assert cli.choose_lesson(tmp_path, "2") == "02a_loss.ipynb"
    assert cli.choose_lesson(tmp_path, "02b") == "02b_relatives.ipynb"
    assert cli.choose_lesson(tmp_path, "03") == "03_images.ipynb"
