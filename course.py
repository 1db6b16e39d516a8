#!/usr/bin/env python3
"""Set up and run the kdlab course. Needs Python 3.11 or newer and nothing else: no make, no activated environment.

    python course.py lab         set up if needed, copy the lessons to work/, open JupyterLab at the first one
    python course.py test        set up if needed, then every check of the course, in about half an hour
    python course.py notebooks   execute lessons from notebooks/src into notebooks/ (all, or the ones named)
    python course.py doctor      look at each thing the course needs, and say how to fix what is missing
    python course.py setup       only the set-up, for instance before going offline

Everything is installed into .venv beside this file, at the versions in constraints.txt; delete that folder to
undo it. Each command can be run again at any time, also after it was interrupted.

The set-up uses pip, so pip's own variables work. PIP_FIND_LINKS=FOLDER takes packages from a folder of wheels
(with PIP_NO_INDEX=1, from nowhere else: set-up without a network). On Linux the usual build of PyTorch brings
gigabytes of CUDA libraries that this course does not need: to get the CPU-only build, set PIP_EXTRA_INDEX_URL to
the address that PyTorch's own "Get started" page gives for "CPU", then run the command.
"""

# This file must be *parsed* by older Pythons too, so that they reach the message about the version:
# no syntax newer than Python 3.6 in it (tests/test_course.py checks that).
import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

MINIMUM_PYTHON = (3, 11)
NEWEST_TRIED_PYTHON = (3, 14)
ROOT = Path(__file__).resolve().parent
DISK_NEEDED_GB = 3
WINDOWS_PATH_LIMIT = 260
DEEPEST_INSTALLED_PATH = 192  # characters below .venv, of the longest path that the pinned packages install
SECONDS_BETWEEN_PLAIN_LINES = 20.0


class Trouble(Exception):
    """Something that stops a command, with what to do about it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


def say(text: str = "") -> None:
    """Print at once, so that lines stay in order with those of the programs we start."""
    print(text, flush=True)


# ---------------------------------------------------------------------------------------------------------------
# The environment: one folder, one stamp that says for what it was made


class Environment:
    """The folder ``.venv`` of a checkout, and what we know about it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.log = self.folder / "setup.log"
        self.stamp = self.folder / "kdlab-stamp.json"

    @property
    def python(self) -> Path:
        """The environment's own interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def packages(self) -> Path:
        """Where pip puts packages."""
        if os.name == "nt":
            return self.folder / "Lib" / "site-packages"
        return self.folder / "lib" / "python{}.{}".format(*sys.version_info[:2]) / "site-packages"

    def wanted(self) -> str:
        """Fingerprint of everything that decides what has to be installed, and where."""
        digest = hashlib.sha256()
        for name in ("pyproject.toml", "constraints.txt"):
            digest.update(self.root.joinpath(name).read_bytes())
        digest.update("{}.{} {}".format(sys.version_info[0], sys.version_info[1], self.root).encode())
        return digest.hexdigest()

    def state(self) -> str:
        """One of "ready", "absent", "outdated", "unfinished", "damaged", "foreign"."""
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            return "foreign"
        if not self.folder.exists() or not names_in(self.folder):
            return "absent"
        if not any(self.folder.joinpath(name).exists() for name in ("pyvenv.cfg", "setup.log", self.stamp.name)):
            return "foreign"
        if not self.python.exists() or not self.folder.joinpath("pyvenv.cfg").exists() or not self.packages.is_dir():
            return "damaged"
        stamp = read_json(self.stamp)
        if not isinstance(stamp.get("installed"), list):
            return "unfinished"
        gone = set(stamp["installed"]) - names_in(self.packages)
        if any(not name.endswith(".dist-info") for name in gone):
            return "damaged"
        return "ready" if stamp.get("made_for") == self.wanted() and not gone else "outdated"

    def write_stamp(self) -> None:
        """Record that set-up came to its end, and what it left in site-packages."""
        installed = sorted(names_in(self.packages) - {"__pycache__"})
        half = self.stamp.with_name(self.stamp.name + ".part")
        half.write_text(json.dumps({"made_for": self.wanted(), "installed": installed}, indent=0), encoding="utf-8")
        half.replace(self.stamp)


def names_in(folder: Path) -> Set[str]:
    """Names of what lies directly in a folder."""
    return {path.name for path in folder.iterdir()}


def read_json(path: Path) -> Dict[str, Any]:
    """The JSON object in a file; empty when the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def prepare(environment: Environment) -> None:
    """Bring the environment to the pinned versions; returns at once when it is there already."""
    state = environment.state()
    if state == "ready":
        return
    began = time.monotonic()
    check_before_setup(environment, state)
    if state == "damaged" or not has_pip(environment):
        make_folder(environment, state)
    install(environment)
    environment.write_stamp()
    say("Set-up finished in {}.".format(clock(time.monotonic() - began)))


def check_before_setup(environment: Environment, state: str) -> None:
    """Refuse early, with a fix, what would fail late."""
    if state == "foreign":
        raise Trouble(
            "{} exists but was not made as a Python environment".format(environment.folder),
            "move or delete it, then run the same command again",
        )
    for check in (check_python, check_venv_module, check_disk, check_path_length):
        finding = check(environment)
        if finding.broken:
            raise Trouble(finding.text, finding.fix)


def has_pip(environment: Environment) -> bool:
    """Whether the environment's interpreter starts, is of our version, and has pip."""
    code = "import sys, pip; sys.exit(sys.version_info[:2] != {!r})".format(tuple(sys.version_info[:2]))
    try:
        return subprocess.call([str(environment.python), "-c", code], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def make_folder(environment: Environment, state: str) -> None:
    """Make an empty environment, in place of a half-made or broken one."""
    if state != "absent":
        say("The environment in {} is incomplete: making it anew.".format(environment.folder))
        remove_folder(environment.folder)
    say("Making the environment {} (Python {}.{}) ...".format(environment.folder, *sys.version_info[:2]))
    environment.folder.mkdir(exist_ok=True)
    with environment.log.open("w", encoding="utf-8") as log:
        command = [base_python(), "-m", "venv", str(environment.folder)]
        code = subprocess.call(command, stdout=log, stderr=subprocess.STDOUT)
    if code != 0:
        raise failure("making the environment", environment.log.read_text(encoding="utf-8", errors="replace"))


def remove_folder(folder: Path) -> None:
    """Delete an environment; says why when that is not possible."""
    if Path(sys.prefix).resolve() == folder.resolve():
        raise Trouble(
            "the environment has to be made anew, but this command runs inside it",
            "run `deactivate` (or open a new terminal), then the same command again",
        )
    try:
        shutil.rmtree(str(folder))
    except OSError as error:
        raise Trouble(
            "cannot delete {}: {}".format(folder, error),
            "close JupyterLab and every terminal that uses it, delete the folder by hand, and run the command again",
        ) from error


def base_python() -> str:
    """The interpreter that environments are made with, also when this file runs inside one."""
    return getattr(sys, "_base_executable", None) or sys.executable


def install(environment: Environment) -> None:
    """Let pip install the course at its pinned versions, showing how far it is."""
    forget_unfinished(environment.packages)
    command = [str(environment.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "off", "-c", "constraints.txt", "-e", ".[test]"]
    say("Installing the pinned packages: about 400 MB to fetch and two minutes, once; details in .venv/setup.log")
    if sys.platform.startswith("linux"):
        say("(For PyTorch without CUDA, gigabytes smaller: see `python course.py --help`, PIP_EXTRA_INDEX_URL.)")
    pins = count_pins(environment.root / "constraints.txt")
    with environment.log.open("a", encoding="utf-8") as log:
        log.write("\n$ {}\n".format(" ".join(command)))
        progress = Progress(pins, environment.packages)
        code, output = run_with_progress(command, environment.root, log, progress)
    if code != 0:
        raise failure("installing the packages", output)


def forget_unfinished(packages: Path) -> None:
    """Make pip install again what an interrupted run left half-copied.

    pip writes INSTALLER into a package's .dist-info after all of its files; without that file the package may
    be incomplete although pip would take it for installed.
    """
    for record in packages.glob("*.dist-info"):
        if not record.joinpath("INSTALLER").exists():
            shutil.rmtree(str(record), ignore_errors=True)


def count_pins(constraints: Path) -> int:
    """How many packages the constraints name: about what pip will install."""
    names = set(re.findall(r"^([A-Za-z0-9_.-]+)==", constraints.read_text(encoding="utf-8"), flags=re.MULTILINE))
    return len(names)


# ---------------------------------------------------------------------------------------------------------------
# pip's many lines, shown as one


class Progress:
    """Where pip is, from the lines it prints and the packages it has finished."""

    def __init__(self, expected: int, packages: Path) -> None:
        self.expected = expected
        self.packages = packages
        self.began = time.monotonic()
        self.found = set()  # type: set
        self.now = "starting pip"
        self.installing = 0
        self.before = self.count_installed()

    def feed(self, line: str) -> None:
        """Take in one line of pip's output."""
        words = line.split()
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            requirement = words[1] if line.startswith("Collecting") else words[3]
            name = re.split(r"[^A-Za-z0-9_.-]", requirement)[0]
            self.found.add(name.lower().replace("_", "-"))
            self.now = "looking at {}".format(name)
        elif words[:1] == ["Downloading"] and len(words) > 1:
            self.now = "downloading {}".format(" ".join(words[1:4]).split("/")[-1])
        elif line.startswith("Installing collected packages"):
            self.installing = line.count(",") + 1
        elif "Retrying (Retry(" in line:
            self.now = "no answer from the package index, pip tries again"

    def count_installed(self) -> int:
        """Number of packages that are completely installed."""
        return sum(1 for _ in self.packages.glob("*.dist-info/INSTALLER"))

    def text(self) -> str:
        """The state in one line."""
        elapsed = clock(time.monotonic() - self.began)
        if self.installing:
            done = min(max(self.count_installed() - self.before, 0), self.installing)
            return "[{}] installing: {} of {} packages done".format(elapsed, done, self.installing)
        return "[{}] found {} of about {} packages; {}".format(elapsed, len(self.found), self.expected, self.now)


def clock(seconds: float) -> str:
    """Minutes and seconds, as on a clock."""
    return "{}:{:02d}".format(*divmod(int(seconds), 60))


def run_with_progress(command: List[str], folder: Path, log: Any, progress: Progress) -> Tuple[int, str]:
    """Run a command; show its progress, log its output, return its exit code and output."""
    lines = []  # type: List[str]
    finished = threading.Event()
    shower = threading.Thread(target=show_until, args=(finished, progress), daemon=True)
    process = subprocess.Popen(
        command,
        cwd=str(folder),
        env=dict(os.environ, PYTHONUNBUFFERED="1", PYTHONUTF8="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    shower.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            lines.append(line)
            progress.feed(line)
        code = process.wait()
    except BaseException:
        stop(process)
        raise
    finally:
        finished.set()
        shower.join()
    return code, "".join(lines)


def show_until(finished: threading.Event, progress: Progress) -> None:
    """Show progress until finished: one line that updates itself, or, in a log file, a line now and then."""
    terminal = sys.stdout.isatty()
    pause = 0.5 if terminal else SECONDS_BETWEEN_PLAIN_LINES
    while not finished.wait(pause):
        text = "  " + progress.text()
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write("\r" + text[:width].ljust(width))
            sys.stdout.flush()
        else:
            say(text)
    if terminal:
        sys.stdout.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
        sys.stdout.flush()


def stop(process: Any) -> None:
    """End a program we started: it has had Ctrl-C already, so give it a moment before insisting."""
    try:
        process.wait(timeout=5)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


# What pip or venv prints -> what it means -> what to do. The first that matches counts.
CAUSES = [
    (
        r"ensurepip is not available|No module named '?(venv|ensurepip)",
        "this Python comes without its venv module",
        "on Debian or Ubuntu: sudo apt install python3-venv; elsewhere install Python from its own installer",
    ),
    (r"No space left on device|Errno 28|WinError 112", "the disk is full", "free at least 3 GB, then run it again"),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSL: ",
        "the package index's certificate is not trusted (often a company's proxy)",
        "set PIP_CERT to your organisation's certificate file, then run it again",
    ),
    (
        r"Retrying \(Retry\(|NewConnectionError|ConnectTimeout|ReadTimeout|name resolution|ProxyError|unreachable",
        "the package index cannot be reached",
        (
            "connect to the network and run it again; behind a proxy, set HTTPS_PROXY first; without any network, put "
            "wheels into a folder (on a connected machine: pip download -c constraints.txt hatchling '.[test]') and "
            "set PIP_FIND_LINKS to that folder and PIP_NO_INDEX=1"
        ),
    ),
    (
        r"WinError 206|Long Path|filename or extension is too long",
        "the path of this folder is too long for Windows",
        "move the checkout to a short path such as C:\\kdlab, then run it again",
    ),
    (
        r"Permission denied|Errno 13|WinError (5|32)\b",
        "a file could not be written",
        "close JupyterLab and other programs that use .venv, make sure this folder is yours, then run it again",
    ),
    (
        r"No matching distribution|Could not find a version",
        "a pinned package does not exist for this Python and this machine",
        "use Python {}.{} to {}.{}, 64 bit (on a Mac: macOS 14 or newer); if you set PIP_NO_INDEX or PIP_INDEX_URL, "
        "make sure that source has all of constraints.txt".format(*(MINIMUM_PYTHON + NEWEST_TRIED_PYTHON)),
    ),
]


def failure(doing: str, output: str) -> Trouble:
    """The trouble behind a failed command, with the last lines it printed and the likely cause."""
    told = [line.rstrip() for line in output.splitlines() if line.strip() and "WARNING: Location" not in line]
    tail = "\n".join("  | " + line[:300] for line in told[-8:])
    for pattern, cause, fix in CAUSES:
        if re.search(pattern, output):
            return Trouble("{} failed: {}\n{}".format(doing, cause, tail), fix)
    return Trouble(
        "{} failed; the last lines were\n{}".format(doing, tail),
        "read .venv/setup.log; `python course.py doctor` checks the rest; deleting .venv starts afresh",
    )


# ---------------------------------------------------------------------------------------------------------------
# doctor: each thing the course needs


class Finding(NamedTuple):
    """What one check saw."""

    level: str  # "ok", "note" (works without) or "FIX"
    text: str
    fix: str = ""

    @property
    def broken(self) -> bool:
        """Whether the course cannot run until this is repaired."""
        return self.level == "FIX"


def check_python(environment: Environment) -> Finding:
    """The version of Python, and whether the pins were tried with it."""
    have = "Python {}.{}.{}".format(*sys.version_info[:3])
    if sys.maxsize < 2**32:
        return Finding("FIX", have + ", 32 bit", "PyTorch needs a 64-bit Python: install that one")
    if sys.platform == "darwin" and platform.machine() != "arm64":
        return Finding("FIX", have + " for Intel Macs", "PyTorch needs Apple silicon (there: a Python for arm64)")
    if sys.version_info[:2] > NEWEST_TRIED_PYTHON:
        newest = "{}.{}".format(*NEWEST_TRIED_PYTHON)
        return Finding("note", have, "newer than the course was tried with; if set-up fails, use Python " + newest)
    return Finding("ok", have)


def check_venv_module(environment: Environment) -> Finding:
    """Whether this Python can make environments with pip inside."""
    command = [base_python(), "-c", "import venv, ensurepip"]
    if environment.python.exists() or subprocess.call(command, stderr=subprocess.DEVNULL) == 0:
        return Finding("ok", "Python's venv module")
    return Finding("FIX", "this Python comes without its venv module", CAUSES[0][2])


def check_disk(environment: Environment) -> Finding:
    """Whether the environment fits on the disk."""
    free = shutil.disk_usage(str(environment.root)).free / 1e9
    text = "{:.0f} GB free on the disk".format(free)
    if free >= DISK_NEEDED_GB or environment.state() in ("ready", "outdated"):
        return Finding("ok", text)
    return Finding("FIX", text, "the environment needs {} GB: make room, or move this folder".format(DISK_NEEDED_GB))


def check_path_length(environment: Environment) -> Finding:
    """Windows refuses paths of more than 260 characters unless told otherwise."""
    length = len(str(environment.folder)) + DEEPEST_INSTALLED_PATH
    if os.name != "nt" or length < WINDOWS_PATH_LIMIT:
        return Finding("ok", "length of this folder's path")
    text = "the path of this folder is too long for Windows: packages would need {} characters of {}"
    return Finding(
        "FIX",
        text.format(length, WINDOWS_PATH_LIMIT),
        "move the checkout to a short path such as C:\\kdlab",
    )


def check_environment(environment: Environment) -> Finding:
    """Whether .venv is there, complete, and made for these pins."""
    state = environment.state()
    if state == "ready":
        return Finding("ok", "the environment in .venv is up to date")
    if state == "foreign":
        return Finding("FIX", ".venv is not an environment", "move or delete it, then: python course.py setup")
    return Finding("FIX", "the environment in .venv is {}".format(state), "python course.py setup")


def check_torch(environment: Environment) -> Finding:
    """Whether PyTorch starts."""
    code = "import torch; print(torch.__version__, float(torch.ones(2).sum()))"
    worked, output = ask_environment(environment, code)
    if worked:
        return Finding("ok", "PyTorch " + output.split()[0])
    fix = "delete the folder .venv, then: python course.py setup"
    if os.name == "nt" and "DLL" in output:
        fix = "install Microsoft's Visual C++ Redistributable (x64), then try again"
    return Finding("FIX", "PyTorch does not start: " + last_line(output), fix)


def check_kernel(environment: Environment) -> Finding:
    """Whether the Jupyter kernel of this environment starts and computes."""
    code = (
        "from jupyter_client.manager import KernelManager; from kdlab.kernelspec import OwnKernel\n"
        "manager = KernelManager(kernel_spec_manager=OwnKernel()); manager.start_kernel()\n"
        "client = manager.client(); client.start_channels(); client.wait_for_ready(timeout=60)\n"
        "client.execute_interactive('import sys; print(sys.prefix)', timeout=60)\n"
        "client.stop_channels(); manager.shutdown_kernel(now=True)"
    )
    worked, output = ask_environment(environment, code)
    if worked and output and Path(last_line(output)).resolve() == environment.folder.resolve():
        return Finding("ok", "the Jupyter kernel runs in .venv")
    return Finding(
        "FIX",
        "the Jupyter kernel does not run in .venv: " + last_line(output),
        "delete the folder .venv, then: python course.py setup",
    )


def check_chromium(environment: Environment) -> Finding:
    """Whether the browser tests have a browser; lessons need none beyond the learner's own."""
    found = find_chromium(environment)
    if found:
        return Finding("ok", "Chromium for the browser tests: " + found)
    return Finding("note", "no Chromium: `python course.py test` skips the browser tests", CHROMIUM_FIX)


def check_writable(environment: Environment) -> Finding:
    """Whether the learner's work can be saved."""
    places = [environment.root / "work"]
    if os.environ.get("KDLAB_HOME"):
        places.append(Path(os.environ["KDLAB_HOME"]))
    for place in places:
        existing = next(folder for folder in [place, *place.resolve().parents] if folder.exists())
        try:
            with tempfile.TemporaryFile(dir=str(existing)):
                pass
        except OSError as error:
            fix = "make it yours, or choose another place: `python course.py lab --work FOLDER`, or KDLAB_HOME=FOLDER"
            return Finding("FIX", "cannot write in {}: {}".format(place, error.strerror), fix)
    return Finding("ok", "your work can be saved in " + " and ".join(str(place) for place in places))


CHROMIUM_FIX = "Debian or Ubuntu: sudo apt install chromium; elsewhere set KDLAB_CHROMIUM to any Chrome or Chromium"
CHECKS = [check_python, check_venv_module, check_disk, check_path_length, check_environment]
CHECKS_INSIDE = [check_torch, check_kernel, check_chromium]


def doctor(environment: Environment) -> int:
    """Run and print every check; 1 if something is broken."""
    checks = CHECKS + (CHECKS_INSIDE if environment.state() == "ready" else []) + [check_writable]
    broken = 0
    for check in checks:
        finding = check(environment)
        broken += finding.broken
        say("{:>4}  {}".format(finding.level, finding.text))
        if finding.fix:
            say("      -> " + finding.fix)
    say("Everything the course needs is in place." if not broken else "{} to fix.".format(broken))
    return 1 if broken else 0


def ask_environment(environment: Environment, code: str) -> Tuple[bool, str]:
    """Run a few lines of Python in the environment: whether it worked, and what it printed."""
    command = [str(environment.python), "-c", code]
    try:
        output = subprocess.check_output(command, cwd=str(environment.root), stderr=subprocess.STDOUT, timeout=180)
    except subprocess.CalledProcessError as error:
        return False, error.output.decode(errors="replace").strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return True, output.decode(errors="replace").strip()


def last_line(text: str) -> str:
    """The last line of an output: of a traceback, the one that says what happened."""
    return text.splitlines()[-1] if text else "no output"


def find_chromium(environment: Environment) -> Optional[str]:
    """The Chromium that the browser tests will use, by their own way of looking."""
    code = "import sys; sys.path.insert(0, 'tests/browser'); import harness; print(harness.find_chromium() or '')"
    worked, output = ask_environment(environment, code)
    return last_line(output) if worked and output else None


# ---------------------------------------------------------------------------------------------------------------
# test: every check of the course, one summary


class Step(NamedTuple):
    """One check of `course.py test`."""

    name: str
    what: str
    arguments: List[str]  # of the environment's Python


SANITIZER = "tests/nbval_sanitize.cfg"
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout", "120", "--nbval-sanitize-with", SANITIZER]
STEPS = [
    Step("lint", "ruff finds no mistakes", ["-m", "ruff", "check"]),
    Step("format", "ruff would change no layout", ["-m", "ruff", "format", "--check"]),
    Step("types", "mypy agrees with the type hints", ["-m", "mypy"]),
    Step("unit", "tests of the package, and the examples in its docstrings", ["-m", "pytest", "-q"]),
    Step("lessons", "every cell of every lesson prints what it printed", ["-m", "pytest", "-q", *NBVAL]),
    Step("browser", "panels and lessons in a real browser", ["-m", "pytest", "-q", "tests/browser"]),
]


def test(environment: Environment, only: Sequence[str]) -> int:
    """Run the steps, all of them even if one fails; 1 if any failed."""
    steps = [step for step in STEPS if not only or step.name in only]
    began = time.monotonic()
    results = []  # type: List[Tuple[Step, str, float]]
    with tempfile.TemporaryDirectory(prefix="kdlab-test-") as homes:
        for step in steps:
            # A home of its own: lessons are compared as a learner sees them who has done nothing yet.
            home = Path(homes) / step.name
            home.mkdir(exist_ok=True)
            say("\n=== {}: {}".format(step.name, step.what))
            start = time.monotonic()
            results.append((step, run_step(step, environment, str(home)), time.monotonic() - start))
    say("\n=== summary")
    for step, result, seconds in results:
        say("  {:8} {:>6.1f} s  {}".format(step.name, seconds, result))
    failed = sum(1 for _, result, _ in results if result.startswith("FAILED"))
    skipped = sum(1 for _, result, _ in results if result.startswith("skipped"))
    say("  {:8} {:>6.1f} s".format("together", time.monotonic() - began))
    say("steps: {} passed, {} failed, {} skipped".format(len(results) - failed - skipped, failed, skipped))
    return 1 if failed else 0


def run_step(step: Step, environment: Environment, home: str) -> str:
    """Run one step; its result in a few words that begin with "passed", "FAILED" or "skipped"."""
    arguments = list(step.arguments)
    if step.name == "unit":
        arguments += ["--ignore=tests/browser"]
    if step.name == "lessons":
        lessons = sorted(str(path.relative_to(environment.root)) for path in environment.root.glob("notebooks/*.ipynb"))
        if not lessons:
            return "FAILED: no executed lesson in notebooks/; run: python course.py notebooks"
        arguments += lessons
    if step.name == "browser" and find_chromium(environment) is None:
        on_ci = bool(os.environ.get("CI"))
        return ("FAILED" if on_ci else "skipped") + ": no Chromium. " + CHROMIUM_FIX
    command = [str(environment.python), *arguments]
    say("$ python " + " ".join(arguments))
    code = subprocess.call(
        command, cwd=str(environment.root), env=dict(os.environ, KDLAB_HOME=home, KDLAB_PROGRESS="off")
    )
    if code == 0:
        return "passed"
    if code == 5 and "pytest" in arguments:
        return "FAILED: no test was found"
    return "FAILED (exit code {})".format(code)


# ---------------------------------------------------------------------------------------------------------------
# Commands


def lab(environment: Environment, arguments: Sequence[str]) -> int:
    """Hand over to `kdlab lab` of the environment."""
    return run_inside(environment, ["-m", "kdlab", "lab", *arguments])


def notebooks(environment: Environment, names: Sequence[str]) -> int:
    """Execute lessons from their sources."""
    return run_inside(environment, ["-m", "kdlab.authoring", *names])


def run_inside(environment: Environment, arguments: List[str]) -> int:
    """Run the environment's Python in the learner's folder; on Ctrl-C let the program end by itself first."""
    process = subprocess.Popen([str(environment.python), *arguments])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the program got Ctrl-C as well, and takes care of it


def parser() -> argparse.ArgumentParser:
    """The command line; what follows `lab` and `notebooks` is theirs."""
    summary, _, rest = (__doc__ or "").partition("\n")
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="course.py", description=summary, epilog=rest, formatter_class=raw)
    commands = top.add_subparsers(dest="command", metavar="lab | test | notebooks | doctor | setup")
    commands.add_parser("lab", help="open the lessons in JupyterLab", add_help=False)
    commands.add_parser("notebooks", help="execute lessons from notebooks/src", add_help=False)
    commands.add_parser("doctor", help="check what the course needs")
    commands.add_parser("setup", help="only the set-up")
    testing = commands.add_parser("test", help="run every check")
    names = [step.name for step in STEPS]
    testing.add_argument("--only", action="append", choices=names, metavar="STEP", help=", ".join(names))
    testing.add_argument("--list", action="store_true", help="show the steps and stop")
    return top


def run(argv: Sequence[str]) -> int:
    """Do what the command line says."""
    top = parser()
    options, rest = top.parse_known_args(list(argv))
    environment = Environment(ROOT)
    if options.command is None:
        top.print_help()
        return 2
    if rest and options.command not in ("lab", "notebooks"):
        top.error("unrecognized arguments: " + " ".join(rest))
    if options.command == "doctor":
        return doctor(environment)
    if options.command == "test" and options.list:
        for step in STEPS:
            say("  {:8} {}".format(step.name, step.what))
        return 0
    prepare(environment)
    if options.command == "lab":
        return lab(environment, rest)
    if options.command == "notebooks":
        return notebooks(environment, rest)
    if options.command == "test":
        return test(environment, options.only or [])
    say("The environment in .venv is ready: python course.py lab")
    return 0


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Entry point: the exit code, with troubles told in words."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # pip draws with characters that some consoles do not have
    if sys.version_info[:2] < MINIMUM_PYTHON:
        say(
            "course.py: this is Python {}.{}; the course needs {}.{} or newer.".format(
                *(sys.version_info[:2] + MINIMUM_PYTHON)
            )
        )
        say("  fix: install a newer Python from its own site or your package manager, then, for example:")
        say("       {}".format("py -3.12 course.py lab" if os.name == "nt" else "python3.12 course.py lab"))
        return 1
    try:
        return run(sys.argv[1:] if argv is None else argv)
    except Trouble as trouble:
        say("\ncourse.py: {}\n  fix: {}".format(trouble.what, trouble.fix))
        return 1
    except KeyboardInterrupt:
        say("\ncourse.py: interrupted. Nothing is broken: run the same command again and it goes on from here.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
