"""benchmarks/kd_losses.py and its tables judge rightly, and the peak of memory that it rests on is the true one."""

from __future__ import annotations

import importlib.util
import math
import statistics
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from kdlab.peak_memory import peak_memory

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kd_losses.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark as a module, with one shape that takes no time and without other people's libraries."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("measuring", "feature_losses"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    specification = importlib.util.spec_from_file_location("kd_losses", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "kd_losses", module)
    specification.loader.exec_module(module)
    measuring, features = (sys.modules.pop(name) for name in ("measuring", "feature_losses"))
    monkeypatch.setattr(measuring, "ROUNDS", (2, 2))
    monkeypatch.setattr(measuring, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(module, "measuring", measuring, raising=False)
    monkeypatch.setattr(module, "SHAPES", ((8, 5),))
    monkeypatch.setattr(features, "SHAPES", (((6, 2, 3, 2), (6, 4, 3, 2)),))
    for where, absent in ((module, "_torchdistill"), (module, "_trl"), (features, "_torchdistill")):
        monkeypatch.setattr(where, absent, lambda *arguments: {})
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    return module


# --- peak_memory ------------------------------------------------------------------------------------------

X = torch.ones(1000)  # 4,000 bytes


def _first_made_lives_to_the_end() -> torch.Tensor:
    first = X + 1
    for _ in range(5):
        X.exp().neg()
    return first


@pytest.mark.parametrize(
    ("computation", "tensors"),
    [
        (lambda: None, 0),
        (lambda: X.view(10, 100), 0),  # no memory of its own
        (lambda: X + 1, 1),
        (lambda: X.exp().neg().exp(), 2),  # the first is gone when the third is made
        (lambda: [X + 1, X + 2, X + 3], 3),
        (_first_made_lives_to_the_end, 3),
        (lambda: F.softmax(X.to(torch.float64), 0), 4),  # twice as wide
    ],
)
def test_peak_memory_of_a_computation_that_can_be_counted(computation: object, tensors: int) -> None:
    assert peak_memory(computation) == pytest.approx(tensors * 4000, abs=100)  # and a few scalars


def test_peak_memory_counts_what_autograd_keeps() -> None:
    leaf = torch.ones(1000, requires_grad=True)
    without = peak_memory(lambda: leaf.detach().exp().exp().exp().exp())
    kept = peak_memory(lambda: leaf.exp().exp().exp().exp())
    assert (without, kept) == (pytest.approx(8000, abs=100), pytest.approx(16000, abs=100))


def test_peak_memory_leaves_out_what_was_there_before() -> None:
    there = [torch.ones(100_000)]
    assert peak_memory(there.clear) == 0
    assert peak_memory(lambda: X + 1) == pytest.approx(4000, abs=100)


def test_measuring_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """The profiler's library writes to the process's stderr, past Python, and a notebook shows that."""
    peak_memory(lambda: X + 1)
    assert capfd.readouterr() == ("", "")


def test_peak_memory_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(TypeError, match=r"needs a function .* got Tensor: wrap the computation"):
        peak_memory(X + 1)
    with pytest.raises(ValueError, match=r"on the CPU or on a CUDA device .* 'meta'"):
        peak_memory(lambda: None, device="meta")


# --- the benchmark ----------------------------------------------------------------------------------------


def _with_verdict_at(script: ModuleType, monkeypatch: pytest.MonkeyPatch, high: float) -> None:
    """Time and memory of tiny tensors are not for tests: the same verdict on a given bound."""
    real = script.measuring.verdict
    for module in (script, script.feature_losses):
        monkeypatch.setattr(module, "verdict", lambda route, _, peak: real(route, high, 0.0))


def test_a_run_prints_every_loss_and_its_exit_status_says_whether_the_bars_were_met(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kd_losses.py"])
    _with_verdict_at(script, monkeypatch, 0.3)
    assert script.main() == 0
    printed = capsys.readouterr().out
    for expected in (*script.routes(), *script.feature_losses.NAMES, "3.00 tensors", "18 cases", "all finite"):
        assert expected in printed
    assert printed.count("agree") == len(script.feature_losses.NAMES)
    assert "every bar met" in printed


def test_a_missed_bar_in_either_table_is_told(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _with_verdict_at(script, monkeypatch, 3.0)
    for name, words in (("kd_loss", "MISSED: time > 1.1"), ("hint_loss", "MISSED: time > 1.2")):
        monkeypatch.setattr(sys, "argv", ["kd_losses.py", "--only", name])
        assert script.main() == 1
        assert words in capsys.readouterr().out


def test_only_leaves_out_every_other_loss_and_a_table_without_any(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _with_verdict_at(script, monkeypatch, 0.3)
    shown = {"js_loss": ["js_loss"], "hint_loss": ["hint_loss"], "js_loss hint_loss": ["js_loss", "hint_loss"]}
    everything = [*script.routes(), *script.feature_losses.NAMES]
    for words, names in shown.items():
        monkeypatch.setattr(sys, "argv", ["kd_losses.py", "--only", *words.split()])
        assert script.main() == 0
        rows = {line.strip().partition("  ")[0] for line in capsys.readouterr().out.splitlines()}
        with_idiom = [script.IDIOM, *names] if "js_loss" in names else names
        assert rows & set(everything) == set(with_idiom)
    monkeypatch.setattr(sys, "argv", ["kd_losses.py", "--only", "no_such_loss"])
    with pytest.raises(SystemExit):
        script.main()
    assert "no such route: no_such_loss" in capsys.readouterr().err


# --- losses on features -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [((6, 2, 3, 2), (6, 4, 3, 2)), ((7, 12), (7, 20))])
def test_every_plain_formula_is_the_loss_of_kdlab_and_none_is_missing(
    script: ModuleType, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    table = script.feature_losses
    groups = table.routes(*shapes)
    without = {"attention_transfer_loss"} if len(shapes[0]) == 2 else set()
    assert set(groups) == set(table.NAMES) - without
    for name, group in groups.items():
        assert table.agrees(group[name].loss, group[table.PLAIN].loss, table.batch(*shapes))
        for wrong in (lambda s, t, right=group[name].loss: 1.01 * right(s, t), lambda s, t: s.sum()):
            assert not table.agrees(wrong, group[table.PLAIN].loss, table.batch(*shapes))


def test_a_loss_on_features_that_is_not_its_formula_is_told(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = script.feature_losses
    _with_verdict_at(script, monkeypatch, 0.3)
    monkeypatch.setattr(table, "similarity_loss", lambda s, t: 2 * table.plain_similarity(s, t))
    assert not table.table(table.SHAPES[0], ["similarity_loss"], 0)
    printed = capsys.readouterr().out
    assert "WRONG: similarity_loss differs from the plain formula" in printed
    assert "DIFFER" in printed


def test_the_plain_angles_are_left_out_where_they_would_fill_the_memory(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = script.feature_losses
    assert table.edges_bytes((256, 1024)) == 4 * 256 * 256 * 1024
    _with_verdict_at(script, monkeypatch, 0.3)
    monkeypatch.setattr(table, "EDGES", 4 * 6 * 6 * 24 - 1)
    assert table.table(table.SHAPES[0], ["relational_angle_loss", "hint_loss"], 0)
    assert "relational_angle_loss: left out" in capsys.readouterr().out
    monkeypatch.setattr(table, "EDGES", 4 * 6 * 6 * 24)
    assert "relational_angle_loss" in table.routes(*table.SHAPES[0])


def test_two_routes_of_one_loss_are_measured_in_the_same_rounds(script: ModuleType) -> None:
    calls: list[str] = []
    losses = {name: lambda s, name=name: (calls.append(name), s.sum())[1] for name in "abc"}
    taken = script.measuring.times(losses, (torch.ones(3, requires_grad=True),), 0.0)
    assert calls[:3] == ["a", "b", "c"]  # each once before
    assert [sorted(calls[start : start + 3]) for start in (3, 6)] == [["a", "b", "c"]] * 2
    assert {name: len(values) for name, values in taken.items()} == dict.fromkeys("abc", 2)
    assert script.measuring.ratios({"x": [2.0, 6.0, 4.0], "y": [1.0, 2.0, 4.0]}, "x", "y")[0] == 2.0  # of 2, 3 and 1


# --- the verdict ------------------------------------------------------------------------------------------


def test_a_bar_is_met_only_by_the_whole_interval(script: ModuleType) -> None:
    route = script.Route(script.idiom, time_bar=1.1, memory_bar=6.0)
    assert script.verdict(route, 1.1, 6.0) == "pass"
    assert "time" in script.verdict(route, 1.11, 6.0)
    assert "memory" in script.verdict(route, 1.0, 6.2)
    assert script.verdict(script.Route(script.idiom), 99.0, 99.0) == ""


def test_the_interval_holds_the_true_median_in_95_of_100_cases(script: ModuleType) -> None:
    assert script.measuring.median_and_interval([3.0, 1.0, 2.0, 7.0, 5.0, 4.0, 6.0]) == (4.0, 1.0, 7.0)
    for count in (7, 12, 61):
        middle, low, high = script.measuring.median_and_interval([float(value) for value in range(count)])
        outside = 2 * sum(math.comb(count, below) for below in range(int(low) + 1)) / 2**count
        narrower = 2 * sum(math.comb(count, below) for below in range(int(low) + 2)) / 2**count
        assert outside <= 0.05 < narrower
        assert (middle, low + high) == (statistics.median(range(count)), count - 1)


def test_a_loss_that_is_not_the_idiom_or_not_finite_is_told(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    half = script.Route(lambda s, t, y: script.idiom(s, t, y) / 2, same=True)
    assert not script.same_as_the_idiom({"half": half})
    naive = script.Route(lambda s, t, y: -(t.softmax(-1) * s.softmax(-1).log()).sum())
    assert not script.finite_at_gaps_of_200({"naive_loss": naive})
    assert "naive_loss is not finite in torch.float16" in capsys.readouterr().out


def test_a_library_that_is_absent_leaves_its_rows_out(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for name in ("torchdistill.losses.mid_level", "trl.experimental.gkd.gkd_trainer"):
        monkeypatch.setitem(sys.modules, name, None)
    assert script._torchdistill() == script._trl() == script.feature_losses._torchdistill(6, torch.nn.Identity()) == {}
