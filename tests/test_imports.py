"""Importing kdlab is cheap: nothing for its own sake, and hardly more than torch for its core."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import kdlab

CORE = "kdlab.losses, kdlab.training, kdlab.models, kdlab.measure, kdlab.data, kdlab.experiments"


def _seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.slow
def test_the_core_costs_at_most_1_3_times_torch() -> None:
    pairs = [(_seconds("import torch"), _seconds(f"import kdlab, {CORE}")) for _ in range(3)]
    torch_alone, core = (min(times) for times in zip(*pairs, strict=True))
    assert core <= 1.3 * torch_alone


def test_kdlab_alone_imports_no_heavy_library() -> None:
    assert not _modules_after("import kdlab") & {"torch", "numpy", "sklearn", "scipy", "matplotlib", "IPython"}


def test_the_core_imports_no_library_it_may_not_need() -> None:
    assert not _modules_after(f"import {CORE}") & {"sklearn", "scipy", "matplotlib", "IPython", "ipywidgets"}


def test_exercises_need_no_torch_in_the_learners_kernel() -> None:
    code = (
        "import os, tempfile; os.environ['KDLAB_HOME'] = tempfile.mkdtemp(); "
        "from kdlab.exercises import bank, board, check, grade, hint, predict, solution; bank(); repr(board()); "
        "check('first-exercise', 25)"
    )
    assert not _modules_after(code) & {"torch", "numpy", "sklearn", "scipy", "matplotlib"}


def test_every_advertised_name_exists_and_others_are_refused_with_a_list() -> None:
    for name in kdlab.__all__:
        assert getattr(kdlab, name) is not None
    assert set(kdlab.__all__) <= set(dir(kdlab))
    with pytest.raises(AttributeError, match=r"no attribute 'kdloss'; it has: compare, data"):
        _ = kdlab.kdloss
