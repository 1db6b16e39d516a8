"""Sweeps: every setting of a grid with every seed, in this process, in several, or on a cluster.

The runs of a sweep do not depend on each other, so joblib may do them in any order and anywhere: ``jobs=4`` uses four
processes, ``backend="dask"`` sends the same runs to a Dask cluster. What comes out is the same, because everything
random in a run follows from its seed, and each run has its process, and one thread of torch, to itself.
"""

from __future__ import annotations

import math
import os
import pickle
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from numbers import Integral
from typing import Any, NamedTuple

from kdlab.comparison import is_number
from kdlab.experiments import Score, check_also
from kdlab.modes import noting_interrupts, threads
from kdlab.progress import progress as progress_bar
from kdlab.sweep_result import Part, Setting, Sweep

__all__ = ["Part", "Run", "Setting", "Sweep", "Task", "checked_seeds", "results_of", "settings_of", "sweep"]

Run = Callable[..., float | Score]
Grid = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]
Results = Generator[tuple[int, Score], None, None]

_ALONE = threading.RLock()  # torch's random numbers belong to the process, so it trains one student at a time


class Task(NamedTuple):
    """One run: ``run(seed, **setting)``."""

    run: Run
    setting: Setting
    seed: int


def sweep(
    run: Run,
    grid: Grid,
    seeds: Sequence[int],
    *,
    jobs: int = 1,
    backend: str | None = None,
    resume: Sweep | None = None,
    on_result: Callable[[Setting, int, Score], None] | None = None,
    progress: bool = True,
) -> Sweep:
    """Run every setting with every seed; the outcome is the same for any number of jobs and any backend.

    All settings get the first seed before any gets the second, so that what an interrupted sweep has done is balanced.

    Args:
        run: ``run(seed, **setting)`` returns a score or a :class:`kdlab.experiments.Score`. Everything random in it
            must follow from ``seed``.
        grid: name to values, for every combination; or a list of settings.
        seeds: different whole numbers.
        jobs: how many processes; 1 runs here without pickling anything, -1 uses every core.
        backend: joblib's ("loky", "threading"), or "dask" for the cluster whose
            ``dask.distributed.Client`` was started before. By default loky if there are several jobs.
        resume: an earlier sweep; its runs are not run again.
        on_result: called here with setting, seed and score after every run, in the order in which they finish.
        progress: show a progress bar if it takes longer than a moment.

    Returns:
        The sweep. Interrupting the kernel, or a ``KeyboardInterrupt`` from ``on_result``, returns what is done, with
        ``.complete`` false. A run that the interrupt cut short is not counted, even where it returned a score.

    Raises:
        ValueError, TypeError: an unusable grid, seed or backend; a run that returns no finite score, or that cannot
            be sent to another process.
        RuntimeError, ModuleNotFoundError: ``backend="dask"`` without a client, or without Dask.
        Exception: whatever a run raised, with a note that names its setting and seed; the others are stopped.

    Example:
        >>> result = sweep(lambda seed, a, b: a * b + seed, {"a": (1, 2), "b": (3, 4)}, seeds=(0, 1))
        >>> result.at(a=2, b=3)[1].test, result.best(on="test")
        (7.0, Setting(a=2, b=4))
    """
    if not callable(run):
        raise TypeError(f"run must be a function of the seed and the setting, got {type(run).__name__}")
    settings, seeds = settings_of(grid), checked_seeds(seeds)
    done: dict[Setting, dict[int, Score]] = {
        one: dict(resume.scores.get(one, {})) if resume else {} for one in settings
    }
    tasks = [Task(run, one, seed) for seed in seeds for one in settings if seed not in done[one]]
    results = results_of(tasks, jobs=jobs, backend=backend)
    with progress_bar([], "sweeping", total=len(tasks), show=progress) as bar, closing(results):
        try:
            for place, score in results:
                _, setting, seed = tasks[place]
                done[setting][seed] = score
                bar.update()
                if on_result is not None:
                    on_result(setting, seed, score)
        except KeyboardInterrupt:
            pass  # what is done is kept, and Sweep.complete tells
    in_order = {one: {seed: done[one][seed] for seed in seeds if seed in done[one]} for one in settings}
    return Sweep(in_order, tuple(seeds))


def results_of(tasks: Sequence[Task], *, jobs: int = 1, backend: str | None = None) -> Results:
    """Do the tasks and give each one's place in the list and its score, as they finish.

    Close the generator to stop: nothing new starts, and other processes are ended in the middle of their run.

    Args:
        tasks: what to run.
        jobs: as in :func:`sweep`, whose errors these are too.
        backend: as in :func:`sweep`.
    """
    _check_engine(jobs, backend)
    alone = jobs == 1 and backend != "dask"
    return _one_by_one(tasks) if alone else _at_once(tasks, jobs, backend or "loky")


def _one_by_one(tasks: Sequence[Task]) -> Results:
    for place, task in enumerate(tasks):
        with noting_interrupts() as interrupted:
            score = _score(task)
        if interrupted.is_set():  # training loops end early at an interrupt and return: that score is of half a run
            raise KeyboardInterrupt
        yield place, score


def _at_once(tasks: Sequence[Task], jobs: int, backend: str) -> Results:
    from joblib import Parallel, delayed, parallel_config

    options: dict[str, Any] = {"inner_max_num_threads": 1} if backend == "loky" else {}
    with parallel_config(backend=backend, n_jobs=-1 if backend == "dask" else jobs, **options):
        # Batches would make results arrive in bursts, and a run takes far longer than sending it.
        parallel = Parallel(return_as="generator_unordered", batch_size=1)
        results = parallel(delayed(_outcome)(place, task) for place, task in enumerate(tasks))
        try:
            for place, outcome in results:
                if isinstance(outcome, Exception):
                    raise outcome
                yield place, _with_our_nan(outcome)
        except pickle.PicklingError as error:
            raise TypeError(
                f"run cannot be sent to another process: {error}. Define it and what it uses at the top of a "
                "module, or use jobs=1"
            ) from error
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that runs were cancelled is what was asked for
                results.close()


def _score(task: Task) -> Score:
    """One run, as a Score; validation is NaN where it reports none."""
    where = f"setting {task.setting}, seed {task.seed}"
    try:
        with _ALONE, _no_bars(), threads(1):
            result = task.run(task.seed, **task.setting)
    except Exception as error:
        error.add_note(f"while running {where}")
        raise
    if not isinstance(result, Score):
        if not is_number(result):
            raise TypeError(f"{where}: run must return a number or a Score, got {type(result).__name__}")
        result = Score(test=float(result), validation=math.nan)
    if not math.isfinite(result.test):
        raise ValueError(f"{where}: the score is {result.test}; did training diverge?")
    check_also(result, where)
    return result


def _outcome(place: int, task: Task) -> tuple[int, Score | Exception]:
    """What another process sends back: the score, or the error in a form that survives the journey."""
    try:
        return place, _score(task)
    except Exception as error:
        error.add_note(f"in another process, where it happened:\n{traceback.format_exc()}")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # some errors cannot be pickled, and one that cannot be unpickled breaks the whole pool
            told = RuntimeError(f"{type(error).__name__}: {error}")
            for note in error.__notes__:
                told.add_note(note)
            return place, told
        return place, error


def _with_our_nan(score: Score) -> Score:
    """Scores without a validation part compare equal only if they hold the same NaN, and the journey made another."""
    return replace(score, validation=math.nan) if math.isnan(score.validation) else score


@contextmanager
def _no_bars() -> Iterator[None]:
    """No progress bar for a single run: the sweep has one."""
    before = os.environ.get("KDLAB_PROGRESS")
    os.environ["KDLAB_PROGRESS"] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ["KDLAB_PROGRESS"]
        else:
            os.environ["KDLAB_PROGRESS"] = before


def settings_of(grid: Grid) -> list[Setting]:
    """Every setting of a grid, in its order; errors as :func:`sweep`."""
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, str) or not isinstance(values, Sequence | range) or not values:
                raise ValueError(f"grid[{name!r}] must be a list of at least one value, got {values!r}")
        settings = [Setting(dict(zip(grid, values, strict=True))) for values in product(*grid.values())]
    elif isinstance(grid, str) or not all(isinstance(one, Mapping) for one in grid):
        raise TypeError(f"grid must be a dictionary of lists or a list of dictionaries, got {grid!r}")
    else:
        settings = [Setting(one) for one in grid]
    if not settings or len(set(settings)) != len(settings):
        raise ValueError(f"a grid needs at least one setting and none twice, got {settings}")
    return settings


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """The seeds as a list; errors as :func:`sweep`."""
    if isinstance(seeds, str) or not isinstance(seeds, Sequence):
        raise TypeError(f"seeds must be a list of whole numbers, got {seeds!r}: one seed alone is [{seeds!r}]")
    if not all(isinstance(seed, Integral) and not isinstance(seed, bool) for seed in seeds):
        raise TypeError(f"seeds must be whole numbers, got {list(seeds)}")
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be different ones, at least one, got {list(seeds)}")
    return [int(seed) for seed in seeds]


def _check_engine(jobs: int, backend: str | None) -> None:
    if not isinstance(jobs, int) or isinstance(jobs, bool) or not (jobs >= 1 or jobs == -1):
        raise ValueError(f"jobs must be a whole number of at least 1, or -1 for every core, got {jobs!r}")
    known = ("loky", "threading", "dask")
    if backend is not None and backend not in known:
        raise ValueError(f"backend must be one of {', '.join(known)}, got {backend!r}")
    if backend == "dask":
        _check_dask()


def _check_dask() -> None:
    """Say at once, and in full, what joblib would find out late."""
    if find_spec("distributed") is None:
        raise ModuleNotFoundError("backend='dask' needs Dask: python -m pip install 'kdlab[dask]'")
    from distributed import get_client

    try:
        get_client()
    except ValueError:
        raise RuntimeError(
            "backend='dask' needs a running client. Start one first: from dask.distributed import Client; "
            "client = Client(threads_per_worker=1), or Client('address of the scheduler')"
        ) from None
