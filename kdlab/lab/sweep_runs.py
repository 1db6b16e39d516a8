"""The runs of a sweep lab: which are done, which are missing, and the thread that does them.

Nothing here draws; :mod:`kdlab.lab.sweep_lab` does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from kdlab.experiments import Contrast, Score
from kdlab.lab.sweep_map import Baseline, CellMap, maps_for
from kdlab.sweep import Run, Setting, Sweep, Task, checked_seeds, results_of, settings_of

__all__ = ["SweepRuns"]

_PAUSE = 0.1  # seconds between two reports at least: runs may be quicker than drawing


@dataclass
class _Job:
    """One press of Run."""

    tasks: list[Task]
    choice: str
    done: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)


class SweepRuns:
    """The runs behind a :class:`kdlab.lab.SweepLab`, which says what the arguments and attributes mean."""

    def __init__(
        self,
        run: Run | Mapping[str, Run],
        *,
        rows: tuple[str, Sequence[Any]],
        columns: tuple[str, Sequence[Any]],
        baseline: Baseline | Mapping[str, Baseline],
        seeds: Sequence[int],
        start: int,
        higher_is_better: bool,
        jobs: int,
    ) -> None:
        (self.row_name, row_values), (self.column_name, column_values) = _axis("rows", rows), _axis("columns", columns)
        if self.row_name == self.column_name:
            raise ValueError(f"rows and columns must be different settings, both are {self.row_name!r}")
        self.rows, self.columns = list(row_values), list(column_values)
        self.settings = settings_of({self.row_name: row_values, self.column_name: column_values})
        self.seeds = tuple(checked_seeds(seeds))
        self._maps = maps_for(run, baseline, self.settings, self.seeds)
        self.choice = next(iter(self._maps))
        self.seed_count = self._checked_count(start)
        self.higher_is_better, self.jobs, self.failure = higher_is_better, jobs, ""
        self._lock = threading.RLock()  # guards what follows; never held while listeners are told
        self._job: _Job | None = None
        self._last: _Job | None = None
        self._thread: threading.Thread | None = None
        self._listeners: list[Callable[[], None]] = []

    # ------------------------------------------------------------------ choose, run, stop

    @property
    def choices(self) -> list[str]:
        """Names of the maps; one empty name where there is a single map."""
        return list(self._maps)

    def choose(self, *, choice: str | None = None, seeds: int | None = None) -> None:
        """Show another map, or change how many seeds its cells shall have.

        Raises:
            ValueError: no such map, a number of seeds that is not offered.
            RuntimeError: a run is in progress.
        """
        if choice is not None and choice not in self._maps:
            raise ValueError(f"choice must be one of {self.choices}, got {choice!r}")
        count = self.seed_count if seeds is None else self._checked_count(seeds)
        wanted = self.choice if choice is None else choice
        if (wanted, count) == (self.choice, self.seed_count):
            return
        with self._lock:
            self._refuse_if_running()
            self.choice, self.seed_count = wanted, count
            self.failure, self._last = "", None
        self._changed()

    def run(self, *, seeds: int | None = None, choice: str | None = None) -> Sweep:
        """Do the missing runs here and now, and return the sweep; an interrupt returns what is done.

        Raises:
            ValueError, RuntimeError: as :meth:`choose`.
            Exception: whatever a run raised; what was done before stays.
        """
        self.choose(choice=choice, seeds=seeds)
        job = self._new_job()
        try:
            self._work(job)
        except KeyboardInterrupt:
            self.stop()
        except Exception as error:
            self._fail(job, error)
            raise
        return self.sweep()

    def start(self) -> None:
        """Do the missing runs in a thread, as the panel's Run does; a run in progress is left alone.

        An error ends up in ``failure``. :meth:`stop` ends it at once, :meth:`wait` waits for it.
        """
        if self.running:
            return
        job, before = self._new_job(), self._thread

        def work() -> None:
            if before is not None:
                before.join()  # one that was stopped may be inside its last run, or about to end its processes
            try:
                self._work(job)
            except Exception as error:  # whatever a learner's own run raises must end in words, not in a dead panel
                self._fail(job, error)

        self._thread = threading.Thread(target=work, name="kdlab sweep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Keep what is done and start no more runs; the result of one that is in progress is dropped."""
        with self._lock:
            if self._job is None:
                return
            self._job.stopped.set()
            self._job = None
        self._changed()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended; tells whether it has."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def clear(self) -> None:
        """Forget the runs of the map that is shown.

        Raises:
            RuntimeError: a run is in progress.
        """
        with self._lock:
            self._refuse_if_running()
            self._here.clear()
            self._last, self.failure = None, ""
        self._changed()

    @property
    def running(self) -> bool:
        """Whether runs are in progress."""
        return self._job is not None

    @property
    def progress(self) -> tuple[int, int] | None:
        """Runs done and asked for by the latest run; ``None`` before the first."""
        return (self._last.done, len(self._last.tasks)) if self._last else None

    @property
    def stopped(self) -> bool:
        """Whether the latest run was stopped before its end."""
        return self._last is not None and self._last.stopped.is_set()

    def missing(self) -> int:
        """How many runs the next press of Run would do, those of the baseline included."""
        return len(self._tasks())

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called after every change, from whichever thread made it."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def _new_job(self) -> _Job:
        with self._lock:
            self._refuse_if_running()
            self._here.planned = max(self._here.planned, self.seed_count)
            self._job = self._last = _Job(self._tasks(), self.choice)
            self.failure = ""
        self._changed()
        return self._job

    def _tasks(self) -> list[Task]:
        """What is missing, one seed after the other, and the baseline of each before its cells."""
        here, tasks = self._here, []
        for seed in self.seeds[: self.seed_count]:
            if here.baseline is not None and seed not in here.level:
                tasks.append(Task(here.baseline, Setting(), seed))
            tasks += [Task(here.run, setting, seed) for setting, runs in here.scores.items() if seed not in runs]
        return tasks

    def _work(self, job: _Job) -> None:
        shown = 0.0
        with closing(results_of(job.tasks, jobs=self.jobs)) as results:
            for place, score in results:
                if not self._keep(job, job.tasks[place], score):
                    return
                if time.monotonic() - shown > _PAUSE:
                    self._changed()
                    shown = time.monotonic()
        with self._lock:
            if self._job is job:
                self._job = None
        self._changed()

    def _keep(self, job: _Job, task: Task, score: Score) -> bool:
        with self._lock:
            if job.stopped.is_set():
                return False
            here = self._maps[job.choice]
            (here.scores[task.setting] if task.setting else here.level)[task.seed] = score
            job.done += 1
            return True

    def _fail(self, job: _Job, error: Exception) -> None:
        with self._lock:
            if job.stopped.is_set():
                return
            self._job = None
            where = next((note for note in getattr(error, "__notes__", ()) if note.startswith("while running")), "")
            self.failure = f"{type(error).__name__}: {error}" + (f" ({where})" if where else "")
        self._changed()

    def _refuse_if_running(self) -> None:
        if self._job is not None:
            raise RuntimeError("a run is in progress: stop() it or wait() for it first")

    def _checked_count(self, count: int) -> int:
        if not isinstance(count, int) or not 1 <= count <= len(self.seeds):
            raise ValueError(f"seeds must be a whole number from 1 to {len(self.seeds)}, got {count!r}")
        return count

    @property
    def _here(self) -> CellMap:
        return self._maps[self.choice]

    # ------------------------------------------------------------------ what came out

    def sweep(self) -> Sweep:
        """The runs of the map that is shown, with as many seeds as were asked for."""
        with self._lock:
            return self._here.sweep(self.seeds)

    def differences(self) -> dict[Setting, float]:
        """Per cell the mean difference to the baseline in points, over the seeds both have; NaN without any."""
        with self._lock:
            return self._here.differences()

    def contrasts(self) -> dict[Setting, Contrast]:
        """The cells that have all their seeds, against the baseline; empty below five seeds."""
        with self._lock:
            return self._here.contrasts(self.seeds, higher_is_better=self.higher_is_better)

    def counts(self) -> dict[Setting, int]:
        """How many seeds each cell has."""
        with self._lock:
            return {setting: len(runs) for setting, runs in self._here.scores.items()}

    @property
    def level(self) -> float:
        """The baseline's mean over the seeds that were asked for and are done; NaN without any."""
        with self._lock:
            return self._here.mean_level(self.seeds)

    def table(self, cells: Mapping[Setting, Any], empty: Any) -> list[list[Any]]:
        """Values by setting in rows and columns."""
        whole = Sweep({setting: {} for setting in self.settings}, self.seeds)
        return whole.arrange(cells, self.row_name, self.column_name, empty)


def _axis(what: str, axis: tuple[str, Sequence[Any]]) -> tuple[str, Sequence[Any]]:
    if not isinstance(axis, tuple) or len(axis) != 2 or not isinstance(axis[0], str):
        raise TypeError(f'{what} must be a name and its values, such as ("temperature", [1, 4]), got {axis!r}')
    return axis
