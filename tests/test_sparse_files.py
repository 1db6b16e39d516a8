"""Sparse files: as large as the formula says, the same bits back, and no half-written or half-read states."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kdlab import sparse_files, workspace
from kdlab.models import MLP, SmallCNN, TextEncoder
from kdlab.pruning import FORMATS, apply_mask, load_sparse, magnitude_mask, save_sparse, sparse_bytes
from kdlab.training import seeded

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int8,
    torch.uint8,
]
SHARES = (0.0, 0.02, 0.1, 0.3, 0.5, 0.9, 1.0)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _sparse(*shape: int, zeros: float, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Exactly ``round(zeros * n)`` zeros, everything else not zero."""
    values = torch.randint(1, 100, shape, generator=_generator(seed)).to(dtype)
    order = torch.randperm(values.numel(), generator=_generator(seed + 1))
    values.view(-1)[order[: round(zeros * values.numel())]] = 0
    return values


class Holder(nn.Module):
    """Any tensors as buffers."""

    def __init__(self, **tensors: Tensor) -> None:
        super().__init__()
        for name, value in tensors.items():
            self.register_buffer(name, value.clone(memory_format=torch.preserve_format))

    def empty(self) -> Holder:
        return Holder(**{name: torch.full_like(value, 1) for name, value in self.state_dict().items()})


def _bits(value: Tensor) -> bytes:
    return value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _assert_same_bits(one: nn.Module, other: nn.Module) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.dtype == second[name].dtype, name
        assert value.shape == second[name].shape, name
        assert _bits(value) == _bits(second[name]), name


def _pruned(make: Callable[[], nn.Module], sparsity: float, seed: int = 0) -> nn.Module:
    with seeded(seed):
        model = make()
    apply_mask(model, magnitude_mask(model, sparsity))
    return model


def _header(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(40, 30), (7, 13), (5, 3, 3, 2), (1, 50), (50, 1)])
def test_a_file_is_as_large_as_the_formula_says_and_a_header(
    name: str, dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path
) -> None:
    for zeros in SHARES:
        value = _sparse(*shape, zeros=zeros, dtype=dtype)
        size = save_sparse(Holder(value=value), tmp_path / "a", format=name)
        assert size == (tmp_path / "a").stat().st_size
        bytes_of = [
            sparse_bytes(shape, int(value.count_nonzero()), form, value_bytes=dtype.itemsize)
            for form in dict.fromkeys(["dense", name])
        ]
        assert size - _header(tmp_path / "a") == min(bytes_of)
        assert _header(tmp_path / "a") < 400


def test_sizes_have_closed_forms() -> None:
    for shape, n, rows in (((10, 20), 200, 10), ((4, 3, 3, 3), 108, 4), ((9,), 9, 9), ((), 1, 1), ((0, 5), 0, 0)):
        for k in {0, n // 2, n}:
            for v, i in ((4, 4), (2, 4), (1, 8)):
                sizes = {name: sparse_bytes(shape, k, name, value_bytes=v, index_bytes=i) for name in FORMATS}
                bits = n // 8 + (n % 8 > 0)
                assert sizes == {"dense": v * n, "bitmap": bits + v * k, "csr": (v + i) * k + i * (rows + 1)}
    assert sparse_bytes((10, 20), 7) == sparse_bytes((10, 20), 7, "bitmap", value_bytes=4, index_bytes=4)


@pytest.mark.parametrize(("v", "i"), [(4, 4), (4, 8), (2, 4), (1, 4)])
def test_formats_break_even_at_the_densities_that_the_docstring_names(v: int, i: int) -> None:
    shape, n = (8, 1_000_000), 8_000_000
    dense = sparse_bytes(shape, 0, "dense", value_bytes=v)
    for name, density in (("bitmap", 1 - 1 / (8 * v)), ("csr", v / (v + i))):
        for step, smaller in ((-1e-4, True), (1e-4, False)):
            size = sparse_bytes(shape, round((density + step) * n), name, value_bytes=v, index_bytes=i)
            assert (size < dense) == smaller


def test_the_sizes_of_csr_are_those_of_torchs_own() -> None:
    value = _sparse(30, 40, zeros=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the format a beta
        sparse = value.to_sparse_csr()
    parts = (sparse.values(), sparse.col_indices(), sparse.crow_indices())
    assert sum(part.nbytes for part in parts) == sparse_bytes((30, 40), 120, "csr", index_bytes=8)


def test_an_unpruned_model_loses_nothing_and_a_pruned_one_gains(tmp_path: Path) -> None:
    with seeded(0):
        dense = MLP(64, (100,))
    sizes = {name: save_sparse(dense, tmp_path / name, format=name) for name in FORMATS}
    assert sizes["bitmap"] == sizes["csr"] == sizes["dense"]
    pruned = _pruned(lambda: MLP(64, (100,)), 0.9)
    small = {name: save_sparse(pruned, tmp_path / name, format=name) for name in FORMATS}
    assert small["dense"] == sizes["dense"]  # zeros are numbers like others
    assert small["bitmap"] < 0.2 * sizes["dense"]
    assert small["csr"] < 0.35 * sizes["dense"]


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (r"format must be one of dense, bitmap, csr, got 'coo'", lambda: sparse_bytes((2, 2), 1, "coo")),
        (r"between 0 and 4.*got 5", lambda: sparse_bytes((2, 2), 5)),
        (r"between 0 and 4.*got -1", lambda: sparse_bytes((2, 2), -1)),
    ],
)
def test_sizes_refuse(words: str, call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=words):
        call()


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [*DTYPES, torch.bool])
@pytest.mark.parametrize("shape", [(7, 13), (5, 3, 3, 2), (1, 9), (9, 1), (64, 64)])
def test_every_bit_comes_back(name: str, dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path) -> None:
    values = {f"part{number}": _sparse(*shape, zeros=zeros, dtype=dtype) for number, zeros in enumerate(SHARES)}
    model = Holder(**values)
    save_sparse(model, tmp_path / "a", format=name)
    loaded = model.empty()
    assert load_sparse(loaded, tmp_path / "a") is loaded
    _assert_same_bits(loaded, model)


@pytest.mark.parametrize("name", FORMATS)
def test_strange_tensors_come_back_too(name: str, tmp_path: Path) -> None:
    awkward = _sparse(20, 20, zeros=0.9)
    awkward[0, :4] = torch.tensor([float("nan"), float("inf"), float("-inf"), 1e-42])
    model = Holder(
        awkward=awkward,
        scalar=torch.tensor(0.0),
        count=torch.tensor(7),
        vector=torch.zeros(100),
        none=torch.zeros(0),
        no_rows=torch.zeros(0, 5),
        no_columns=torch.zeros(5, 0),
        zeros=torch.zeros(30, 30),
        turned=_sparse(20, 30, zeros=0.8).t(),
        last=_sparse(4, 8, 5, 5, zeros=0.8).to(memory_format=torch.channels_last),
        one=torch.tensor([[3.0]]),
    )
    save_sparse(model, tmp_path / "a", format=name)
    loaded = model.empty()
    _assert_same_bits(load_sparse(loaded, tmp_path / "a"), model)


def test_a_zero_comes_back_with_the_plus_sign_where_it_was_left_out(tmp_path: Path) -> None:
    value = torch.zeros(10, 10)
    value[0], value[1] = -0.0, 5.0
    model = Holder(value=value, vector=torch.tensor([-0.0]))
    for name in FORMATS:
        save_sparse(model, tmp_path / "a", format=name)
        loaded = load_sparse(model.empty(), tmp_path / "a")
        assert torch.equal(loaded.value, value)
        assert bool(loaded.value[0].signbit().all()) == (name == "dense")
        assert loaded.vector.signbit().all()  # written dense


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95])
@pytest.mark.parametrize(
    "make",
    [
        lambda: MLP(64, (20, 10)),
        lambda: SmallCNN(4, norm=True),
        lambda: SmallCNN(4, norm=True).half(),
        lambda: TextEncoder(20, width=8, layers=1, heads=2, hidden=8),
    ],
)
def test_a_model_comes_back_with_its_norms_and_counters(
    name: str, sparsity: float, make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    model = _pruned(make, sparsity)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.num_batches_tracked.fill_(12)
            part.running_mean.normal_(generator=_generator())
    save_sparse(model, tmp_path / "model.safetensors", format=name)
    with seeded(1):
        other = make()
    places = {key: id(parameter) for key, parameter in other.named_parameters()}
    _assert_same_bits(load_sparse(other, tmp_path / "model.safetensors"), model)
    assert {key: id(parameter) for key, parameter in other.named_parameters()} == places
    assert all(parameter.requires_grad for parameter in other.parameters())


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sparsity", [0.0, 0.8])
def test_tied_weights_come_back_tied(name: str, sparsity: float, tmp_path: Path) -> None:
    def make() -> nn.Module:
        layers = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12))
        layers[2].weight = layers[0].weight
        return layers

    model = _pruned(make, sparsity)
    save_sparse(model, tmp_path / "a", format=name)
    other = load_sparse(make(), tmp_path / "a")
    _assert_same_bits(other, model)
    assert other[2].weight is other[0].weight


def test_names_with_the_files_own_marks_are_names_like_others(tmp_path: Path) -> None:
    model = Holder(**{"a#bits": _sparse(9, 9, zeros=0.9), "b#values": torch.ones(3)})
    save_sparse(model, tmp_path / "a")
    _assert_same_bits(load_sparse(model.empty(), tmp_path / "a"), model)


def test_writing_leaves_the_model_alone_and_reading_does_not_tie_it_to_the_file(tmp_path: Path) -> None:
    model = _pruned(lambda: SmallCNN(4), 0.9)
    before = {name: _bits(value) for name, value in model.state_dict().items()}
    save_sparse(model, tmp_path / "a")
    assert {name: _bits(value) for name, value in model.state_dict().items()} == before
    load_sparse(model, tmp_path / "a")
    (tmp_path / "a").write_bytes(b"")
    assert {name: _bits(value) for name, value in model.state_dict().items()} == before


def test_a_plain_safetensors_file_is_read_too(tmp_path: Path) -> None:
    model, other = _pruned(lambda: MLP(8, (4,)), 0.5), MLP(8, (4,))
    save_file(model.state_dict(), tmp_path / "a", metadata={"format": "pt"})
    _assert_same_bits(load_sparse(other, tmp_path / "a"), model)


def test_the_path_may_be_text_and_an_existing_file_is_replaced(tmp_path: Path) -> None:
    one, other = _pruned(lambda: MLP(8, (4,)), 0.9, 0), _pruned(lambda: MLP(8, (4,)), 0.5, 1)
    save_sparse(one, str(tmp_path / "a"))
    size = save_sparse(other, str(tmp_path / "a"))
    assert size == (tmp_path / "a").stat().st_size
    _assert_same_bits(load_sparse(one, str(tmp_path / "a")), other)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]  # nothing else is left


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one of dense, bitmap, csr, got 'zip'"):
        save_sparse(MLP(), tmp_path / "a", format="zip")
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "model.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match=rf"no file {path.name!r}"):
            load_sparse(MLP(), path)


@pytest.mark.parametrize("where", ["a folder in its place", "no folder", "a file as folder"])
def test_a_place_that_cannot_be_written_to_is_named_and_nothing_is_left(where: str, tmp_path: Path) -> None:
    path = tmp_path / "place" / "model"
    if where == "a folder in its place":
        path.mkdir(parents=True)
    if where == "a file as folder":
        path.parent.write_bytes(b"mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match=r"model could not be written: "):
        save_sparse(MLP(), path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_breaks_off_leaves_the_old_file(
    moment: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _pruned(lambda: MLP(64, (50,)), 0.9)
    save_sparse(model, tmp_path / "a")
    old = (tmp_path / "a").read_bytes()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(*((workspace.os, "fsync") if moment == "fsync" else (Path, "replace")), fail)
    with pytest.raises(
        type(error), match="could not be written.*No space left" if isinstance(error, OSError) else None
    ):
        save_sparse(_pruned(lambda: MLP(64, (50,)), 0.5, 1), tmp_path / "a")
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == old
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208, hidden files too
    load_sparse(MLP(64, (50,)), tmp_path / "a")


OTHERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "another shape": (lambda: MLP(64, (21,)), r"layers.0.weight has shape \[20, 64\] in the file, \[21, 64\] here"),
    "another last shape": (
        lambda: MLP(64, (20,), 9),
        r"layers.2.weight has shape \[10, 20\] in the file, \[9, 20\] here",
    ),
    "one layer less": (lambda: MLP(64, ()), r"lacks nothing, and has layers.2.bias, layers.2.weight that"),
    "one layer more": (lambda: MLP(64, (20, 10)), r"lacks layers.4.bias, layers.4.weight, and has nothing that"),
    "another model": (
        lambda: SmallCNN(2),
        r"lacks classifier.2.bias, .* and 5 more, and has layers.0.bias, .* and 1 more",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
@pytest.mark.parametrize("name", FORMATS)
def test_another_model_is_refused_and_stays_as_it_was(case: str, name: str, tmp_path: Path) -> None:
    save_sparse(_pruned(lambda: MLP(64, (20,)), 0.9), tmp_path / "a.safetensors", format=name)
    make, words = OTHERS[case]
    model = make()
    before = {key: _bits(value) for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"^a.safetensors does not fit this .*" + words):
        load_sparse(model, tmp_path / "a.safetensors")
    assert {key: _bits(value) for key, value in model.state_dict().items()} == before


def _changed(path: Path, **changes: Any) -> None:
    """The file again, with parts replaced (``None``: left out), as a damaged one might be."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
        shapes = file.metadata()
    for name, value in changes.items():
        if name == "shape":
            shapes = {"weight": value}
        elif value is None:
            del parts[f"weight#{name}"]
        else:
            parts[f"weight#{name}"] = value(parts[f"weight#{name}"]).contiguous()
    save_file(parts, path, metadata=shapes)


DAMAGE: dict[str, tuple[str, dict[str, Any]]] = {
    "values cut": ("bitmap", {"values": lambda part: part[:-1]}),
    "one value": ("bitmap", {"values": lambda part: part[:1]}),
    "values too many": ("bitmap", {"values": lambda part: torch.cat([part, part])}),
    "bits cut": ("bitmap", {"bits": lambda part: part[:3]}),
    "bits of another kind": ("bitmap", {"bits": lambda part: part.float()}),
    "a bit more": ("bitmap", {"bits": lambda part: torch.full_like(part, 255)}),
    "no bits": ("bitmap", {"bits": None}),
    "no values": ("bitmap", {"values": None}),
    "no shape": ("bitmap", {"shape": ""}),
    "shape of words": ("bitmap", {"shape": "ten,ten"}),
    "shape negative": ("bitmap", {"shape": "-20,-20"}),
    "shape turned": ("bitmap", {"shape": "10,40"}),
    "columns beyond": ("csr", {"columns": lambda part: part + 10_000}),
    "columns before": ("csr", {"columns": lambda part: part - 10_000}),
    "columns cut": ("csr", {"columns": lambda part: part[:-1]}),
    "rows cut": ("csr", {"rows": lambda part: part[:-1]}),
    "rows falling": ("csr", {"rows": lambda part: part.flip(0)}),
    "values cut, csr": ("csr", {"values": lambda part: part[:-1]}),
    "no rows": ("csr", {"rows": None}),
    "no columns": ("csr", {"columns": None}),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_parts_that_do_not_belong_together_are_refused(case: str, tmp_path: Path) -> None:
    name, changes = DAMAGE[case]
    model = _pruned(lambda: nn.Linear(20, 20), 0.9)
    save_sparse(model, tmp_path / "a", format=name)
    _changed(tmp_path / "a", **changes)
    before = _bits(model.weight)
    with pytest.raises(ValueError, match=r"^a does not fit this Linear, or is damaged: ."):
        load_sparse(model, tmp_path / "a")
    assert _bits(model.weight) == before


@pytest.mark.parametrize("length", [0, 5, 100, -1, -200])
def test_a_file_that_was_cut_off_is_refused(length: int, tmp_path: Path) -> None:
    model = _pruned(lambda: MLP(64, (20,)), 0.9)
    save_sparse(model, tmp_path / "a")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:length])
    with pytest.raises(ValueError, match=r"^a does not fit this MLP, or is damaged: ."):
        load_sparse(model, tmp_path / "a")


def test_noise_and_texts_are_refused(tmp_path: Path) -> None:
    for content in (b"\x80\x02}q\x00.", b"not a model", bytes(1000), b"\xff" * 1000):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ValueError, match=r"^a does not fit this MLP, or is damaged: ."):
            load_sparse(MLP(), tmp_path / "a")


def test_a_dense_tensor_is_never_written_larger_than_it_is(tmp_path: Path) -> None:
    """At the break-even point itself dense wins: it is read without unpacking."""
    value = torch.ones(8, 8)
    value.view(-1)[:2] = 0  # 8 bytes of bits for 8 bytes of zeros
    assert sparse_bytes((8, 8), 62) == sparse_bytes((8, 8), 62, "dense")
    save_sparse(Holder(value=value), tmp_path / "a")
    assert b"#bits" not in (tmp_path / "a").read_bytes()
    value.view(-1)[:3] = 0
    save_sparse(Holder(value=value), tmp_path / "a")
    assert b"#bits" in (tmp_path / "a").read_bytes()
    assert sparse_files.FORMATS == FORMATS
