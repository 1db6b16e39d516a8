"""Arithmetic that a learner types, evaluated without ever running it as Python.

``13/3``, ``75 %``, ``30/ln(18)``, ``2,25`` and ``-beta*v`` are all fine. Only numbers, the operators ``+ - * / **``
(also ``^``), a few functions and the variables that an exercise names are understood, in double precision, so nothing
here can hang, allocate or call anything.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping

__all__ = ["FUNCTIONS", "ExpressionError", "evaluate"]

_LONGEST = 300  # characters

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,  # of floats only: a power of whole numbers could fill the memory
}
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": math.exp, "ln": math.log, "log": math.log, "log2": math.log2, "log10": math.log10, "sqrt": math.sqrt,
    "abs": abs,
}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e}
_SIGNS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "·": "*",
        "×": "*",
        "÷": "/",
        "^": "**",
        "²": "**2",
        "³": "**3",
        "β": "beta",
        "，": ",",
        "％": "%",
        "\u00a0": " ",
    }
)


class ExpressionError(ValueError):
    """The text is no arithmetic that can be evaluated; the message says what is wrong, for the learner."""


def evaluate(text: str, variables: Mapping[str, float] | None = None) -> float:
    """The value of an arithmetic expression.

    Args:
        text: such as ``"13/3"``; a trailing per cent sign divides by 100, a comma between digits is a decimal comma.
        variables: values of the names that may occur.

    Raises:
        ExpressionError: no expression, an unknown name, a division by zero, a value that is not finite.

    Example:
        >>> evaluate("30 / ln(18)"), evaluate("75 %"), evaluate("-a*b", {"a": 2, "b": 3})
        (10.37..., 0.75, -6.0)
    """
    known = dict(variables or {})
    if len(text) > _LONGEST:
        raise ExpressionError(f"that is {len(text)} characters long; an answer here takes at most {_LONGEST}")
    plain = text.translate(_SIGNS).strip()
    scale = 1.0
    if plain.endswith("%"):
        plain, scale = plain[:-1].strip(), 0.01
    plain = re.sub(r"(?<=\d),(?=\d)", ".", plain)
    tree = _parsed(plain, text, known)
    try:
        value = _value(tree.body, known) * scale
    except ZeroDivisionError:
        raise ExpressionError("that divides by zero") from None
    except OverflowError:
        raise ExpressionError("that is too large for a number") from None
    except ExpressionError:
        raise
    except ValueError:  # the logarithm or a root of a negative number
        raise ExpressionError(f"{text.strip()[:60]!r} has no value among the real numbers") from None
    if not math.isfinite(value):
        raise ExpressionError(f"{text.strip()[:60]!r} is {value}, not a finite number")
    return value


def _parsed(plain: str, text: str, variables: Mapping[str, float]) -> ast.Expression:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has opinions on text such as "1if"; it is refused anyway
            return ast.parse(plain, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"{text.strip()[:60]!r} cannot be read as arithmetic{_allowed(variables)}") from None


def _value(node: ast.expr, variables: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in variables:
            return float(variables[name])
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Name(id=name):
            raise ExpressionError(_unknown(name, variables))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, variables)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, variables)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, variables), _value(right, variables))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](_value(argument, variables))
    raise ExpressionError(f"only arithmetic is understood{_allowed(variables)}")


def _unknown(name: str, variables: Mapping[str, float]) -> str:
    if name in ("inf", "infinity", "oo", "nan"):
        return f"{name!r} is no number that one can go on with: a finite expression is wanted"
    pairs = [(name[:i], name[i:]) for i in range(1, len(name)) if name[:i] in variables and name[i:] in variables]
    product = f"; write a product with a star, {'*'.join(pairs[0])}" if pairs else ""
    return f"{name!r} is no name that is known here{product}{_allowed(variables)}"


def _allowed(variables: Mapping[str, float]) -> str:
    names = f", the names {', '.join(variables)}" if variables else ""
    return f"; allowed are numbers, + - * / ** ( ){names} and {', '.join(FUNCTIONS)}"
