"""Exercises of lesson 07: numbers recomputed, listings run, and what the code exercises say of odd answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from answering import field_of, judged, mistakes, right_options
from torch import Tensor, nn

from kdlab.exercises import grade
from kdlab.exercises.catalog import exercise
from kdlab.folding import fold_batch_norm
from kdlab.hashed_embeddings import HashedEmbedding, QuotientRemainderEmbedding, collisions
from kdlab.low_rank import break_even_rank, energy_kept, low_rank_conv, low_rank_linear, reconstruction_error, spectrum
from kdlab.sharing import share_weights, shared_bytes


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


# ------------------------------------------------------------------------------------------------------- low rank


def test_break_even_ranks_are_those_of_the_layers_and_one_rank_more_saves_nothing() -> None:
    slug = "break-even-rank"
    linear = nn.Linear(4096, 1024, bias=False)
    conv = nn.Conv2d(64, 128, 3, bias=False)
    for name, layer, wide in (("rank", linear, 1024 + 4096), ("conv", conv, 128 + 64 * 9)):
        most = int(field_of(slug, name).answer)
        assert break_even_rank(layer) == most
        assert most * wide < _parameters(layer) <= (most + 1) * wide
        assert mistakes(field_of(slug, name))[0] == most + 1
    pair = low_rank_linear(nn.Linear(256, 64, bias=False), 4)  # the same shape, a sixteenth of each side
    assert field_of(slug, "ratio").answer == pytest.approx(_parameters(linear) / (64 * (1024 + 4096)))
    assert 256 * 64 / _parameters(pair) == pytest.approx(field_of(slug, "ratio").answer)
    for rank in (8, 104):  # products per position are as many as parameters, in the pair as in the layer
        pair = low_rank_conv(conv, rank)
        assert _parameters(pair) == rank * (64 * 9 + 128)
    assert 1 - _parameters(pair) / _parameters(conv) < 0.01
    assert right_options(field_of(slug, "faster")) == ["b"]


def test_wrong_ranks_and_ratios_come_from_the_mistakes_that_their_messages_name() -> None:
    slug, m, n = "break-even-rank", 1024, 4096
    assert mistakes(field_of(slug, "rank")) == [820, m // 2, m, n]
    assert mistakes(field_of(slug, "ratio")) == pytest.approx([m / 64, n / 64, 1 / 12.8, 100 * (1 - 1 / 12.8)])
    assert 1024 * (m + n) == pytest.approx(1.25 * m * n), "a quarter more at full rank, as the message says"
    forgotten, twice = 128 * 64 // (128 + 64), 128 * 64 * 9 // (9 * 128 + 9 * 64)
    assert forgotten == twice
    other_order = 128 * 64 * 9 // (64 + 128 * 9)
    assert mistakes(field_of(slug, "conv")) == [105, forgotten, other_order, 128, 64]


def test_what_a_truncation_loses_is_measured_on_a_matrix_with_these_singular_values() -> None:
    slug, sizes = "what-truncation-loses", torch.tensor([10.0, 5, 2, 1], dtype=torch.float64)
    left, right = (torch.linalg.qr(_drawn(9, 4, seed=seed))[0] for seed in (1, 2))
    weight = (left * sizes) @ right.T
    layer = nn.Linear(9, 9, bias=False, dtype=torch.float64)
    layer.weight.data = weight
    torch.testing.assert_close(spectrum(layer)[:4], sizes)
    cut = low_rank_linear(layer, 2)
    difference = weight - (cut[1].weight @ cut[0].weight).detach()
    assert field_of(slug, "frobenius").answer == pytest.approx(reconstruction_error(layer, cut), rel=1e-5)
    norms = [float(torch.linalg.matrix_norm(one, 2)) for one in (difference, weight)]
    assert field_of(slug, "spectral").answer == pytest.approx(norms[0] / norms[1])
    assert field_of(slug, "worst").answer == pytest.approx(norms[0])
    assert field_of(slug, "energy").answer == pytest.approx(100 * energy_kept(sizes, 2))
    enough = [rank for rank in (1, 2, 3, 4) if energy_kept(sizes, rank) >= 0.99]
    assert field_of(slug, "rank").answer == enough[0]
    assert sizes[:3].sum() / sizes.sum() < 0.99, "as the message on 4 says"


def test_wrong_losses_of_a_truncation_have_the_causes_that_are_named() -> None:
    slug = "what-truncation-loses"
    lost, all_of_it = math.sqrt(5), math.sqrt(130)
    expected = {
        "frobenius": [3 / 18, 5 / 130, math.sqrt(125 / 130), lost, 2 / 10],
        "spectral": [5 / 10, 1 / 10, (2 + 1) / 10, 2, lost / all_of_it],
        "energy": [100 * 15 / 18, 100 * math.sqrt(125 / 130), 100 * (1 - lost / all_of_it), 50, 100 * 5 / 130],
        "worst": [lost, 2 + 1, 1, 5, 2 / 10],
    }
    for name, values in expected.items():
        assert mistakes(field_of(slug, name)) == pytest.approx(values, rel=1e-5), name


# -------------------------------------------------------------------------------------------------------- folding


def _one_channel() -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv, norm = nn.Conv2d(1, 1, 1).eval(), nn.BatchNorm2d(1, eps=1e-12).eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    pairs = ((conv.weight, 2.0), (conv.bias, 0.5), (norm.weight, 1.5), (norm.bias, 0.1))
    for tensor, value in (*pairs, (norm.running_mean, 3.0), (norm.running_var, 4.0)):
        assert tensor is not None
        tensor.data.fill_(value)
    return conv, norm


def test_the_folded_channel_and_its_output_in_train_mode_are_as_stated() -> None:
    slug = "fold-a-batch-norm"
    conv, norm = _one_channel()
    folded = fold_batch_norm(conv, norm)
    assert folded.bias is not None
    assert field_of(slug, "weight").answer == pytest.approx(folded.weight.item())
    assert field_of(slug, "bias").answer == pytest.approx(folded.bias.item())
    one = torch.ones(1, 1, 1, 1)
    assert folded(one).item() == pytest.approx(-0.275)
    middle, apart = 1.75, math.sqrt(1.3125)  # two more outputs, so that the mean is 2 and the variance 1
    y = torch.tensor([2.5, middle + apart, middle - apart])
    assert float(y.mean()) == pytest.approx(2)
    assert float(y.var(correction=0)) == pytest.approx(1)
    batch = ((y - 0.5) / 2).view(-1, 1, 1, 1)
    assert field_of(slug, "training").answer == pytest.approx(norm.train()(conv(batch))[0].item(), rel=1e-5)


def test_wrong_folds_have_the_causes_that_are_named() -> None:
    slug, w, b, gamma, beta, mean, var = "fold-a-batch-norm", 2.0, 0.5, 1.5, 0.1, 3.0, 4.0
    scale = gamma / math.sqrt(var)
    assert mistakes(field_of(slug, "weight")) == [gamma * w / var, gamma * w, w / 2, w]
    assert scale == gamma * w / var, "so that one message has to name both causes"
    expected = [
        scale * b + beta, b - scale * mean + beta, scale * (b - mean), scale * (b + mean) + beta,
        gamma / var * (b - mean) + beta, scale * (b - mean + beta), scale * -mean + beta,
    ]  # fmt: skip
    assert mistakes(field_of(slug, "bias")) == pytest.approx(expected)
    y = w + b
    expected = [scale * (y - mean) + beta, gamma * (y - 2) / 2 + beta, gamma * (y - 3) + beta, gamma * (1 - 2) + beta]
    assert mistakes(field_of(slug, "training")) == pytest.approx([*expected, gamma * (w - 2) + beta])


@pytest.mark.parametrize(("bias", "saved"), [(False, "answer"), (True, "with a bias")])
def test_folding_saves_as_many_parameters_as_said(bias: bool, saved: str) -> None:
    conv, norm = nn.Conv2d(3, 64, 3, bias=bias).eval(), nn.BatchNorm2d(64).eval()
    fewer = _parameters(conv) + _parameters(norm) - _parameters(fold_batch_norm(conv, norm))
    field = field_of("fold-a-batch-norm", "saved")
    assert fewer == (field.answer if saved == "answer" else 128)
    buffers = sum(one.numel() for one in (norm.running_mean, norm.running_var) if one is not None)
    assert mistakes(field) == [_parameters(norm), _parameters(norm) + buffers, _parameters(norm) + buffers - 64, 0]


def _shipped(listing: str) -> tuple[nn.Module, nn.Module, nn.Module, dict[str, Tensor]]:
    """The network before, after, what the listing folded, and what it wrote."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
    head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    for images in torch.randn(20, 16, 1, 6, 6) * 2 + 1:
        norm(conv(images))
    saved: dict[str, Tensor] = {}
    space: dict[str, Any] = {
        "torch": torch, "nn": nn, "F": F, "conv": conv, "norm": norm, "head": head, "fold": fold_batch_norm,
        "loader": [(torch.randn(16, 1, 6, 6) * 3, torch.randint(3, (16,))) for _ in range(30)],
        "save_file": lambda state, path: saved.update({key: value.clone() for key, value in state.items()}),
    }  # fmt: skip
    before = copy.deepcopy(nn.Sequential(conv, norm, head)).eval()
    exec(listing, space)
    return before, space["net"], space["folded"], saved


def test_the_file_of_the_listing_holds_layers_of_two_moments() -> None:
    one = exercise("folded-while-training")
    before, after, folded, saved = _shipped(one.listing)
    images = torch.randn(8, 1, 6, 6)
    old = fold_batch_norm(before[0], before[1])  # type: ignore[index]
    torch.testing.assert_close(saved["0.weight"], old.weight.data)
    torch.testing.assert_close(saved["1.2.weight"], after[2][2].weight.data)  # type: ignore[index]
    assert not torch.allclose(saved["1.2.weight"], before[2][2].weight.data)  # type: ignore[index]
    folded.load_state_dict(saved)
    with torch.no_grad():
        outputs = folded(images)
        gaps = [float((outputs - net(images)).abs().max()) for net in (before, after)]
    assert min(gaps) > 1e-2, "it is neither the one nor the other"
    assert right_options(field_of(one.slug, "shipped")) == ["d"]


def test_behind_the_line_that_calls_eval_the_fold_is_right_and_only_the_named_check_tells_the_two_apart() -> None:
    one = exercise("folded-while-training")
    lines = one.listing.splitlines()
    blamed = lines.pop(one.fields[0].answer - 1)
    assert "fold(" in blamed
    mended = "\n".join([*lines[:-1], blamed, lines[-1]])
    images = torch.randn(8, 1, 6, 6)
    checks: dict[str, Callable[[str], bool]] = {
        "a": lambda listing: _agree(*_shipped(listing)[1:3], images),
        "b": lambda listing: _agree(
            _shipped("\n".join([*listing.splitlines()[:2], blamed]))[1], _early(blamed), images
        ),
        "d": lambda listing: "1.running_mean" not in _shipped(listing)[3],
    }
    assert all(check(mended) for check in checks.values())
    assert [name for name, check in checks.items() if not check(one.listing)] == right_options(
        field_of(one.slug, "check")
    )


def _agree(net: nn.Module, folded: nn.Module, images: Tensor) -> bool:
    with torch.no_grad():
        return bool((net(images) - folded(images)).abs().max() < 1e-5)


def _early(blamed: str) -> nn.Module:
    """Folded directly after `eval()`, as the check of option b has it."""
    return _shipped("\n".join([*exercise("folded-while-training").listing.splitlines()[:2], blamed]))[2]


def test_a_comparison_in_train_mode_finds_the_gap_stated_and_moves_the_running_mean() -> None:
    slug = "folded-while-training"
    conv, norm = nn.Conv2d(1, 1, 1, bias=False).eval(), nn.BatchNorm2d(1, eps=1e-12).eval()
    conv.weight.data.fill_(1.0)
    folded = fold_batch_norm(conv, norm)
    images = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    norm.train()
    with torch.no_grad():
        gap = (norm(conv(images)) - folded(images)).abs().max().item()
    assert norm.running_mean is not None
    assert field_of(slug, "gap").answer == pytest.approx(gap)
    assert field_of(slug, "moved").answer == pytest.approx(norm.running_mean.item())
    assert not _agree(nn.Sequential(conv, norm).eval(), folded, images), "and in evaluation mode, too, from now on"
    y = images.flatten()
    unbiased = ((y - 2) / y.std() - y).abs().max()
    normed = (y - 2) / y.std(correction=0)
    crossed = (normed[:, None] - y).abs().max()
    assert mistakes(field_of(slug, "gap")) == pytest.approx([0, float(unbiased), 1, float(crossed)])
    assert mistakes(field_of(slug, "moved")) == pytest.approx([0, 2, 0.9 * 2, 0.1])


# --------------------------------------------------------------------------------------------------- shared weights


def test_a_layer_of_twenty_values_is_as_large_as_said() -> None:
    slug = "clusters-and-bits"
    layer = nn.Linear(32, 32, bias=False)
    packed = shared_bytes(share_weights(layer, 20))
    assert field_of(slug, "bytes").answer == packed
    assert field_of(slug, "ratio").answer == pytest.approx(4 * 1024 / packed, rel=1e-6)
    bits = math.log2(20)
    book = 4 * 20
    expected = [
        1024 * 5 / 8,
        8 * packed,
        1024 + book,
        1024 * bits / 8 + book,
        1024 * 4 / 8 + book,
        1024 * 20 / 8 + book,
    ]
    assert mistakes(field_of(slug, "bytes")) == pytest.approx(expected)
    assert 1024 + book == sum(
        one.numel() * one.element_size() for one in share_weights(layer, 20).state_dict().values()
    ), "one byte per index is what the tensors take"
    expected = [32 / 5, 1024 / 20, 32 / 20, 4096 / (1024 + book), 4096 / (8 * packed), packed / 4096]
    assert mistakes(field_of(slug, "ratio")) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_a_codebook_value_is_the_sum_over_its_weights_by_autograd() -> None:
    index = torch.tensor([[0, 1, 0], [1, 1, 0]])
    by_weight = torch.tensor([[0.3, -0.1, 0.2], [0.5, 0.3, -0.4]], dtype=torch.float64)
    codebook = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    (codebook[index] * by_weight).sum().backward()
    assert codebook.grad is not None
    zero, one = codebook.grad.tolist()
    field = field_of("clusters-and-bits", "gradient")
    assert field.answer == pytest.approx(one)
    mine = by_weight[index == 1]
    overwritten = torch.zeros(2, dtype=torch.float64)
    for place, value in zip(index.flatten(), by_weight.flatten(), strict=True):
        overwritten[place] = value
    expected = [mine.mean(), one / 6, zero, overwritten[1], mine.abs().sum(), by_weight.sum()]
    assert mistakes(field) == pytest.approx([float(value) for value in expected], abs=1e-6)
    assert right_options(field_of("clusters-and-bits", "latency")) == ["b"]


# ------------------------------------------------------------------------------------------------------- embeddings


def test_two_tables_have_the_rows_bytes_and_company_stated() -> None:
    slug, n, b, width = "two-small-tables", 2_000_000, 2000, 32
    table = QuotientRemainderEmbedding(n, width, b)
    rows = len(table.quotient) + len(table.remainder)
    assert field_of(slug, "rows").answer == rows
    assert (
        field_of(slug, "megabytes").answer == sum(one.numel() * one.element_size() for one in table.parameters()) / 1e6
    )
    ids = torch.arange(n)
    mine = table.rows(torch.tensor([123_456]))
    shared = (table.rows(ids) == mine).any(-1)
    assert field_of(slug, "moved").answer == int(shared.sum()) - 1
    assert len(table.rows(ids).unique(dim=0)) == n
    fewest = min(-(-n // k) + k for k in range(1, 20_000))
    assert field_of(slug, "fewest").answer == fewest
    assert mistakes(field_of(slug, "rows")) == [b, n // b, 2 * b, n]
    numbers = rows * width / 1e6
    assert mistakes(field_of(slug, "megabytes")) == pytest.approx(
        [numbers, 4 * rows / 1e6, 4 * b * width / 1e6, 4000 * numbers, 32 * numbers]
    )
    assert mistakes(field_of(slug, "fewest")) == [1415, 1000 + n // 1000, 2 * 1414, 2]
    assert 1414**2 < n < 1414 * 1415
    assert mistakes(field_of(slug, "moved")) == [0, b - 1, n // b - 1, rows, rows - 1]


def test_the_share_of_twins_is_that_of_ids_thrown_at_random_and_about_that_of_a_hash() -> None:
    field, n, m = field_of("two-small-tables", "collide"), 2_000_000, 1_000_000
    alone = (1 - 1 / m) ** (n - 1)
    assert field.answer == pytest.approx(100 * (1 - alone))
    expected = [100 * (1 - m / n), 100 * alone, 100 * (1 - math.exp(-1)), 100, 100 / m]
    assert mistakes(field) == pytest.approx(expected, rel=1e-5)
    thrown = torch.randint(m, (n,), generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(thrown, minlength=m)
    assert float(counts[counts > 1].sum()) / n == pytest.approx(field.answer / 100, abs=0.002)
    assert float((thrown % 3000).bincount(minlength=3000).min()) > 1, "in 3000 rows, all of them"
    assert collisions(QuotientRemainderEmbedding(20_000, 2, 200)) == 0
    assert collisions(HashedEmbedding(20_000, 2, 300)) > 0.99


# ---------------------------------------------------------------------------------------------------- activations


def _plain_and_fitted(weight: Tensor, rank: int, inputs: Tensor) -> tuple[Tensor, Tensor]:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64)
    layer.weight.data = weight
    pairs = (low_rank_linear(layer, rank), low_rank_linear(layer, rank, inputs=inputs))
    first, second = ((pair[1].weight @ pair[0].weight).detach() for pair in pairs)
    return first, second


def _lost(inputs: Tensor, weight: Tensor, cut: Tensor) -> float:
    return float((inputs @ (weight - cut).T).norm())


def test_the_statements_on_activations_hold_or_fail_as_marked() -> None:
    weight, inputs = _drawn(12, 10), _drawn(500, 10, seed=1) * torch.logspace(-1, 1, 10)
    plain, fitted = _plain_and_fitted(weight, 3, inputs)
    weights = [float((weight - cut).norm()) for cut in (plain, fitted)]
    others = torch.linalg.qr(inputs.T @ inputs)[0][:, -4:].T * 5  # along directions hardly taken before
    white = torch.linalg.qr(_drawn(500, 10, seed=2))[0] * 7
    alike = _plain_and_fitted(weight, 3, white)
    even = torch.randn(4000, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    twins = torch.cat([even + 0.05 * _drawn(4000, 1, seed=k) for k in range(10)], dim=1)
    twins = twins / twins.std(0)
    by_twins = _plain_and_fitted(weight, 3, twins)
    few = _drawn(10, 512, seed=5)
    wide = _drawn(512, 512, seed=6)
    exact = _plain_and_fitted(wide, 10, few)[1]
    truths = {
        "a": weights[1] <= weights[0],
        "c": math.isclose(*(_lost(white, weight, cut) for cut in alike), rel_tol=1e-6),
        "d": math.isclose(*(_lost(twins, weight, cut) for cut in by_twins), rel_tol=0.05),
        "e": _lost(inputs, weight, fitted) <= _lost(inputs, weight, plain),
        "f": _lost(others, weight, fitted) <= _lost(others, weight, plain),
        "g": _lost(few, wide, exact) < 1e-3 * float((few @ wide.T).norm()),
        "h": False,  # shown by the signature: no label was given to any of the calls above
    }
    diagonal = torch.zeros(4, 4, dtype=torch.float64)  # the two values of option b, with room for a rank that saves
    diagonal[0, 0], diagonal[1, 1] = 3, 2
    spread = torch.tensor([1.0, 4.0, 1.0, 1.0], dtype=torch.float64)
    cuts = _plain_and_fitted(diagonal, 1, torch.linalg.qr(_drawn(400, 4, seed=7))[0] * 20 * spread)
    kept = [[round(float(cut[k, k]), 3) for k in range(2)] for cut in cuts]
    truths["b"] = kept == [[3, 0], [0, 2]]
    assert sorted(name for name, holds in truths.items() if holds) == right_options(
        exercise("when-activations-matter").fields[0]
    )


# ------------------------------------------------------------------------------------------------- the open question


def test_the_numbers_of_the_interview_question_are_those_of_its_layers() -> None:
    text, rubric = exercise("which-compression-for-which-layer").prompt, " ".join(
        exercise("which-compression-for-which-layer").rubric
    )  # fmt: skip
    conv = nn.Conv2d(256, 256, 3, bias=False)
    stem = nn.Conv2d(3, 32, 3, bias=False)
    sizes = {
        "51.2 M": 400_000 * 128 / 1e6, "0.9 k": _parameters(stem) / 1e3, "10.8 M": _parameters(stem) * 112**2 / 1e6,
        "2.36 M": 4 * _parameters(conv) / 1e6, "1850 M": 4 * _parameters(conv) * 28**2 / 1e6, "16.8 M": 4096**2 / 1e6,
        "41 k": 40_960 / 1e3,
    }  # fmt: skip
    for shown, exact in sizes.items():
        assert shown in text
        assert float(shown.split()[0]) == pytest.approx(exact, rel=0.05)
    assert f"break-even of {break_even_rank(nn.Linear(4096, 4096)) + 1}" in rubric, "where nothing is won or lost"
    assert f"break-even of {break_even_rank(conv)}" in rubric
    assert 4096**2 / (256 * 2 * 4096) == 8
    total = 51.2 + 2.36 + 16.8 + 0.04
    assert 51.2 / total == pytest.approx(0.75, abs=0.03)


# ----------------------------------------------------------------------------------------------- the code exercises

LOW, FOLD = "write-low-rank-linear", "write-fold-batch-norm"
LOW_HEAD = "def low_rank_linear(layer, rank):\n    "
FOLD_HEAD = "def fold_batch_norm(conv, norm):\n    "


@pytest.mark.parametrize(
    ("slug", "body", "said"),
    [
        (LOW, "layer.weight.data", "is the `return` statement missing?"),
        (LOW, "return nn.Linear(3, 4), nn.Linear(4, 3)", "`nn.Sequential(first, second)` makes one"),
        (LOW, "return layer.weight", "An `nn.Sequential` of two layers is expected"),
        (FOLD, "conv.weight", "is the `return` statement missing?"),
        (FOLD, "return conv", "`return folded.weight, folded.bias`"),
        (FOLD, "return conv.weight.flatten(1), norm.bias", "expected is [3, 3, 3, 3]"),
        (FOLD, "return conv.weight * norm.weight.view(-1, 1, 1, 1), conv.weight", "expected is [3]"),
    ],
)
def test_answers_of_the_wrong_kind_are_invalid_with_the_cause(slug: str, body: str, said: str) -> None:
    finding = judged(slug, (LOW_HEAD if slug == LOW else FOLD_HEAD) + body)
    assert finding.outcome == "invalid"
    assert said in finding.message


def test_a_channel_that_never_varied_is_told_as_the_forgotten_eps() -> None:
    body = "s = norm.weight / norm.running_var.sqrt() * (1 + norm.eps * 0) if norm.running_var[0] == 0 else "
    right = "norm.weight / (norm.running_var + norm.eps).sqrt()\n    b = norm.bias if conv.bias is None else conv.bias"
    rest = "\n    return conv.weight * s.view(-1, 1, 1, 1), (b - norm.running_mean) * s + norm.bias"
    finding = judged(FOLD, FOLD_HEAD + body + right + rest)
    assert finding.failed == "eps_stands_under_the_root"
    assert "an infinity" in finding.message


def test_the_published_factorisation_by_qr_is_told_by_the_weights_that_it_does_not_save() -> None:
    lines = (
        "q, r = torch.linalg.qr(layer.weight.detach())",
        "layer.weight.data = q[:, :rank] @ r[:rank]",
        "return layer",
    )
    assert judged(LOW, LOW_HEAD + "\n    ".join(lines)).failed == "there_are_fewer_weights_than_before"


def test_the_reference_of_the_low_rank_exercise_is_the_function_of_the_lesson() -> None:
    space: dict[str, Any] = {"torch": torch, "nn": nn}
    exec(exercise(LOW).reference, space)
    torch.manual_seed(0)
    layer = nn.Linear(20, 12)
    for inputs in (torch.randn(5, 20), torch.randn(2, 5, 20)):
        torch.testing.assert_close(space["low_rank_linear"](layer, 4)(inputs), low_rank_linear(layer, 4)(inputs))


@pytest.mark.parametrize("bias", [True, False])
def test_the_reference_of_the_folding_exercise_is_the_function_of_the_lesson(bias: bool) -> None:
    space: dict[str, Any] = {"torch": torch}
    exec(exercise(FOLD).reference, space)
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5)
    for images in torch.randn(10, 8, 3, 6, 6) + 1:
        norm(conv(images))
    folded = fold_batch_norm(conv.eval(), norm.eval())
    weight, shift = space["fold_batch_norm"](conv, norm)
    torch.testing.assert_close(weight, folded.weight)
    torch.testing.assert_close(shift, folded.bias)


@pytest.mark.parametrize(
    ("slug", "name", "typed", "said"),
    [
        ("break-even-rank", "rank", "1024*4096/(1024+4096) + 1", "lower one is asked for"),
        ("break-even-rank", "ratio", "16x", "has to be stored too"),
        ("what-truncation-loses", "frobenius", "3/18", "sum of their *squares*"),
        ("fold-a-batch-norm", "bias", "1.5*0.5/2 + 0.1", "The mean is missing"),
        ("clusters-and-bits", "gradient", "0.7/3", "adds up"),
        ("two-small-tables", "moved", 2999, "you took it off once"),
        ("folded-while-training", "moved", 0, "stops gradients"),
    ],
)
def test_a_mistake_typed_as_people_type_it_is_named(slug: str, name: str, typed: Any, said: str) -> None:
    verdict = grade(slug, exercise(slug).reference | {name: typed})
    assert verdict.outcome == "incorrect"
    assert said in verdict.message
