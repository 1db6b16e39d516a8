"""Answers that loop, crash, print, allocate, fork, patch and lie: a verdict comes in time, and the next one.

Everything runs against both kinds of worker: one that forks a child for each answer (Linux), and one that runs the
answer itself and is replaced (elsewhere).
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from kdlab.exercises import sandbox as module
from kdlab.exercises import worker as worker_module
from kdlab.exercises.packing import BrokenPipe, CannotSend, is_blank, pack, read_frame, write_frame
from kdlab.exercises.sandbox import CodeResult, Sandbox

SLUG, FUNCTION = "softmax-with-temperature", "soften"
GOOD = "def soften(z, temperature):\n    return torch.softmax(z / temperature, dim=-1)\n"
WRONG = "def soften(z, temperature):\n    return torch.softmax(z * temperature, dim=-1)\n"
LIMIT = 2.0  # seconds, the usual one
SHORT = 0.5  # for answers that are known to use up all of it
IN_TIME = 5.0

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="forked children are used on Linux only")


@pytest.fixture(scope="module")
def forking() -> Iterator[Sandbox]:
    box = Sandbox(fork=True)
    yield box
    box.stop()


@pytest.fixture(scope="module")
def forkless() -> Iterator[Sandbox]:
    box = Sandbox(fork=False)
    yield box
    box.stop()


@pytest.fixture(params=[pytest.param("forking", marks=needs_fork), "forkless"])
def box(request: pytest.FixtureRequest) -> Sandbox:
    """A sandbox with its worker warm."""
    found: Sandbox = request.getfixturevalue(request.param)
    found._worker()
    return found


def run(box: Sandbox, answer: Any, limit: float = LIMIT, slug: str = SLUG, function: str = FUNCTION) -> CodeResult:
    """The result, which must have come in time."""
    box._worker()
    start = time.perf_counter()
    result = box.run(answer, slug=slug, function=function, limit=limit)
    assert time.perf_counter() - start < IN_TIME
    return result


def body(*lines: str, above: str = "") -> str:
    """Source of an answer; ``above`` stands before the function."""
    return above + "\ndef soften(z, temperature):\n" + textwrap.indent(textwrap.dedent("\n".join(lines)), "    ")


# ------------------------------------------------------------------------------------------------- hostile answers

LOOP = "while True:\n    pass"
CLASS = "class Odd:\n    {}\n"
RETURN_GOOD = "return torch.softmax(z / temperature, dim=-1)"

# name: (source, outcome, part of the message)
HOSTILE: dict[str, tuple[str, str, str]] = {
    "endless loop": (body(LOOP), "invalid", "Line 3: `while True:`"),
    "loop that swallows all exceptions": (
        body("while True:\n    try:\n        while True: pass\n    except BaseException:\n        pass"),
        "invalid", "a loop that does not end",
    ),
    "loop outside the function": ("while True: pass", "invalid", "Your code was stopped"),
    "sleep": (body("import time", "time.sleep(1000)"), "invalid", "Line 4: `time.sleep(1000)`"),
    "one long call into torch": (
        body("torch.linalg.eigh(torch.randn(5000, 5000))"), "invalid", "a loop that does not end",
    ),
    "one long call that lets no thread run": (body("return sum(range(10**12))"), "invalid", "stopped"),
    "signals ignored": (
        body("import signal", "for s in signal.valid_signals() - {9, 19}: signal.signal(s, signal.SIG_IGN)", LOOP),
        "invalid", "a loop that does not end",
    ),
    "stops itself": (body("import os", "os.kill(os.getpid(), 19)"), "invalid", "stopped"),
    "sys.exit": (body("import sys", "sys.exit(0)"), "invalid", "SystemExit: 0"),
    "os._exit": (body("import os", "os._exit(0)"), "invalid", "os._exit"),
    "os.abort": (body("import os", "os.abort()"), "invalid", "crash"),
    "segmentation fault": (body("import ctypes", "ctypes.string_at(0)"), "invalid", "crash"),
    "KeyboardInterrupt": (body("raise KeyboardInterrupt"), "invalid", "KeyboardInterrupt"),
    "GeneratorExit": (body("raise GeneratorExit"), "invalid", "GeneratorExit"),
    "recursion": (body("return soften(z, temperature)"), "invalid", "calls itself without end"),
    "recursion in C": (
        body("x = []", "for _ in range(10**5):\n    x = [x]", "return repr(x)"), "invalid", "RecursionError",
    ),
    "recursion without its limit": (
        body("import sys", "sys.setrecursionlimit(2**30)", "return soften(z, temperature)"), "invalid", "",
    ),
    "prints without end": (body("while True:\n    print('x' * 10**6)"), "invalid", "a loop that does not end"),
    "prints a gigabyte at once": (body("print('x' * 10**9)", LOOP), "invalid", "stopped"),
    "writes a gigabyte to the raw files": (
        body("import os, sys", "for _ in range(1000):\n    os.write(1, b'x' * 10**6); sys.stderr.write('y' * 10**6)",
             LOOP), "invalid", "stopped",
    ),
    "asks for 400 GB": (body("torch.zeros(10**11)"), "invalid", "more memory than an answer may use"),
    "asks for a list of 8 TB": (body("return [0] * 10**12"), "invalid", "more memory than an answer may use"),
    "threads left running": (
        body("import threading, time", "threading.Thread(target=time.sleep, args=(1000,)).start()", RETURN_GOOD),
        "correct", "",
    ),
    "fork bomb": (body("import os", "while True:\n    os.fork()"), "invalid", "may not start other processes"),
    "starts a program": (
        body("import subprocess", "subprocess.run(['sleep', '1000'])"), "invalid", "may not start other processes",
    ),
    "kills its parent": (body("import os", "os.kill(os.getppid(), 9)"), "invalid", "may not send signals"),
    "replaces torch": (
        body("torch.softmax = torch.log_softmax", "return z"), "invalid", "replaces `torch.softmax` for everyone",
    ),
    "replaces the checks": (
        body("return z", above="import kdlab.exercises.properties as p; p.expect = lambda *a: None"),
        "invalid", "for everyone",
    ),
    "deletes builtins": (
        body("import builtins", "for name in list(vars(builtins)):\n    delattr(builtins, name)"), "invalid", "",
    ),
    "closes all files": (body("import os", "os.closerange(0, 4096)", RETURN_GOOD), "invalid", ""),
    "closes its output": (body("import sys", "sys.stdout.close(); sys.stderr = None", RETURN_GOOD), "correct", ""),
    "removes its folder": (
        body("import os, shutil", "shutil.rmtree('.', ignore_errors=True)", RETURN_GOOD), "correct", "",
    ),
    "object whose methods raise": (
        body("return Odd()", above=CLASS.format("def __getattribute__(self, name): raise SystemExit")),
        "invalid", "`Odd` came",
    ),
    "object whose methods hang": (
        body("return Odd()", above=CLASS.format("def __getattribute__(self, name):\n        while True: pass")),
        "invalid", "`Odd` came",
    ),
    "tensor whose methods hang": (
        body("return z.as_subclass(Odd)", above="class Odd(torch.Tensor):\n    @classmethod\n"
             "    def __torch_function__(cls, *a, **k):\n        while True: pass\n"), "incorrect", "Probabilities lie",
    ),
    "exception whose text raises": (
        body("raise Odd", above="class Odd(Exception):\n    def __str__(self): raise SystemExit\n"), "invalid", "Odd",
    ),
    "exception whose text hangs": (
        body("raise Odd", above="class Odd(Exception):\n    def __str__(self):\n        while True: pass\n"),
        "invalid", "stopped",
    ),
    "asks for input": (body("input('what? ')"), "invalid", "cannot ask for input"),
    "debugger": (body("breakpoint()", RETURN_GOOD), "invalid", ""),
    "tiny recursion limit": (body("import sys", "sys.setrecursionlimit(30)", RETURN_GOOD), "correct", ""),
    "traces": (body("import sys", "sys.settrace(lambda *a: 1 / 0)", RETURN_GOOD), "invalid", "ZeroDivisionError"),
    "at exit": (body("import atexit, time", "atexit.register(time.sleep, 99)", RETURN_GOOD), "correct", ""),
    "forgets torch": (body("import sys", "sys.modules.clear()", RETURN_GOOD), "invalid", "for everyone"),
    "no syntax": ("def soften(z, temperature)\n    return z", "invalid", "Line 1: `def soften(z, temperature)`"),
    "null bytes": ("def soften(z, t):\n    return z\0", "invalid", "null bytes"),
    "lone surrogate": (GOOD + "# \ud800", "correct", ""),
    "deep nesting": ("x = " + "-" * 100_000 + "1\n" + GOOD, "invalid", ""),
    "nothing by that name": ("soft = 3", "invalid", "defines no function"),
    "name of something else": ("soften = 3", "invalid", "must be a function"),
    "too long": ("#" * 10**6, "invalid", "characters long"),
}  # fmt: skip


# Each of these costs a forkless worker its life, and a new one takes a second; other cases show the same.
FORK_ONLY = {
    "loop that swallows all exceptions", "sleep", "signals ignored", "os.abort", "asks for a list of 8 TB",
    "prints a gigabyte at once", "exception whose text hangs", "replaces the checks", "loop outside the function",
    "recursion without its limit", "stops itself", "segmentation fault", "prints without end", "asks for 400 GB",
}  # fmt: skip


@needs_fork
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_answer_in_a_child_gets_its_verdict_and_the_next_one_is_judged(forking: Sandbox, case: str) -> None:
    _survives(forking, *HOSTILE[case])


@pytest.mark.parametrize("case", sorted(HOSTILE.keys() - FORK_ONLY))
def test_hostile_answer_without_fork_gets_its_verdict_and_the_next_one_is_judged(forkless: Sandbox, case: str) -> None:
    _survives(forkless, *HOSTILE[case])


def _survives(box: Sandbox, source: str, outcome: str, said: str) -> None:
    spends_it_all = any(sign in said for sign in ("stopped", "does not end", "Line 3: `while", "Line 4: `time.sleep"))
    result = run(box, source, limit=SHORT if spends_it_all else LIMIT)
    assert result.outcome == outcome, result
    assert said in result.message, result
    assert result.message
    assert len(result.printed) <= worker_module.MOST_PRINTED
    assert run(box, GOOD).outcome == "correct"
    assert run(box, WRONG).failed == "higher_temperature_is_softer"


@needs_fork
def test_growing_without_end_stops_at_the_memory_limit(forking: Sandbox) -> None:
    result = run(forking, body("parts = []", "while True:\n    parts.append(torch.empty(2**28))"))
    assert "more memory than an answer may use" in result.message


@needs_fork
@pytest.mark.parametrize("leave", ["", "lib.setsid()"])
def test_processes_started_behind_pythons_back_are_ended_too(forking: Sandbox, leave: str) -> None:
    strays = f"""
        import ctypes, time
        lib = ctypes.CDLL(None)
        for _ in range(3):
            if lib.fork() == 0:
                {leave or "pass"}
                time.sleep(1000)
    """
    before = set(psutil.pids())
    assert run(forking, body(RETURN_GOOD, above=textwrap.dedent(strays)), limit=2.0).outcome == "correct"
    assert psutil.Process(forking._worker().process.pid).children(recursive=True) == []
    assert [one for one in psutil.process_iter() if one.pid not in before and _is_worker(one)] == []


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "kdlab.exercises.worker" in process.cmdline() and process.ppid() == 1
    except psutil.Error:
        return False


@needs_fork
def test_bad_answers_do_not_cost_a_forking_worker_its_life(forking: Sandbox) -> None:
    pid = forking._worker().process.pid
    for case in ("os._exit", "segmentation fault", "endless loop", "deletes builtins", "closes all files"):
        run(forking, HOSTILE[case][0], limit=SHORT)
    assert forking._worker().process.pid == pid


def test_a_plain_mistake_does_not_cost_a_forkless_worker_its_life(forkless: Sandbox) -> None:
    pid = forkless._worker().process.pid
    for source in (WRONG, body("return 1 / 0"), body("pass"), "def soften(z"):
        run(forkless, source)
    assert forkless._worker().process.pid == pid


def test_forkless_worker_with_threads_left_running_is_replaced(forkless: Sandbox) -> None:
    pid = forkless._worker().process.pid
    assert run(forkless, HOSTILE["threads left running"][0]).outcome == "correct"
    assert forkless._worker().process.pid != pid


# ------------------------------------------------------------------------------------------- functions and their world

SCALE = 1.0
LOCK = threading.Lock()
LARGE = torch.zeros(20_000_000)


def _scaled(z: Any, by: float) -> Any:
    return z / by


def soften(z: Any, temperature: float) -> Any:
    return torch.softmax(_scaled(z, temperature) * SCALE, dim=-1)


def soften_locked(z: Any, temperature: float) -> Any:
    with LOCK:
        return z


def soften_with_helper_of_lock(z: Any, temperature: float) -> Any:
    return soften_locked(z, temperature)


def soften_large(z: Any, temperature: float) -> Any:
    return z + LARGE[0]


def soften_failing(z: Any, temperature: float) -> Any:
    return z.nosuch  # the line to be shown


def soften_blank(z: Any, temperature: float) -> Any:
    """Softmax with temperature."""


def soften_none(z: Any, temperature: float) -> Any:
    return None


def soften_later(z: Any, temperature: float) -> Any:
    raise NotImplementedError("write me")


def test_function_brings_its_helpers_and_globals(box: Sandbox) -> None:
    assert run(box, soften).outcome == "correct"
    assert run(box, lambda z, t: torch.softmax(z / t, -1)).outcome == "correct"
    assert run(box, functools.partial(lambda a, z, t: torch.softmax(a * z / t, -1), 1.0)).outcome == "correct"


def test_functions_own_module_need_not_be_importable(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "my_answers.py").write_text("import torch\ndef help(z): return z\n" + GOOD.replace("z /", "help(z) /"))
    sys.path.insert(0, str(tmp_path))
    try:
        import my_answers  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
        (tmp_path / "my_answers.py").unlink()
    assert run(box, my_answers.soften).outcome == "correct"


def test_exception_in_a_function_shows_the_line_of_its_file(box: Sandbox) -> None:
    result = run(box, soften_failing)
    assert result.outcome == "invalid"
    assert "AttributeError" in result.message
    assert "`return z.nosuch  # the line to be shown`" in result.message


@pytest.mark.parametrize("function", [soften_locked, soften_with_helper_of_lock])
def test_what_cannot_be_sent_is_named(box: Sandbox, function: Callable[..., Any]) -> None:
    result = run(box, function)
    assert result.outcome == "invalid"
    assert "`LOCK` (a value of type `_thread.lock`)" in result.message


def test_large_globals_are_refused_by_name_before_they_are_copied(box: Sandbox) -> None:
    start = time.perf_counter()
    result = run(box, soften_large)
    assert result.outcome == "invalid"
    assert "`LARGE` (a value of type `torch.Tensor`)" in result.message
    assert time.perf_counter() - start < 1.5


def test_large_globals_of_any_kind_are_refused(box: Sandbox) -> None:
    much = bytes(65 * 2**20)
    assert "`much` (a value of type `bytes`)" in run(box, lambda z, t: z + len(much)).message


def test_function_that_cannot_be_packed_up_in_time_is_given_up(box: Sandbox) -> None:
    class Slow:
        def __reduce__(self) -> Any:
            time.sleep(4)
            return str, ()

    slow = Slow()
    assert "packed up" in run(box, lambda z, t: slow).message


def test_nothing_written_yet_is_not_attempted_and_returning_none_is_an_attempt(box: Sandbox) -> None:
    for blank in (None, ..., "", "  \n", "# later\n", soften_blank, soften_later, lambda z, t: ...):
        assert run(box, blank) == CodeResult("not attempted", "")
    for source in ("def soften(z, t):\n    'Doc.'\n    return ...", "def soften(z, t):\n    raise NotImplementedError"):
        assert run(box, source) == CodeResult("not attempted", "")
    for none in (soften_none, "def soften(z, t):\n    return None\n", "def soften(z, t): z / t\n"):
        result = run(box, none)
        assert result.outcome == "invalid"
        assert "is the `return` statement missing?" in result.message


@pytest.mark.parametrize("answer", [3, 2.5, [], {}, b"x", object(), torch.zeros(3)])
def test_what_is_no_function_is_said(box: Sandbox, answer: object) -> None:
    result = run(box, answer)
    assert result.outcome == "invalid"
    assert "A function is expected" in result.message


def test_what_was_printed_comes_back_bounded(box: Sandbox) -> None:
    assert run(box, body("display(3)", RETURN_GOOD)).printed.startswith("3\n")
    assert run(box, body("print('Grüße')", RETURN_GOOD)).printed.startswith("Grüße\n")
    assert run(box, body("print('a' * 5000)", RETURN_GOOD)).printed == "a" * worker_module.MOST_PRINTED
    assert run(box, body("print('before')", LOOP), limit=SHORT).printed == "before\n"


def test_unknown_exercise_is_said(box: Sandbox) -> None:
    assert "no-such" in run(box, GOOD, slug="no-such").message


def test_answers_run_in_a_folder_that_is_removed(box: Sandbox) -> None:
    here = Path.cwd()
    result = run(box, body("import os", "open('mine.txt', 'w').write('x')", "print(os.getcwd())", RETURN_GOOD))
    folder = Path(result.printed.splitlines()[0])
    assert result.outcome == "correct"
    assert Path(tempfile.gettempdir()).resolve() in folder.resolve().parents
    assert not folder.parent.exists()
    assert Path.cwd() == here


# -------------------------------------------------------------------------------------------- the worker and its kernel


def test_worker_killed_from_outside_is_replaced(box: Sandbox) -> None:
    box._worker().process.kill()
    time.sleep(0.05)
    assert run(box, GOOD).outcome == "correct"


def test_worker_found_dead_only_when_asked_is_replaced(box: Sandbox) -> None:
    worker = box._worker()
    worker.process.kill()
    worker.process.wait()
    worker.gone = lambda: False  # type: ignore[method-assign]
    assert run(box, GOOD).outcome == "correct"


def test_worker_killed_during_an_answer_is_a_clear_result(box: Sandbox) -> None:
    worker = box._worker().process
    threading.Timer(1.5, worker.kill).start()
    result = run(box, body("import time", "time.sleep(30)"), limit=20.0)
    assert result.outcome == "invalid"
    assert "ended" in result.message
    assert run(box, GOOD).outcome == "correct"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
def test_frozen_worker_is_replaced(forkless: Sandbox) -> None:
    box = forkless
    os.kill(box._worker().process.pid, signal.SIGSTOP)
    assert run(box, GOOD, limit=SHORT).outcome == "invalid"
    assert run(box, GOOD).outcome == "correct"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise SystemExit('no torch here')", "It said: `no torch here`"),
        ("import os; os._exit(3)", "could not be started"),
        ("print('hello')", "could not be started"),
        ("import sys; sys.stdout.buffer.write(b'x' * 10**6)", "could not be started"),
    ],
)
def test_worker_that_cannot_start_is_a_clear_result(script: str, said: str) -> None:
    broken = Sandbox(command=[sys.executable, "-c", script])
    for _ in range(2):
        result = broken.run(GOOD, slug=SLUG, function=FUNCTION)
        assert result.outcome == "invalid"
        assert said in result.message
    assert Sandbox(command=["/no/such/python"]).run(GOOD, slug=SLUG, function=FUNCTION).outcome == "invalid"


READY = """
import sys, struct, time
def send(raw): sys.stdout.buffer.write(struct.pack("!4sII", b"kdl1", len(raw), 0) + raw); sys.stdout.flush()
send(b'{"ready": true}')
sys.stdin.buffer.read(12)
send(b'{"accepted": true}')
"""


@pytest.mark.parametrize(
    "then",
    [
        "sys.stdout.buffer.write(b'rubbish' * 1000); sys.stdout.flush(); time.sleep(9)",
        "send(b'not json'); time.sleep(9)",
        "send(b'[1]'); time.sleep(9)",
        "send(b'{}'); time.sleep(9)",
        """send(b'{"outcome": "splendid", "message": "m"}'); time.sleep(9)""",
        """send(b'{"outcome": "correct", "message": 3}'); time.sleep(9)""",
        "pass",
        "time.sleep(9)",
    ],
)
def test_garbage_on_the_pipe_is_never_a_pass(then: str) -> None:
    liar = Sandbox(command=[sys.executable, "-c", READY + then])
    assert run(liar, GOOD, limit=SHORT).outcome == "invalid"
    liar.stop()


@pytest.mark.parametrize("then", ["pass", "send(b'{}')", "sys.stdout.buffer.write(b'rubbish' * 9)"])
def test_worker_that_never_takes_an_answer_is_given_up(then: str) -> None:
    broken = Sandbox(command=[sys.executable, "-c", READY.rpartition("send(")[0] + then])
    assert run(broken, GOOD, limit=SHORT).outcome == "invalid"
    broken.stop()


@needs_fork
def test_failing_fork_is_a_clear_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_fork)
    reader, writer = os.pipe()
    server = object.__new__(worker_module._Server)
    server._requests, server._replies = reader, writer
    server._in_a_child({"total": 1.0}, b"")
    reply, _ = read_frame(lambda size: os.read(reader, size))
    assert reply["outcome"] == "invalid"
    assert "Resource temporarily unavailable" in reply["message"]
    os.close(reader)
    os.close(writer)


def test_threads_take_turns(box: Sandbox) -> None:
    results: list[CodeResult] = []
    jobs = [
        threading.Thread(target=lambda source=source: results.append(run(box, source)))
        for source in [GOOD, WRONG] * 4
    ]  # fmt: skip
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(20)
    assert sorted(result.outcome for result in results) == ["correct"] * 4 + ["incorrect"] * 4


def test_an_answer_that_waits_too_long_for_its_turn_is_told(box: Sandbox) -> None:
    results: list[CodeResult] = []
    slow = threading.Thread(target=lambda: run(box, HOSTILE["one long call that lets no thread run"][0], SHORT))
    slow.start()
    time.sleep(0.2)
    results.append(run(box, GOOD))
    slow.join(10)
    assert results[0].outcome in ("invalid", "correct")
    assert results[0].outcome == "correct" or "Try again" in results[0].message


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_of_the_kernel_does_not_share_the_pipe(box: Sandbox) -> None:
    pid = box._worker().process.pid
    child = os.fork()
    if child == 0:
        fine = box._future is None and box.run(GOOD, slug=SLUG, function=FUNCTION, limit=2).outcome == "correct"
        box.stop()
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert run(box, GOOD).outcome == "correct"
    assert box._worker().process.pid == pid


KERNEL = """
import ctypes, os, sys, threading, time
from kdlab.exercises.sandbox import Sandbox
box = Sandbox(fork=sys.argv[1] == "fork")
print(box._worker().process.pid, flush=True)
if sys.argv[2] == "busy":
    sleep = "def soften(z, t):\\n    import time\\n    time.sleep(1000)"
    box.run(sleep, slug="softmax-with-temperature", function="soften", limit=20 if sys.argv[1] == "fork" else 2)
if sys.argv[2] == "forked" and os.fork() == 0:
    time.sleep(30)
if sys.argv[2] == "forked in C" and ctypes.CDLL(None).fork() == 0:  # past Python's hooks: the pipe stays open
    time.sleep(30)
time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("mode", "state"),
    [
        pytest.param("fork", "busy", marks=needs_fork),
        pytest.param("fork", "forked in C", marks=needs_fork),
        ("no-fork", "forked"),
        ("no-fork", "busy"),
    ],
)
def test_worker_dies_with_its_kernel(mode: str, state: str) -> None:
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL, mode, state], stdout=subprocess.PIPE, text=True)
    assert kernel.stdout is not None
    pid = int(kernel.stdout.readline())
    time.sleep(0.3)
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    forked = psutil.Process(kernel.pid).children()
    kernel.kill()
    kernel.wait()
    kernel.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=6)  # without fork a busy worker first ends the answer, at its limit
    for one in forked:
        if one.pid != pid and one.is_running():
            one.kill()
    assert not alive


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_stop_button_is_not_for_the_worker(box: Sandbox) -> None:
    pid = box._worker().process.pid
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, signal.SIGINT)
    time.sleep(0.1)
    assert run(box, GOOD).outcome == "correct"
    assert box._worker().process.pid == pid


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_stop_button_interrupts_the_wait_but_not_the_worker() -> None:
    code = """
        import os, signal, threading, time
        from kdlab.exercises.sandbox import Sandbox
        box = Sandbox(); box._worker()
        threading.Timer(0.3, lambda: os.killpg(0, signal.SIGINT)).start()
        start = time.perf_counter()
        try:
            box.run("def soften(z, t):\\n    while True: pass", slug="softmax-with-temperature", function="soften")
        except KeyboardInterrupt:
            print("stopped", time.perf_counter() - start < 15)
        good = "def soften(z, t):\\n    return torch.softmax(z / t, -1)"
        print(box.run(good, slug="softmax-with-temperature", function="soften").outcome)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=60, start_new_session=True, check=False,
    )  # fmt: skip
    assert done.stdout.split("\n")[:2] == ["stopped True", "correct"], done.stderr


def test_leaving_python_leaves_nothing_behind_and_says_nothing() -> None:
    code = "from kdlab.exercises import sandbox as s; s.warm(); print(s._shared._worker().process.pid)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not psutil.pid_exists(int(done.stdout))


def test_the_kernels_side_imports_no_torch() -> None:
    code = "import sys, kdlab.exercises.sandbox; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_warm_answer_is_judged_quickly(box: Sandbox) -> None:
    times = []
    for _ in range(20):
        start = time.perf_counter()
        run(box, GOOD, limit=2.0)
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 0.3


def test_environment_variable_turns_forking_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Sandbox().fork == (sys.platform == "linux")
    monkeypatch.setenv("KDLAB_NO_FORK", "1")
    assert not Sandbox().fork


def test_public_face(monkeypatch: pytest.MonkeyPatch) -> None:
    module.warm()
    assert module.run_code(GOOD, slug=SLUG, function=FUNCTION).outcome == "correct"
    module.stop()
    module.stop()


# ------------------------------------------------------------------------------------------------------- small parts


def test_frames_survive_and_everything_else_is_refused() -> None:
    reader, writer = os.pipe()
    write_frame(writer, {"a": "ü", "n": math.pi}, b"body")
    assert read_frame(lambda size: os.read(reader, size)) == ({"a": "ü", "n": math.pi}, b"body")
    for odd in (b"kdl1" + b"\xff" * 8, b"what" + struct.pack("!II", 2, 0) + b"{}"):
        os.write(writer, odd)
        with pytest.raises(BrokenPipe):
            read_frame(lambda size: os.read(reader, size))
        os.set_blocking(reader, False)
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 99)
        os.set_blocking(reader, True)
    os.close(writer)
    with pytest.raises(BrokenPipe):
        read_frame(lambda size: os.read(reader, size))
    os.close(reader)


def test_blankness_is_read_off_the_function() -> None:
    assert is_blank(soften_blank)
    assert is_blank(soften_later)
    assert not is_blank(soften_none)
    assert not is_blank(soften)
    assert not is_blank(len)
    assert not is_blank(3)


def test_pack_refuses_what_is_no_function() -> None:
    with pytest.raises(CannotSend, match="of type `int`"):
        pack(3)
