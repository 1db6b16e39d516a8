"""For every test, lesson cells under nbval included: the learner's own progress is neither read nor written."""

from __future__ import annotations

import os
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Set before anything runs, so that kernels and other processes inherit it."""
    if "KDLAB_HOME" not in os.environ:  # `course.py test` chooses a folder that it removes at the end
        home = tempfile.TemporaryDirectory(prefix="kdlab-test-")
        config.add_cleanup(home.cleanup)
        os.environ["KDLAB_HOME"] = home.name
    os.environ.pop("KDLAB_LANGUAGE", None)
