"""The losses: properties, refusals, and proof that each property can fail."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from kdlab import losses
from kdlab.loss_properties import PROPERTIES, Loss, examine, soft_only
from kdlab.losses import (
    dist_loss,
    dkd_loss,
    js_loss,
    kd_loss,
    label_smoothing_loss,
    mse_logit_loss,
    reverse_kl_loss,
    soft_targets,
)


def broken(loss: Loss) -> set[str]:
    """Names of the properties that ``loss`` violates."""
    return set(examine(loss).violated)


@pytest.mark.parametrize("name", PROPERTIES)
def test_kd_loss_has_property(name: str) -> None:
    PROPERTIES[name](kd_loss)


# --- the properties can fail: mutants of our own source, and losses that others published ------------------

MUTANTS = {
    "T squared dropped": ("alpha * temperature**2 /", "alpha /"),
    "T instead of T squared": ("temperature**2", "temperature"),
    "sign flipped": ("alpha * temperature**2 /", "-alpha * temperature**2 /"),
    "KL arguments swapped": (
        "_kl(teacher_logits.detach(), student_logits,",
        "_kl(student_logits, teacher_logits.detach(),",
    ),
    "teacher compared with itself": ("log_q = _scaled(other,", "log_q = _scaled(reference,"),
    "teacher not detached": ("teacher_logits.detach()", "teacher_logits"),
    "sum instead of mean": (" / _positions(student_logits)", ""),
    "mean over classes too": ("_positions(student_logits)", "student_logits.numel()"),
    "mean over the first dimension only": ("_positions(student_logits)", "len(student_logits)"),
    "alpha weighs the hard term": ("alpha * temperature**2", "(1 - alpha) * temperature**2"),
    "weights do not add up to one": ("(1 - alpha) * _cross_entropy", "_cross_entropy"),
    "hard term at T": ("F.cross_entropy(_wide(logits),", "F.cross_entropy(_wide(logits) / 8,"),
    "log of softmax": (".log_softmax(dim=-1)", ".softmax(dim=-1).log()"),
    "no log at all": (
        "log_q = _scaled(other, temperature).log_softmax",
        "log_q = _scaled(other, temperature).softmax",
    ),
    "softmax over the batch": ("log_softmax(dim=-1)", "log_softmax(dim=0)"),
    "half precision kept": ("logits.float() if logits.dtype.itemsize < 4 else logits", "logits"),
    "one logit allowed": (
        'check_logits("student_logits", student_logits)\n    check_logits("teacher_logits", teacher_logits)',
        "pass",
    ),
    "temperature on one side": ("log_p = _scaled(reference, temperature)", "log_p = _scaled(reference, 1)"),
    "labels needed with alpha one": ("if alpha < 1:", "if True:"),
    "student detached": ("log_q = _scaled(other,", "log_q = _scaled(other.detach(),"),
    "soft cross-entropy instead of KL": (
        "F.kl_div(log_q, log_p, reduction=\"sum\", log_target=True)",
        "-(log_p.exp() * log_q).sum()",
    ),
    "classes weighted by number": ("log_q, log_p,", "log_q * torch.arange(1, log_q.shape[-1] + 1), log_p,"),
}  # fmt: skip


SOURCE = Path(losses.__file__).read_text(encoding="utf-8")


def _mutant(old: str, new: str) -> Loss:
    source = SOURCE
    first, rest = source.split("\ndef soft_targets")[0], source.split("\ndef kd_loss")[1]
    code = first + "\n\ndef kd_loss" + rest.split("\n\n\ndef ")[0] + "\n\n\ndef _wide" + rest.split("\ndef _wide")[1]
    assert old in code, f"the mutation no longer applies: {old!r} is not in losses.py"
    module = types.ModuleType("mutant")
    exec(compile(code.replace(old, new), "mutant", "exec"), module.__dict__)
    return module.kd_loss


@cache
def _broken_by(name: str) -> set[str]:
    """What a mutant violates; two tests ask."""
    return broken(_mutant(*MUTANTS[name]))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_kd_loss_turns_the_suite_red(name: str) -> None:
    assert _broken_by(name), f"no property notices: {name}"


def test_every_property_can_fail() -> None:
    caught = broken(_wrong_second_derivative).union(*map(_broken_by, MUTANTS))
    assert caught == set(PROPERTIES)


class _ForgetsItsOwnGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, z: Tensor, teacher: Tensor) -> Tensor:
        ctx.save_for_backward((z.softmax(-1) - teacher.softmax(-1)) / len(z))  # type: ignore[attr-defined]
        return F.kl_div(z.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)

    @staticmethod
    def backward(ctx: object, g: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return g * gradient, None  # a constant to autograd: its own derivative would be zero


def _wrong_second_derivative(student: Tensor, teacher: Tensor, labels: object = None, **options: float) -> Tensor:
    return _ForgetsItsOwnGradient.apply(student, teacher)


def _no_log_and_swapped(
    student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, temperature: float, alpha: float
) -> Tensor:
    return F.kl_div(F.softmax(teacher / temperature, -1), F.softmax(student / temperature, -1), reduction="batchmean")


def _mse_of_probabilities(
    student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, temperature: float, alpha: float
) -> Tensor:
    return F.mse_loss((student / temperature).softmax(-1), (teacher / temperature).softmax(-1))


def _reduction_mean(
    student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, temperature: float, alpha: float
) -> Tensor:
    log_q, p = (student / temperature).log_softmax(-1), (teacher / temperature).softmax(-1)
    soft = temperature**2 * F.kl_div(log_q, p, reduction="mean")
    return soft if labels is None else alpha * soft + (1 - alpha) * F.cross_entropy(student, labels)


@pytest.mark.parametrize(
    ("faulty", "must_notice"),
    [
        (_no_log_and_swapped, "zero_when_logits_agree"),
        (_mse_of_probabilities, "equals_the_kl_of_torch_distributions"),
        (_reduction_mean, "gradient_has_its_closed_form"),
    ],
)  # fmt: skip
def test_faulty_losses_from_the_wild_are_caught(faulty: Loss, must_notice: str) -> None:
    assert must_notice in broken(faulty)


# --- relatives of kd_loss ---------------------------------------------------------------------------------

A, B = (2 * torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).unbind()

HINTON_ONLY = {
    "equals_the_kl_of_torch_distributions",
    "gradient_has_its_closed_form",
    "teacher_is_the_reference_of_the_kl",
}
LIMIT = "matches_centred_logits_at_high_temperature"


def _mse(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    return mse_logit_loss(student, teacher)


def _dkd(student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, temperature: float, alpha: float) -> Tensor:
    usable = labels is not None and int(labels.min()) >= 0
    known = labels if usable else torch.zeros(student.shape[:-1], dtype=torch.long)
    return soft_only(lambda s, t, temperature: dkd_loss(s, t, known, temperature=temperature))(
        student, teacher, known, temperature=temperature, alpha=alpha
    )


RELATIVES = {  # looked up when asked, so that a mutant in its place is what gets judged
    "reverse_kl_loss": (lambda: soft_only(reverse_kl_loss), HINTON_ONLY),
    "js_loss": (lambda: soft_only(js_loss), HINTON_ONLY | {LIMIT}),  # a quarter of it
    "mse_logit_loss": (lambda: soft_only(_mse), HINTON_ONLY),
    "dkd_loss": (lambda: _dkd, HINTON_ONLY | {LIMIT, "alpha_one_ignores_labels"}),
    "dist_loss": (
        lambda: soft_only(dist_loss),
        HINTON_ONLY
        | {
            LIMIT,
            "mean_over_the_batch",  # it correlates over the batch
            "free_logits_end_at_the_teachers_distribution",  # a correlation of 1 leaves scale and shift free
            "gradient_does_not_grow_with_temperature",  # blind to scale, so T squared makes it grow
        },
    ),
}


@pytest.mark.parametrize("name", RELATIVES)
def test_a_relative_has_every_property_but_those_that_its_definition_excludes(name: str) -> None:
    loss, exempt = RELATIVES[name]
    assert broken(loss()) == exempt, examine(loss())


def test_reverse_kl_is_the_forward_kl_with_the_two_exchanged() -> None:
    for temperature in (0.5, 1.0, 4.0):
        exchanged = kd_loss(B, A, temperature=temperature, alpha=1.0)
        assert_close(reverse_kl_loss(A, B, temperature=temperature), exchanged)


def test_js_is_symmetric_bounded_by_ln_2_and_a_quarter_of_kl_near_agreement() -> None:
    assert_close(js_loss(A, B, temperature=3.0), js_loss(B, A, temperature=3.0))
    far = torch.tensor([[80.0, 0.0]], dtype=torch.float64)
    assert_close(js_loss(far, -far, temperature=2.0), torch.tensor(4 * np.log(2)))
    near = A + 1e-3 * B
    assert_close(js_loss(near, A, temperature=2.0), kd_loss(near, A, temperature=2.0, alpha=1.0) / 4, rtol=1e-2, atol=0)


def test_js_is_the_mean_kl_to_the_mixture() -> None:
    p, q = (B / 2).softmax(-1), (A / 2).softmax(-1)
    m = (p + q) / 2
    by_hand = ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1)).mean() / 2
    assert_close(js_loss(A, B, temperature=2.0), 4 * by_hand)


def test_mse_of_logits_is_the_limit_and_its_gradient_the_centred_difference_over_k() -> None:
    leaf = A.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mse_logit_loss(leaf, B), leaf)
    gap = A - B
    assert_close(gradient, (gap - gap.mean(-1, keepdim=True)) / (A.shape[1] * len(A)))


def test_label_smoothing_is_cross_entropy_with_the_mixed_target() -> None:
    labels = B.argmax(-1)
    for share in (0.0, 0.3, 1.0):
        target = (1 - share) * F.one_hot(labels, A.shape[1]) + share / A.shape[1]
        by_hand = -(target * A.log_softmax(-1)).sum(-1).mean()
        assert_close(label_smoothing_loss(A, labels, smoothing=share), by_hand)
        leaf = A.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(label_smoothing_loss(leaf, labels, smoothing=share), leaf)
        assert_close(gradient, (A.softmax(-1) - target) / len(A))
    nested = label_smoothing_loss(A.view(2, 3, 5), labels.view(2, 3), smoothing=0.1)
    assert_close(nested, label_smoothing_loss(A, labels, smoothing=0.1))
    assert torch.isfinite(label_smoothing_loss((50 * A).half(), labels, smoothing=0.1))
    leaf = A[:3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: label_smoothing_loss(z, labels[:3], smoothing=0.2), (leaf,))
    assert torch.autograd.gradgradcheck(lambda z: label_smoothing_loss(z, labels[:3], smoothing=0.2), (leaf,))


def test_dkd_with_the_teachers_own_weight_on_the_others_is_kl() -> None:
    """KL = target part + (1 - p_y) others, row by row."""
    labels = A.argmax(-1)
    for student, teacher, label in zip(A.split(1), B.split(1), labels.split(1), strict=True):
        rest = 1 - float((teacher / 3).softmax(-1)[0, label])
        parts = dkd_loss(student, teacher, label, temperature=3.0, target_weight=1.0, other_weight=rest)
        assert_close(parts, kd_loss(student, teacher, temperature=3.0, alpha=1.0))


def test_dkd_others_ignore_the_logit_of_the_label() -> None:
    labels = A.argmax(-1)
    moved = A.scatter_add(1, labels[:, None], torch.full((len(A), 1), 7.0, dtype=A.dtype))
    options = {"temperature": 2.0, "target_weight": 0.0}
    assert_close(dkd_loss(moved, B, labels, **options), dkd_loss(A, B, labels, **options))
    options = {"temperature": 2.0, "other_weight": 0.0}
    assert dkd_loss(moved, B, labels, **options) != dkd_loss(A, B, labels, **options)


def test_dist_is_one_minus_pearson_over_classes_and_over_rows() -> None:
    q, p = (A / 2).softmax(-1).numpy(), (B / 2).softmax(-1).numpy()
    inter = np.mean([1 - np.corrcoef(*rows)[0, 1] for rows in zip(q, p, strict=True)])
    intra = np.mean([1 - np.corrcoef(*columns)[0, 1] for columns in zip(q.T, p.T, strict=True)])
    value = dist_loss(A, B, temperature=2.0, inter_weight=0.5, intra_weight=2.0)
    assert_close(float(value), 4 * (0.5 * inter + 2 * intra))


def test_dist_is_never_below_zero_where_rounding_would_take_it() -> None:
    for seed in range(20):
        logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
        assert dist_loss(logits, logits, temperature=1.0) >= 0


def test_dist_survives_rows_and_classes_without_variation() -> None:
    flat = torch.zeros(4, 3, requires_grad=True)
    dist_loss(flat, torch.randn(4, 3), temperature=1.0).backward()
    assert flat.grad.isfinite().all()


# --- soft_targets -----------------------------------------------------------------------------------------


def test_soft_targets_are_the_softmax_of_scaled_logits() -> None:
    logits = torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(0))
    for temperature in (0.3, 1, 4.0):
        assert_close(soft_targets(logits, temperature), (logits / temperature).softmax(-1))


def test_soft_targets_keep_shape_dtype_and_input() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        logits = torch.tensor([[3.0, 1.0, -2.0]], dtype=dtype)
        before = logits.clone()
        result = soft_targets(logits, 2.0)
        assert result.shape == logits.shape
        assert result.dtype == dtype
        assert torch.equal(logits, before)


def test_soft_targets_have_the_right_limits() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0])
    assert_close(soft_targets(logits, 1e6), torch.full((3,), 1 / 3), atol=1e-5, rtol=0)
    assert_close(soft_targets(logits, 1e-30), torch.tensor([0.0, 1.0, 0.0]))


def test_soft_targets_never_change_the_order_and_entropy_grows_with_temperature() -> None:
    logits = torch.randn(50, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    entropies = []
    for temperature in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
        p = soft_targets(logits, temperature)
        assert torch.equal(p.argsort(-1), logits.argsort(-1))
        entropies.append(torch.special.entr(p).sum(-1))
    assert (torch.stack(entropies).diff(dim=0) > 0).all()


def test_soft_targets_survive_extreme_logits_and_masked_classes() -> None:
    assert_close(soft_targets(torch.tensor([1e30, -1e30]), 1e-3), torch.tensor([1.0, 0.0]))
    assert_close(soft_targets(torch.tensor([0.0, 0.0, float("-inf")]), 3.0), torch.tensor([0.5, 0.5, 0.0]))


def test_soft_targets_pass_gradients() -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: soft_targets(z, 0.7), (logits,))


# --- refusals ---------------------------------------------------------------------------------------------

S, T_, Y = torch.zeros(4, 10), torch.ones(4, 10), torch.zeros(4, dtype=torch.long)
NAN = torch.full((4, 10), float("nan"))


@pytest.mark.parametrize(
    ("error", "words", "arguments", "options"),
    [
        (ValueError, "temperature .* greater than 0, got 0", (S, T_, Y), {"temperature": 0}),
        (ValueError, "temperature .* got -1", (S, T_, Y), {"temperature": -1}),
        (ValueError, "temperature .* got nan", (S, T_, Y), {"temperature": float("nan")}),
        (ValueError, "temperature .* got inf", (S, T_, Y), {"temperature": float("inf")}),
        (TypeError, "temperature must be a number, got '4'", (S, T_, Y), {"temperature": "4"}),
        (TypeError, "temperature must be a number, got None", (S, T_, Y), {"temperature": None}),
        (TypeError, "temperature must be a number, got True", (S, T_, Y), {"temperature": True}),
        (ValueError, r"alpha must lie in \[0, 1\], got 1.5", (S, T_, Y), {"alpha": 1.5}),
        (ValueError, r"alpha must lie in \[0, 1\], got -0.1", (S, T_, Y), {"alpha": -0.1}),
        (ValueError, "alpha .* got nan", (S, T_, Y), {"alpha": float("nan")}),
        (TypeError, "alpha must be a number", (S, T_, Y), {"alpha": "0.5"}),
        (ValueError, "teacher_logits has 8 classes, student_logits 10 .* features", (S, T_[:, :8], Y), {}),
        (ValueError, "different batches", (S, T_[:3], Y), {}),
        (TypeError, "student_logits must be floating point, got torch.int64", (S.long(), T_, Y), {}),
        (TypeError, "teacher_logits must be floating point, got torch.bool", (S, T_.bool(), Y), {}),
        (TypeError, "teacher_logits must be a torch tensor .* list", (S, [[1.0]], Y), {}),
        (ValueError, "student_logits contains NaN .40 of 40.", (NAN, T_, Y), {}),
        (ValueError, "teacher_logits contains NaN", (S, NAN, Y), {"alpha": 0.0}),
        (ValueError, "teacher_logits contains infinite", (S, T_ * float("inf"), Y), {}),
        (ValueError, "labels contain 10, allowed are 0 to 9", (S, T_, Y + 10), {}),
        (ValueError, "labels contain -100.*ignore index", (S, T_, Y - 100), {}),
        (ValueError, "labels are missing: alpha=0.9", (S, T_), {}),
        (TypeError, "labels must be integer .* torch.float32", (S, T_, Y.float()), {}),
        (TypeError, "labels must be a torch tensor", (S, T_, [0, 0, 0, 0]), {}),
        (ValueError, r"labels has shape \[4, 10\].*argmax", (S, T_, torch.zeros(4, 10).long()), {}),
        (ValueError, "at least 2 classes", (S[:, :1], T_[:, :1], Y), {}),
        (ValueError, "at least 2 classes", (torch.tensor(1.0), torch.tensor(1.0)), {"alpha": 1.0}),
        (ValueError, "empty", (S[:0], T_[:0], Y[:0]), {}),
        (ValueError, "temperature=1e-39 does", (torch.eye(2), 1 - torch.eye(2)), {"temperature": 1e-39, "alpha": 1}),
    ],
)  # fmt: skip
def test_kd_loss_refuses(error: type[Exception], words: str, arguments: tuple, options: dict) -> None:
    with pytest.raises(error, match=words):
        kd_loss(*arguments, **options)


REFUSALS = [
    (ValueError, "temperature .* got 0", lambda: reverse_kl_loss(S, T_, temperature=0)),
    (ValueError, "8 classes", lambda: reverse_kl_loss(S, T_[:, :8])),
    (ValueError, "contains NaN", lambda: reverse_kl_loss(NAN, T_)),
    (TypeError, "temperature must be a number", lambda: js_loss(S, T_, temperature="2")),
    (ValueError, "teacher_logits contains NaN", lambda: js_loss(S, NAN)),
    (ValueError, "different batches", lambda: mse_logit_loss(S, T_[:3])),
    (ValueError, "contains infinite", lambda: mse_logit_loss(S, T_ / 0)),
    (ValueError, "at least 3 classes, got 2", lambda: dkd_loss(S[:, :2], T_[:, :2], Y)),
    (ValueError, "labels contain 10", lambda: dkd_loss(S, T_, Y + 10)),
    (TypeError, "labels must be a torch tensor", lambda: dkd_loss(S, T_, None)),
    (ValueError, "other_weight .* got -1", lambda: dkd_loss(S, T_, Y, other_weight=-1)),
    (TypeError, "target_weight must be a number", lambda: dkd_loss(S, T_, Y, target_weight="1")),
    (ValueError, "student_logits contains NaN", lambda: dkd_loss(NAN, T_, Y)),
    (ValueError, "at least 2 rows", lambda: dist_loss(S[:1], T_[:1])),
    (ValueError, "inter_weight .* got nan", lambda: dist_loss(S, T_, inter_weight=float("nan"))),
    (ValueError, "student_logits contains NaN", lambda: dist_loss(NAN, T_)),
    (ValueError, r"smoothing must lie in \[0, 1\], got 2", lambda: label_smoothing_loss(S, Y, smoothing=2)),
    (ValueError, "logits contains NaN", lambda: label_smoothing_loss(NAN, Y)),
    (ValueError, "labels contain -100", lambda: label_smoothing_loss(S, Y - 100)),
    (ValueError, "logits needs at least 2 classes", lambda: label_smoothing_loss(S[:, :1], Y)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words", "call"), REFUSALS)
def test_relatives_refuse(error: type[Exception], words: str, call: Callable[[], Tensor]) -> None:
    with pytest.raises(error, match=words):
        call()


# --- mutants of the relatives, judged by the tests above ---------------------------------------------------

NOT_DETACHED = ("teacher_logits.detach()", "teacher_logits")
NO_T_SQUARED = ("temperature**2", "1")
RELATIVE_MUTANTS = {
    "reverse_kl_loss": {
        "forward KL": ("_kl(student_logits, teacher_logits.detach(),", "_kl(teacher_logits.detach(), student_logits,"),
        "T squared dropped": NO_T_SQUARED,
        "T instead of T squared": ("temperature**2", "temperature"),
        "teacher not detached": NOT_DETACHED,
        "student detached": ("_kl(student_logits,", "_kl(student_logits.detach(),"),
        "mean over classes too": ("_positions(student_logits)", "student_logits.numel()"),
        "sum instead of mean": (" / _positions(student_logits)", ""),
        "arguments not checked": ("_check_pair(student_logits, teacher_logits, temperature)", "pass"),
        "NaN returned": ("return _finite(", "return (lambda loss, *rest: loss)("),
    },
    "js_loss": {
        "mixture twice too large": (" - math.log(2)", ""),
        "geometric mean": ("torch.logaddexp(log_p, log_q) - math.log(2)", "(log_p + log_q) / 2"),
        "teacher's half only": ("(first + second)", "2 * first"),
        "student's half only": ("(first + second)", "2 * second"),
        "half forgotten": ("(2 * _positions(student_logits))", "_positions(student_logits)"),
        "T squared dropped": NO_T_SQUARED,
        "teacher not detached": NOT_DETACHED,
        "temperature on one side": ("_scaled(teacher_logits.detach(), temperature)", "_scaled(teacher_logits, 1)"),
        # At m the mean KL is smallest, so value and gradient stay right, and only second derivatives are wrong.
        "mixture held constant": ("torch.logaddexp(log_p, log_q)", "torch.logaddexp(log_p, log_q).detach()"),
        "softmax over the batch": ("log_softmax(dim=-1)", "log_softmax(dim=0)"),
        "NaN returned": ("return _finite(", "return (lambda loss, *rest: loss)("),
    },
    "mse_logit_loss": {
        "not centred": ("gap - gap.mean(dim=-1, keepdim=True)", "gap"),
        "centred over the batch": ("gap.mean(dim=-1,", "gap.mean(dim=0,"),
        "half forgotten": ("(2 * student_logits.numel())", "student_logits.numel()"),
        "sum over classes": ("student_logits.numel()", "_positions(student_logits)"),
        "absolute": (".square()", ".abs()"),
        "teacher not detached": NOT_DETACHED,
        "half precision kept": ("_wide(student_logits) - _wide(", "student_logits - ("),
        "NaN returned": ("return _finite(", "return (lambda loss, *rest: loss)("),
    },
    "label_smoothing_loss": {
        "not smoothed": ("label_smoothing=float(smoothing)", "label_smoothing=0.0"),
        "share turned round": ("label_smoothing=float(smoothing)", "label_smoothing=1 - float(smoothing)"),
        "logits not checked": ('check_logits("logits", logits)', "pass"),
        "share not checked": ("check_share(", "(lambda *any: None)("),
        "NaN returned": ("if not math.isfinite(loss.item()):", "if False:"),
        "softmax over the batch": ("_wide(logits), labels", "_wide(logits).T.contiguous().T.softmax(0), labels"),
    },
    "dkd_loss": {
        "weights exchanged": (
            "target_weight * target + other_weight * others",
            "other_weight * target + target_weight * others",
        ),
        "others not weighted": ("other_weight * others", "others"),
        "target not weighted": ("target_weight * target", "target"),
        "others' KL reversed": ("F.kl_div(others_q, others_p,", "F.kl_div(others_p, others_q,"),
        "target's KL reversed": ("F.kl_div(target_q, target_p,", "F.kl_div(target_p, target_q,"),
        "label among the others": ("rows.scatter(1, label, -math.inf)", "rows"),
        "others' mass is their largest": ("others.logsumexp(dim=1, keepdim", "others.amax(dim=1, keepdim"),
        "top class in place of the label": ("rows.gather(1, label)", "rows.amax(dim=1, keepdim=True)"),
        "T squared dropped": NO_T_SQUARED,
        "mean over classes too": ("labels.numel()", "student_logits.numel()"),
        "teacher not detached": NOT_DETACHED,
        "two classes allowed": ("if classes < 3:", "if False:"),
        "labels not checked": ("check_label_range(labels, classes)", "pass"),
        "negative weight allowed": ('check_weight("other_weight", other_weight)', "pass"),
    },
    "dist_loss": {
        "within rows only": ("intra_weight * _uncorrelated(q, p, dim=0)", "0 * intra_weight"),
        "within classes only": ("inter_weight * _uncorrelated(q, p, dim=1)", "0 * inter_weight"),
        "weights exchanged": ("inter_weight * _uncorrelated(q, p, dim=1)", "inter_weight * _uncorrelated(q, p, dim=0)"),
        "cosine in place of Pearson": ("one - one.mean(dim=dim, keepdim=True)", "one"),
        "of logits": (".softmax(dim=-1).flatten(0, -2)", ".flatten(0, -2)"),
        "sum over rows": (".mean().clamp(", ".sum().clamp("),
        "sign flipped": ("(1 - (q * p).sum(", "(1 + (q * p).sum("),
        "squared": ("(q * p).sum(dim=dim))", "(q * p).sum(dim=dim).square())"),
        "no guard for constant rows": (".clamp(min=torch.finfo(vectors.dtype).tiny)", ""),
        "rounding may go below zero": (".clamp(min=0)", ""),
        "T squared dropped": NO_T_SQUARED,
        "teacher not detached": NOT_DETACHED,
        "one row allowed": ("if _positions(student_logits) < 2:", "if False:"),
    },
}  # fmt: skip


def _relative_mutant(name: str, old: str, new: str) -> Loss:
    """The loss with ``old`` replaced in its own source, or else in the helper that has it."""
    before, own = SOURCE.split(f"\ndef {name}(")
    own, after = own.split("\n\n\ndef ", 1)
    if old in own:
        own = own.replace(old, new)
    else:
        assert after.count(old) == 1, f"the mutation no longer applies: {old!r} is not in {name} or one helper"
        after = after.replace(old, new)
    module = types.ModuleType("mutant")
    exec(compile(f"{before}\ndef {name}({own}\n\n\ndef {after}", "mutant", "exec"), module.__dict__)
    return getattr(module, name)


def _judge(name: str) -> None:
    """Everything that this file asks of one relative."""
    word = name.split("_")[0]
    for test in [value for key, value in globals().items() if key.startswith(f"test_{word}_")]:
        test()
    for error, words, call in REFUSALS:
        if name in call.__code__.co_names:
            test_relatives_refuse(error, words, call)
    if name in RELATIVES:
        test_a_relative_has_every_property_but_those_that_its_definition_excludes(name)


@pytest.mark.parametrize("name", RELATIVE_MUTANTS)
def test_the_relatives_themselves_pass_their_judge(name: str) -> None:
    _judge(name)


@pytest.mark.parametrize(("name", "what"), [(name, what) for name, them in RELATIVE_MUTANTS.items() for what in them])
def test_a_mutant_of_a_relative_turns_its_tests_red(name: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), name, _relative_mutant(name, *RELATIVE_MUTANTS[name][what]))
    red = False
    try:
        _judge(name)
    except (Exception, pytest.fail.Exception):  # the second where an error was expected and none came
        red = True
    assert red, f"no test notices: {name}, {what}"


@pytest.mark.parametrize(
    ("error", "words", "logits", "temperature"),
    [
        (ValueError, "temperature", S, 0),
        (TypeError, "temperature", S, "1"),
        (TypeError, "logits must be floating point, got torch.int64: did you pass labels", Y, 1.0),
        (ValueError, "logits contains NaN", NAN, 1.0),
        (ValueError, "infinite", torch.tensor([float("inf"), 0.0]), 2.0),
        (ValueError, "at least 2 classes", torch.zeros(3, 1), 1.0),
        (TypeError, "got list", [1.0, 2.0], 1.0),
    ],
)
def test_soft_targets_refuse(error: type[Exception], words: str, logits: object, temperature: object) -> None:
    with pytest.raises(error, match=words):
        soft_targets(logits, temperature)


def test_a_numpy_scalar_is_a_number() -> None:
    with_numpy = kd_loss(S, T_, Y, temperature=np.float32(2), alpha=np.float64(0.5))
    assert_close(with_numpy, kd_loss(S, T_, Y, temperature=2, alpha=0.5))


# --- temperatures at the edge -----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [50.0, 1e3, 1e5])
def test_large_temperatures_keep_their_digits_in_float32(temperature: float) -> None:
    """T squared magnifies the rounding of a tiny divergence: in float32 alone, T = 20000 would be off by a tenth."""
    labels = A.argmax(-1)
    for loss in (
        lambda s, t: kd_loss(s, t, temperature=temperature, alpha=1.0),
        lambda s, t: reverse_kl_loss(s, t, temperature=temperature),
        lambda s, t: js_loss(s, t, temperature=temperature),
        lambda s, t: dkd_loss(s, t, labels, temperature=temperature),
    ):
        value = loss(A.float(), B.float())
        assert value.dtype == torch.float32
        assert_close(value.double(), loss(A, B), rtol=1e-3, atol=0)


def test_a_temperature_beyond_all_digits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 1e.06, got 10000000.0.*mse_logit_loss"):
        kd_loss(S, T_, Y, temperature=1e7)


def test_dist_sees_correlation_however_small_the_probabilities() -> None:
    logits = 2 * torch.tensor([[20.0, 0.0, 1.0], [20.0, 1.0, 0.0]], dtype=torch.float64)
    constant = 1 / 3  # the first of three classes is the same in both rows: no correlation, which counts as 1
    assert_close(float(dist_loss(logits, logits, temperature=1.0)), constant)
