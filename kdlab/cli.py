"""The ``kdlab`` command.

kdlab lab
    copies the lessons to your work folder and opens JupyterLab at the first one.
kdlab progress
    shows what you have solved, what was hard and what to do next.
kdlab check SLUG ANSWER
    judges an answer and keeps the attempt, as `check(slug, answer)` does in a lesson.
kdlab export
    writes your answers as Markdown.
"""

import argparse
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import kdlab
from kdlab.workspace import WorkspaceError, sync

DEFAULT_PORT = 8888
PORTS_TRIED = 50
EXPORT_NAME = "kdlab-answers.md"


class UsageError(Exception):
    """The command cannot do what was asked; the message says why and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = _parser()
    options, unknown = parser.parse_known_args(argv)
    if options.action is check_answer:
        options.answer += unknown  # an answer such as -beta*v looks like an option
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.action is None:
        parser.print_help()
        return 2
    try:
        return int(options.action(options))
    except (UsageError, WorkspaceError) as error:
        print(f"kdlab: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kdlab", description="The course on knowledge distillation.")
    parser.add_argument("--version", action="version", version=f"kdlab {kdlab.__version__}")
    parser.set_defaults(action=None)
    commands = parser.add_subparsers(metavar="COMMAND")

    lab = commands.add_parser("lab", help="open the lessons in JupyterLab")
    lab.add_argument("--lesson", metavar="NAME", help="lesson to open, such as 01 (default: the first)")
    lab.add_argument("--work", metavar="FOLDER", type=Path, help="folder for your copies of the lessons")
    lab.add_argument("--port", type=_port, help=f"port of JupyterLab (default: the first free one from {DEFAULT_PORT})")
    lab.add_argument("--no-browser", action="store_true", help="print the address instead of opening a browser")
    lab.set_defaults(action=open_lab)

    progress = commands.add_parser("progress", help="show what you have solved and what to do next")
    progress.add_argument("--json", action="store_true", help="the same for programs")
    progress.set_defaults(action=show_progress)

    check = commands.add_parser("check", help="judge an answer to an exercise; exit code 0 if it is correct")
    check.add_argument("slug", metavar="SLUG", help="the exercise's name")
    check.add_argument("answer", metavar="ANSWER", nargs="*", help="your answer; name=value for each of several fields")
    check.add_argument("--file", metavar="FILE", type=Path, help="file that holds the answer, such as code")
    check.set_defaults(action=check_answer)

    export = commands.add_parser("export", help="write your answers as Markdown")
    export.add_argument(
        "--output", metavar="FILE", default=EXPORT_NAME, help=f"where to (default: {EXPORT_NAME}; - for the terminal)"
    )
    export.add_argument("--force", action="store_true", help="replace the file if there is one")
    export.set_defaults(action=export_answers)
    return parser


def open_lab(options: argparse.Namespace) -> int:
    """``kdlab lab``: bring the work folder up to date and run JupyterLab in it until Ctrl-C."""
    _require("jupyterlab", "ipykernel")
    lessons_dir = find_lessons()
    work_dir = (options.work or default_work_dir(lessons_dir)).expanduser().resolve()
    lesson = choose_lesson(lessons_dir, options.lesson)
    port = choose_port(options.port)
    report = sync(lessons_dir, work_dir)
    print(f"Your lessons are in {work_dir}")
    for line in report.lines():
        print(f"  {line}")
    trust([work_dir / name for name in report.written])
    print(f"Opening JupyterLab at {lesson}. To stop it, press Ctrl-C here.", flush=True)
    return _run_until_stopped(lab_command(work_dir, lesson, port, browser=not options.no_browser))


def trust(files: Sequence[Path]) -> None:
    """Tell Jupyter that these notebooks are the course's own, so that panels answer before the first run.

    JupyterLab strips scripts from the outputs of notebooks it does not know. A learner's own files are never
    signed here. Should signing fail, the lessons still work: running a cell brings its panel to life.
    """
    import nbformat
    from nbformat.sign import NotebookNotary

    try:
        notary = NotebookNotary()
        for file in files:
            if file.suffix == ".ipynb":
                notary.sign(nbformat.read(file, as_version=4))
    except Exception as error:
        print(f"  (could not mark the lessons as trusted: {error}; run a cell to bring its panel to life)")


# ------------------------------------------------------------------------------------------- what to open


def find_lessons() -> Path:
    """The folder with the executed lessons: the checkout's, or the copy inside an installed kdlab."""
    package = Path(__file__).resolve().parent
    places = [package.parent / "notebooks", package / "_lessons"]
    if not _is_checkout(package.parent):
        places.reverse()
    for place in places:
        if any(place.glob("*.ipynb")):
            return place
    raise UsageError(f"no lessons in {' or '.join(map(str, places))}; in a checkout: python course.py notebooks")


def default_work_dir(lessons_dir: Path) -> Path:
    """``work`` in a checkout, ``kdlab-work`` in the current folder otherwise."""
    return lessons_dir.parent / "work" if _is_checkout(lessons_dir.parent) else Path.cwd() / "kdlab-work"


def choose_lesson(lessons_dir: Path, wanted: str | None) -> str:
    """File name of the lesson that ``wanted`` begins the name of; the first lesson if None.

    A bare number opens the first notebook of a lesson that has several, 02 for 02a and 02b.
    """
    names = sorted(path.name for path in lessons_dir.glob("*.ipynb"))
    if wanted is None:
        return names[0]
    stem = wanted.removesuffix(".ipynb")
    if stem.isdecimal():
        stem = stem.zfill(2)
        first = [name for name in names if re.match(rf"{stem}a?_", name)]
        if len(first) == 1:
            return first[0]
    matches = [name for name in names if name == f"{stem}.ipynb"] or [name for name in names if name.startswith(stem)]
    if len(matches) == 1:
        return matches[0]
    problem = "fits several lessons" if matches else "is no lesson"
    raise UsageError(f"--lesson {wanted!r} {problem}; there are: {', '.join(matches or names)}")


def choose_port(wanted: int | None) -> int:
    """A free port: the wanted one or an error, else the first from 8888 on."""
    if wanted is not None:
        if _is_free(wanted):
            return wanted
        raise UsageError(
            f"port {wanted} is in use, perhaps by a JupyterLab that still runs: stop that one, "
            "choose another with --port, or leave --port out to get a free one"
        )
    for port in range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED):
        if _is_free(port):
            if port != DEFAULT_PORT:
                print(f"Port {DEFAULT_PORT} is in use; taking {port}.")
            return port
    raise UsageError(f"ports {DEFAULT_PORT} to {port} are all in use; choose another with --port")


def _is_checkout(folder: Path) -> bool:
    return (folder / "course.py").is_file() and (folder / "pyproject.toml").is_file()


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # there the option means the opposite: it lets two programs share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _port(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: a whole number from 1 to 65535 (below 1024 needs root)")


def _require(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not installed in {sys.prefix}; in a checkout run `python course.py lab`, "
            "elsewhere install kdlab with pip in the environment you want to use"
        )


# ------------------------------------------------------------------------------------------- JupyterLab


def lab_command(work_dir: Path, lesson: str, port: int, *, browser: bool = True) -> list[str]:
    """Command that runs JupyterLab in the work folder with this interpreter.

    All settings are for this run only; the learner's own Jupyter configuration is not changed.
    """
    settings = {
        "ServerApp.root_dir": str(work_dir),
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,  # the port was chosen, and told, already
        "ServerApp.open_browser": browser,
        "LabApp.default_url": f"/lab/tree/{quote(lesson)}",
        # Nothing is asked of the network: no news, no update check, no catalogue of extensions.
        "LabApp.news_url": "None",
        "LabApp.check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
        # Lessons run on this interpreter, whatever kernels named python3 the machine has elsewhere.
        "ServerApp.kernel_spec_manager_class": "kdlab.kernelspec.OwnKernel",
        "JupyterApp.answer_yes": True,  # one Ctrl-C is enough
        "Application.log_level": "ERROR",  # leaves the address and real trouble
    }
    if _is_root():
        settings["ServerApp.allow_root"] = True  # Jupyter refuses otherwise; usual in containers
    return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in settings.items())]


def lab_environment() -> dict[str, str]:
    """Variables for JupyterLab: ours, and the settings in kdlab/jupyter before those of the learner.

    They switch off a question that JupyterLab asks every newcomer (whether to fetch news).
    """
    folders = [str(Path(kdlab.__file__).parent / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, folders))}


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _run_until_stopped(command: list[str]) -> int:
    """Run JupyterLab; on Ctrl-C, which it gets as well, wait until it has shut its kernels down."""
    process = subprocess.Popen(command, env=lab_environment())
    interrupted = False
    while True:
        try:
            code = process.wait(timeout=15 if interrupted else None)
        except KeyboardInterrupt:
            interrupted = True
        except subprocess.TimeoutExpired:
            process.kill()
        else:
            return 0 if interrupted else code


# ------------------------------------------------------------------------------------------- exercises


def show_progress(options: argparse.Namespace) -> int:
    """``kdlab progress``: the board as text, or as JSON."""
    from kdlab.exercises.overview import board

    now = board()
    print(json.dumps(now.as_dict(), indent=2, ensure_ascii=False) if options.json else repr(now))
    return 0


def export_answers(options: argparse.Namespace) -> int:
    """``kdlab export``: the learner's answers as Markdown, to a file that is not there yet."""
    from kdlab.exercises.export import export_markdown, save

    text = export_markdown()
    if options.output == "-":
        print(text, end="")
        return 0
    path = Path(options.output).expanduser()
    try:
        save(path, text, overwrite=options.force)
    except FileExistsError:
        raise UsageError(f"{path} is there already; replace it with --force, or name another with --output") from None
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); name another file with --output") from None
    print(f"Your answers are in {path}")
    return 0


def check_answer(options: argparse.Namespace) -> int:
    """``kdlab check``: the verdict on an answer; 0 if it is correct, else 1."""
    from kdlab.exercises.catalog import UnknownExercise, exercise
    from kdlab.exercises.session import check

    try:
        one = exercise(options.slug)
    except UnknownExercise as error:
        raise UsageError(str(error)) from None
    verdict = check(one.slug, _answer(one, options.answer, options.file))
    print(verdict)
    return 0 if verdict.outcome == "correct" else 1


def _answer(one: Any, words: list[str], file: Path | None) -> Any:
    """The answer that the words of a command line give; None if there are none."""
    if file is not None and words:
        raise UsageError("give an answer or --file, not both")
    if file is not None:
        try:
            return file.expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise UsageError(f"cannot read {file} as text: {error}") from None
    if len(one.fields) == 1:
        return " ".join(words) or None
    names = [field.name for field in one.fields]
    pairs = [word.partition("=") for word in words]
    if wrong := [word for word, (name, equals, _) in zip(words, pairs, strict=True) if not equals or name not in names]:
        shape = " ".join(f"{name}=..." for name in names)
        raise UsageError(f"{one.slug} has {len(names)} fields, so answer with {shape}; {wrong[0]!r} is none of them")
    return {name: value for name, _, value in pairs} or None
