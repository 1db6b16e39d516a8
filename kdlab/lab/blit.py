"""Redraw only what moves: a figure that answers a slider in a few milliseconds.

Drawing a whole matplotlib figure costs a hundred milliseconds or more, nearly all of it for axes,
ticks and labels that did not change. :class:`BlitCanvas` draws those once, keeps the pixels, and
for each frame puts them back and draws the few moving artists on top.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

__all__ = ["BlitCanvas"]

_ABOVE = 100.0  # added to the z-order of what moves, which is painted last


class BlitCanvas:
    """A persistent figure with a cached background and a few artists that move.

    The moving artists are painted above everything else, in the order of their z-order. The layout
    is settled once, here and without them, so that axes stay where they are whatever is drawn later.
    Change them in place (``set_height``, ``set_data``, ``set_text``) and ask for a new
    :meth:`frame`; after any change of something that does not move call :meth:`invalidate`.

    Where one half of a figure changes without the other, name groups: each has a region, a column of the
    figure as high as the whole, and ``frame("name")`` draws and encodes that column alone. The columns meet
    halfway between the axes of neighbouring groups and together make up the figure.

    Args:
        figure: a figure with an Agg canvas, such as :func:`kdlab.lab.new_figure` makes.
        moving: its artists that change from frame to frame; or groups of them by name, from left to right,
            each within its own column.
        dpi: resolution of the frames; the house shows 100 pixels to the inch, so 144 leaves enough
            for a dense screen.

    Raises:
        TypeError: ``figure`` has no Agg canvas (an interactive backend made it).
        ValueError: ``moving`` is empty, or one of its artists is not in ``figure``, or groups that are
            not side by side.

    >>> from kdlab.lab import new_figure
    >>> figure, axes = new_figure()
    >>> (dot,) = axes.plot([0.5], [0.5], "o")
    >>> canvas = BlitCanvas(figure, [dot])
    >>> canvas.frame()[1:4]
    b'PNG'
    """

    def __init__(
        self, figure: Figure, moving: Iterable[Artist] | Mapping[str, Iterable[Artist]], *, dpi: int = 144
    ) -> None:
        if not isinstance(figure.canvas, FigureCanvasAgg):
            raise TypeError(
                f"figure must have an Agg canvas, got {type(figure.canvas).__name__}: make it with kdlab.lab.new_figure"
            )
        self.figure = figure
        groups = {name: list(group) for name, group in moving.items()} if isinstance(moving, Mapping) else {}
        every = [artist for group in groups.values() for artist in group] if groups else cast(Iterable[Artist], moving)
        self.moving = sorted(every, key=lambda artist: artist.get_zorder())
        if not self.moving:
            raise ValueError("moving must name at least one artist, got none: without one, draw the figure once")
        for artist in self.moving:
            if artist.get_figure(root=True) is not figure:
                raise ValueError(f"moving contains {artist!r}, which is not part of the figure: was it removed?")
            artist.set_animated(True)
            artist.set_in_layout(False)
            artist.set_zorder(artist.get_zorder() + _ABOVE)
        figure.set_dpi(dpi)
        for _ in range(2):  # constrained layout comes to rest in its second pass
            figure.draw_without_rendering()
        figure.set_layout_engine("none")
        self._groups = {name: [artist for artist in self.moving if artist in group] for name, group in groups.items()}
        self._edges = self._columns()
        self._background: dict[str | None, object] = {}  # of the whole, under None, and of each region
        self._renderer: object | None = None

    def invalidate(self) -> None:
        """Forget the background: the next frame draws everything again."""
        self._background = {}

    def columns(self, region: str) -> slice:
        """The columns of pixels that make up a region of the whole frame.

        Raises:
            ValueError: no group of that name.
        """
        if region not in self._edges:
            raise ValueError(f"region must be one of {list(self._edges)}, got {region!r}")
        width = int(self.figure.bbox.width)
        left, right = self._edges[region]
        return slice(round(left * width), round(right * width))

    def pixels(self, region: str | None = None) -> np.ndarray:
        """The current state as an array [height, width, 4] of bytes: red, green, blue and opacity (a copy)."""
        return self._draw(region).copy()

    def frame(self, region: str | None = None) -> bytes:
        """The current state as a PNG file, of the whole figure or of one region."""
        return _png(self._draw(region))

    def _draw(self, region: str | None) -> np.ndarray:
        columns = slice(None) if region is None else self.columns(region)
        canvas = cast(FigureCanvasAgg, self.figure.canvas)
        if not self._background or self._renderer is not canvas.get_renderer():
            self._draw_background(canvas)  # savefig at another resolution leaves a new renderer behind
        canvas.restore_region(self._background[region])
        for artist in self.moving if region is None else self._groups[region]:
            self.figure.draw_artist(artist)
        return np.asarray(canvas.buffer_rgba())[:, columns]

    def _columns(self) -> dict[str, tuple[float, float]]:
        """Left and right edge of each group's region, as fractions of the figure's width."""
        spans = []
        for name, group in self._groups.items():
            axes = {artist.axes for artist in group if artist.axes is not None}
            boxes = [box for box in (one.get_tightbbox() for one in axes) if box is not None]
            if not boxes:
                raise ValueError(f"group {name!r} must name at least one artist that lies in axes")
            spans.append((min(box.x0 for box in boxes), max(box.x1 for box in boxes)))
        cuts = []
        for (_, end), (begin, _) in itertools.pairwise(spans):
            if begin < end:
                raise ValueError(f"groups must be side by side, from left to right, got {list(self._groups)}")
            cuts.append((end + begin) / 2 / self.figure.bbox.width)
        return dict(zip(self._groups, itertools.pairwise([0.0, *cuts, 1.0]), strict=True)) if spans else {}

    def _draw_background(self, canvas: FigureCanvasAgg) -> None:
        canvas.draw()  # leaves out what is animated
        self._background = {None: canvas.copy_from_bbox(self.figure.bbox)}
        for region in self._groups:
            columns = self.columns(region)
            box = Bbox.from_extents(columns.start, 0, columns.stop, self.figure.bbox.height)
            self._background[region] = canvas.copy_from_bbox(box)
        self._renderer = canvas.get_renderer()


def _png(pixels: np.ndarray) -> bytes:
    """Encode [height, width, 4] bytes as a PNG in which every line is stored as its difference from the one above.

    That filter suits charts. Choosing it beforehand, and keeping the opacity rather than copying the colours out,
    takes less than half the time of an encoder that tries five filters on each line, for a file of about the same size.
    """
    height, width, channels = pixels.shape
    filtered = np.empty((height, 1 + width * channels), dtype=np.uint8)
    filtered[:, 0] = 2  # filter type "up"
    lines = filtered[:, 1:].reshape(height, width, channels, copy=False)
    lines[0] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=lines[1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)  # 8 bits, RGBA, not interlaced
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.data, level=1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
