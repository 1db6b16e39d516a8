"""Exercises of lesson 06: numbers recomputed, listings run, and what the code exercise says of odd answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from answering import field_of, judged, mistakes, right_options
from torch import Tensor, nn
from torch.nn.utils import prune

from kdlab.exercises import grade
from kdlab.exercises.catalog import exercise
from kdlab.exercises.judging import Finding
from kdlab.masks import apply_mask, gradual_sparsity, magnitude_mask, nm_mask, prunable, score_mask, sparsity_of
from kdlab.saliency import wanda_scores


def _judged(source: str) -> Finding:
    return judged("write-a-magnitude-mask", source)


def _bytes(*tensors: Tensor) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)


def _sparse_weight(side: int, density: float) -> Tensor:
    weight = torch.randn(side, side, generator=torch.Generator().manual_seed(0))
    return weight * magnitude_mask(weight, 1 - density)


# ---------------------------------------------------------------------------------------------- bytes, recomputed


def test_the_megabytes_of_each_format_are_those_of_tensors_that_pytorch_makes() -> None:
    slug = "mask-that-saves-nothing"
    layer = nn.Linear(1000, 1000, bias=False)
    prune.l1_unstructured(layer, "weight", 0.9)
    attached = layer.state_dict()
    assert sorted(attached) == ["weight_mask", "weight_orig"]
    weight = layer.weight.detach()
    bits = torch.zeros(weight.numel() // 8, dtype=torch.uint8)
    values = weight[weight != 0]
    sizes = {"dense": _bytes(weight), "attached": _bytes(*attached.values()), "bitmap": _bytes(bits, values)}
    for name, kind in (("csr64", torch.int64), ("csr32", torch.int32)):
        csr = weight.to_sparse_csr()
        indices = [part.to(kind) for part in (csr.crow_indices(), csr.col_indices())]
        sizes[name] = _bytes(*indices, csr.values())
    assert weight.to_sparse_csr().col_indices().dtype == torch.int64, "the default, as the label says"
    assert {name: field_of(slug, name).answer for name in sizes} == {name: size / 1e6 for name, size in sizes.items()}
    prune.remove(layer, "weight")
    assert _bytes(*layer.state_dict().values()) == sizes["dense"]
    assert sparsity_of(layer) == pytest.approx(0.9)


def test_wrong_megabytes_come_from_the_mistakes_that_their_messages_name() -> None:
    slug, n, k = "mask-that-saves-nothing", 1.0, 0.1  # weights and nonzeros in millions
    expected = {
        "dense": [4 * k, 4 * (n - k), n],
        "attached": [4 * n, 4 * n + n / 8, 4 * n + n, 4 * n + 4 * k, 3 * 4 * n],
        "bitmap": [4 * k, n + 4 * k, 4 * n + n / 8, 4 * k + k / 8, 4 * (n - k) + n / 8],
        "csr64": [8 * k, 4 * k, (4 + 8 + 8) * k, 12 * n],
        "csr32": [field_of(slug, "csr64").answer, 4 * k, 8 * n, (4 + 2) * k],
    }
    for name, values in expected.items():
        assert mistakes(field_of(slug, name)) == pytest.approx(values), name


@pytest.mark.parametrize(
    ("name", "kind", "index"), [("csr64", torch.float32, 8), ("csr32", torch.float32, 4), ("int8", torch.int8, 4)]
)
def test_at_the_break_even_density_csr_is_as_large_as_dense_and_below_it_smaller(
    name: str, kind: torch.dtype, index: int
) -> None:
    even = field_of("when-sparse-is-smaller", name).answer
    for density, smaller in ((even - 0.02, True), (even + 0.02, False)):
        weight = _sparse_weight(120, density)
        kept = int(weight.count_nonzero())
        dense, sparse = _bytes(weight.to(kind)), kept * (torch.empty(0, dtype=kind).element_size() + index)
        assert (sparse < dense) == smaller


def test_the_break_even_of_the_bitmap_and_the_coded_ratio_are_as_stated() -> None:
    slug = "when-sparse-is-smaller"
    assert 1 + 32 * field_of(slug, "bitmap").answer == 32
    assert mistakes(field_of(slug, "bitmap")) == [1 / 32, 1, 1 - 8 / 32, 1 - 1 / 8]
    coded = field_of(slug, "coded")
    assert coded.answer == pytest.approx(32 / (0.1 * (5 + 4)), abs=1e-4)
    expected = [32 / 0.5, 32 / 0.4, 1 / 0.1, 32 / 9, 1 / 0.1 + 32 / 5, 1 / 0.1 + 32 / 9]
    assert mistakes(coded) == pytest.approx(expected, abs=1e-4)
    assert mistakes(field_of(slug, "int8")) == pytest.approx([1 / 2, 4 / 5, 1 / 4, 1 / 9], abs=1e-6)


# -------------------------------------------------------------------------------------------------- the listing, run


class _Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.net(images)
        return out


def _fine_tuned(mend: Callable[[str], str], batches: int = 3) -> tuple[int, int]:
    """Pruned weights that are not zero after the listing, and how many are pruned."""
    torch.manual_seed(0)
    model = _Tiny()
    loader = [(torch.randn(16, 12), torch.randint(3, (16,))) for _ in range(batches)]

    def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()

    space: dict[str, Any] = {
        "torch": torch, "F": F, "model": model, "loader": loader, "train": train, "apply_mask": apply_mask,
        "magnitude_mask": magnitude_mask,
    }  # fmt: skip
    exec(mend(exercise("momentum-revives-pruned-weights").listing), space)
    masks = space["masks"]
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(0.9 * (12 * 16 + 16 * 3))
    weights = prunable(model)
    alive = sum(int((weights[name].detach()[~mask] != 0).sum()) for name, mask in masks.items())
    return alive, sum(int((~mask).sum()) for mask in masks.values())


def test_pruned_weights_move_although_their_gradients_are_masked_and_only_the_mends_named_hold_them() -> None:
    alive, pruned = _fine_tuned(str, batches=1)
    assert alive > 0.7 * pruned, "hardly one is zero after the first batch (a dead unit never had a gradient)"
    assert _fine_tuned(lambda text: text + "    apply_mask(model, masks)\n") == (0, pruned)
    fresh = "apply_mask(model, masks)\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)\n"
    assert _fine_tuned(lambda text: text.replace("apply_mask(model, masks)\n", fresh, 1)) == (0, pruned)
    for option in ("lr=0.1, momentum=0.9, weight_decay=1e-2", "lr=0.1, momentum=0.9, nesterov=True"):
        assert _fine_tuned(lambda text, option=option: text.replace("lr=0.1, momentum=0.9", option))[0] > 0  # type: ignore[misc]
    plain = "SGD(model.parameters(), lr=0.1, momentum=0.9)"
    assert _fine_tuned(lambda text: text.replace(plain, "Adam(model.parameters())"))[0] > 0


def test_the_line_to_blame_is_the_only_one_that_writes_to_pruned_weights_after_the_mask() -> None:
    one = exercise("momentum-revives-pruned-weights")
    lines = one.listing.splitlines()
    assert "optimizer.step()" in lines[one.fields[0].answer - 1]
    without = "\n".join(line for line in lines if "optimizer.step()" not in line) + "\n"
    assert _fine_tuned(lambda text: without)[0] == 0


def _moved(weight: Tensor, optimizer: torch.optim.Optimizer, steps: int) -> float:
    with torch.no_grad():
        weight.zero_()
    for _ in range(steps):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    return weight.item()


def test_how_far_a_pruned_weight_moves_is_as_stated_for_one_step_and_for_many() -> None:
    slug = "momentum-revives-pruned-weights"

    def after(steps: int) -> float:
        weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        optimizer.state[weight]["momentum_buffer"] = torch.full_like(weight, 0.5).detach()
        return _moved(weight, optimizer, steps)

    assert field_of(slug, "first").answer == pytest.approx(after(1))
    assert field_of(slug, "limit").answer == pytest.approx(after(500))
    assert mistakes(field_of(slug, "first")) == pytest.approx([0, -0.1 * 0.5, 0.045, -0.9 * 0.5, -0.1 * 0.1 * 0.5])
    buffers = [0.5 * 0.9**k for k in range(1, 500)]
    expected = [after(1), -0.1 * (0.5 + sum(buffers)), 0, -0.1 * sum(buffers[1:]), -sum(buffers)]
    assert mistakes(field_of(slug, "limit")) == pytest.approx(expected)


@pytest.mark.parametrize("size", [0.37, 1e-4])
def test_adam_moves_a_pruned_weight_by_about_nine_learning_rates_however_small_its_gradients_were(size: float) -> None:
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=1e-3)
    for _ in range(5000):
        weight.grad = torch.full_like(weight, size)
        optimizer.step()
    assert _moved(weight, optimizer, 300) / -1e-3 == pytest.approx(9, rel=0.02)


# ------------------------------------------------------------------------------------------- channels and patterns


def test_halved_channels_leave_the_shares_stated_and_each_wrong_share_is_the_one_that_it_names() -> None:
    slug = "channels-halved"

    def parameters(*layers: tuple[int, int]) -> int:
        return sum(nn.Conv2d(i, o, 3, bias=False).weight.numel() for i, o in layers)

    full = parameters((3, 64), (64, 128))
    assert full == 75_456
    one, both, inner = (field_of(slug, name) for name in ("one", "both", "inner"))
    share = {"one": parameters((3, 32), (32, 128)), "both": parameters((3, 32), (32, 64))}
    assert one.answer == 100 * share["one"] / full
    assert both.answer == pytest.approx(100 * share["both"] / full, abs=1e-4)
    assert inner.answer == 100 * parameters((32, 64)) / parameters((64, 128))
    forgotten = [parameters((3, 32), (64, 128)), parameters((3, 64), (32, 128))]
    assert mistakes(one)[:2] == pytest.approx([100 * left / full for left in forgotten], abs=1e-4)
    assert mistakes(one)[2:] == [25, (50 + 100) / 2]


def test_a_residual_sum_is_kept_only_where_both_layers_lose_the_same_channels() -> None:
    torch.manual_seed(0)
    a, b = nn.Linear(5, 4), nn.Linear(5, 4)
    x, read = torch.randn(7, 5), torch.randn(4)
    for layer in (a, b):
        layer.weight.data[[1, 3]] = 0
        layer.bias.data[[1, 3]] = 0
    whole = (a(x) + b(x)) @ read
    same = (a(x)[:, [0, 2]] + b(x)[:, [0, 2]]) @ read[[0, 2]]
    other = (a(x)[:, [0, 2]] + b(x)[:, [2, 0]]) @ read[[0, 2]]
    torch.testing.assert_close(whole, same)
    assert not torch.allclose(whole, other)
    assert right_options(field_of("channels-halved", "between")) == ["c"]


def test_scores_by_hand_and_what_each_method_removes_are_as_stated() -> None:
    slug = "magnitude-against-obd"
    w = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)
    h = torch.tensor([10.0, 1.0], dtype=torch.float64)
    optimum = w.detach().clone()

    def loss(weights: Tensor) -> Tensor:
        return 0.5 * (h * (weights - optimum).square()).sum()

    torch.testing.assert_close(torch.autograd.functional.hessian(loss, w), torch.diag(h))
    rises = [float(loss(optimum * (torch.arange(2) != gone))) for gone in range(2)]
    assert [field_of(slug, name).answer for name in ("first", "second")] == rises == [1.25, 0.5]
    assert mistakes(field_of(slug, "first")) == [10 * 0.25, 10 * 0.5, 10 / 0.5, 0.25 / 2, 100 * 0.25 / 2]
    assert mistakes(field_of(slug, "second")) == [1, 10 / 2, 0.25 / 2]
    assert (optimum.abs().argmin(), torch.tensor(rises).argmin()) == (0, 1)
    assert right_options(field_of(slug, "removed")) == ["a"]


def test_wandas_scores_come_from_one_forward_pass_and_are_compared_within_a_row() -> None:
    slug = "magnitude-against-obd"
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[0.5, 1.0], [0.1, 0.2]])
    samples = torch.tensor([[3.0, 0.6], [4.0, 0.8]])
    scores = wanda_scores(layer, samples)
    torch.testing.assert_close(scores["weight"], torch.tensor([[2.5, 1.0], [0.5, 0.2]]))
    assert field_of(slug, "score").answer == pytest.approx(float(scores["weight"][0, 0]))
    first = samples[:, 0]
    expected = [0.5 * float(v) for v in (first.sum(), first.mean(), first.square().sum(), samples[0].norm(), 1.0)]
    assert mistakes(field_of(slug, "score")) == pytest.approx(expected, rel=1e-5)
    by_row, anywhere = (score_mask(scores, 0.5, scope=scope)["weight"] for scope in ("row", "global"))
    assert by_row.tolist() == [[True, False], [True, False]]  # option d
    assert anywhere.tolist() == [[True, True], [False, False]]  # option a
    assert magnitude_mask(layer.weight.detach(), 0.5).tolist() == [[True, True], [False, False]]
    assert right_options(field_of(slug, "gone")) == ["d"]
    for row, column in product(range(2), range(2)):  # the square of a score is what one missing weight changes
        without = layer.weight.detach().clone()
        without[row, column] = 0
        change = (samples @ (layer.weight.detach() - without).T).square().sum()
        assert float(change) == pytest.approx(float(scores["weight"][row, column]) ** 2, rel=1e-5)


def test_the_cubic_schedule_has_the_sparsities_stated_and_wrong_ones_have_their_causes() -> None:
    slug = "cubic-schedule"

    def at(step: int) -> float:
        return gradual_sparsity(step, begin=1000, end=5000, final=0.9)

    for name, step in (("half", 3000), ("quarter", 2000), ("after", 6000)):
        assert field_of(slug, name).answer == pytest.approx(at(step)), name
    assert field_of(slug, "gone").answer == pytest.approx(100 * at(3000) / at(5000))
    for name, done, step in (("half", 0.5, 3000), ("quarter", 0.25, 2000)):
        line, cube, square = 0.9 * done, 0.9 * done**3, 0.9 * (1 - (1 - done) ** 2)
        bracket, from_zero = 1 - (1 - done) ** 3, 0.9 * (1 - (1 - step / 5000) ** 3)
        assert mistakes(field_of(slug, name)) == pytest.approx([line, cube, square, bracket, from_zero]), name
    beyond = 0.9 * (1 - (1 - 1.25) ** 3)
    assert mistakes(field_of(slug, "after")) == pytest.approx([beyond, 1, 0.9 * 2 - beyond])
    assert mistakes(field_of(slug, "gone")) == pytest.approx([50, 100 * at(3000), 12.5])


def test_two_of_four_takes_the_bits_stated_and_a_mask_by_lot_seldom_fits() -> None:
    slug = "two-of-four"
    packed = {bits: 2 * bits + 2 * 2 for bits in (16, 8)}
    assert field_of(slug, "bits").answer == packed[16] / 4
    assert field_of(slug, "half").answer == pytest.approx(4 * 16 / packed[16], abs=1e-6)
    assert field_of(slug, "int8").answer == 4 * 8 / packed[8]
    assert mistakes(field_of(slug, "bits")) == [2 * 16 / 4, 16 + 2, packed[16], (2 * 16 + 2) / 4, (2 * 16 + 4 * 2) / 4]
    assert mistakes(field_of(slug, "half")) == pytest.approx([2, packed[16] / 64, 64 / 40, 128 / packed[16]], abs=1e-6)
    assert mistakes(field_of(slug, "int8")) == pytest.approx([64 / 36, 2, 64 / packed[8], packed[8] / 32], abs=1e-6)
    patterns = [sum(one) for one in product((0, 1), repeat=4)]
    shares = {kept: 100 * patterns.count(kept) / len(patterns) for kept in range(5)}
    fits = field_of(slug, "fits")
    assert fits.answer == shares[0] + shares[1] + shares[2]
    assert mistakes(fits) == [shares[2], 50, shares[3] + shares[4], 100]
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    groups = nm_mask(weight).view(64, 16, 4).sum(-1)
    assert bool((groups == 2).all())


# ------------------------------------------------------------------------------------------------- what is computed


def _encoder() -> nn.Module:
    """Two feed-forward blocks, and all that the options ask for: layers, units, weights."""
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)) for _ in range(2)))


def _products(model: nn.Module, width: int = 8) -> int:
    """Multiplications of dense kernels in one forward pass: counted at the matrices that run, masks included."""
    total = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal total
        total += module.weight.numel()  # type: ignore[union-attr, operator]
        total += module.weight_mask.numel() if hasattr(module, "weight_mask") else 0  # type: ignore[union-attr, operator]

    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(count)
    model(torch.randn(1, width))
    return total


def test_only_the_options_that_change_shapes_lessen_what_a_dense_kernel_multiplies() -> None:
    def masked(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, nn.Linear):
                prune.l1_unstructured(module, "weight", 0.9)

    def removed(model: nn.Module) -> None:
        masked(model)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                prune.remove(module, "weight")

    def zeroed(model: nn.Module) -> None:
        for block in model:  # type: ignore[union-attr, attr-defined]
            block[0].weight.data[::2] = 0
            block[2].weight.data[:, ::2] = 0

    full = _products(_encoder())
    counts = {}
    for name, change in {
        "a": masked, "b": removed, "d": zeroed, "f": lambda model: apply_mask(model, nm_mask(model)),
        "g": lambda model: apply_mask(model, magnitude_mask(model, 0.9)),
    }.items():  # fmt: skip
        model = copy.deepcopy(_encoder())
        change(model)
        counts[name] = _products(model)
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(2)]
    counts["c"] = _products(nn.Sequential(*blocks))
    counts["e"] = _products(nn.Sequential(_encoder()[0]))  # type: ignore[index]
    counts["h"] = _products(
        nn.Sequential(*(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)) for _ in range(2))), width=4
    )
    field = exercise("why-is-it-not-faster").fields[0]
    assert sorted(counts) == [option.id for option in field.options]
    assert sorted(name for name, count in counts.items() if count < full) == right_options(field)
    assert counts["a"] > full, "the mask is multiplied, too"
    assert (counts["c"], counts["e"], counts["h"]) == (full / 2, full / 2, full / 4)


def test_the_file_of_the_option_with_the_zeros_left_out_is_about_five_times_as_small() -> None:
    dense, sparse = (field_of("mask-that-saves-nothing", name).answer for name in ("dense", "csr32"))
    assert dense / sparse == pytest.approx(5, rel=0.01)


# ------------------------------------------------------------------------------------------------- the code exercise

HEAD = "def magnitude_masks(model, sparsity):\n    "


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("for p in model.parameters(): p = p * (p.abs() > 0.1)", "is the `return` statement missing?"),
        ("return [p.abs() > 0.1 for p in model.parameters()]", "parameter name to mask; `list` came"),
        ("return {name: p * (p.abs() > 0.1) for name, p in model.named_parameters()}", "A mask is a bool tensor"),
        ("return {name: (p.abs() > 0.1).float() for name, p in model.named_parameters()}", "`.bool()` makes a mask"),
        ("return {p: p.abs() > 0.1 for p in model.parameters()}", "`named_parameters()` gives"),
        ("return {'layer 1': torch.ones(2, 4).bool()}", "'layer 1' is none"),
        ("return {name: (p.abs() > 0.1).tolist() for name, p in model.named_parameters()}", "`list` came"),
    ],
)
def test_masks_of_the_wrong_kind_are_invalid_with_the_cause(body: str, said: str) -> None:
    finding = _judged(HEAD + body)
    assert finding.outcome == "invalid"
    assert said in finding.message


def test_the_published_condition_raises_and_repaired_it_zeroes_or_keeps_whole_tensors() -> None:
    weight = torch.tensor([0.01, 0.9, 0.02])
    with pytest.raises(RuntimeError, match="more than one value is ambiguous"):
        bool(weight.abs() < 0.1)
    finding = _judged(HEAD + "return {n: ~(p.abs() < 0.25).any() for n, p in model.named_parameters() if p.dim() > 1}")
    assert finding.failed == "each_weight_is_decided_for_itself"


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9])
def test_the_reference_is_the_mask_of_the_lesson(sparsity: float) -> None:
    space: dict[str, Any] = {"torch": torch}
    exec(exercise("write-a-magnitude-mask").reference, space)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5))
    came, wanted = space["magnitude_masks"](model, sparsity), magnitude_mask(model, sparsity)
    assert came.keys() == wanted.keys()
    assert all(torch.equal(came[name], wanted[name]) for name in wanted)


def test_quantile_has_the_limit_that_the_solution_states() -> None:
    with pytest.raises(RuntimeError, match="too large"):
        torch.zeros(2**24 + 1).quantile(0.5)


@pytest.mark.parametrize(
    ("slug", "name", "typed", "said"),
    [
        ("mask-that-saves-nothing", "attached", "4", "The mask is a buffer"),
        ("mask-that-saves-nothing", "csr64", "(4+4)*0.1", "int32"),
        ("when-sparse-is-smaller", "csr64", "2/3", "must be *zero*"),
        ("when-sparse-is-smaller", "coded", "32/(5*0.1)", "forgets the distances"),
        ("channels-halved", "one", "98.9", "Who reads the 32 maps"),
        ("cubic-schedule", "half", 0.45, "straight line"),
        ("two-of-four", "half", 2, "where they stand"),
        ("momentum-revives-pruned-weights", "first", 0, "its buffer is not"),
    ],
)
def test_a_mistake_typed_as_people_type_it_is_named(slug: str, name: str, typed: Any, said: str) -> None:
    verdict = grade(slug, exercise(slug).reference | {name: typed})
    assert verdict.outcome == "incorrect"
    assert said in verdict.message


@pytest.mark.parametrize(
    ("slug", "name", "typed"),
    [
        ("mask-that-saves-nothing", "csr64", "12*0.1"),
        ("mask-that-saves-nothing", "csr32", 0.8),
        ("when-sparse-is-smaller", "csr64", "1/3"),
        ("when-sparse-is-smaller", "bitmap", "31/32"),
        ("channels-halved", "both", "25.6 %"),
        ("two-of-four", "half", "16/9"),
        ("cubic-schedule", "quarter", 0.52),
    ],
)
def test_a_right_number_is_taken_as_people_round_or_write_it(slug: str, name: str, typed: Any) -> None:
    assert grade(slug, exercise(slug).reference | {name: typed}).outcome == "correct"


def test_every_text_of_the_lesson_is_there_in_chinese() -> None:
    from kdlab.exercises import bank

    lesson = [one for one in bank() if one.lesson == 6]
    assert len(lesson) == 10
    for one in lesson:
        chinese = one.in_language("zh")
        pairs = [(one.title, chinese.title), (one.prompt, chinese.prompt), (one.solution, chinese.solution)]
        pairs += list(zip(one.hints, chinese.hints, strict=True))
        for mine, theirs in zip(one.fields, chinese.fields, strict=True):
            pairs += [(a.message, b.message) for a, b in zip(mine.wrong, theirs.wrong, strict=True) if a.message]
            pairs += [(a.text, b.text) for a, b in zip(mine.options, theirs.options, strict=True)]
        assert all(a != b for a, b in pairs), one.slug
