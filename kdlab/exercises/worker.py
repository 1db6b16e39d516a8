"""The process that runs code answers: ``python -m kdlab.exercises.worker``, started by :mod:`kdlab.exercises.sandbox`.

It imports torch once and then serves requests from a pipe. On Linux every request gets a forked child of its own, a
fresh process for some milliseconds, in a session of its own and with limits on memory, processor time and files. Where
forking is unsafe (macOS: Accelerate) or unknown (Windows) the worker runs the answer itself, and is replaced after
whatever it might not have survived unharmed.

Two clocks watch an answer. A thread beside it (:class:`_Watch`) ends it at the time limit and can say in which line it
was. Where Python does not get to run threads (one long call into C), the process above ends it a little later: here
for a forked child, in the learner's kernel otherwise.

This protects a learner's kernel from accidents. It is no protection against an answer that means harm.
"""

from __future__ import annotations

import builtins
import ctypes
import faulthandler
import gc
import io
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kdlab.exercises.packing import BrokenPipe, read_frame, write_frame
from kdlab.exercises.verdict import INVALID

if TYPE_CHECKING:
    from kdlab.exercises import judging

PRINTED, FOLDER = "printed.txt", "folder"  # inside the request's folder: what was printed; where the answer runs
MOST_PRINTED = 2048  # bytes that are kept
MEMORY = 4 * 2**30  # bytes beyond what the worker has
_FILE_SIZE = 64 * 2**20
_PROCESSES = {
    "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "os.exec", "os.startfile", "pty.spawn",
    "subprocess.Popen",
}  # fmt: skip

Reply = dict[str, Any]


def main() -> None:
    """Serve requests until the pipe ends, which it does when the kernel is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stop button is for the kernel
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    import torch

    from kdlab.exercises import judging

    builtins.display = print  # type: ignore[attr-defined]  # a function from a notebook may look at things with it
    torch.set_num_threads(1)  # threads do not survive a fork, and the machine is the learner's
    server = _Server(requests, replies, judging.Originals(), fork="--fork" in sys.argv)
    os.dup2(null, 2)  # until here it told the kernel why a start failed
    write_frame(replies, {"ready": True})
    server.run()


class _Server:
    """One request after another."""

    def __init__(self, requests: int, replies: int, originals: judging.Originals, *, fork: bool) -> None:
        self._requests, self._replies, self._originals, self._fork = requests, replies, originals, fork
        self._idle_before = False
        self._parent = os.getppid()
        sys.addaudithook(_audit)
        if fork:
            _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what an answer leaves behind becomes ours, and is ended
            gc.collect()
            gc.freeze()  # so that children do not copy pages merely to count references

    def run(self) -> None:
        while self._request_is_there():
            try:
                request, body = read_frame(lambda size: os.read(self._requests, size))
                write_frame(
                    self._replies, {"accepted": True}
                )  # from here on, an end of this process may be the answer's
            except (BrokenPipe, OSError):
                return
            answer = self._in_a_child if self._fork else self._right_here
            answer(request, body)

    def _request_is_there(self) -> bool:
        """Wait for a request; False if the kernel is gone although some other process holds its end of the pipe."""
        if not self._fork:
            return True
        while not select.select([self._requests], [], [], 1)[0]:
            if os.getppid() != self._parent:
                return False
            if (
                not self._idle_before
            ):  # nobody waits: import what the first optimizer would, which takes a second or two
                self._idle_before = True
                import torch._dynamo  # noqa: F401

                gc.freeze()
        return True

    def _right_here(self, request: Reply, body: bytes) -> None:
        """Without fork: run the answer in this very process, and say whether it had better be replaced."""

        def send(reply: Reply) -> None:
            left_running = threading.active_count() > 2  # besides this one and the watch
            write_frame(self._replies, reply | {"spoiled": reply["spoiled"] or left_running})

        _answer(request, body, self._originals, send)

    def _in_a_child(self, request: Reply, body: bytes) -> None:
        reader, writer = os.pipe()
        deadline = time.monotonic() + request["total"]
        try:
            child = os.fork()
        except OSError as error:
            os.close(reader)
            os.close(writer)
            write_frame(self._replies, _failure(f"No process could be started to run your code: {error}. Try again."))
            return
        if child == 0:
            for descriptor in (reader, self._requests, self._replies):
                os.close(descriptor)
            _be_the_child(request, body, self._originals, writer)
        os.close(writer)
        reply, gone = self._reply_of_child(reader, deadline)
        os.close(reader)
        status = _end(child)
        if gone:
            shutil.rmtree(request["folder"], ignore_errors=True)
            os._exit(0)
        write_frame(self._replies, reply or _failure(_how_it_ended(status, time.monotonic() >= deadline)))

    def _reply_of_child(self, reader: int, deadline: float) -> tuple[Reply | None, bool]:
        """What the child wrote, if it wrote a reply in time; and whether the kernel has gone meanwhile."""
        bound = [1 << 20]

        def read(size: int) -> bytes:
            left = deadline - time.monotonic()
            ready = select.select([reader, self._requests], [], [], max(left, 0))[0] if left > 0 else []
            if self._requests in ready:  # it never sends a second request before the first is answered: this is its end
                raise _GoneError
            if not ready or bound[0] <= 0:
                raise BrokenPipe
            part = os.read(reader, size)
            bound[0] -= len(part)
            return part

        try:
            return read_frame(read)[0], False
        except (BrokenPipe, OSError):
            return None, False
        except _GoneError:
            return None, True


class _GoneError(Exception):
    """The kernel has gone."""


# -------------------------------------------------------------------------------------------------- a child's life


def _be_the_child(request: Reply, body: bytes, originals: judging.Originals, writer: int) -> NoReturn:
    """Answer and end; never returns."""
    try:
        os.setsid()
        _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no child outlives the worker
        _limit(request["total"])
        _answer(request, body, originals, lambda reply: write_frame(writer, reply | {"spoiled": False}))
    finally:
        os._exit(0)


def _limit(seconds: float) -> None:
    """Limits on this process alone: memory, processor time, size of files; the first to go if memory runs out."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    for kind, value in (
        (resource.RLIMIT_AS, most),
        (resource.RLIMIT_CPU, int(seconds) + 2),
        (resource.RLIMIT_FSIZE, _FILE_SIZE),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (value, value))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _end(child: int) -> int:
    """End the child with all that it started, and return its wait status."""
    with suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    with suppress(OSError):
        os.kill(child, signal.SIGKILL)  # had it not come to be the head of a group yet
    status = 0
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        try:
            pid, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == child:
            status = found
        elif pid == 0:
            for stray in _children():
                with suppress(OSError):
                    os.kill(stray, signal.SIGKILL)
            time.sleep(0.0005)
    return status


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _how_it_ended(status: int, late: bool) -> str:
    if late:
        return (
            "Your code was stopped: it had been in one long call, out of Python's reach, for too long. "
            "Is a shape much larger than you meant?"
        )
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number and number != signal.SIGKILL:
        name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
        return f"Your code crashed Python itself ({name}): a recursion without end, or a library used in the wrong way?"
    return "Your code ended the process that runs it, by `os._exit`, by closing its files or by using up all memory."


def _prctl(option: int, value: int) -> None:
    """Linux's prctl; where it is missing its favour is, too."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


# ---------------------------------------------------------------------------------------- running one answer, anyhow


class _Watch(threading.Thread):
    """Ends an answer that does not end by itself: says where it is, and leaves."""

    def __init__(self, seconds: float, progress: judging.Progress, send: Callable[[judging.Finding], None]) -> None:
        super().__init__(daemon=True)
        self._seconds, self._progress, self._send = seconds, progress, send
        self._main = threading.get_ident()
        self.done = threading.Event()

    def run(self) -> None:
        from kdlab.exercises import judging

        # Reading the code in (imports, unpickling) has a limit of its own: a slow import costs no one the answer.
        if self._progress.loaded.wait(self._seconds) and self.done.wait(self._seconds):
            return
        try:
            frame = sys._current_frames().get(self._main)
            self._send(judging.stuck(frame, self._seconds, self._progress))
        finally:  # nobody may be there to read it
            os._exit(0)


def _answer(request: Reply, body: bytes, originals: judging.Originals, send: Callable[[Reply], None]) -> None:
    """Judge the answer and send one reply."""
    from kdlab.exercises import judging

    progress, once = judging.Progress(), threading.Lock()

    def tell(finding: judging.Finding) -> None:
        if once.acquire(blocking=False):  # the watch and the answer may come to their ends at the same moment
            send(vars(finding))

    watch = _Watch(request["limit"], progress, tell)
    watch.start()
    # The last resort should this process be left alone with a call into C: it needs neither Python nor a parent.
    with Path(os.devnull).open("w") as null:
        faulthandler.dump_traceback_later(request["total"] + 2, exit=True, file=null)
        try:
            with _surroundings(Path(request["folder"]), request["path"]):
                finding = judging.judge(
                    request["how"], body,
                    slug=request["slug"], function=request["function"], progress=progress, originals=originals,
                )  # fmt: skip
        finally:
            faulthandler.cancel_dump_traceback_later()
    watch.done.set()
    progress.loaded.set()
    tell(finding)


@contextmanager
def _surroundings(folder: Path, path: list[str]) -> Iterator[None]:
    """A folder of its own, the kernel's import path, output into a small file, and no other programs."""
    kept = sys.stdout, sys.stderr, list(sys.path), Path.cwd()
    printed = os.open(folder / PRINTED, os.O_WRONLY | os.O_CREAT)
    bounded: Any = _Bounded(printed)
    stream = io.TextIOWrapper(bounded, encoding="utf-8", errors="replace", write_through=True)
    sys.stdout = sys.stderr = stream
    sys.path.extend(entry for entry in path if entry not in kept[2])
    (folder / FOLDER).mkdir()
    os.chdir(folder / FOLDER)
    _running.append(os.getpid())
    try:
        yield
    finally:
        _running.clear()
        sys.stdout, sys.stderr, sys.path[:] = kept[0], kept[1], kept[2]
        os.chdir(kept[3])
        with suppress(OSError):
            os.close(printed)


class _Bounded(io.RawIOBase):
    """Keeps the first bytes in a file and swallows the rest, however much it is."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor, self._left = descriptor, MOST_PRINTED

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self._left > 0:
            part = bytes(memoryview(data)[: self._left])
            self._left -= len(part)
            with suppress(OSError):
                os.write(self._descriptor, part)
        return size


_running: list[int] = []  # the process id, while an answer runs in this process


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Keeps an answer from starting programs and from signalling other processes, the kernel for one."""
    if not _running:
        return
    if event in _PROCESSES:
        raise PermissionError(f"an answer may not start other processes ({event})")
    if event in ("os.kill", "os.killpg") and arguments[0] != _running[0]:
        raise PermissionError("an answer may not send signals to other processes")


def _failure(message: str) -> Reply:
    return {"outcome": INVALID, "message": message, "failed": "", "where": None, "spoiled": False}


if __name__ == "__main__":
    main()
