"""Runs a learner's code answer in another process, and comes back whatever the answer does.

    >>> run_code("", slug="softmax-with-temperature", function="soften").outcome
    'not attempted'

One worker process (:mod:`kdlab.exercises.worker`) is kept warm beside the kernel: the first answer waits for its import
of torch (some seconds), later ones take milliseconds; :func:`warm` starts it ahead of time. An answer that loops,
crashes, prints a gigabyte or asks for all memory ends with a verdict within five seconds (and the worker's start, where
it has to be started first), and the next one is judged as if nothing had been. Nothing that comes back is unpickled.

This protects a learner's kernel from accidents, not from malice: the worker has the learner's own rights.
No torch here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from kdlab.exercises import packing
from kdlab.exercises.packing import SOURCE_NAME, BrokenPipe, CannotSend
from kdlab.exercises.verdict import INVALID, NOT_ATTEMPTED, OUTCOMES

__all__ = ["CodeResult", "Sandbox", "run_code", "stop", "warm"]

_START = 90.0  # seconds that the worker may take to import torch, on a slow and busy laptop
_BEYOND = 2.3  # seconds beyond the limit at which the worker itself is given up: 4.3 for the usual limit of 2
_PRINTED, _MOST_PRINTED = "printed.txt", 2048  # as in worker.py, which this module does not import

T = TypeVar("T")


@dataclass(frozen=True)
class CodeResult:
    """What running an answer came to.

    Attributes:
        outcome: one of :data:`kdlab.exercises.verdict.OUTCOMES`.
        message: for the learner, Markdown with maths between dollars.
        failed: name of the property that failed or was being checked; empty if it did not come to that.
        printed: the first 2 kB that the answer printed.
    """

    outcome: str
    message: str
    failed: str = ""
    printed: str = ""


def run_code(answer: Callable[..., Any] | str, *, slug: str, function: str, limit: float = 2.0) -> CodeResult:
    """Check a function that a learner wrote against the properties of an exercise.

    Args:
        answer: the function, or its source as text.
        slug: the exercise, a key of ``kdlab.exercises.properties.PROPERTIES``.
        function: the name that the exercise asks for; in a source with a single function any name will do.
        limit: seconds that running may take, in all.

    Returns:
        A result in any case; only the learner's own Ctrl-C (or stop button) raises.

    Raises:
        KeyboardInterrupt: the learner pressed stop. The worker is replaced.
    """
    return _shared.run(answer, slug=slug, function=function, limit=limit)


def warm() -> None:
    """Start the worker in the background, so that the first answer need not wait for it."""
    _shared.warm()


def stop() -> None:
    """End the worker; the next answer starts another."""
    _shared.stop()


class _TroubleError(Exception):
    """The answer could not be judged; the message says why, for the learner."""


class _NotTakenError(Exception):
    """The worker was gone before it had read the request: the answer has not run."""


class Sandbox:
    """One warm worker and the lock that lets one answer at a time to it; safe to use from several threads.

    Args:
        fork: whether the worker forks a child per answer; by default where that is safe (Linux), unless
            the environment variable ``KDLAB_NO_FORK`` is set.
        command: what to start instead of the worker, for tests.
    """

    def __init__(self, *, fork: bool | None = None, command: list[str] | None = None) -> None:
        self.fork = sys.platform == "linux" and not os.environ.get("KDLAB_NO_FORK") if fork is None else fork
        self._command = command or [sys.executable, "-P", "-m", "kdlab.exercises.worker", *["--fork"] * self.fork]
        self._future: Future[_Worker] | None = None
        self._state = threading.Lock()  # about which worker there is
        self._turn = threading.Lock()  # to talk to it
        _sandboxes.add(self)

    def run(self, answer: object, *, slug: str, function: str, limit: float = 2.0) -> CodeResult:
        """As :func:`run_code`."""
        start = time.monotonic()
        try:
            how, body = _within(1.5, lambda: _prepare(answer), "Your function takes too long to be packed up.")
            if how == "blank":
                return CodeResult(NOT_ATTEMPTED, "")
            head = {"how": how, "slug": slug, "function": function, "limit": limit}
            reply, printed = self._ask(head, body, time.monotonic() - start)
        except (_TroubleError, CannotSend) as trouble:
            return CodeResult(INVALID, str(trouble))
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return CodeResult(INVALID, f"Your code could not be checked (`{said}`). Try again.")
        return _result(reply, printed, body.decode() if how == "source" else "")

    def warm(self) -> None:
        """As the function :func:`warm`."""
        self._starting()

    def stop(self) -> None:
        """As the function :func:`stop`."""
        with self._state:
            starting, self._future = self._future, None
        if starting is not None and starting.done() and not starting.exception():
            starting.result().close()

    def forget(self) -> None:
        """Begin anew without touching the worker: it belongs to the process that this one was forked from."""
        self._future, self._state, self._turn = None, threading.Lock(), threading.Lock()

    # ------------------------------------------------------------------------------------------------- one request

    def _ask(self, request: dict[str, Any], body: bytes, spent: float) -> tuple[dict[str, Any], str]:
        """Wait for a turn, and send; ``spent`` seconds of the time beyond the limit are gone, a cold start is extra."""
        self._worker()  # whoever waits for a start should not keep the others from their turns
        start = time.monotonic()
        if not self._turn.acquire(timeout=max(_BEYOND - 0.6 - spent, 0)):
            raise _TroubleError("Another answer is being checked at this moment. Try again.")
        seconds = request["limit"] + _BEYOND - spent - (time.monotonic() - start)
        try:
            for _ in range(2):
                worker = self._worker()
                with suppress(_NotTakenError):  # killed from outside, or taken down by the answer before this one
                    return self._exchange(worker, request, body, time.monotonic() + seconds)
            raise _TroubleError("The process that runs code answers ends again and again. Try again later.")
        finally:
            self._turn.release()

    def _exchange(
        self, worker: _Worker, request: dict[str, Any], body: bytes, end: float
    ) -> tuple[dict[str, Any], str]:
        folder = Path(tempfile.mkdtemp(prefix="kdlab-answer-"))
        left = end - time.monotonic()
        path = [str(Path(entry).resolve()) for entry in sys.path]
        head = request | {"folder": str(folder), "path": path, "total": left - 0.4}
        retire = True
        try:
            reply = _within(left, lambda: worker.ask(head, body), "Your code was stopped: it did not come to an end.")
            retire = bool(reply.get("spoiled"))
            return reply, _printed(folder)
        except (BrokenPipe, OSError, ValueError):
            return _ended(worker), _printed(folder)
        finally:  # also when the learner pressed stop
            if retire:
                self._replace(worker)
            shutil.rmtree(folder, ignore_errors=True)

    # -------------------------------------------------------------------------------------------------- the worker

    def _worker(self) -> _Worker:
        """The warm worker; waits for its start, and starts it if need be."""
        try:
            return self._starting().result(timeout=_START + 5)
        except (OSError, BrokenPipe, _TroubleError, TimeoutError) as error:
            self._drop(None)
            raise _TroubleError(f"The process that runs code answers could not be started. {error}".strip()) from None

    def _starting(self) -> Future[_Worker]:
        with self._state:
            known = self._future
            if known is not None and not (known.done() and (known.exception() or known.result().gone())):
                return known
            if known is not None and known.done() and not known.exception():
                known.result().close()
            future: Future[_Worker] = Future()
            self._future = future
        threading.Thread(target=self._start, args=(future,), daemon=True, name="kdlab-start").start()
        return future

    def _start(self, future: Future[_Worker]) -> None:
        worker = None
        try:
            worker = _Worker(self._command)
            _within(_START, worker.receive, f"It was not ready after {_START:g} seconds.")
        except BaseException as error:
            why = worker.last_words() if worker else f"{type(error).__name__}: {error}"
            if worker:
                worker.close()
            future.set_exception(_TroubleError(why or str(error)))
            return
        future.set_result(worker)
        if self._future is not future:  # stopped meanwhile
            worker.close()

    def _replace(self, worker: _Worker) -> None:
        self._drop(worker)
        worker.close()
        if not self.fork:
            self.warm()

    def _drop(self, worker: _Worker | None) -> None:
        """No longer use this worker, or a start that failed."""
        with self._state:
            known = self._future
            if known is not None and known.done() and (known.exception() or known.result() is worker):
                self._future = None


class _Worker:
    """The process at the other end of the pipe."""

    def __init__(self, command: list[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (as long-lived as the worker)
        apart: dict[str, Any] = {"start_new_session": True}  # the stop button signals the kernel's whole group
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0,
                cwd=tempfile.gettempdir(), env=_environment(), **apart,
            )  # fmt: skip
        except BaseException:
            self._errors.close()
            raise
        self._to, self._from = cast("IO[bytes]", self.process.stdin), cast("IO[bytes]", self.process.stdout)
        _workers.add(self)

    def ask(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        try:
            packing.write_frame(self._to.fileno(), head, body)
            taken = self.receive()
        except (BrokenPipe, OSError, ValueError):
            raise _NotTakenError from None
        if taken != {"accepted": True}:
            raise BrokenPipe("what came is no reply")
        return self.receive()

    def receive(self) -> dict[str, Any]:
        return packing.read_frame(lambda size: self._from.read(size) or b"")[0]

    def gone(self) -> bool:
        return self.process.poll() is not None

    def last_words(self) -> str:
        """The last line it wrote about a failed start."""
        self._errors.seek(0)
        lines = self._errors.read()[-5000:].decode("utf-8", "replace").split("\n")
        return next((f"It said: `{line.strip()[:300]}`." for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """End it: by the end of its input, on which it also ends what it is running, else by force."""
        with suppress(OSError):
            self._to.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(0.2)
        with suppress(OSError):
            self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)
        self.release()

    def release(self) -> None:
        """Close this side's ends of the pipe."""
        for stream in (self._to, self._from, self._errors):
            with suppress(OSError):
                stream.close()


# -------------------------------------------------------------------------------------------------------- small parts


def _prepare(answer: object) -> tuple[str, bytes]:
    if answer is None or answer is ... or packing.is_blank(answer) or (type(answer) is str and not answer.strip()):
        return "blank", b""
    return packing.pack(answer)


def _within(seconds: float, work: Callable[[], T], too_late: str) -> T:
    """The result of the work, or trouble after so many seconds; the thread that still works is left behind."""
    future: Future[T] = Future()

    def do() -> None:
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=do, daemon=True, name="kdlab-work").start()
    try:
        return future.result(timeout=max(seconds, 0.01))
    except TimeoutError:
        if future.done():  # the work itself raised it
            raise
        raise _TroubleError(too_late) from None


def _environment() -> dict[str, str]:
    """The kernel's environment, with kdlab importable, one thread per library, and no options that change Python."""
    unwanted = {"PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONPROFILEIMPORTTIME"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [kept.get("PYTHONPATH"), package]))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return kept | threads | {"PYTHONPATH": path, "PYTHONUTF8": "1"}


def _printed(folder: Path) -> str:
    try:
        with (folder / _PRINTED).open("rb") as file:
            return file.read(_MOST_PRINTED).decode("utf-8", "replace")
    except OSError:
        return ""


def _ended(worker: _Worker) -> dict[str, Any]:
    """What to say when the worker went, or sent what is no reply."""
    with suppress(subprocess.TimeoutExpired):
        worker.process.wait(0.1)
    how = f" (code {worker.process.returncode})" if worker.gone() else ""
    message = (
        f"The process that runs answers ended{how} before it could reply: does your code end or crash Python itself "
        "(`os._exit`, closed files, a recursion without end)? Otherwise try again."
    )
    return {"outcome": INVALID, "message": message}


def _result(reply: dict[str, Any], printed: str, source: str) -> CodeResult:
    outcome, message, failed = (reply.get(key) or "" for key in ("outcome", "message", "failed"))
    if outcome not in OUTCOMES or not isinstance(message, str) or not isinstance(failed, str):
        return CodeResult(INVALID, "The process that runs answers sent something that is no reply. Try again.")
    match reply.get("where"):
        case [str(file), int(line)]:
            message += f"\n\n{_line(file, line, source)}"
    return CodeResult(outcome, message, failed, printed)


def _line(file: str, number: int, source: str) -> str:
    """The learner's own line, as a sentence."""
    if file == SOURCE_NAME:
        lines = source.splitlines()
        text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    else:
        text = packing.source_line(file, number)
    text = text[:200]
    fence = "``" if "`" in text else "`"
    return f"Line {number}: {fence}{text}{fence}" if text else f"Line {number}."


_workers: weakref.WeakSet[_Worker] = weakref.WeakSet()
_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()
_shared = Sandbox()


def _in_a_forked_kernel() -> None:
    """A fork of the kernel (a DataLoader's worker, say) must neither talk to the worker nor keep it alive."""
    for worker in list(_workers):
        worker.release()
    for sandbox in list(_sandboxes):
        sandbox.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_forked_kernel)


@atexit.register
def _at_exit() -> None:
    for worker in list(_workers):
        worker.close()
