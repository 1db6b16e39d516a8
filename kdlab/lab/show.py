"""Show a figure with the words that stand for it.

JupyterLab and nbconvert ignore alt texts kept in output metadata, so :func:`show` writes the
picture as HTML with a real ``alt`` and keeps a PNG and the sentence itself beside it for viewers
that read no HTML.
"""

from __future__ import annotations

import base64
import html
import io

from IPython.display import display
from matplotlib.figure import Figure

__all__ = ["figure_bundle", "picture_bundle", "png_bytes", "show"]

_DPI = 144  # stored resolution; shown at half of it or narrower, so that it stays sharp on dense screens


def png_bytes(figure: Figure, *, dpi: int = _DPI) -> bytes:
    """Render ``figure`` as a PNG file without volatile metadata (no software or date stamp)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def figure_bundle(figure: Figure, *, alt: str, caption: str | None = None) -> dict[str, str]:
    """The MIME bundle of a figure: HTML with an alt text, the PNG, and the alt text alone.

    Args:
        figure: a matplotlib figure, not from pyplot.
        alt: what a reader who cannot see the figure must know: what is drawn and what it shows.
        caption: a line shown under the figure, one message only.

    Raises:
        TypeError: ``figure`` is not a matplotlib ``Figure``.
        ValueError: ``alt`` is empty.
    """
    if not isinstance(figure, Figure):
        raise TypeError(f"figure must be a matplotlib Figure, got {type(figure).__name__}: did you pass the axes?")
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError("alt must be a sentence that says what the figure shows, got an empty one")
    return picture_bundle(png_bytes(figure), alt=alt, width=round(figure.get_figwidth() * 100), caption=caption)


def picture_bundle(png: bytes, *, alt: str, width: int, caption: str | None = None) -> dict[str, str]:
    """The MIME bundle of a PNG file, ``width`` CSS pixels wide; the rest as :func:`figure_bundle`."""
    encoded = base64.b64encode(png).decode("ascii")
    note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    markup = (
        f'<figure style="margin:0"><img alt="{html.escape(alt, quote=True)}" width="{width}" '
        f'style="max-width:100%;height:auto;background:white" src="data:image/png;base64,{encoded}">{note}</figure>'
    )
    return {"text/html": markup, "image/png": encoded, "text/plain": alt}


def show(figure: Figure, *, alt: str, caption: str | None = None) -> None:
    """Display ``figure`` under the current cell, with an alt text that screen readers find.

    Arguments and errors are those of :func:`figure_bundle`.
    """
    display(figure_bundle(figure, alt=alt, caption=caption), raw=True)
