"""course.py: set-up that recovers from anything, and a summary that hides nothing.

Set-up is run for real, with a stand-in course that builds without a network in a second or two; only the
failures that need a broken machine are imitated.
"""

import ast
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = (ROOT / "course.py").read_text(encoding="utf-8")
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}

# A build backend in the stand-in course itself, so that `pip install -e .[test]` needs nothing from elsewhere.
STAND_IN_BACKEND = """
import pathlib, time, zipfile

def build_editable(folder, settings=None, metadata=None):
    pathlib.Path("building").touch()
    while pathlib.Path("slow").exists():
        time.sleep(0.1)
    name = "standin-1.0-py3-none-any.whl"
    info = "standin-1.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("standin.py", "ready = True")
        wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: standin\\nVersion: 1.0\\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any")
        wheel.writestr(info + "/RECORD", "")
    return name

def build_wheel(folder, settings=None, metadata=None):
    return build_editable(folder)
"""
STAND_IN_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "standin"
version = "1.0"
"""


@pytest.fixture(scope="module")
def course() -> ModuleType:
    spec = importlib.util.spec_from_file_location("course_under_test", ROOT / "course.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------------------- the file itself


def test_old_pythons_can_parse_the_file_and_so_reach_the_message() -> None:
    ast.parse(SOURCE, feature_version=(3, 6))
    assert "from __future__" not in SOURCE  # unknown features are a SyntaxError too


def test_only_the_standard_library_is_imported() -> None:
    tree = ast.parse(SOURCE)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= set(sys.stdlib_module_names)


def test_old_python_is_refused_with_the_fix(
    course: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(course.sys, "version_info", (3, 10, 4))
    assert course.main(["lab"]) == 1
    told = capsys.readouterr().out
    assert "3.10" in told
    assert "3.11 or newer" in told
    assert "fix:" in told


# ------------------------------------------------------------------------------------------- set-up, for real


def make_checkout(folder: Path) -> Path:
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "course.py", folder)
    (folder / "pyproject.toml").write_text(STAND_IN_PYPROJECT)
    (folder / "constraints.txt").write_text("# nothing to pin\n")
    (folder / "backend.py").write_text(STAND_IN_BACKEND)
    return folder


def run_course(checkout: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, **OFFLINE, **variables}
    command = [sys.executable, "course.py", *arguments]
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout, in a path with a space, whose set-up has run."""
    checkout = make_checkout(tmp_path_factory.mktemp("a b") / "course")
    ran = run_course(checkout, "setup")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return checkout


@pytest.fixture
def checkout(made: Path) -> Iterator[Path]:
    """The same checkout; whatever a test breaks is set up again by the next."""
    yield made
    for name in ("slow", "building"):
        (made / name).unlink(missing_ok=True)


def has_the_course(course: ModuleType, checkout: Path) -> bool:
    python = course.Environment(checkout).python
    return subprocess.call([str(python), "-c", "import standin; assert standin.ready"]) == 0


@pytest.mark.slow
def test_setup_installs_the_course_and_runs_again_in_under_a_second(course: ModuleType, checkout: Path) -> None:
    assert has_the_course(course, checkout)
    began = time.monotonic()
    ran = run_course(checkout, "setup")
    assert ran.returncode == 0
    assert "Installing" not in ran.stdout
    assert time.monotonic() - began < 1


@pytest.mark.slow
def test_changed_pins_are_installed(course: ModuleType, checkout: Path) -> None:
    (checkout / "constraints.txt").write_text(f"# changed at {time.time()}\n")
    assert course.Environment(checkout).state() == "outdated"
    assert "Installing" in run_course(checkout, "setup").stdout
    assert course.Environment(checkout).state() == "ready"


@pytest.mark.slow
def test_half_deleted_environment_is_made_anew(course: ModuleType, checkout: Path) -> None:
    environment = course.Environment(checkout)
    run_course(checkout, "setup")
    shutil.rmtree(environment.packages / "pip")
    assert environment.state() == "damaged"
    ran = run_course(checkout, "setup")
    assert ran.returncode == 0, ran.stdout
    assert "making it anew" in ran.stdout
    assert has_the_course(course, checkout)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends Ctrl-C in the POSIX way")
def test_ctrl_c_during_setup_ends_politely_and_the_next_run_finishes(course: ModuleType, checkout: Path) -> None:
    (checkout / "constraints.txt").write_text(f"# changed at {time.time()}\n")
    (checkout / "building").unlink(missing_ok=True)
    (checkout / "slow").touch()
    env = {**os.environ, **OFFLINE}
    command = [sys.executable, "course.py", "setup"]
    running = subprocess.Popen(
        command,
        cwd=checkout,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (checkout / "building").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    told, _ = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "run the same command again" in told
    assert "Traceback" not in told
    assert course.Environment(checkout).state() == "outdated"
    (checkout / "slow").unlink()
    assert run_course(checkout, "setup").returncode == 0
    assert has_the_course(course, checkout)


@pytest.mark.slow
def test_failed_install_shows_the_cause_the_fix_and_the_log(course: ModuleType, checkout: Path) -> None:
    original = (checkout / "pyproject.toml").read_text()
    (checkout / "pyproject.toml").write_text(original.replace("requires = []", 'requires = ["no-such-package"]'))
    try:
        ran = run_course(checkout, "setup")
    finally:
        (checkout / "pyproject.toml").write_text(original)
    assert ran.returncode == 1
    assert "installing the packages failed" in ran.stdout
    assert "no-such-package" in ran.stdout
    assert "fix: use Python 3.11" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
    assert "no-such-package" in course.Environment(checkout).log.read_text()


# ------------------------------------------------------------------------------------------- the environment's state


def imitate(course: ModuleType, root: Path) -> Any:
    """An environment that looks finished, without the seconds it takes to make one."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("pyproject.toml", "constraints.txt"):
        (root / name).write_text("")
    environment = course.Environment(root)
    environment.packages.mkdir(parents=True)
    environment.python.parent.mkdir(exist_ok=True)
    environment.python.touch()
    (environment.folder / "pyvenv.cfg").touch()
    for name in ("torch", "torch-2.dist-info"):
        (environment.packages / name).mkdir()
    environment.write_stamp()
    return environment


def test_what_the_learner_adds_is_no_damage(course: ModuleType, tmp_path: Path) -> None:
    environment = imitate(course, tmp_path / "course")
    (environment.packages / "learners_own").mkdir()
    assert environment.state() == "ready"


@pytest.mark.parametrize("lost", ["interpreter", "pyvenv.cfg", "package", "all packages"])
def test_lost_part_of_the_environment_is_noticed(course: ModuleType, tmp_path: Path, lost: str) -> None:
    environment = imitate(course, tmp_path / "course")
    assert environment.state() == "ready"
    if lost == "interpreter":
        environment.python.unlink()
    elif lost == "pyvenv.cfg":
        (environment.folder / lost).unlink()
    elif lost == "package":
        (environment.packages / "torch").rmdir()
    else:
        shutil.rmtree(environment.packages)
    assert environment.state() == "damaged"


def test_upgraded_package_is_brought_back_to_its_pin_without_starting_over(course: ModuleType, tmp_path: Path) -> None:
    environment = imitate(course, tmp_path / "course")
    (environment.packages / "torch-2.dist-info").rename(environment.packages / "torch-3.dist-info")
    assert environment.state() == "outdated"


def test_moved_checkout_is_set_up_again(course: ModuleType, tmp_path: Path) -> None:
    imitate(course, tmp_path / "course")
    (tmp_path / "course").rename(tmp_path / "moved")
    assert course.Environment(tmp_path / "moved").state() == "outdated"


@pytest.mark.parametrize("stamp", ["", "{half", "[]", '{"made_for": "x"}', '{"made_for": "x", "installed": 3}'])
def test_missing_or_damaged_stamp_means_unfinished(course: ModuleType, tmp_path: Path, stamp: str) -> None:
    environment = imitate(course, tmp_path / "course")
    environment.stamp.write_text(stamp)
    assert environment.state() == "unfinished"


def test_folder_that_is_no_environment_is_never_deleted(
    course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "thesis.txt").write_text("important")
    monkeypatch.setattr(course, "ROOT", tmp_path)
    assert course.main(["setup"]) == 1
    assert "move or delete it" in capsys.readouterr().out
    assert (tmp_path / ".venv" / "thesis.txt").read_text() == "important"


def test_environment_that_runs_the_command_is_not_deleted_under_it(
    course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = imitate(course, tmp_path / "course")
    monkeypatch.setattr(course.sys, "prefix", str(environment.folder))
    with pytest.raises(course.Trouble) as trouble:
        course.remove_folder(environment.folder)
    assert "deactivate" in trouble.value.fix
    assert environment.python.exists()


def test_package_that_pip_did_not_finish_is_forgotten_so_that_pip_installs_it_again(
    course: ModuleType, tmp_path: Path
) -> None:
    for name in ("whole-1.dist-info", "half-1.dist-info"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "METADATA").touch()
    (tmp_path / "whole-1.dist-info" / "INSTALLER").touch()
    course.forget_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole-1.dist-info"]


# ------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("printed", "advice"),
    [
        ("The virtual environment was not created because ensurepip is not available.", "python3-venv"),
        ("/usr/bin/python3: No module named venv", "python3-venv"),
        ("OSError: [Errno 28] No space left on device", "free at least"),
        (
            "WARNING: Retrying (Retry(total=4)) after NewConnectionError\nERROR: No matching distribution",
            "PIP_FIND_LINKS",
        ),
        ("ssl.SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED\nNo matching distribution", "PIP_CERT"),
        ("PermissionError: [Errno 13] Permission denied: '.venv/bin/x'", "close JupyterLab"),
        ("OSError: [WinError 206] The filename or extension is too long", "short path"),
        ("ERROR: Could not find a version that satisfies torch==2.13.0\nNo matching distribution", "use Python 3.11"),
        ("Segmentation fault", "setup.log"),
    ],
)
def test_failure_names_the_fix(course: ModuleType, printed: str, advice: str) -> None:
    trouble = course.failure("installing", printed)
    assert advice in trouble.fix
    assert printed.splitlines()[-1] in trouble.what


def test_console_without_the_characters_that_pip_draws_with_still_gets_the_message() -> None:
    code = "import course; course.prepare = lambda _: (_ for _ in ()).throw(course.Trouble('╰─> why', 'do this')); "
    ran = subprocess.run(
        [sys.executable, "-c", code + "course.main(['setup'])"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
        capture_output=True,
        text=True,
    )
    assert "fix: do this" in ran.stdout, ran.stderr


def test_missing_venv_module_stops_setup_before_anything_is_made(
    course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "base_python", lambda: shutil.which("false") or "false")
    assert course.main(["setup"]) == 1
    assert "python3-venv" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_full_disk_stops_setup_before_anything_is_made(
    course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    assert course.main(["setup"]) == 1
    assert "make room" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_packages_once_and_says_what_pip_does(course: ModuleType, tmp_path: Path) -> None:
    progress = course.Progress(140, tmp_path)
    for line in (
        "Collecting torch==2.13.0 (from -c constraints.txt (line 3))\n",
        "  Downloading torch-2.13.0-cp311-none.whl (190.4 MB)\n",
        "Collecting typing_extensions>=4.10 (from torch)\n",
        "Requirement already satisfied: typing-extensions in ./.venv/lib (4.16.0)\n",
        "WARNING: something else\n",
    ):
        progress.feed(line)
    assert "found 2 of about 140" in progress.text()
    progress.feed("  Downloading somewhere/torch-2.13.0.whl (190.4 MB)\n")
    assert "downloading torch-2.13.0.whl (190.4 MB)" in progress.text()
    progress.feed("Installing collected packages: a, b, c\n")
    (tmp_path / "a-1.dist-info").mkdir()
    (tmp_path / "a-1.dist-info" / "INSTALLER").touch()
    assert "installing: 1 of 3" in progress.text()


def test_doctor_prints_each_check_with_its_fix_and_fails_if_one_is_broken(
    course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(course, "ROOT", tmp_path)
    assert course.main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "FIX  the environment in .venv is absent" in told
    assert "-> python course.py setup" in told
    fine = [lambda environment: course.Finding("ok", "all well"), lambda environment: course.Finding("note", "so so")]
    monkeypatch.setattr(course, "CHECKS", fine)
    assert course.main(["doctor"]) == 0


def test_doctor_finds_a_work_folder_that_cannot_be_written(
    course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(course.tempfile, "TemporaryFile", refuse)
    finding = course.check_writable(course.Environment(tmp_path))
    assert finding.broken
    assert "--work" in finding.fix


def test_long_path_is_found_on_windows_only(
    course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = course.Environment(tmp_path / ("x" * 80))
    assert not course.check_path_length(environment).broken or os.name == "nt"
    monkeypatch.setattr(course, "os", type("os", (), {"name": "nt"}))
    assert course.check_path_length(environment).broken


# ------------------------------------------------------------------------------------------- test


@pytest.fixture
def steps(course: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Exit codes that the steps will have, 0 unless set; set-up and Chromium are there."""
    codes: dict[str, int] = {}
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01.ipynb").touch()

    def call(command: list[str], **options: Any) -> int:
        home = Path(options["env"]["KDLAB_HOME"])
        assert home.is_dir()
        assert not list(home.iterdir())  # no step finds what another one left
        (home / "progress.sqlite3").touch()
        name = next(
            step.name for step in reversed(course.STEPS) if command[1 : 1 + len(step.arguments)] == step.arguments
        )
        return codes.get(name, 0)

    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "prepare", lambda environment: None)
    monkeypatch.setattr(course, "find_chromium", lambda environment: "chromium")
    monkeypatch.setattr(course.subprocess, "call", call)
    monkeypatch.delenv("CI", raising=False)
    return codes


def test_all_steps_passing_is_a_pass(
    course: ModuleType, steps: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert course.main(["test"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "steps: 6 passed, 0 failed, 0 skipped"


@pytest.mark.parametrize("broken", ["lint", "format", "types", "unit", "lessons", "browser"])
def test_failing_step_fails_the_run_but_not_the_steps_after_it(
    course: ModuleType, steps: dict[str, int], broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps[broken] = 1
    assert course.main(["test"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "steps: 5 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize("empty", ["unit", "lessons", "browser"])
def test_step_without_any_test_is_a_failure(
    course: ModuleType, steps: dict[str, int], empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps[empty] = 5
    assert course.main(["test"]) == 1
    assert "FAILED: no test was found" in capsys.readouterr().out


def test_missing_lessons_are_a_failure_with_the_fix(
    course: ModuleType, steps: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notebooks" / "01.ipynb").unlink()
    assert course.main(["test", "--only", "lessons"]) == 1
    assert "python course.py notebooks" in capsys.readouterr().out


@pytest.mark.parametrize(("on_ci", "code", "word"), [(False, 0, "skipped"), (True, 1, "FAILED")])
def test_missing_chromium_is_a_visible_skip_but_a_failure_on_ci(
    course: ModuleType,
    steps: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    on_ci: bool,
    code: int,
    word: str,
) -> None:
    monkeypatch.setattr(course, "find_chromium", lambda environment: None)
    if on_ci:
        monkeypatch.setenv("CI", "true")
    assert course.main(["test"]) == code
    assert f"{word}: no Chromium. Debian or Ubuntu: sudo apt install chromium" in capsys.readouterr().out


def test_steps_can_be_chosen_and_listed(
    course: ModuleType, steps: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert course.main(["test", "--only", "lint", "--only", "types"]) == 0
    assert "steps: 2 passed" in capsys.readouterr().out
    assert course.main(["test", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [step.name for step in course.STEPS]
    with pytest.raises(SystemExit):
        course.main(["test", "--only", "nonsense"])


# ------------------------------------------------------------------------------------------- handing over


@pytest.mark.parametrize(
    ("given", "handed_over"),
    [
        (["lab", "--no-browser", "--port", "9000"], ["-m", "kdlab", "lab", "--no-browser", "--port", "9000"]),
        (["lab", "--help"], ["-m", "kdlab", "lab", "--help"]),
        (["notebooks", "01_soft_labels"], ["-m", "kdlab.authoring", "01_soft_labels"]),
    ],
)
def test_arguments_are_handed_over(
    course: ModuleType, monkeypatch: pytest.MonkeyPatch, given: list[str], handed_over: list[str]
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(course, "prepare", lambda environment: None)
    monkeypatch.setattr(course, "run_inside", lambda environment, arguments: seen.append(arguments) or 7)
    assert course.main(given) == 7
    assert seen == [handed_over]


def test_unknown_argument_is_refused(course: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        course.main(["doctor", "--deep"])
    assert "--deep" in capsys.readouterr().err


def test_stamp_is_json_that_names_what_was_installed(course: ModuleType, tmp_path: Path) -> None:
    environment = imitate(course, tmp_path / "course")
    assert json.loads(environment.stamp.read_text())["installed"] == ["torch", "torch-2.dist-info"]
