"""Fixtures of the browser tests: one Chromium for the run, a fresh page for each test, JupyterLab on demand."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can say "from harness import ..." in any import mode

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


def _missing(message: str) -> None:
    """Skip on a learner's machine; fail where a skipped test would pass for a tested one."""
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the Chromium to drive."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        _missing("playwright is not installed: python -m pip install -e '.[test]'")
    from harness import CHROMIUM_MISSING, find_chromium

    found = find_chromium()
    if found is None:
        _missing(CHROMIUM_MISSING)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A headless Chromium that lives as long as the test run."""
    from harness import launch_chromium
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = launch_chromium(playwright, chromium)
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of 1280 by 900 pixels with no memory of other tests."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    try:
        yield opened
    finally:
        context.close()


@pytest.fixture(scope="session")
def start_lab() -> Iterator[Callable[..., Any]]:
    """``start_lab(root, settings=None, environment=None) -> LabServer``; all are stopped when the run ends."""
    from harness import LabServer

    servers: list[LabServer] = []

    def start(root: Path, **options: Any) -> LabServer:
        server = LabServer(root, **options)
        servers.append(server)
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.stop()
