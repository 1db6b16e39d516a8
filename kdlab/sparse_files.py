"""What zeros are worth on disk: formats for sparse tensors, what they take, and a file that really is smaller."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from kdlab.workspace import write_whole

__all__ = ["FORMATS", "load_sparse", "save_sparse", "sparse_bytes"]

FORMATS = ("dense", "bitmap", "csr")
"""All values; one bit per weight and the values that are not zero; those values with 32-bit column indices."""

_BITS, _VALUES, _COLUMNS, _ROWS = "#bits", "#values", "#columns", "#rows"


def sparse_bytes(
    shape: Sequence[int],
    nonzeros: int,
    format: str = "bitmap",  # noqa: A002
    *,
    value_bytes: int = 4,
    index_bytes: int = 4,
) -> int:
    r"""Bytes that a tensor of N values with ``nonzeros`` that are not zero takes.

    .. math:: \text{dense } vN, \qquad \text{bitmap } \lceil N/8 \rceil + v\,k, \qquad
              \text{csr } (v + i)\,k + i\,(R + 1)

    with v bytes per value, i per index, k nonzeros and R rows. A bitmap is smaller than dense from a density of
    :math:`1 - 1/(8v)` down, CSR (rows aside) only from :math:`v / (v + i)` down: the smaller the values, the less a
    sparse format gains.

    Args:
        shape: the tensor's shape; its rows are those of ``flatten(1)``.
        nonzeros: k, how many values are not zero.
        format: one of :data:`FORMATS`.
        value_bytes: v, 4 for float32, 2 for float16, 1 for int8.
        index_bytes: i, 4 for int32, 8 for int64 (torch's default).

    Raises:
        ValueError: another format, or more nonzeros than values.

    Example:
        >>> [sparse_bytes((1000, 1000), 500_000, name) for name in FORMATS]
        [4000000, 2125000, 4004004]
    """
    count = math.prod(shape)
    if not 0 <= nonzeros <= count:
        raise ValueError(f"nonzeros must lie between 0 and {count}, the number of values, got {nonzeros}")
    if format == "dense":
        return value_bytes * count
    if format == "bitmap":
        return -(-count // 8) + value_bytes * nonzeros
    if format == "csr":
        rows = shape[0] if shape else 1
        return (value_bytes + index_bytes) * nonzeros + index_bytes * (rows + 1)
    raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")


def save_sparse(model: nn.Module, path: str | Path, *, format: str = "bitmap") -> int:  # noqa: A002
    """Write a model's state as a safetensors file in which tensors with many zeros take less room.

    Each tensor is written in the format given or dense, whichever is smaller, so that an unpruned model loses nothing.
    :func:`load_sparse` gives back every bit (of values that are zero, the plus sign).

    Args:
        model: its ``state_dict`` is written.
        path: the file; an existing one is replaced, wholly or not at all.
        format: one of :data:`FORMATS`.

    Returns:
        Bytes of the file.

    Raises:
        ValueError: another format.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> layer = nn.Linear(64, 64)
        >>> _ = layer.weight.data.fill_(0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_sparse(layer, f"{folder}/a.safetensors") < save_sparse(layer, f"{folder}/b", format="dense")
        True
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    parts: dict[str, Tensor] = {}
    shapes: dict[str, str] = {}
    for name, value in model.state_dict().items():
        value = value.detach().cpu().contiguous()
        packed = _packed(name, value, format)
        if packed is None:
            parts[name] = value.clone()  # tied tensors must not share memory in a file
        else:
            parts |= packed
            shapes[name] = ",".join(str(side) for side in value.shape)
    path = Path(path)
    try:
        write_whole(path, save(parts, metadata=shapes or None))
    except OSError as error:
        raise OSError(f"{path} could not be written: {error}") from error
    return path.stat().st_size


def load_sparse(model: nn.Module, path: str | Path) -> nn.Module:
    """Read into ``model`` what :func:`save_sparse` wrote, in any of its formats; returns the model.

    Raises:
        ValueError: the file holds other tensors than the model, or is damaged; the model is then as it was.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path.name!r} to load: was it saved under another name?")
    try:
        with safe_open(path, framework="pt") as file:
            shapes = file.metadata() or {}
            parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
        for name in [name for name in shapes if name + _VALUES in parts]:  # others' files may carry other metadata
            parts[name] = _unpacked(name, parts, [int(side) for side in shapes[name].split(",")])
        _check_fit(parts, model.state_dict())
        model.load_state_dict(parts)
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{path.name} does not fit this {type(model).__name__}, or is damaged: {error}") from error
    return model


def _check_fit(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """An error before anything is copied: ``load_state_dict`` reports it when half is done."""
    if found.keys() != wanted.keys():
        lacking, beside = (_some(one.keys() - other.keys()) for one, other in ((wanted, found), (found, wanted)))
        raise ValueError(f"the file lacks {lacking}, and has {beside} that the model has not")
    for name, value in wanted.items():
        if value.shape != found[name].shape:
            raise ValueError(f"{name} has shape {list(found[name].shape)} in the file, {list(value.shape)} here")


def _some(names: set[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(sorted(names)[:3]) + more if names else "nothing"


def _packed(name: str, value: Tensor, format: str) -> dict[str, Tensor] | None:  # noqa: A002
    """The parts of a tensor in a sparse format, or ``None`` where dense is no larger."""
    if format == "dense" or value.dim() < 2:
        return None
    nonzero = value != 0
    size = sparse_bytes(value.shape, int(nonzero.sum()), format, value_bytes=value.element_size())
    if size >= value.numel() * value.element_size():
        return None
    kept = value[nonzero]
    if format == "bitmap":
        return {name + _BITS: torch.from_numpy(np.packbits(nonzero.flatten().numpy())), name + _VALUES: kept}
    flat = nonzero.flatten(1)
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), flat.sum(1).cumsum(0)])
    columns = flat.nonzero()[:, 1]
    return {name + _COLUMNS: columns.int(), name + _ROWS: ends.int(), name + _VALUES: kept}


def _unpacked(name: str, parts: dict[str, Tensor], shape: list[int]) -> Tensor:
    """The dense tensor; its parts are taken out of ``parts``."""
    values = parts.pop(name + _VALUES)
    dense = torch.zeros(math.prod(shape), dtype=values.dtype)
    if name + _BITS in parts:
        bits = torch.from_numpy(np.unpackbits(parts.pop(name + _BITS).numpy(), count=len(dense)).astype(bool))
        if int(bits.sum()) != len(values):
            raise ValueError(f"{name} has {len(values)} values for {int(bits.sum())} places")
        dense[bits] = values
        return dense.view(shape)
    ends, columns = parts.pop(name + _ROWS).long(), parts.pop(name + _COLUMNS).long()
    rows = torch.repeat_interleave(torch.arange(len(ends) - 1), ends.diff())
    dense[rows * (len(dense) // shape[0]) + columns] = values
    return dense.view(shape)
