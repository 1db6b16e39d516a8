"""Answers as JSON text: whatever is handed in becomes something small that can be kept and shown again.

No method of an object that a learner wrote is called here, so nothing in this module can hang or raise.
"""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["LONGEST", "cut", "from_json", "plain", "to_json"]

LONGEST = 64 * 1024
"""Bytes of an answer's JSON text, or of a message, that are kept."""

_DEEPEST = 20  # levels of lists in lists
_MOST = 10_000  # parts of one answer
_MARK = "... [cut]"


def plain(answer: Any) -> Any:
    """The answer in numbers, texts, lists and dicts only, at most about :data:`LONGEST` bytes as JSON.

    NaN and infinities become text, since JSON has none of them; any other object becomes the name of its type; an
    answer that is too long is cut, with a mark that says so.

    Example:
        >>> plain({"loss": 0.5, "ids": ("a", "b"), "odd": float("nan"), "it": object()})
        {'loss': 0.5, 'ids': ['a', 'b'], 'odd': 'nan', 'it': '<object>'}
    """
    value = _plain(answer, _DEEPEST, [_MOST])
    text = to_json(value)
    if len(text.encode()) <= LONGEST:
        return value
    return cut(value if isinstance(value, str) else text)


def to_json(value: Any) -> str:
    """JSON text of a plain value; letters stay letters unless UTF-8 cannot hold them (lone surrogates)."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False)
    return text


def from_json(text: str) -> Any:
    """The value of JSON text; the text itself where a damaged file left no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def cut(text: str, longest: int = LONGEST) -> str:
    """The text as UTF-8 can hold it, cut to about ``longest`` bytes with a mark when it is longer.

    Example:
        >>> cut("abcdefgh", longest=4)
        'abcd... [cut: 8 characters in all]'
    """
    raw = text.encode("utf-8", "replace")
    if len(raw) <= longest:
        return raw.decode()
    return f"{raw[:longest].decode('utf-8', 'ignore')}... [cut: {len(text)} characters in all]"


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    """``left`` counts down the parts that may still be taken, over all levels."""
    kind = type(value)
    left[0] -= 1
    # Exact types only: a subclass may have methods of the learner's own.
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        digits = value.bit_length() * math.log10(2)
        return value if digits < 4000 else f"<whole number of about {digits:.0f} digits>"
    if kind is float:
        return value if math.isfinite(value) else repr(value)
    if kind in (list, tuple, set, frozenset, dict) and (depth == 0 or left[0] <= 0):
        return _MARK
    if kind is dict:
        named: dict[str, Any] = {}
        for key, part in value.items():
            named[key if type(key) is str else str(_plain(key, 1, left))] = _plain(part, depth - 1, left)
            if left[0] <= 0:
                return {**named, "...": _MARK}
        return named
    if kind in (list, tuple, set, frozenset):
        parts: list[Any] = []
        for part in value:
            parts.append(_plain(part, depth - 1, left))
            if left[0] <= 0:
                return [*parts, _MARK]
        unordered = kind in (set, frozenset) and all(type(part) is str for part in parts)
        return sorted(parts) if unordered else parts
    return _type_name(kind)


def _type_name(kind: type) -> str:
    """The type's own name; a metaclass of the learner's cannot get in between."""
    return f"<{str(type.__dict__['__name__'].__get__(kind))[:80]}>"
