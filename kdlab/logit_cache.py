"""A teacher's logits, kept with the fingerprints of the images and of the teacher that they belong to.

A teacher that is asked once costs nothing in the following runs. The price is a new way to go wrong in silence:
logits of other images, of the same images in another order, or of another teacher fit by shape, train without an
error, and teach nonsense. So a cache knows what it was recorded on, and :meth:`LogitCache.check` compares.

It holds 4 N K bytes for N images and K classes, and 8 N for the images' ids: 40 kB for 1,000 digits, 5 GB for
ImageNet's 1.28 million images with 1,000 classes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kdlab.logit_checks import check_finite
from kdlab.prediction import logits_of
from kdlab.workspace import write_whole

__all__ = ["LogitCache"]

_VERSION = 1
_KIND = "kdlab teacher logits"


@dataclass(frozen=True, eq=False)
class LogitCache:
    """Teacher logits by sample; make one with :meth:`record`, :meth:`load` or :meth:`select`.

    Attributes:
        logits: shape ``(N, K)``, float32; row i belongs to image i.
        ids: a hash of each image's content, ``(N,)`` int64.
        teacher: a hash of the teacher's weights and buffers, in hexadecimal.

    Example:
        >>> images = torch.eye(3)
        >>> cache = LogitCache.record(nn.Linear(3, 2), images)
        >>> cache.check(images)
        >>> len(cache), cache.rows(torch.tensor([2, 0])).shape
        (3, torch.Size([2, 2]))
    """

    logits: Tensor
    ids: Tensor
    teacher: str

    def __len__(self) -> int:
        return len(self.logits)

    def __repr__(self) -> str:
        return f"LogitCache({len(self)} images, {self.logits.shape[-1]} classes, {self.nbytes:,} bytes)"

    @property
    def nbytes(self) -> int:
        """Bytes in memory and, within a header, in the file."""
        return self.logits.nbytes + self.ids.nbytes

    @classmethod
    def record(cls, teacher: nn.Module, images: Tensor) -> LogitCache:
        """Ask the teacher once, in evaluation mode and without gradients; it is left as it was.

        Args:
            teacher: returns logits ``(B, K)``.
            images: shape ``(N, ...)``, as the student will see them: not augmented.

        Raises:
            ValueError: the teacher returns no finite logits ``(N, K)``.
        """
        logits = logits_of(teacher, images, name="teacher").float()
        check_finite("the teacher's logits", logits)
        if len(logits) != len(images):
            raise ValueError(
                f"the teacher returns {len(logits)} rows for {len(images)} images: one row of logits per image"
            )
        return cls(logits, _image_ids(images), _weights_hash(teacher))

    def rows(self, rows: Tensor) -> Tensor:
        """The logits of samples by their numbers: ``(B,)`` to ``(B, K)``."""
        return self.logits[rows]

    def select(self, images: Tensor) -> LogitCache:
        """The cache of these images, in their order: for a subset, or after a shuffle. They are found by content.

        Raises:
            ValueError: some of them were not recorded.
        """
        place = {number: row for row, number in enumerate(self.ids.tolist())}
        wanted = _image_ids(images).tolist()
        unknown = sum(number not in place for number in wanted)
        if unknown:
            raise ValueError(f"{unknown} of these {len(wanted)} images are not among the {len(self)} recorded")
        rows = torch.tensor([place[number] for number in wanted], dtype=torch.long)
        return LogitCache(self.logits[rows], self.ids[rows], self.teacher)

    def check(self, images: Tensor, teacher: nn.Module | None = None) -> None:
        """Nothing if the cache belongs to these images in this order, and to this teacher's weights if one is passed.

        Weights are compared, not code: another activation with the same weights goes unnoticed.

        Raises:
            ValueError: it does not; the message says how they differ.
        """
        ids = _image_ids(images)
        if not torch.equal(ids, self.ids):
            raise ValueError(_difference(self.ids.tolist(), ids.tolist()))
        if teacher is not None and _weights_hash(teacher) != self.teacher:
            raise ValueError(
                "this cache was recorded with other weights than this teacher has: was the teacher trained on, "
                "or is it another one? Record again"
            )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, wholly or not at all."""
        from safetensors.torch import save

        record = {"kind": _KIND, "version": str(_VERSION), "teacher": self.teacher, "content": self._content()}
        tensors = {"logits": self.logits.contiguous(), "ids": self.ids.contiguous()}
        write_whole(Path(path), save(tensors, metadata=record))

    @classmethod
    def load(cls, path: str | Path) -> LogitCache:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a cache, one of another version, or a damaged one.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        content = Path(path).read_bytes()
        try:
            tensors, record = load(content), _metadata(content)
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"{path} is damaged or no safetensors file ({error}): record the logits again") from error
        if record.get("kind") != _KIND or set(tensors) != {"logits", "ids"}:
            raise ValueError(f"{path} holds no teacher logits written by LogitCache.save, but {sorted(tensors)}")
        if record.get("version") != str(_VERSION):
            raise ValueError(f"{path} has version {record.get('version')}, this kdlab reads {_VERSION}: record again")
        cache = cls(tensors["logits"], tensors["ids"], record.get("teacher", ""))
        if cache._content() != record.get("content"):
            raise ValueError(f"{path} is damaged: its numbers are not those that were written. Record the logits again")
        return cache

    def _content(self) -> str:
        shapes = f"{list(self.logits.shape)} {list(self.ids.shape)}"
        return _digest(self.teacher.encode(), shapes.encode(), _bytes(self.logits), _bytes(self.ids))


def _difference(recorded: list[int], given: list[int]) -> str:
    """How the images that came differ from those that were recorded, in words."""
    common = sum((Counter(recorded) & Counter(given)).values())
    if common == len(recorded) == len(given):
        moved = sum(a != b for a, b in zip(recorded, given, strict=True))
        return (
            f"these are the same {len(given)} images in another order ({moved} are in another place), so every one of "
            "those would get another image's answer: were they shuffled after recording? cache.select(images) sorts it"
        )
    if common == len(given):
        return (
            f"these are only {len(given)} of the {len(recorded)} images that were recorded: was a subset drawn after "
            "recording? cache.select(images) gives the cache of these"
        )
    if common == len(recorded):
        return (
            f"these are {len(given)} images, and {len(given) - common} of them were not recorded: was the set enlarged?"
        )
    return (
        f"{len(given) - common} of these {len(given)} images are not among the {len(recorded)} recorded: another data "
        "set, another split, or the same images normalised or augmented? A cache serves unchanged images only"
    )


def _image_ids(images: Tensor) -> Tensor:
    """A 64-bit hash of each image's content, shape and dtype: (N, ...) to (N,)."""
    kind, data = f"{images.dtype} {list(images.shape[1:])}".encode(), _bytes(images)
    size = len(data) // max(1, len(images))
    parts = (data[row * size : (row + 1) * size] for row in range(len(images)))
    digests = (hashlib.blake2b(kind + part, digest_size=8).digest() for part in parts)
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=torch.long)


def _weights_hash(teacher: nn.Module) -> str:
    """Names, shapes, types and values of everything that the teacher would save."""
    parts = []
    for name, value in teacher.state_dict().items():
        parts += [f"{name} {value.dtype} {list(value.shape)}".encode(), _bytes(value)]
    return _digest(*parts)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())  # so that no byte can move from one part to the next
    return digest.hexdigest()


def _bytes(value: Tensor) -> bytes:
    # Through uint8, since numpy has no bfloat16.
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _metadata(content: bytes) -> dict[str, str]:
    """The text record in the header of a safetensors file: 8 bytes of length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    record = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return {str(key): str(value) for key, value in record.items()}
