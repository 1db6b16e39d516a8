"""Fixtures of the browser tests: one Chromium for the run, a fresh page for each test, JupyterLab on demand.

A module that tests an explorable makes it in ``SOURCE``, the source of one cell; from that come a notebook that ran,
its exported page, the panel's data, and the same notebook in JupyterLab.
"""

from __future__ import annotations

import json
import os
import re
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


@pytest.fixture(scope="module")
def executed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small notebook with the module's panel in its output, run without a browser."""
    from harness import execute_notebook, write_notebook

    folder = tmp_path_factory.mktemp("notebook")
    return execute_notebook(write_notebook(folder / "panel.ipynb", _cells(request)))


@pytest.fixture(scope="module")
def data(executed: Path) -> dict[str, Any]:
    """What the panel was given, read from its markup."""
    from harness import markup_of

    block = re.search(r'class="kd-data">(.*?)</script>', markup_of(executed), re.S)
    assert block is not None
    return json.loads(block.group(1))


@pytest.fixture
def exported(executed: Path, page: Any) -> Any:
    """The notebook's exported page, opened from disk with the network cut."""
    from harness import block_network, export_html

    block_network(page)
    page.goto(export_html(executed).as_uri())
    page.locator(".kd-explorable .kd-live").wait_for()
    return page


@pytest.fixture(scope="module")
def lab(start_lab: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A JupyterLab for the module, on an empty folder."""
    return start_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def lab_page(request: pytest.FixtureRequest, lab: Any, page: Any) -> Any:
    """JupyterLab with the notebook run there, the panel in view."""
    from harness import open_notebook, run_all, scroll_to_output, write_notebook

    write_notebook(lab.root / "panel.ipynb", _cells(request))
    open_notebook(page, lab, "panel.ipynb")
    run_all(page)
    scroll_to_output(page, 1).locator(".kd-live").wait_for()
    return page


def _cells(request: pytest.FixtureRequest) -> list[str | tuple[str, str]]:
    return [("markdown", "# A panel"), request.module.SOURCE]
