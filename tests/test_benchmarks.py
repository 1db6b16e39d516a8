"""benchmarks/kd_losses.py judges rightly, and the peak of memory that it rests on is the true one."""

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
    specification = importlib.util.spec_from_file_location("kd_losses", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "kd_losses", module)
    specification.loader.exec_module(module)
    for name, value in {"SHAPES": ((8, 5),), "ROUNDS": (2, 2), "SAMPLE_SECONDS": 0.0}.items():
        monkeypatch.setattr(module, name, value)
    for absent in ("_torchdistill", "_trl"):
        monkeypatch.setattr(module, absent, dict)
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


def test_a_run_prints_every_loss_and_its_exit_status_says_whether_the_bars_were_met(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kd_losses.py"])
    real = script.verdict
    monkeypatch.setattr(script, "verdict", lambda route, high, peak: real(route, 1.0, peak))  # time is not for tests
    assert script.main() == 0
    printed = capsys.readouterr().out
    for expected in (*script.routes(), "3.00 tensors", "18 cases", "all finite", "every bar met"):
        assert expected in printed
    monkeypatch.setattr(script, "verdict", lambda route, high, peak: real(route, 3.0, peak))
    assert script.main() == 1
    assert "MISSED: time > 1.1" in capsys.readouterr().out


def test_a_bar_is_met_only_by_the_whole_interval(script: ModuleType) -> None:
    route = script.Route(script.idiom, time_bar=1.1, memory_bar=6.0)
    assert script.verdict(route, 1.1, 6.0) == "pass"
    assert "time" in script.verdict(route, 1.11, 6.0)
    assert "memory" in script.verdict(route, 1.0, 6.2)
    assert script.verdict(script.Route(script.idiom), 99.0, 99.0) == ""


def test_the_interval_holds_the_true_median_in_95_of_100_cases(script: ModuleType) -> None:
    assert script.median_and_interval([3.0, 1.0, 2.0, 7.0, 5.0, 4.0, 6.0]) == (4.0, 1.0, 7.0)
    for count in (7, 12, 61):
        middle, low, high = script.median_and_interval([float(value) for value in range(count)])
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
    assert script._torchdistill() == script._trl() == {}
