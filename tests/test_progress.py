"""Progress bars: none for a moment's work, one that counts for a long wait, and nothing left behind."""

from __future__ import annotations

import io
import sys
import time
from typing import Any

import pytest

from kdlab import progress as module
from kdlab.progress import TRANSIENT, progress


class Screen:
    """What a notebook would show: stands in for IPython's display and its handle."""

    def __init__(self) -> None:
        self.shown: list[tuple[dict[str, str], dict[str, Any]]] = []

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool, metadata: dict[str, Any]) -> Screen:
        assert raw
        assert display_id
        self.shown.append((bundle, metadata))
        return self

    def update(self, bundle: dict[str, str], *, raw: bool, metadata: dict[str, Any]) -> None:
        self.shown.append((bundle, metadata))


@pytest.fixture(autouse=True)
def _progress_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDLAB_PROGRESS", raising=False)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen()
    monkeypatch.setattr("IPython.display.display", screen.display)
    monkeypatch.setattr(module, "_in_kernel", lambda: True)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    return screen


def test_short_work_shows_nothing(notebook: Screen, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(5), "quick")) == [0, 1, 2, 3, 4]
    assert notebook.shown == []
    assert capsys.readouterr() == ("", "")


def test_long_work_shows_a_bar_that_counts_and_is_cleared(
    notebook: Screen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_DELAY", 0.05)
    for _ in progress(range(4), "counting <b>"):
        time.sleep(0.12)
    drawn = [bundle["text/html"] for bundle, _ in notebook.shown]
    assert any('max="4"' in markup and "<progress" in markup for markup in drawn)
    assert not any("<b>" in markup for markup in drawn)
    assert drawn[-1] == ""
    assert all(metadata == TRANSIENT for _, metadata in notebook.shown)
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_it_is_a_line_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_in_kernel", lambda: False)
    monkeypatch.setattr(module, "_DELAY", 0.01)
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    for _ in progress(range(3), "training"):
        time.sleep(0.12)
    assert "training" in terminal.getvalue()


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_it_can_be_switched_off(by: str, notebook: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DELAY", 0)
    if by == "environment":
        monkeypatch.setenv("KDLAB_PROGRESS", "off")
    for _ in progress(range(3), "silent", show=by != "argument"):
        time.sleep(0.05)
    assert notebook.shown == []
