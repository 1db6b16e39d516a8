"""Runs a learner's function against a list of properties; this is the part of the worker that knows about answers.

Reading order: :func:`judge`; :class:`_Asked`, which stands before the learner's function and looks at all that goes in
and comes out; :func:`_explain`, which puts an exception into words; :class:`Originals`, which notices (and undoes) that
an answer changed torch or Python itself.
"""

from __future__ import annotations

import ast
import builtins
import dis
import linecache
import math
import pickle
import sys
import sysconfig
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdlab.exercises import packing, properties, verdict
from kdlab.exercises.packing import SOURCE_NAME, is_blank
from kdlab.exercises.properties import PROPERTIES, RESULTS, NotFinite, Property, WrongKind, shown
from kdlab.exercises.verdict import CORRECT, INCORRECT, INVALID, NOT_ATTEMPTED

__all__ = ["Finding", "Originals", "Progress", "judge", "load", "stuck"]

IS_FINITE = "result_is_finite"
LEAVES_INPUTS_ALONE = "inputs_are_left_alone"
_LIBRARIES = (
    *(str(Path(sysconfig.get_path(name))) for name in ("stdlib", "purelib", "platlib")),
    str(Path(__file__).parent),
    "<frozen",
    "<__array_function__",
)

_LAZY = {"manual_seed"}  # torch itself wraps it when the first optimizer is made

Where = tuple[str, int]  # file name and line number


@dataclass
class Finding:
    """What judging came to; ``where`` is the learner's own line that it is about.

    ``spoiled`` says that the process it ran in had better not be used again.
    """

    outcome: str
    message: str
    failed: str = ""
    where: Where | None = None
    spoiled: bool = False


@dataclass
class Progress:
    """What is being done at this moment, for the words about an answer that has to be stopped."""

    check: str = ""
    call: str = ""
    arguments: tuple[Any, ...] = ()
    loaded: threading.Event = field(default_factory=threading.Event)

    def sentence(self) -> str:
        """The call that is under way, as a sentence; empty before the first."""
        return f" The call was `{self.call}({', '.join(map(shown, self.arguments))})`." if self.call else ""


class _Stop(Exception):
    """Ends the judging with a finding."""

    def __init__(self, outcome: str, message: str, failed: str = "", *, spoiled: bool = False) -> None:
        super().__init__(message)
        self.finding = Finding(outcome, message, failed, spoiled=spoiled)


class _Raised(Exception):
    """The learner's code raised ``error``."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def judge(how: str, body: bytes, *, slug: str, function: str, progress: Progress, originals: Originals) -> Finding:
    """The first property that fails, or what kept the answer from being judged.

    Args:
        how: ``"source"`` or ``"pickle"``.
        body: the answer, as :func:`kdlab.exercises.packing.pack` made it.
        slug: the exercise.
        function: name of the function that the exercise asks for.
        progress: kept up to date while the answer runs.
        originals: taken before the answer could touch anything.
    """
    checks = PROPERTIES.get(slug)
    if not checks:
        return Finding(INVALID, f"There are no properties for `{slug}` in kdlab/exercises/properties/.")
    try:
        answer = _loaded(how, body, function, originals)
        if how == "source" and is_blank(answer):
            return Finding(NOT_ATTEMPTED, "")
        asked = _Asked(answer, function, RESULTS.get(slug, properties.core.anything), progress, originals)
        for check in checks:
            progress.check = check.name
            finding = _violation(check, asked)
            _refuse_changes(originals)
            if finding:
                return finding
    except _Stop as stop:
        return stop.finding
    except _Raised as raised:
        return _explain(raised.error, progress)
    return Finding(CORRECT, f"All {len(checks)} properties hold.")


def stuck(frame: types.FrameType | None, seconds: float, progress: Progress) -> Finding:
    """The words for an answer that does not end; ``frame`` is where it is at this moment."""
    while frame is not None and not _is_learners(frame.f_code.co_filename):
        frame = frame.f_back
    where = (frame.f_code.co_filename, frame.f_lineno) if frame else None
    doing = "Your function" if progress.call else "Your code"
    message = f"{doing} was stopped after {seconds:g} seconds: is there a loop that does not end?{progress.sentence()}"
    return Finding(INVALID, message, progress.check, where, spoiled=True)


def _violation(check: Property, asked: _Asked) -> Finding | None:
    try:
        check.check(asked)
    except NotFinite as error:
        if check.finite:
            return Finding(INCORRECT, f"{check.message}\n\n{error}", check.name)
        return Finding(INCORRECT, str(error), IS_FINITE)
    except AssertionError as error:
        return Finding(INCORRECT, f"{check.message}\n\n{str(error) or asked.last()}".strip(), check.name)
    except WrongKind as error:
        return Finding(INVALID, f"{error} {asked.last()}".strip(), check.name)
    except (_Stop, _Raised):
        raise
    except Exception as error:  # a result so odd that the check itself stumbled
        said = f"{type(error).__name__}: {_text(error)}"
        return Finding(INVALID, f"The result cannot be checked ({_code(said)}). {asked.last()}", check.name)
    return None


class _Asked:
    """The learner's function as properties see it: inputs must come back unchanged, results be of the right kind."""

    def __init__(
        self, answer: Any, name: str, result: Callable[..., Any], progress: Progress, originals: Originals
    ) -> None:
        self._answer, self._name, self._result = answer, name, result
        self._progress, self._originals = progress, originals
        self._came: Any = None
        progress.call = name
        progress.loaded.set()

    def __call__(self, *arguments: Any) -> Any:
        kept = tuple(_copy(argument) for argument in arguments)
        self._progress.arguments, self._came = kept, None
        changed: list[str] = []
        try:
            try:
                result = self._answer(*arguments)
            finally:
                changed = self._originals.restore_builtins()
        except BaseException as error:  # sys.exit and KeyboardInterrupt, too
            if changed:
                raise _changed(changed) from None
            raise _Raised(error) from None
        if changed:
            raise _changed(changed)
        if result is ...:
            raise _Stop(NOT_ATTEMPTED, "")
        if result is None:
            raise WrongKind(f"`{self._name}` returned `None`: is the `return` statement missing?")
        for argument, before in zip(arguments, kept, strict=True):
            if not _same(argument, before):
                raise _Stop(INCORRECT, self._mutated(before), LEAVES_INPUTS_ALONE)
        self._came = result
        return self._result(result, *kept)

    def last(self) -> str:
        """The last call and what it gave, as a sentence."""
        if self._came is None:
            return self._progress.sentence().strip()
        call = f"{self._name}({', '.join(map(shown, self._progress.arguments))})"
        return f"`{call}` returned {_code(shown(self._came))}."

    def _mutated(self, before: Any) -> str:
        if isinstance(before, torch.Tensor):
            kind = "tensor"
            advice = (
                "Methods ending in `_`, `z /= T` and `z[...] = ...` write in place; `z = z / T` makes something new."
            )
        else:
            kind, advice = "list", "`sort()` and `append()` change a list in place; `sorted(times)` makes a new one."
        return (
            f"Your function changes the {kind} that it is given, so whoever called it goes on with other numbers "
            f"than before. {advice}{self._progress.sentence()}"
        )


# ---------------------------------------------------------------------------------------------- getting the function


def load(how: str, body: bytes, function: str) -> Any:
    """The learner's function; runs whatever stands around it."""
    if how == "pickle":
        return pickle.loads(body)  # in the worker only, and it is the learner's own kernel that pickled it
    text = body.decode()
    linecache.cache[SOURCE_NAME] = (len(text), None, text.splitlines(keepends=True), SOURCE_NAME)
    space: dict[str, Any] = {
        "__name__": "answer", "torch": torch, "F": torch.nn.functional, "nn": torch.nn, "np": np, "math": math,
    }  # fmt: skip
    given = set(space)
    tree = ast.parse(text, SOURCE_NAME)
    if all(isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) for part in tree.body):
        raise _Stop(NOT_ATTEMPTED, "")  # comments, a docstring, `...`
    exec(compile(tree, SOURCE_NAME, "exec"), space)  # what this process is for
    return _named(space, function, given)


def _named(space: dict[str, Any], function: str, given: set[str]) -> Any:
    """The function by its name, or the only one there is."""
    answer = space.get(function)
    if callable(answer):
        return answer
    if function in space:
        raise _Stop(INVALID, f"`{function}` must be a function; here it is a value of type `{type(answer).__name__}`.")
    own = {
        name: value
        for name, value in space.items()
        if name not in given and isinstance(value, types.FunctionType) and value.__code__.co_filename == SOURCE_NAME
    }
    if len(own) == 1:
        return next(iter(own.values()))
    there = f"it defines {', '.join(f'`{name}`' for name in own)}" if own else "it defines no function"
    raise _Stop(INVALID, f"There is no function `{function}` in your answer: {there}.")


def _loaded(how: str, body: bytes, function: str, originals: Originals) -> Any:
    try:
        try:
            return load(how, body, function)
        finally:
            changed = originals.restore_builtins()
            changed += originals.restore()
            if changed:
                raise _changed(changed)
    except _Stop:
        raise
    except BaseException as error:
        if how == "pickle" and isinstance(error, ImportError | AttributeError):
            hint = f"Your function needs something that is not there in the process that runs answers: {_text(error)}."
            raise _Stop(INVALID, f"{hint} Import it inside the function, or do without it.") from None
        raise _Raised(error) from None


# ---------------------------------------------------------------------------------------------- exceptions in words


def _explain(error: BaseException, progress: Progress) -> Finding:
    where, own_raise = _own_frame(error)
    if isinstance(error, NotImplementedError) and own_raise:
        return Finding(NOT_ATTEMPTED, "")
    if isinstance(error, SyntaxError) and error.filename == SOURCE_NAME:
        where = (SOURCE_NAME, error.lineno or 1)
        return Finding(
            INVALID, f"Python cannot read your code: {_code(f'{type(error).__name__}: {error.msg}')}.", "", where
        )
    said = f"{type(error).__name__}: {_text(error)}".removesuffix(": ")
    message = f"Your code raised {_code(said)}.{_hint(error)}{progress.sentence()}"
    return Finding(INVALID, message, progress.check, where, spoiled=isinstance(error, MemoryError))


def _hint(error: BaseException) -> str:
    text = _text(error)
    if isinstance(error, RecursionError):
        return " It calls itself without end."
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text:
        return " It asked for more memory than an answer may use: look at the shapes."
    if isinstance(error, SystemExit):
        return " `sys.exit()` would end the whole kernel; use `return`."
    if isinstance(error, IndexError) and "Dimension out of range" in text:
        return " A tensor of shape `[K]` has only one dimension; `dim=-1` is the last one of any shape."
    if isinstance(error, EOFError):
        return " An answer cannot ask for input; use the arguments."
    return ""


def _own_frame(error: BaseException) -> tuple[Where | None, bool]:
    """The innermost line of the learner's own code, and whether a `raise` written there is what raised."""
    where, trace, own_raise = None, error.__traceback__, False
    while trace is not None:
        code = trace.tb_frame.f_code
        own = _is_learners(code.co_filename)
        if own:
            where = (code.co_filename, trace.tb_lineno)
        own_raise = own and dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
        trace = trace.tb_next
    return where, own_raise


def _is_learners(filename: str) -> bool:
    return not filename.startswith(_LIBRARIES)


def _text(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:300]
    except BaseException:  # its own __str__ raises
        return "(an exception that cannot be shown)"


def _code(text: str) -> str:
    """Inline code in Markdown, whatever backticks the text holds."""
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


# ------------------------------------------------------------------------------------------------ inputs and the world


def _copy(argument: Any) -> Any:
    if isinstance(argument, torch.Tensor):
        return argument.detach().clone()
    return list(argument) if isinstance(argument, list) else argument


def _same(argument: Any, before: Any) -> bool:
    if isinstance(argument, torch.Tensor):
        return torch.equal(torch.nan_to_num(argument.detach()), torch.nan_to_num(before))
    if isinstance(argument, list):
        return len(argument) == len(before) and all(a is b for a, b in zip(argument, before, strict=True))
    return True


class Originals:
    """Python and torch as they were, to notice that an answer changed them, and to change them back.

    A wrong answer must not become right because it replaced ``torch.allclose``, nor spoil the next one. Names that
    begin with an underscore are the libraries' own business; new names do no harm, except on ``Tensor``.
    """

    def __init__(self) -> None:
        spaces: list[Any] = [math, torch, torch.nn, torch.nn.functional, torch.testing, torch.Tensor, np]
        ours: list[Any] = [
            sys.modules[__name__], properties, properties.core, *properties.LISTS, packing, verdict,
            PROPERTIES, RESULTS,
        ]  # fmt: skip
        self._builtins = dict(vars(builtins))
        self._kept = [(space, dict(_space(space))) for space in spaces + ours]
        self._strict, self._modules = ours, dict(sys.modules)
        # What is needed once builtins may be gone.
        self._missing, self._setattr, self._delattr, self._limit = object(), setattr, delattr, sys.getrecursionlimit()
        self._set_limit, self._live = sys.setrecursionlimit, vars(builtins)
        self._set_trace, self._set_profile = sys.settrace, sys.setprofile

    def restore_builtins(self) -> list[str]:
        """Put back what belongs to Python itself; returns what was not as before. Uses no builtin."""
        self._set_trace(None)
        self._set_profile(None)
        self._set_limit(self._limit)
        live, changed = self._live, []
        for name, value in self._builtins.items():
            if live.get(name, self._missing) is not value and name != "_":
                live[name] = value
                changed.append(name)
        return changed

    def restore(self) -> list[str]:
        """Put back what belongs to torch and to the checks; returns what was not as before."""
        changed = [name for space, kept in self._kept for name in self._restore(space, kept)]
        gone = [name for name, module in self._modules.items() if sys.modules.get(name) is not module]
        sys.modules.update({name: self._modules[name] for name in gone})
        changed += [f"sys.modules[{name!r}]" for name in gone]
        torch.set_grad_enabled(True)
        if torch.get_default_dtype() is not torch.float32:
            torch.set_default_dtype(torch.float32)
        return changed

    def _restore(self, space: Any, kept: dict[str, Any]) -> Iterator[str]:
        live = _space(space)
        private = any(space is one for one in self._strict)
        for name, value in kept.items():
            if live.get(name, self._missing) is not value and (private or not (name.startswith("_") or name in _LAZY)):
                if isinstance(space, dict):
                    space[name] = value
                else:
                    self._setattr(space, name, value)
                yield f"{getattr(space, '__name__', 'kdlab')}.{name}"
        if space is torch.Tensor:
            for name in [name for name in live if name not in kept]:
                self._delattr(space, name)
                yield f"torch.Tensor.{name}"


def _space(space: Any) -> Any:
    return space if isinstance(space, dict) else vars(space)


def _changed(names: list[str]) -> _Stop:
    listed = ", ".join(f"`{name}`" for name in names[:3]) + (" and more" if len(names) > 3 else "")
    return _Stop(
        INVALID,
        f"Your code replaces {listed} for everyone, the checks included. Give what you define a name of its own.",
        spoiled=True,
    )


def _refuse_changes(originals: Originals) -> None:
    if changed := originals.restore():
        raise _changed(changed)
