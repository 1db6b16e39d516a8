"""The text encoder: padding is nothing, order is something, and every part is a layer that can be replaced."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from kdlab.measure import count_parameters
from kdlab.models import TextEncoder
from kdlab.pruning import prunable
from kdlab.training import fit, seeded


def _encoder(seed: int = 0, **options: int) -> TextEncoder:
    with seeded(seed):
        return TextEncoder(**{"vocabulary": 30, "width": 12, "layers": 2, "heads": 3, "hidden": 20, **options}).double()


def _ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(1, 30, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("more", [1, 5, 121])
@pytest.mark.parametrize("training", [False, True])
def test_padding_behind_a_text_changes_nothing(more: int, training: bool) -> None:
    model, ids = _encoder().train(training), _ids(4, 7)
    assert_close(model(nn.functional.pad(ids, (0, more))), model(ids))


def test_a_text_gets_the_same_logits_alone_and_beside_longer_ones() -> None:
    model, ids = _encoder(), _ids(3, 9)
    ids[0, 4:] = 0
    ids[1, 1:] = 0
    logits = model(ids)
    for row, length in enumerate((4, 1, 9)):
        assert_close(logits[row : row + 1], model(ids[row : row + 1, :length]))


def test_what_stands_in_the_padding_vector_is_never_read() -> None:
    model, ids = _encoder(), nn.functional.pad(_ids(3, 5), (0, 4))
    assert model.tokens.weight[0].eq(0).all()
    before = model(ids)
    model.tokens.weight.data[0] = 1e3
    assert_close(model(ids), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_text_of_padding_alone_gives_finite_logits_and_gradients(dtype: torch.dtype) -> None:
    model, ids = _encoder().to(dtype), _ids(3, 6)
    ids[1] = 0
    logits = model(ids)
    assert logits.isfinite().all()
    assert_close(logits[1], model.classifier.bias.detach(), check_dtype=True)  # a mean over nothing
    logits.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model(torch.zeros(2, 0, dtype=torch.int64)).isfinite().all()


def test_a_row_of_padding_leaves_the_other_rows_alone() -> None:
    model, ids = _encoder(), _ids(3, 6)
    expected = model(ids)[[0, 2]]
    ids[1] = 0
    assert_close(model(ids)[[0, 2]], expected)


def test_order_matters_and_only_through_the_positions() -> None:
    model, ids = _encoder(), _ids(4, 6)
    assert (model(ids) - model(ids.flip(1))).abs().amax(1).min() > 1e-4
    model.positions.weight.data.zero_()
    assert_close(model(ids), model(ids.flip(1)))


def test_every_token_is_heard_by_every_other() -> None:
    model, ids = _encoder(layers=1), _ids(1, 5)
    hidden: list[Tensor] = []
    model.blocks[0].register_forward_hook(lambda block, inputs, output: hidden.append(output.detach()))
    model(ids)
    for place in range(5):
        changed = ids.clone()
        changed[0, place] = ids[0, place] % 29 + 1
        model(changed)
        assert (hidden[-1] - hidden[0]).abs().amax(-1).min() > 1e-9


def test_attention_is_the_papers_formula_head_by_head() -> None:
    attention, x = _encoder().blocks[0].attention, torch.randn(2, 5, 12, dtype=torch.float64)
    known = torch.tensor([[True] * 5, [True, True, True, False, False]])
    heads = []
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        q, k, v = (layer(x)[..., part] for layer in (attention.q, attention.k, attention.v))
        scores = (q @ k.transpose(1, 2) / 4**0.5).masked_fill(~known[:, None, :], -torch.inf)
        heads.append(scores.softmax(-1) @ v)
    assert_close(attention(x, known), attention.o(torch.cat(heads, -1)))


def test_a_block_adds_and_then_norms() -> None:
    block, x = _encoder().blocks[0], torch.randn(2, 5, 12, dtype=torch.float64)
    known = torch.ones(2, 5, dtype=torch.bool)
    middle = block.attention_norm(x + block.attention(x, known))
    expected = block.output_norm(middle + block.down(nn.functional.gelu(block.up(middle))))
    assert_close(block(x, known), expected)


def test_gradients_reach_every_parameter() -> None:
    model = _encoder()
    nn.functional.cross_entropy(model(_ids(40, 8)), torch.arange(40) % 10).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        largest = float(parameter.grad.abs().max())
        if name.endswith("attention.k.bias"):  # adds the same to all of a query's scores, which softmax does not see
            assert largest < 1e-12
        else:
            assert largest > 1e-6, name
    assert model.tokens.weight.grad[0].eq(0).all()  # padding is never learned
    assert model.positions.weight.grad[8:].eq(0).all()


def test_every_matrix_but_the_embeddings_is_a_linear_layer_of_its_own() -> None:
    model = _encoder()
    parts = [*(f"attention.{part}" for part in "qkvo"), "up", "down"]
    names = [f"blocks.{block}.{part}" for block in range(2) for part in parts] + ["classifier"]
    assert [name for name, part in model.named_modules() if isinstance(part, nn.Linear)] == names
    assert list(prunable(model)) == [f"{name}.weight" for name in names]
    matrices = {name for name, parameter in model.named_parameters() if parameter.dim() > 1}
    assert matrices == {"tokens.weight", "positions.weight", *prunable(model)}


@pytest.mark.parametrize("part", ["attention.q", "attention.o", "up", "down"])
def test_a_layer_that_is_replaced_is_the_one_that_runs(part: str) -> None:
    model, ids = _encoder(), _ids(2, 4)
    layer = model.get_submodule(f"blocks.1.{part}")
    before = model(ids)
    parent = model.get_submodule(f"blocks.1.{part}".rpartition(".")[0])
    for training in (False, True):  # no fast path that leaves modules aside
        setattr(parent, part.rpartition(".")[2], nn.Sequential(layer, nn.Identity()))
        assert_close(model.train(training)(ids), before)
        doubled = nn.Linear(layer.in_features, layer.out_features).double()
        setattr(parent, part.rpartition(".")[2], doubled)
        assert (model(ids) - before).abs().max() > 1e-6


def _closed_form(v: int, w: int, layers: int, h: int, k: int, longest: int) -> int:
    block = 4 * (w * w + w) + (w * h + h) + (h * w + w) + 2 * 2 * w
    return v * w + longest * w + 2 * w + layers * block + w * k + k


def test_the_number_of_parameters_has_a_closed_form() -> None:
    assert count_parameters(TextEncoder()) == _closed_form(8192, 384, 6, 1536, 10, 128) == 13_846_282
    small = TextEncoder(50, width=16, layers=3, heads=2, hidden=24, num_classes=7, max_length=9)
    assert count_parameters(small) == _closed_form(50, 16, 3, 24, 7, 9)
    assert small(torch.ones(2, 9, dtype=torch.int64)).shape == (2, 7)


def test_ids_of_32_bits_are_ids_too() -> None:
    model, ids = _encoder(), _ids(2, 5)
    assert torch.equal(model(ids.int()), model(ids))


@pytest.mark.parametrize("ids", [torch.ones(2, 5), torch.ones(2, 5).double(), torch.ones(2, 5, dtype=torch.bool)])
def test_ids_that_are_no_whole_numbers_are_refused(ids: Tensor) -> None:
    with pytest.raises(TypeError, match=rf"ids must be whole numbers.*got {ids.dtype}"):
        _encoder()(ids)


@pytest.mark.parametrize("shape", [(2, 129), (5,), (2, 3, 4)])
def test_ids_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(B, L\) with L up to 128, got \[" + str(shape[0])):
        _encoder()(torch.ones(shape, dtype=torch.int64))


@pytest.mark.parametrize("heads", [5, 0, -3, 24])
def test_heads_must_divide_the_width(heads: int) -> None:
    with pytest.raises(ValueError, match=rf"heads must divide the width 12, got {heads}"):
        TextEncoder(30, width=12, layers=1, heads=heads)


def test_it_learns_what_only_order_tells() -> None:
    first, second = _ids(2, 300, seed=3)
    ids = torch.where(torch.rand(300, generator=torch.Generator().manual_seed(0)) < 0.5, 1, 2)
    pair = torch.stack([ids, 3 - ids, first, second], 1)  # 1 before 2, or 2 before 1
    model = _encoder(width=24, heads=4, layers=1).float()
    fit(model, pair[:200], ids[:200] - 1, epochs=20, lr=3e-3, progress=False)
    assert (model(pair[200:]).argmax(1) == ids[200:] - 1).double().mean() > 0.95
