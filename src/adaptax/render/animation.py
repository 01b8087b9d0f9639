"""An animation of several episodes side by side, step by step: before adaptation, and after it.

What does not move is drawn once; a frame draws the moving parts over it, which is many times faster than a figure.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..report.style import DPI, SOFT, new_figure, styled
from ..report.tables import fixed

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Frame = NDArray[np.uint8]  # [H, W, 3]

MOST_FRAMES = 150
HELD = 1.5  # seconds for which the last frame stays
PANEL = 2.0  # inches: the shorter side of a panel
IN_A_ROW = 4.5  # square panels
NARROWEST = 4.2  # inches, of a picture
EDGE, GAP, ROW_GAP = 0.05, 0.1, 0.2  # inches: around all, between panels and texts, between rows of panels
TITLE_LETTERS, NOTE_LETTERS = 11, 15  # to the inch


class Path(NamedTuple):
    """What one stream did in a shot of S steps."""

    observations: NDArray[Any]  # [S + 1, ...]; the last one is what the last step led to
    actions: NDArray[Any]  # [S, ...]
    rewards: NDArray[Any]  # [S]
    beliefs: NDArray[Any] | None = None  # [S, W, H]: what was expected of every place of a grid
    frame: Callable[[int], Frame] | None = None  # what the environment shows of itself after so many steps


class Shot(NamedTuple):
    """One panel: an episode, or a round of episodes of one step, of several streams."""

    label: str
    paths: tuple[Path, ...]
    returns: NDArray[Any]  # [S + 1]: the return so far, the mean over all streams, also those that are not drawn

    @property
    def steps(self) -> int:
        return len(self.returns) - 1


class Moving(NamedTuple):
    """What moves in a panel, and how it is brought to where it was after so many steps."""

    artists: Sequence[Artist]
    advance: Callable[[int], None]


class Picture(NamedTuple):
    """How a benchmark is drawn: `draw` puts into the axes what stands still and returns what moves. It is given all
    shots too, so that all panels can share a frame."""

    draw: Callable[[Axes, Shot, Sequence[Shot]], Moving]
    aspect: float = 1.0
    """Of a panel: width over height."""
    flat: bool = True
    """Whether it is made of few colours, as a drawing is and a photograph is not."""
    note: str = ""
    """What its marks mean."""
    streams: int = 4
    """At most so many streams are drawn in a panel."""


class Animation(NamedTuple):
    frames: Iterator[Frame]
    milliseconds: tuple[int, ...]
    """How long each of them stays."""
    flat: bool


def animate(picture: Picture, shots: Sequence[Shot], title: str, note: str = "", seconds: float = 6.0) -> Animation:
    """The shots side by side (in rows, where panels are wide), all from their first step on; `seconds` is the
    time that the longest takes."""
    longest = max(shot.steps for shot in shots)
    times = np.unique(np.linspace(0, longest, min(longest + 1, MOST_FRAMES)).round().astype(int)).tolist()
    each = max(20, round(1000 * seconds / len(times)))
    waits = (each,) * (len(times) - 1) + (each + round(1000 * HELD),)
    return Animation(_frames(picture, shots, title, note, times), waits, picture.flat)


def _frames(picture: Picture, shots: Sequence[Shot], title: str, note: str, times: Sequence[int]) -> Iterator[Frame]:
    with styled():
        figure, panels = _panels(picture, len(shots))
        largest = max(float(np.abs(shot.returns).max()) for shot in shots)
        decimals = int(np.clip(2 - np.floor(np.log10(max(largest, 1e-6))), 0, 3))  # three digits of the largest
        moving = [
            part
            for axes, shot in zip(panels, shots, strict=True)
            for part in (picture.draw(axes, shot, shots), _caption(axes, shot, decimals))
        ]
        _lay_out(figure, panels, picture, title, note)
        artists = [artist for part in moving for artist in part.artists]
        for artist in artists:
            artist.set_animated(True)
        canvas: Any = figure.canvas
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)
        for time in times:
            canvas.restore_region(still)
            for part in moving:
                part.advance(time)
            for artist in sorted(artists, key=lambda a: a.get_zorder()):
                artist.axes.draw_artist(artist)  # type: ignore[union-attr]
            yield np.array(canvas.buffer_rgba())[..., :3]


def _columns(picture: Picture, count: int) -> int:
    columns = max(1, min(count, int(IN_A_ROW / picture.aspect)))
    rows = math.ceil(count / columns)
    return math.ceil(count / rows)  # two and two are nicer than three and one


def _panels(picture: Picture, count: int) -> tuple[Figure, list[Axes]]:
    """Axes of their final size, all in one place until it is known how much room their texts take."""
    figure = new_figure()
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    panel = _size(picture)
    return figure, [figure.add_axes((0.0, 0.0, panel[0] / width, panel[1] / height)) for _ in range(count)]


def _size(picture: Picture) -> tuple[float, float]:
    """Of a panel, in inches."""
    return PANEL * max(picture.aspect, 1.0), PANEL * max(1 / picture.aspect, 1.0)


def _lay_out(figure: Figure, panels: Sequence[Axes], picture: Picture, title: str, note: str) -> None:
    """Write title and note, and give the figure the size that everything fits into.

    matplotlib's own layouts fit panels into a figure of a given size, and count the room that is left around a panel
    of fixed proportions as room for its texts, whether it is left in the end or not.
    """
    columns, (width, height) = _columns(picture, len(panels)), _size(picture)
    rows = math.ceil(len(panels) / columns)
    boxes: list[Any] = [axes.get_tightbbox() for axes in panels]
    ends = np.asarray([box.extents for box in boxes]) / DPI  # [panels, 4]; the axes begin at 0
    left, below = np.maximum(-ends[:, :2].min(axis=0), 0.0).tolist()
    right, above = np.maximum(ends[:, 2:].max(axis=0) - (width, height), 0.0).tolist()
    across, down = left + width + right + GAP, above + height + below + ROW_GAP  # from panel to panel
    whole = _even(max(columns * across - GAP + 2 * EDGE, NARROWEST))
    texts = [
        figure.text(0.0, 0.0, "\n".join(textwrap.wrap(text, int(letters * whole))), va=va, **style)
        for text, letters, va, style in (
            (title, TITLE_LETTERS, "top", {"fontsize": 10, "fontweight": "bold"}),
            (note, NOTE_LETTERS, "bottom", {"fontsize": 8, "color": SOFT}),
        )
    ]
    over, under = (text.get_window_extent().height / DPI + GAP if text.get_text() else 0.0 for text in texts)
    high = _even(over + rows * down - ROW_GAP + under + 2 * EDGE)
    figure.set_size_inches(whole, high)
    texts[0].set_position((EDGE / whole, 1 - EDGE / high))
    texts[1].set_position((EDGE / whole, EDGE / high))
    begin = (whole - columns * across + GAP) / 2 + left
    for k, axes in enumerate(panels):
        row, column = divmod(k, columns)
        x, y = begin + column * across, high - EDGE - over - row * down - above - height
        axes.set_position((x / whole, y / high, width / whole, height / high))


def _even(inches: float) -> float:
    """At least so much, in a whole, even number of pixels: some video formats know no others."""
    return 2 * math.ceil(inches * DPI / 2) / DPI


def _caption(axes: Axes, shot: Shot, decimals: int) -> Moving:
    """The label above the panel, and below it the step and the return so far."""
    axes.set_title(shot.label, fontsize=9, weight="normal", loc="left", pad=5)
    shown = axes.text(0.0, -0.04, "return", transform=axes.transAxes, va="top", fontsize=9, fontfamily="DejaVu Sans")

    def advance(step: int) -> None:
        step = min(step, shot.steps)
        shown.set_text(f"step {step}   return {fixed(float(shot.returns[step]), decimals)}")

    advance(shot.steps)  # room is made for it, and this is about the longest that it gets
    return Moving([shown], advance)
