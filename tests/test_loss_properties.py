"""The list of properties as a tool: it clears what is right, names what is wrong, and survives what is neither."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.loss_properties import PROPERTIES, Report, examine, soft_only
from kdlab.losses import kd_loss, reverse_kl_loss
from kdlab.studies.faulty_losses import FAULTS, SUSPECTS


def test_exactly_one_suspect_of_the_bug_hunt_is_right() -> None:
    assert FAULTS.keys() == SUSPECTS.keys()
    innocent = [name for name, loss in SUSPECTS.items() if not examine(loss).violated]
    assert innocent == [name for name, fault in FAULTS.items() if fault == "none"]
    assert len(innocent) == 1


GIVEAWAYS = {
    "A": {"never_negative", "free_logits_end_at_the_teachers_distribution", "zero_when_logits_agree"},
    "B": {"never_negative", "free_logits_end_at_the_teachers_distribution", "zero_when_logits_agree"},
    "C": {"gradient_does_not_fade_with_temperature"},
    "D": {"equals_the_kl_of_torch_distributions"},
    "F": {"never_negative", "a_gradient_step_brings_the_student_closer"},
    "G": {"alpha_zero_is_cross_entropy", "teacher_is_the_reference_of_the_kl"},
    "H": {"zero_when_logits_agree", "blind_to_a_constant_per_row", "logit_gaps_of_200_stay_finite"},
    "I": {"zero_when_logits_agree", "hard_term_is_taken_at_temperature_one"},
    "J": {"gradient_does_not_fade_with_temperature", "equals_the_kl_of_torch_distributions"},
}


@pytest.mark.parametrize("name", GIVEAWAYS)
def test_a_suspect_is_given_away_by_the_properties_of_its_fault(name: str) -> None:
    assert set(examine(SUSPECTS[name]).violated) >= GIVEAWAYS[name]


def test_suspects_differ_from_the_right_loss_in_their_formula_alone() -> None:
    """Shapes, half precision, a detached teacher: none of that may betray a suspect."""
    outer = {"leading_dimensions_are_all_positions", "teacher_gets_no_gradient", "one_logit_is_refused"}
    outer |= {"half_precision_stays_accurate", "second_derivatives_are_right_or_refused", "classes_may_be_renumbered"}
    for name, loss in SUSPECTS.items():
        assert not outer & set(examine(loss, outer).violated), name


def test_a_report_says_what_was_seen() -> None:
    report = examine(lambda *args, **options: 16 * kd_loss(*args, **options), ["equals_the_kl_of_torch_distributions"])
    assert report.held == ()
    assert "it is 46.9" in report.violated["equals_the_kl_of_torch_distributions"]
    assert str(report).startswith("1 of 1 properties violated:\n  equals the kl of torch distributions: against KL")
    assert str(Report(("a", "b"), {})) == "all 2 properties hold"


def test_a_loss_that_raises_or_returns_nonsense_is_reported_and_never_raises() -> None:
    def raises(*args: Tensor, **options: float) -> Tensor:
        raise RuntimeError("broken\nin two lines")

    names = set(PROPERTIES) - {"one_logit_is_refused"}
    assert all("broken" in seen and "lines" not in seen for seen in examine(raises, names).violated.values())
    assert set(examine(raises, names).violated) == names
    for nonsense in (lambda *a, **o: None, lambda *a, **o: torch.tensor(float("nan")), lambda *a, **o: 3.0):
        assert examine(nonsense).violated
    with pytest.raises(ValueError, match="no property named no_such_property; there are: zero_when"):
        examine(kd_loss, ["no_such_property"])


def test_soft_only_mixes_with_cross_entropy_by_alpha() -> None:
    mixed = soft_only(reverse_kl_loss)
    student, teacher, labels = torch.randn(6, 4), torch.randn(6, 4), torch.arange(6) % 4
    soft, hard = reverse_kl_loss(student, teacher, temperature=2.0), F.cross_entropy(student, labels)
    both = mixed(student, teacher, labels, temperature=2.0, alpha=0.3)
    torch.testing.assert_close(both, 0.3 * soft + 0.7 * hard)
    torch.testing.assert_close(mixed(student, teacher, temperature=2.0, alpha=1.0), soft)


def test_an_unfinished_loss_is_reported_and_random_numbers_are_left_alone() -> None:
    def unfinished(*args: Tensor, **options: float) -> Tensor:
        raise NotImplementedError

    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert examine(unfinished, "zero_when_logits_agree").violated == {
        "zero_when_logits_agree": "it raised NotImplementedError"
    }
    examine(kd_loss, "gradient_agrees_with_finite_differences")
    assert torch.equal(torch.rand(1), expected)
