"""Progress bars that appear only when a wait is long, and leave nothing behind.

In a notebook the bar is one HTML ``<progress>`` element that is cleared at the end: no widget state, no
line of carriage returns in the stored outputs. In a terminal it is tqdm's own bar.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from html import escape
from typing import Any

from tqdm.std import tqdm

__all__ = ["TRANSIENT", "progress"]

TRANSIENT = {"kdlab": {"transient": True}}
"""Output metadata of a progress bar; the notebook builder drops outputs that carry it."""

_DELAY = 1.5  # seconds before a bar appears


class _NotebookBar(tqdm):
    """tqdm's counting and timing, drawn as one HTML element in the cell's output."""

    _handle: Any = None

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if msg == "":  # tqdm asks to clear the bar
            self._render("")
        elif self.n or self._handle:
            text = escape(msg or str(self))
            bar = (
                f'<progress value="{self.n}" max="{self.total or 1}" aria-label="{escape(self.desc or "")}"></progress>'
            )
            self._render(f"{bar} <code>{text}</code>")
        return True

    def _render(self, markup: str) -> None:
        from IPython.display import display

        bundle = {"text/html": markup, "text/plain": ""}
        if self._handle is None:
            if markup:
                self._handle = display(bundle, raw=True, display_id=True, metadata=TRANSIENT)
        else:
            self._handle.update(bundle, raw=True, metadata=TRANSIENT)


def progress(items: Iterable[Any], description: str, *, total: int | None = None, show: bool = True) -> tqdm:
    """Wrap ``items`` in a progress bar that shows itself after 1.5 seconds and vanishes at the end.

    Args:
        items: what to iterate over.
        description: what is being done, for the bar's label.
        total: how many items, if ``items`` has no length.
        show: ``False`` gives a bar that never shows; so does the environment variable ``KDLAB_PROGRESS=off``, with
            which lessons are built and compared, since whether a bar appears depends on the machine.
    """
    show = show and os.environ.get("KDLAB_PROGRESS") != "off"
    in_kernel = "ipykernel" in sys.modules and _in_kernel()
    kind = _NotebookBar if in_kernel else tqdm
    # tqdm ends every bar with a carriage return on its file, which would stay in the notebook as an output.
    options: dict[str, Any] = {"ascii": " #", "ncols": 70, "file": io.StringIO()} if in_kernel else {}
    return kind(items, desc=description, total=total, disable=not show, delay=_DELAY, leave=False, **options)


def _in_kernel() -> bool:
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")
