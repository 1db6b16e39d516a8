"""The properties of the code exercises: right answers pass, and each usual wrong answer gets a diagnosis of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from kdlab.exercises import bank, judging, properties
from kdlab.exercises.judging import Finding
from kdlab.exercises.properties.core import PROPERTIES, NotFinite, WrongKind, expect, number, shown, tensor

# Beside those of the bank, by slug: right answers in other styles, wrong ones with the property that must catch them.
MORE = {one["slug"]: one for one in yaml.safe_load((Path(__file__).parent / "code_answers.yaml").read_text())}
CODE = {one.slug: one for one in bank() if one.kind == "code"}
WRONG = [
    *((slug, wrong.answer, wrong.fails) for slug, one in CODE.items() for wrong in one.fields[0].wrong),
    *((slug, wrong["answer"], wrong["fails"]) for slug, one in MORE.items() for wrong in one["wrong"]),
]
RIGHT = [(slug, source) for slug, one in MORE.items() for source in (CODE[slug].reference, *one["right"])]
ORIGINALS = judging.Originals()


def judged(source: str, slug: str, function: str | None = None) -> Finding:
    """As the worker judges, in this process."""
    name = function or CODE[slug].fields[0].function
    progress = judging.Progress()
    return judging.judge("source", source.encode(), slug=slug, function=name, progress=progress, originals=ORIGINALS)


@pytest.mark.parametrize(("slug", "source"), RIGHT, ids=[f"{slug}-{i}" for i, (slug, _) in enumerate(RIGHT)])
def test_right_answers_however_written_have_every_property(slug: str, source: str) -> None:
    finding = judged(source, slug)
    assert (finding.outcome, finding.failed) == ("correct", ""), finding.message


@pytest.mark.parametrize(("slug", "source", "name"), WRONG, ids=[f"{slug}-{name}" for slug, _, name in WRONG])
def test_each_wrong_answer_fails_the_property_that_names_its_misconception(slug: str, source: str, name: str) -> None:
    finding = judged(source, slug)
    assert (finding.outcome, finding.failed) == ("incorrect", name), finding.message
    known = {one.name: one.message for one in PROPERTIES[slug]}
    assert finding.message.startswith(known.get(name, "Your function changes"))


@pytest.mark.parametrize("slug", CODE)
def test_every_property_is_the_first_to_fail_for_some_wrong_answer(slug: str) -> None:
    named = {name for where, _, name in WRONG if where == slug} | {judging.LEAVES_INPUTS_ALONE}
    assert {one.name for one in PROPERTIES[slug]} <= named


@pytest.mark.parametrize("slug", CODE)
def test_starter_is_not_attempted(slug: str) -> None:
    assert judged(CODE[slug].starter, slug) == Finding("not attempted", "")


def test_every_exercise_is_tried_here_and_says_what_it_returns() -> None:
    assert set(PROPERTIES) == set(CODE) == set(properties.RESULTS)


def test_names_and_messages_within_an_exercise_are_unique() -> None:
    for checks in PROPERTIES.values():
        assert len({one.name for one in checks}) == len({one.message for one in checks}) == len(checks)
        assert all(one.message.rstrip().endswith((".", "?")) and one.message.count("$") % 2 == 0 for one in checks)


# -------------------------------------------------------------------------------------------- what a result may be

SOFT = "softmax-with-temperature"
ODD: dict[str, tuple[str, str, str]] = {
    "nothing": ("", "invalid", "is the `return` statement missing?"),
    "ellipsis": ("return ...", "not attempted", ""),
    "not written yet": ("raise NotImplementedError('later')", "not attempted", ""),
    "list": ("return [0.5, 0.5, 0]", "invalid", "`list` came: `torch.as_tensor`"),
    "integers": ("return torch.ones(3, dtype=torch.long)", "invalid", "Floating point"),
    "shape": ("return torch.full((7,), 1 / 7)", "invalid", "shape [7], expected is [3]"),
    "nan": ("return z * float('nan')", "incorrect", "NaN: `[nan, nan, nan]` for the input `[4, 2, 0], 2`"),
    "infinity": ("return z / 0 + 1 / 0. if False else (z + 1) / 0", "incorrect", "an infinity"),
    "sparse": ("return z.to_sparse()", "invalid", "plain tensor"),
    "meta": ("return z.to('meta')", "invalid", "plain tensor"),
    "enormous": ("return torch.zeros(1).expand(10**6, 10**6)", "invalid", "plain tensor"),
    "generator": ("yield z", "invalid", "`generator` came"),
    "generic failure in torch is an attempt": ("return z.long().softmax(-1)", "invalid", "Your code raised"),
    "own assertion": ("assert temperature < 0", "invalid", "AssertionError"),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_results_are_told_apart(case: str) -> None:
    body, outcome, said = ODD[case]
    finding = judged(f"def soften(z, temperature):\n    used = 1\n    {body}", SOFT)
    assert finding.outcome == outcome
    assert said in finding.message


def test_exception_names_the_learners_line_and_the_call() -> None:
    finding = judged("def soften(z, temperature):\n    y = z\n    return torch.stack(y, 5)", SOFT)
    assert finding.where == ("<answer>", 3)
    assert "The call was `soften([4, 2, 0], 2)`" in finding.message


def test_complaint_shows_the_failing_input_and_what_came() -> None:
    finding = judged("def soften(z, temperature):\n    return torch.softmax(z * temperature, -1)", SOFT)
    assert "`soften([4, 2, 0], 4)` returned `[0.9997, 0.0003354, 1.125e-07]`" in finding.message


def test_wrong_number_of_arguments_is_said() -> None:
    finding = judged("def soften(z):\n    return z.softmax(-1)", SOFT)
    assert finding.outcome == "invalid"
    assert "takes 1 positional argument but 2 were given" in finding.message


def test_single_function_of_another_name_is_taken_but_two_are_not() -> None:
    assert judged("def softmax_t(z, t):\n    return (z / t).softmax(-1)", SOFT).outcome == "correct"
    finding = judged("def one(z, t): return z\ndef two(z, t): return z", SOFT)
    assert finding.outcome == "invalid"
    assert "`one`, `two`" in finding.message


def test_numbers_of_many_kinds_are_numbers() -> None:
    import fractions

    import numpy as np

    for value in (2, 2.0, np.float32(2), np.float64(2), torch.tensor(2.0), np.array(2.0), fractions.Fraction(2)):
        assert number(value) == 2.0
    for value in ("2", True, [2], torch.ones(1), 2j, None):
        with pytest.raises(WrongKind):
            number(value)
    for value in (float("nan"), 10**400):
        with pytest.raises(NotFinite):
            number(value)


def test_tensor_subclasses_lose_their_own_methods() -> None:
    class Loud(torch.Tensor):
        @classmethod
        def __torch_function__(cls, *_: Any, **__: Any) -> Any:
            raise AssertionError("a method of the learner's was called")

    with torch._C.DisableTorchFunctionSubclass():
        loud = torch.ones(2).as_subclass(Loud)
    assert type(tensor(loud)) is torch.Tensor


def test_expect_holds_under_python_dash_o() -> None:
    with pytest.raises(AssertionError, match="said"):
        expect(False, "said")
    expect(True)
    assert "\n    assert " not in Path(properties.__file__).read_text()


def test_values_in_messages_stay_short() -> None:
    assert len(shown(list(range(10**5)))) < 60
    assert len(shown("x" * 10**5)) < 70
    assert len(shown(torch.zeros(10**5))) < 60


# --------------------------------------------------------------------------------- answers that change the world


@pytest.mark.parametrize(
    "change",
    [
        "torch.softmax = lambda *a, **k: None",
        "torch.allclose = lambda *a, **k: True",
        "torch.Tensor.max = lambda *a: 0",
        "math.sqrt = len",
        "import builtins; builtins.len = lambda x: 3",
        "import builtins; del builtins.isinstance, builtins.BaseException, builtins.getattr",
        "import kdlab.exercises.properties as p; p.expect = lambda *a: None",
        "import kdlab.exercises.properties.lesson_01 as p; p.near = lambda *a: True",
        "import kdlab.exercises.properties as p; p.PROPERTIES.clear()",
        "import kdlab.exercises.judging as j; j._violation = lambda *a: None",
    ],
)
@pytest.mark.parametrize("where", ["before", "inside"])
def test_changing_python_torch_or_the_checks_never_passes_and_is_undone(change: str, where: str) -> None:
    body = f"    {change}\n" if where == "inside" else ""
    source = f"{change if where == 'before' else ''}\ndef soften(z, T):\n{body}    return z\n"
    finding = judged(source, SOFT)
    assert finding.outcome == "invalid"
    assert "for everyone" in finding.message
    assert finding.spoiled
    assert judged(CODE[SOFT].reference, SOFT).outcome == "correct"
    assert not ORIGINALS.restore()
    assert not ORIGINALS.restore_builtins()


def test_torch_settings_are_set_back() -> None:
    judged("torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\ndef soften(z, T): return z", SOFT)
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()
