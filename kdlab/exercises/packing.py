"""How a code answer travels to the worker: source text as it is, a function by value with the globals it uses.

Last come the frames in which kernel and worker talk over their pipe. Nothing here runs the answer, and nothing here is
ever unpickled in the learner's kernel. Imports neither torch nor the learner's modules.
"""

from __future__ import annotations

import dis
import io
import json
import linecache
import os
import re
import struct
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import cloudpickle

__all__ = [
    "LARGEST",
    "SOURCE_NAME",
    "BrokenPipe",
    "CannotSend",
    "is_blank",
    "pack",
    "read_frame",
    "source_line",
    "write_frame",
]

LARGEST = 64 * 2**20
"""Bytes that a function may bring along."""

SOURCE_NAME = "<answer>"
"""File name of an answer given as text, in tracebacks."""

_LONGEST_SOURCE = 200_000  # characters
_DEPTH = 3  # of functions that use functions, in the search for the global that is to blame
_LIBRARIES = tuple(str(Path(sysconfig.get_path(name))) for name in ("stdlib", "purelib", "platlib"))

# What a body of nothing but `...`, `pass`, a docstring, `return ...` or `raise NotImplementedError` compiles to.
_EMPTY = {"RESUME", "NOP", "COPY_FREE_VARS", "MAKE_CELL", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
_CALLS = {"LOAD_GLOBAL", "PUSH_NULL", "PRECALL", "CALL", "CACHE", "RAISE_VARARGS"}


class CannotSend(Exception):
    """The answer cannot be handed over; the message says why and what to do, in Markdown."""


def pack(answer: object) -> tuple[str, bytes]:
    """The answer as bytes, and how to read them: ``"source"`` or ``"pickle"``.

    Args:
        answer: source text or anything callable.

    Raises:
        CannotSend: not a function, too large, or it holds something that cannot be pickled.
    """
    if issubclass(type(answer), str):
        text = str.__str__(answer)
        if len(text) > _LONGEST_SOURCE:
            raise CannotSend(f"The answer is {len(text):,} characters long; at most {_LONGEST_SOURCE:,} are allowed.")
        return "source", text.encode("utf-8", "replace")
    if not callable(answer):
        raise CannotSend(f"A function is expected, or its source as text; this is {_a_type(answer)}.")
    try:
        return "pickle", _pickled(answer)
    except _TooLargeError:
        raise CannotSend(_explain_size(answer)) from None
    except Exception as error:
        raise CannotSend(_explain_failure(answer, error)) from None


def is_blank(function: object) -> bool:
    """Whether nothing has been written yet: the body is a docstring, ``...``, ``pass`` or raises NotImplementedError.

    An explicit ``return None`` is an attempt, ``return ...`` is none.

    Example:
        >>> def soften(z, temperature):
        ...     "Softmax with temperature."
        >>> is_blank(soften), is_blank(lambda z, temperature: z / temperature)
        (True, False)
    """
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    steps = list(dis.get_instructions(code))
    names = {step.opname for step in steps}
    if names <= _EMPTY:
        returned = [step.argval for step in steps if step.opname in {"LOAD_CONST", "RETURN_CONST"}]
        return returned[-1:] == [...] or (returned[-1:] == [None] and not _says_return(steps[-1], code))
    raises_only = names <= _EMPTY | _CALLS and "RAISE_VARARGS" in names
    return raises_only and code.co_names == ("NotImplementedError",)


def source_line(filename: str, line: int) -> str:
    """The text of one line of a cell or file, stripped; empty if it is not known any more."""
    return linecache.getline(filename, line).strip()


def _says_return(step: dis.Instruction, code: CodeType) -> bool:
    """Whether this instruction comes from a written ``return``; the bytecode of one that Python adds is the same."""
    where = step.positions
    if where is None or where.lineno is None:
        return False
    line = linecache.getline(code.co_filename, where.lineno).encode()
    return re.search(rb"\breturn\b", line[: where.end_col_offset or 0]) is not None


class _TooLargeError(Exception):
    pass


class _Bounded(io.BytesIO):
    """Bytes in memory, up to the limit."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > LARGEST:
            raise _TooLargeError
        return super().write(data)


class _Pickler(cloudpickle.Pickler):
    """Cloudpickle that looks at tensors before they are copied; a view brings the whole storage along."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj).__module__.startswith("torch") and hasattr(obj, "untyped_storage"):
            storage = obj.untyped_storage()
            if storage.nbytes() > LARGEST:
                raise _TooLargeError
        return super().reducer_override(obj)


def _pickled(answer: object) -> bytes:
    file = _Bounded()
    with _module_by_value(getattr(answer, "__module__", None)):
        _Pickler(file, protocol=5).dump(answer)
    return file.getvalue()


@contextmanager
def _module_by_value(name: object) -> Iterator[None]:
    """Lets cloudpickle copy what this module defines: the worker may not be able to import the learner's file."""
    module = sys.modules.get(name) if isinstance(name, str) else None
    registered = cloudpickle.list_registry_pickle_by_value()
    if module is None or _is_library(module) or module.__name__ in registered:
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _is_library(module: Any) -> bool:
    top = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None) or ""
    return top in sys.stdlib_module_names or top == "kdlab" or file.startswith(_LIBRARIES)


# ------------------------------------------------------------------------------------------ which global is to blame


def _explain_size(answer: object) -> str:
    names = _culprits(answer, lambda error: isinstance(error, _TooLargeError))
    which = f" The large one is {names}." if names else ""
    return (
        f"The function brings more than {LARGEST // 2**20} MB of your notebook's variables along.{which} "
        "Use the arguments only, or a small `.clone()` of the part that is needed."
    )


def _explain_failure(answer: object, error: Exception) -> str:
    names = _culprits(answer, lambda _: True)
    if names:
        return (
            f"The function uses {names}, which cannot be sent to the process that runs answers. "
            "Make it inside the function, or do without it."
        )
    said = " ".join(str(error).split())[:200]
    return f"The function cannot be sent to the process that runs answers: {type(error).__name__}, `{said}`."


def _culprits(answer: object, blames: Callable[[Exception], bool], depth: int = _DEPTH) -> str:
    """Names and types of the globals and closed-over variables that cannot be pickled by themselves."""
    found = []
    for name, value in _brought_along(answer).items():
        try:
            _pickled(value)
        except Exception as error:
            if not blames(error):
                continue
            deeper = _culprits(value, blames, depth - 1) if isinstance(value, FunctionType) and depth else ""
            found.append(deeper or f"`{name}` ({_a_type(value)})")
    return " and ".join(dict.fromkeys(found))


def _brought_along(answer: object) -> dict[str, object]:
    """The globals and closed-over variables that a function mentions, by name."""
    if not isinstance(answer, FunctionType):
        return {}
    names = list(dict.fromkeys(_mentioned(answer.__code__)))
    known = {name: answer.__globals__[name] for name in names if name in answer.__globals__}
    for name, cell in zip(answer.__code__.co_freevars, answer.__closure__ or (), strict=True):
        try:
            known[name] = cell.cell_contents
        except ValueError:  # not yet assigned
            continue
    return {name: value for name, value in known.items() if value is not answer}


def _mentioned(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _mentioned(constant)


def _a_type(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"a value of type `{name}`"


# ------------------------------------------------------------------------------------------------ frames on the pipe

_SIZES = struct.Struct("!4sII")  # a mark, bytes of JSON, bytes of body
_MARK = b"kdl1"
_LONGEST_HEAD = 2**20


class BrokenPipe(Exception):
    """The other side is gone, or what came is no frame."""


def write_frame(descriptor: int, head: dict[str, Any], body: bytes = b"") -> None:
    """Send a dict, and bytes that nobody on the way looks into."""
    text = json.dumps(head).encode()
    left = memoryview(_SIZES.pack(_MARK, len(text), len(body)) + text + body)
    while left:
        left = left[os.write(descriptor, left) :]


def read_frame(read: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes]:
    """The next dict and body.

    Args:
        read: returns at most that many bytes; none at the end.

    Raises:
        BrokenPipe: the end, or bytes that are no frame.
    """
    mark, head_size, body_size = _SIZES.unpack(_exactly(read, _SIZES.size))
    if mark != _MARK or head_size > _LONGEST_HEAD or body_size > 2 * LARGEST:
        raise BrokenPipe("what came over the pipe is no frame")
    try:
        head = json.loads(_exactly(read, head_size))
    except ValueError:
        raise BrokenPipe("what came over the pipe is no JSON") from None
    if not isinstance(head, dict):
        raise BrokenPipe("what came over the pipe is no dict")
    return head, _exactly(read, body_size)


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = read(min(size, 2**20))
        if not part:
            raise BrokenPipe("the other side closed the pipe")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
