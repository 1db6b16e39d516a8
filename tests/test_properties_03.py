"""What the checks of lesson 03's code answer are built on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import t

from kdlab.exercises.properties.lesson_03 import _quantile


@pytest.mark.parametrize("share", [0.005, 0.025, 0.5, 0.9, 0.95, 0.975, 0.995])
def test_the_quantile_that_answers_are_handed_is_that_of_scipy(share: float) -> None:
    for degrees in (1, 2, 3, 4, 5, 9, 19, 30, 59):
        assert _quantile(share, degrees) == pytest.approx(t.ppf(share, degrees), rel=1e-10, abs=1e-10)


def test_the_quantile_takes_arrays_as_scipy_does() -> None:
    assert np.allclose(_quantile([0.025, 0.975], 4), t.ppf([0.025, 0.975], 4))


@pytest.mark.parametrize(("share", "degrees"), [(4, 0.975), (0.0, 4), (0.975, 0), (0.975, 4.5), (float("nan"), 4)])
def test_the_quantile_says_which_argument_is_out_of_range(share: float, degrees: float) -> None:
    with pytest.raises(ValueError, match=r"quantile\(share, degrees\)"):
        _quantile(share, degrees)


def test_the_checks_start_without_scipy() -> None:
    """Importing scipy would make the start of the process that runs answers longer, for every learner."""
    code = "import sys, kdlab.exercises.properties as p; print('scipy' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"
