"""Rows out of a damaged SQLite file, read page by page without SQLite.

SQLite gives up on a file at the first page that does not fit. An append-only table needs no more than its leaf pages,
each of which can be understood alone (https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1), so a file that
was cut short, or lost its first page or any other, still yields every row on the pages that are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["salvage"]

_MAGIC = b"SQLite format 3\0"
_PAGE_SIZE = 4096  # SQLite's own default, assumed where the header is lost
_TABLE_LEAF = 0x0D
_LONGEST_ROW = 1 << 20  # bytes; kdlab cuts an answer and a message at 64 KiB each


def salvage(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield ``(rowid, texts)`` of every readable row that has an integer key and ``columns`` texts, and nothing else.

    A text whose overflow pages are lost comes back short. Rows may come twice or from a transaction that was never
    finished: the caller judges what they hold. The file is only read.

    Raises:
        OSError: the file cannot be read at all.
    """
    data = path.read_bytes()
    size, usable = _sizes(data)
    for start in range(0, len(data), size):
        page = data[start : start + size]
        if page[0] != _TABLE_LEAF:  # the first page never is one of ours: it begins with the file's header
            continue
        for cell in range(_number(page, 3)):
            at = _number(page, 8 + 2 * cell)
            try:
                yield _row(data, page, at, size, usable, columns)
            except (IndexError, ValueError):
                continue  # garbage in this cell says nothing about the next


def _sizes(data: bytes) -> tuple[int, int]:
    """Bytes per page, and how many of them SQLite uses."""
    size = _number(data, 16)
    size = 65536 if size == 1 else size
    if not data.startswith(_MAGIC) or size < 512 or size & (size - 1):
        return _PAGE_SIZE, _PAGE_SIZE
    return size, size - data[20]


def _row(data: bytes, page: bytes, at: int, size: int, usable: int, columns: int) -> tuple[int, list[str]]:
    length, at = _varint(page, at)
    rowid, at = _varint(page, at)
    payload = _payload(data, page, at, length, size, usable)
    end, here = _varint(payload, 0)
    kinds = []
    while here < end:
        kind, here = _varint(payload, here)
        kinds.append(kind)
    # The key itself is stored as NULL (type 0); a text of n bytes has type 13 + 2n.
    if len(kinds) != columns + 1 or kinds[0] != 0 or any(kind < 13 or kind % 2 == 0 for kind in kinds[1:]):
        raise ValueError("a row of another table")
    texts = []
    for kind in kinds[1:]:
        stop = end + (kind - 13) // 2
        texts.append(payload[end:stop].decode("utf-8", "replace"))
        end = stop
    return rowid, texts


def _payload(data: bytes, page: bytes, at: int, length: int, size: int, usable: int) -> bytes:
    """The bytes of one row: those in its cell, then those on its chain of overflow pages, as far as there are any."""
    if length > _LONGEST_ROW:
        raise ValueError("no row of ours is so long")
    if length <= usable - 35:
        return page[at : at + length]
    least = (usable - 12) * 32 // 255 - 23
    local = least + (length - least) % (usable - 4)
    local = local if local <= usable - 35 else least
    parts, left = [page[at : at + local]], length - local
    following = _number(page, at + local, 4)
    while left > 0 and following > 0:
        start = (following - 1) * size
        parts.append(data[start + 4 : start + 4 + min(left, usable - 4)])
        if not parts[-1]:
            break
        left -= len(parts[-1])
        following = _number(data, start, 4)
    return b"".join(parts)


def _number(data: bytes, at: int, width: int = 2) -> int:
    return int.from_bytes(data[at : at + width], "big")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """SQLite's variable-length number at ``at``, and where the next thing begins."""
    value = 0
    for _ in range(8):
        byte, at = data[at], at + 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | data[at], at + 1
