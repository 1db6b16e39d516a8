"""Sweeps: the same outcome however they are run, and nothing lost or made up when they are stopped."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import kdlab.sweep
from kdlab.comparison import contrasts
from kdlab.experiments import Score
from kdlab.sweep import Setting, Sweep, sweep
from kdlab.training import fit, seeded

GRID = {"temperature": (1, 4), "alpha": (0.1, 0.9)}


def plain(seed: int, temperature: float, alpha: float) -> float:
    return seed + temperature / 10 + alpha / 100


def train(seed: int, temperature: float, alpha: float) -> Score:
    """A real run that draws from torch's random numbers all the way: weights, order, dropout."""
    with seeded(seed):
        model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 3))
        images, labels = torch.randn(40, 6), torch.arange(40) % 3
    history = fit(model, images / temperature, labels, epochs=6, lr=0.05 * alpha, seed=seed, progress=False)
    return Score(test=history.train_loss[-1], validation=float(model(images).sum().detach()))


def fails_at_four(seed: int, temperature: float, alpha: float) -> float:
    if (seed, temperature, alpha) == (1, 4, 0.9):
        raise ZeroDivisionError("no logits left")
    return plain(seed, temperature, alpha)


class Unpicklable(Exception):
    def __init__(self, one: int, other: int) -> None:
        super().__init__("a message")
        self.lock = threading.Lock()


def fails_unpicklably(seed: int, alpha: float) -> float:
    raise Unpicklable(seed, seed)


def filled(values: dict[tuple[int, float], list[float]], seeds: int = 5) -> Sweep:
    scores = {
        Setting(temperature=t, alpha=a): {seed: Score(x, 1 - x) for seed, x in enumerate(row)}
        for (t, a), row in values.items()
    }
    return Sweep(scores, tuple(range(seeds)))


# ------------------------------------------------------------------ the same outcome everywhere


@pytest.fixture(scope="module")
def reference() -> Sweep:
    return sweep(train, GRID, range(3), progress=False)


def test_a_sweep_runs_every_setting_with_every_seed_once(reference: Sweep) -> None:
    assert list(reference.scores) == [
        {"temperature": 1, "alpha": 0.1},
        {"temperature": 1, "alpha": 0.9},
        {"temperature": 4, "alpha": 0.1},
        {"temperature": 4, "alpha": 0.9},
    ]
    assert all(list(runs) == [0, 1, 2] for runs in reference.scores.values())
    assert reference.at(alpha=0.9, temperature=4)[2] == train(2, temperature=4, alpha=0.9)
    assert len({score for runs in map(dict.values, reference.scores.values()) for score in map(str, runs)}) == 12


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"jobs": 2}, {"jobs": 3, "backend": "threading"}], ids=str)
def test_the_outcome_is_the_same_for_any_number_of_jobs(reference: Sweep, options: dict[str, Any]) -> None:
    seen = []
    result = sweep(train, GRID, range(3), progress=False, on_result=lambda *one: seen.append(one), **options)
    assert result == reference
    assert list(result.scores) == list(reference.scores)
    assert {(setting, seed): score for setting, seed, score in seen} == {
        (setting, seed): score for setting, runs in reference.scores.items() for seed, score in runs.items()
    }


def test_runs_in_one_process_never_overlap() -> None:
    inside, most = [], []

    def run(seed: int) -> float:
        inside.append(seed)
        most.append(len(inside))
        threading.Event().wait(0.02)
        inside.remove(seed)
        return 0.0

    sweep(run, [{}], range(6), jobs=3, backend="threading", progress=False)
    assert most == [1] * 6


def test_a_grid_may_be_a_list_of_settings_with_tuples_in_it() -> None:
    result = sweep(lambda seed, hidden, lr=1.0: len(hidden) * lr, [{"hidden": (8,)}, {"hidden": (8, 8), "lr": 2}], [7])
    assert [runs[7].test for runs in result.scores.values()] == [1, 4]


def test_all_settings_get_a_seed_before_any_gets_the_next() -> None:
    order: list[int] = []
    sweep(lambda seed, **_: order.append(seed) or 0.0, GRID, (5, 3), progress=False)
    assert order == [5] * 4 + [3] * 4


def test_a_run_has_one_thread_and_leaves_threads_bars_and_random_state_as_they_were(monkeypatch) -> None:
    monkeypatch.delenv("KDLAB_PROGRESS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    state = torch.random.get_rng_state()
    seen = []
    sweep(lambda seed: seen.append((torch.get_num_threads(), os.environ["KDLAB_PROGRESS"])) or 0.0, [{}], [0])
    left = torch.get_num_threads()
    torch.set_num_threads(before)
    assert seen == [(1, "off")]
    assert (left, "KDLAB_PROGRESS" in os.environ) == (2, False)
    assert torch.equal(state, torch.random.get_rng_state())


# ------------------------------------------------------------------ a real Dask cluster


@pytest.fixture
def cluster(tmp_path) -> Iterator[Any]:
    # `course.py test` and CI install Dask with the extra "test"; a learner who left it out loses this test alone.
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, local_directory=str(tmp_path)
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.mark.slow
def test_dask_gives_the_same_outcome_by_one_argument(reference: Sweep, cluster: Any) -> None:
    where = set()

    def watched(seed: int, **setting: Any) -> Score:
        where.add(threading.current_thread().name.partition("-")[0])  # the cluster's workers are threads here
        return train(seed, **setting)

    assert sweep(watched, GRID, range(3), backend="dask", progress=False) == reference
    assert "MainThread" not in where
    with pytest.raises(ZeroDivisionError) as caught:
        sweep(fails_at_four, GRID, range(3), backend="dask", progress=False)
    assert "setting temperature=4, alpha=0.9, seed 1" in "".join(caught.value.__notes__)


def test_dask_without_a_client_or_without_dask_says_what_to_do(monkeypatch) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(RuntimeError, match=r"Start one first: .*Client"):
        sweep(plain, GRID, [0], backend="dask")
    monkeypatch.setattr(kdlab.sweep, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'kdlab\[dask\]'"):
        sweep(plain, GRID, [0], backend="dask")


# ------------------------------------------------------------------ errors and interrupts


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_names_the_setting_and_the_seed_and_keeps_its_kind(jobs: int) -> None:
    arrived = []
    with pytest.raises(ZeroDivisionError, match="no logits left") as caught:
        sweep(fails_at_four, GRID, range(9), jobs=jobs, progress=False, on_result=lambda *one: arrived.append(one))
    assert "while running setting temperature=4, alpha=0.9, seed 1" in "\n".join(caught.value.__notes__)
    assert len(arrived) < 35  # the rest was not run
    if jobs > 1:
        assert "in fails_at_four" in "\n".join(caught.value.__notes__)  # where it happened, over there


def test_an_error_that_cannot_be_pickled_still_arrives_in_words() -> None:
    place, error = kdlab.sweep._outcome(3, kdlab.sweep.Task(fails_unpicklably, Setting(alpha=0.5), 7))
    assert place == 3
    assert isinstance(pickle.loads(pickle.dumps(error)), RuntimeError)
    assert str(error) == "Unpicklable: a message"
    assert "setting alpha=0.5, seed 7" in error.__notes__[0]


def test_a_run_that_cannot_be_sent_is_refused_in_words() -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"cannot be sent to another process.*jobs=1"):
        sweep(lambda seed: float(lock.locked()), [{}], range(2), jobs=2, progress=False)


def test_an_interrupt_keeps_what_is_done_and_resume_does_the_rest(reference: Sweep) -> None:
    calls = []

    def run(seed: int, **setting: Any) -> Score:
        calls.append((seed, Setting(setting)))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return train(seed, **setting)

    partial = sweep(run, GRID, range(3), progress=False)
    assert not partial.complete
    assert len(partial.missing) == 7
    assert "incomplete: 5 of 12 runs" in repr(partial)
    whole = sweep(run, GRID, range(3), resume=partial, progress=False)
    assert len(calls) == 6 + 7
    assert whole == reference
    assert whole.complete


def test_a_run_that_was_cut_short_but_returned_a_score_is_not_counted() -> None:
    """kdlab.training.fit ends early at an interrupt and returns: the accuracy is that of half a training."""

    def run(seed: int) -> float:
        try:
            if seed == 2:
                signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return 0.1
        return 0.9

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores interrupts
    try:
        result = sweep(run, [{}], range(5), progress=False)
        left = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert {seed: score.test for seed, score in result.at().items()} == {0: 0.9, 1: 0.9}
    assert not result.complete
    assert left is signal.default_int_handler


@pytest.mark.slow
def test_an_interrupt_ends_other_processes_and_the_next_sweep_works() -> None:
    def stop(setting: Setting, seed: int, score: Score) -> None:
        raise KeyboardInterrupt

    result = sweep(plain, GRID, range(50), jobs=2, progress=False, on_result=stop)
    assert len(result.missing) == 199
    # What comes back from another process equals what is computed here, a validation score that is missing included.
    assert sweep(plain, GRID, range(2), jobs=2, progress=False) == sweep(plain, GRID, range(2), progress=False)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"run": 3}, "run must be a function"),
        ({"grid": {"alpha": 0.5}}, r"grid\['alpha'\] must be a list"),
        ({"grid": {"alpha": "0.5"}}, r"grid\['alpha'\] must be a list"),
        ({"grid": {"alpha": []}}, r"grid\['alpha'\] must be a list"),
        ({"grid": {"alpha": (1, 1.0)}}, "none twice"),
        ({"grid": {"alpha": (math.nan,)}}, "NaN"),
        ({"grid": {"hidden": ([8], [16])}}, "tuple instead of a list"),
        ({"grid": []}, "at least one setting"),
        ({"grid": "alpha"}, "dictionary of lists"),
        ({"seeds": []}, "at least one"),
        ({"seeds": [1, 1]}, "different"),
        ({"seeds": 5}, "list of whole numbers"),
        ({"seeds": [0.5]}, "whole numbers"),
        ({"seeds": "01"}, "list of whole numbers"),
        ({"jobs": 0}, "jobs must be"),
        ({"jobs": 1.5}, "jobs must be"),
        ({"backend": "spark"}, "backend must be one of"),
    ],
    ids=str,
)
def test_unusable_arguments_are_refused_in_words(arguments: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"run": lambda seed, **_: 0.0, "grid": GRID, "seeds": [0], "progress": False, **arguments}
    with pytest.raises((TypeError, ValueError), match=words):
        sweep(**given)


@pytest.mark.parametrize(
    ("score", "error", "words"),
    [
        (math.nan, ValueError, "did training diverge"),
        (math.inf, ValueError, "did training diverge"),
        (None, TypeError, "must return a number or a Score"),
        (True, TypeError, "must return a number or a Score"),
        (torch.tensor(0.5), TypeError, "got Tensor"),
    ],
    ids=str,
)
def test_a_run_must_return_a_finite_score(score: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        sweep(lambda seed, alpha: score, {"alpha": (0.5,)}, [3], progress=False)
    assert "setting alpha=0.5, seed 3" in str(caught.value)


def test_a_setting_is_a_dictionary_that_can_be_a_key() -> None:
    one = Setting({"alpha": 0.9}, temperature=4)
    assert one == Setting(temperature=4.0, alpha=0.9)
    assert hash(one) == hash(Setting(temperature=4.0, alpha=0.9))
    assert one != Setting(temperature=4)
    assert str(one) == "alpha=0.9, temperature=4"
    assert {**one} == {"alpha": 0.9, "temperature": 4}


# ------------------------------------------------------------------ what a sweep says


def test_mean_and_best() -> None:
    result = filled({(1, 0.5): [0.1] * 5, (4, 0.5): [0.3] * 5, (8, 0.5): [0.2] * 5})
    assert list(result.mean().values()) == pytest.approx([0.1, 0.3, 0.2])
    assert result.best() == Setting(temperature=1, alpha=0.5)  # validation is 1 - test here
    assert result.best(on="test") == Setting(temperature=4, alpha=0.5)
    assert result.best(on="test", higher_is_better=False) == Setting(temperature=1, alpha=0.5)
    assert math.isnan(next(iter(filled({(1, 0.5): []}).mean().values())))


def test_best_needs_every_run_and_validation_scores() -> None:
    with pytest.raises(ValueError, match="1 of 10 runs are missing"):
        filled({(1, 0.5): [0.1] * 5, (4, 0.5): [0.3] * 4}).best()
    with pytest.raises(ValueError, match="no validation scores"):
        sweep(lambda seed: 0.5, [{}], [0], progress=False).best()
    with pytest.raises(ValueError, match="on must be"):
        filled({(1, 0.5): [0.1] * 5}).mean(on="train")


ROWS = {
    (1, 0.1): [0.51, 0.52, 0.50, 0.53, 0.52],
    (1, 0.9): [0.60, 0.63, 0.61, 0.62, 0.60],
    (4, 0.1): [0.41, 0.43, 0.40, 0.42, 0.43],
    (4, 0.9): [0.55, 0.50, 0.52, 0.54, 0.53],
}
BASELINE = [0.50, 0.51, 0.52, 0.52, 0.51]


def test_against_is_the_paired_contrast_with_holm_over_the_cells() -> None:
    expected = contrasts({"base": BASELINE, **{str(k): v for k, v in ROWS.items()}}, "base", True)
    found = filled(ROWS).against(BASELINE)
    assert list(found.values()) == list(expected.values())
    assert [one.verdict for one in found.values()] == ["cannot tell", "better", "worse", "cannot tell"]
    assert filled(ROWS).against(dict(enumerate(BASELINE))) == found
    assert filled(ROWS).against({seed: Score(x, 0.0) for seed, x in enumerate(BASELINE)}) == found
    flipped = filled(ROWS).against(BASELINE, higher_is_better=False)
    assert [one.verdict for one in flipped.values()] == ["cannot tell", "worse", "better", "cannot tell"]
    assert filled(ROWS).against([1 - x for x in BASELINE], on="validation")[Setting(temperature=4, alpha=0.1)].verdict \
        == "better"  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_a_verdict_given_while_the_map_fills_in_is_never_taken_back(seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    rows = {(t, 0.5): (0.5 + 0.01 * t * torch.rand(5, generator=draws)).tolist() for t in range(1, 9)}
    given: dict[Setting, str] = {}
    for count in range(len(rows) + 1):
        partial = {key: row if place < count else row[:3] for place, (key, row) in enumerate(rows.items())}
        found = filled(partial).against([0.51, 0.5, 0.5, 0.51, 0.5])
        assert len(found) == count
        assert all(found[one].verdict == verdict for one, verdict in given.items() if verdict != "cannot tell")
        given = {one: contrast.verdict for one, contrast in found.items()}
    assert len(given) == 8


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        ([0.5] * 4, "one per seed"),
        ("55555", "one per seed"),
        ({0: 0.5}, r"no score for seeds \[1, 2, 3, 4\]"),
        ([0.5, 0.5, math.nan, 0.5, 0.5], "finite"),
        ([0.5, 0.5, None, 0.5, 0.5], "finite"),
    ],
    ids=str,
)
def test_an_unusable_baseline_is_refused_in_words(baseline: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        filled(ROWS).against(baseline)


def test_no_verdict_below_five_seeds() -> None:
    with pytest.raises(ValueError, match="at least 5 seeds, this sweep has 4"):
        filled({(1, 0.5): [0.1] * 4}, seeds=4).against([0.1] * 4)


def test_arrange_lays_cells_out_by_two_names() -> None:
    result = filled({(1, 0.1): [1.0], (1, 0.9): [2.0], (4, 0.9): [3.0]}, seeds=1)
    table = result.arrange(result.mean(), "temperature", "alpha", math.nan)
    assert table[0] == [1.0, 2.0]
    assert math.isnan(table[1][0])
    assert table[1][1] == 3.0
    with pytest.raises(ValueError, match="settings of temperature and lr alone"):
        result.arrange({}, "temperature", "lr", 0)


def test_a_sweep_survives_a_results_file() -> None:
    result = sweep(lambda seed, hidden, lr: seed * lr, {"hidden": ((8,), (8, 8)), "lr": (0.1,)}, [2, 0], progress=False)
    again = Sweep.from_dict(json.loads(json.dumps(result.as_dict(), allow_nan=False)))
    assert list(again.scores) == list(result.scores)
    assert again.seeds == result.seeds == (2, 0)
    assert [list(runs) for runs in again.scores.values()] == [[2, 0], [2, 0]]
    assert repr(again.mean()) == repr(result.mean())
    scored = filled(ROWS)
    assert Sweep.from_dict(json.loads(json.dumps(scored.as_dict()))) == scored


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (Score(0.5, float("inf")), "the validation score is inf"),
        (Score(0.5, 0.5, also={"nll": float("nan")}), "measure 'nll' must be a finite number, got nan"),
    ],
)
def test_a_run_with_an_unusable_further_measure_is_refused(score: Score, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sweep(lambda seed, a: score, {"a": [1]}, [0], progress=False)
