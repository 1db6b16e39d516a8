"""The studies of lessons 06 and 07 and their benchmark: arms are paired and tuned alike, variants are what they say."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from kdlab.data import load_digits
from kdlab.measure import count_macs, count_parameters
from kdlab.pruning import apply_mask, magnitude_mask, sparsity_of
from kdlab.studies import compression, factorization, load_results, pruning
from kdlab.studies.compression import Row

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
IMAGES = load_digits().test.images[:32]
STUDIES = [(pruning, name) for name in pruning.REGIMES] + [(factorization, name) for name in factorization.REGIMES]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that were trained for two epochs, so that nothing takes time."""
    monkeypatch.setattr(pruning, "EPOCHS", 2)
    short = pruning.dense
    for module in (pruning, factorization, compression):
        monkeypatch.setattr(module, "dense", lambda seed, epochs=2: short(seed, epochs))
    monkeypatch.setitem(compression.DIGITS, "dense", lambda seed: short(seed, 2))


def _loaded(name: str) -> ModuleType:
    """A script of benchmarks/ as a module."""
    specification = importlib.util.spec_from_file_location(f"{name}_script", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def script() -> ModuleType:
    return _loaded("compression")


@pytest.fixture
def regimes() -> ModuleType:
    return _loaded("regimes")


@pytest.mark.parametrize(("study", "name"), STUDIES, ids=lambda value: value if isinstance(value, str) else "")
def test_every_arm_gets_as_many_trials_and_says_what_was_seen(study: ModuleType, name: str) -> None:
    plan, regime = study.arms(name), study.REGIMES[name]
    assert {len(arm.settings) for arm in plan.values()} == {8 if regime.trained else 1}
    for arm_name, arm in plan.items():
        assert arm.teacher_labels == (1000 if "teacher" in arm_name else None)
        left = 10 * per_class if (per_class := getattr(regime, "per_class", None)) else 1000
        unlabelled = not regime.trained or arm_name in ("with the teacher, all images", "not trained on")
        assert arm.student_labels == (0 if unlabelled else left)


@pytest.mark.parametrize(("study", "name"), STUDIES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_file_holds_every_arm_on_ten_paired_seeds(study: ModuleType, name: str) -> None:
    found, record = load_results(study.__name__.rpartition(".")[2])
    plan, known = study.arms(name), found[name]
    assert list(known.scores) == list(plan)
    assert known.baseline == next(iter(plan))
    assert {len(scores) for scores in known.scores.values()} == {10}
    assert "study.py" in record["command"]
    for arm, chosen in known.chosen.items():
        assert chosen in [dict(setting) for setting in plan[arm].settings]


@pytest.mark.parametrize("kind", pruning.SCORES)
def test_masks_by_any_score_have_the_sparsity_asked_for_and_change_nothing(kind: str) -> None:
    net = pruning.dense(0)
    before = copy.deepcopy(net.state_dict())
    masks = pruning.masks_by(kind, net, 0.75)
    share = sparsity_of(masks)
    rows = kind in ("Wanda", "magnitude, row by row")  # nine inputs a filter: seven go
    assert share == pytest.approx(0.75, abs=0.01) or (kind == "budget" and share > 0.74) or (rows and share > 0.74)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_what_was_pruned_stays_zero_through_recovery_and_the_rest_moves() -> None:
    net = copy.deepcopy(pruning.dense(0))
    masks = magnitude_mask(net, 0.9)
    apply_mask(net, masks)
    before = {name: net.get_parameter(name).detach().clone() for name in masks}
    pruning.recover(net, load_digits().train, 0, lr=0.01, masks=masks, steps=16)
    for name, mask in masks.items():
        weight = net.get_parameter(name)
        assert not weight[~mask].any()
    assert any(not torch.equal(net.get_parameter(name)[mask], before[name][mask]) for name, mask in masks.items())


def test_a_gradual_schedule_ends_at_the_sparsity_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_STEPS", 32)
    ends = pruning._gradual(pruning.REGIMES["95 % of the weights"], 0, lr=0.004)
    assert sparsity_of(ends) == pytest.approx(0.95, abs=0.02)


def test_half_the_channels_is_the_narrow_network_in_shape() -> None:
    halved, narrow = pruning.half_the_channels(pruning.dense(0)), pruning.make_net(0, pruning.WIDTH // 2)
    assert {n: v.shape for n, v in halved.state_dict().items()} == {n: v.shape for n, v in narrow.state_dict().items()}


def test_tickets_start_where_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = {}
    monkeypatch.setattr(pruning, "recover", lambda net, images, seed, **options: net)
    for start in ("first", "early", "new"):
        starts[start] = pruning._ticket(pruning.REGIMES["95 % of the weights"], 0, 0.004, start=start)
    first = pruning.make_net(0)
    assert all(torch.equal(a, b) for a, b in zip(starts["first"].parameters(), first.parameters(), strict=True))
    assert not torch.equal(starts["new"].features[0].weight, first.features[0].weight)
    assert not torch.equal(starts["early"].features[0].weight, first.features[0].weight)


def test_new_factors_have_the_shapes_and_none_of_the_weights() -> None:
    kept, new = factorization.low_rank(0, 2), factorization.low_rank(0, 2, new=True)
    pairs = list(zip(kept.state_dict().items(), new.state_dict().items(), strict=True))
    assert all(a[0] == b[0] and a[1].shape == b[1].shape for a, b in pairs)
    weights = [(a[1], b[1]) for a, b in pairs if a[0].endswith("weight") and a[1].dim() > 1]
    assert all(not torch.allclose(one, other) for one, other in weights)


@pytest.mark.parametrize("name", compression.DIGITS)
def test_every_variant_answers_and_leaves_the_dense_network_alone(name: str) -> None:
    before = copy.deepcopy(pruning.dense(0).state_dict())
    logits = compression.digits_variant(name).eval()(IMAGES)
    assert logits.shape == (32, 10)
    assert logits.isfinite().all()
    assert all(torch.equal(value, before[key]) for key, value in pruning.dense(0).state_dict().items())


def test_variants_of_the_encoder_are_as_small_as_their_names_say() -> None:
    encoder = compression.make_encoder()
    text = torch.ones(1, 64, dtype=torch.int64)
    dense_macs, sizes = count_macs(encoder, text), {}
    layers = sum(block.up.weight.numel() + block.down.weight.numel() for block in encoder.blocks)
    for name in compression.ENCODER:
        variant = compression.encoder_variant(name, encoder)
        sizes[name] = count_parameters(variant), count_macs(variant, text)
    assert sizes["mask, 90 %"] == sizes["dense"] == (13_846_282, dense_macs)
    lost = sizes["dense"][0] - sizes["half the feed-forward width"][0]
    assert lost == layers // 2 + 6 * 768  # and the biases of the units that went
    blocks = count_parameters(encoder.blocks)
    assert sizes["dense"][0] - sizes["half the depth"][0] == blocks // 2
    assert sizes["dense"][0] - sizes["rank 64, feed-forward"][0] == layers - 12 * 64 * (384 + 1536)
    assert sparsity_of(compression.encoder_variant("mask, 2 of 4", encoder)) == pytest.approx(0.5, abs=1e-3)


def test_files_are_measured_where_they_are_written() -> None:
    plain, packed = compression.file_bytes(compression.digits_variant("mask, 90 %"))
    dense_plain, dense_packed = compression.file_bytes(pruning.dense(0))
    assert plain == dense_plain == dense_packed
    assert packed < plain / 3
    assert compression.file_bytes(compression.digits_variant("mask, 90 %, still hooked"))[0] > 1.8 * plain


def _row(speed: float) -> Row:
    return Row(1, 1, 1, 1, {"1": 1, "32": 1}, {"1": speed, "32": speed})


@pytest.mark.parametrize(
    ("changed", "speed", "word"),
    [(None, 0.0, None), ("mask, 90 %", 1.2, "mask, 90 %"), ("mask, 50 %", 0.85, "mask, 50 %"),
     ("half the depth", 1.2, "half the depth"), ("rank 64, feed-forward", 1.3, "rank 64")],
)  # fmt: skip
def test_a_bar_that_is_missed_is_named(
    script: ModuleType, changed: str | None, speed: float, word: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {name: _row(1.0) for name in script.MASKS} | {name: _row(1.5) for name in script.STRUCTURE}
    if changed:
        found[changed] = _row(speed)
    missed = script.judged(found)
    assert bool(missed) == (word is not None)
    assert all(word in line for line in missed)
    assert "masks equal to those of torch.nn.utils.prune" in capsys.readouterr().out


def test_the_benchmark_compares_masks_with_torch(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert script.same_masks()
    wrong = lambda target, sparsity: {n: ~m for n, m in magnitude_mask(target, sparsity).items()}  # noqa: E731
    monkeypatch.setattr(
        script, "magnitude_mask", lambda t, s: magnitude_mask(t, s) if torch.is_tensor(t) else wrong(t, s)
    )
    assert not script.same_masks()


def test_results_of_the_benchmark_hold_every_variant_and_meet_the_bars(script: ModuleType) -> None:
    found, record = load_results("compression")
    assert list(record["tables"]["digits"]) == list(compression.DIGITS) == list(found["accuracy on digits"].scores)
    assert list(record["tables"]["encoder"]) == list(compression.ENCODER)
    rows = {name: Row(**row) for name, row in record["tables"]["encoder"].items()}
    assert script.judged(rows) == []


def _study(shift: float) -> ModuleType:
    """Three arms without training, the last of them ``shift`` better than the second."""
    study = ModuleType("kdlab.studies.made_up")
    study.REGIMES = {"one": None}
    study.arms = lambda name: {
        "first": lambda seed: 0.5 + seed / 1000,
        "second": lambda seed: 0.6 + seed / 900,
        "third": lambda seed: 0.6 + seed / 900 + shift,
    }
    return study


def test_arms_that_are_run_again_take_their_place_among_the_known_ones(regimes: ModuleType) -> None:
    known = regimes.run(_study(0.0), "one", None, None)
    again = regimes.run(_study(0.1), "one", known, "third")
    assert again.scores["third"] == pytest.approx([score + 0.1 for score in known.scores["third"]])
    assert {name: again.scores[name] for name in ("first", "second")} == {
        name: known.scores[name] for name in ("first", "second")
    }
    assert list(again.contrasts) == list(known.contrasts)
    assert regimes.run(_study(0.1), "one", known, "nothing") is known


def test_arms_are_not_run_again_beside_another_baseline_or_no_results(regimes: ModuleType) -> None:
    other = _study(0.0)
    made = other.arms("one")
    other.arms = lambda name: {**made, "first": lambda seed: 0.4 + seed / 1000}
    with pytest.raises(SystemExit, match="run the whole regime again"):
        regimes.run(other, "one", regimes.run(_study(0.0), "one", None, None), "third")
    with pytest.raises(SystemExit, match="run it whole first"):
        regimes.run(_study(0.0), "one", None, "third")
