"""How every figure looks: own figure objects, a colour-blind-safe palette, labels beside the lines they name.

matplotlib is imported where it is used, so that importing adaptax does not import it; pyplot, with its global
state, is not used at all.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .tables import amount, fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

DPI = 144
WIDTH, HEIGHT = 7.2, 4.3  # inches: 1036 × 619 pixels, about a README's width
# Okabe & Ito's palette, the pale yellow left out, in an order that keeps neighbours apart
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
INK, SOFT, PALE, GRID = "#222222", "#6B6B6B", "#8C8C8C", "#E6E6E6"
DASHES: tuple[Any, ...] = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (9, 3)), (0, (2, 2)))
LABEL_SIZE = 8.5  # points
LABEL_WIDTH = 24  # characters before a label is broken

SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: figures look the same on every machine
    "font.size": 9,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.titlepad": 10,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.solid_capstyle": "round",
    "savefig.facecolor": "white",
}


class Label(NamedTuple):
    """A name to be written to the right of the axes, at the height where its line ends."""

    text: str
    y: float
    colour: str
    bold: bool = False


@contextmanager
def styled() -> Iterator[None]:
    """Our settings for what is drawn inside, and the caller's own again after it."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        yield


def new_figure(width: float = WIDTH, height: float = HEIGHT) -> Figure:
    """A figure that belongs to nobody but its caller, drawn by Agg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG at `DPI`; no time stamp, so the same figure is the same file."""
    with styled():
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def plot_axes(figure: Figure, title: str, x: str, y: str) -> Axes:
    """The only axes of a figure, with quiet horizontal grid lines."""
    axes = figure.add_subplot()
    axes.set_title(textwrap.fill(title, 72))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.margins(x=0.0, y=0.06)
    return axes


def count_ticks(axis: Axis) -> None:
    """Tick labels such as 0, 500 k, 1 M, 1.5 M."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))


def value_ticks(axis: Axis) -> None:
    """Tick labels with as many decimals as the ticks need, no-break spaces between thousands."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def text(value: float, _: int | None) -> str:
        steps = np.abs(np.diff(axis.get_majorticklocs()))
        step = float(steps.min()) if steps.size else 1.0
        return fixed(value, next((d for d in range(6) if abs(step - round(step, d)) < 1e-6 * step), 6))

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(text))


def spread(centres: Sequence[float], heights: Sequence[float], low: float, high: float) -> Floats:
    """Where to put labels of these heights so that none overlap, moved as little as possible (least squares).

    Taken in order of their centres, the gaps turn into offsets, and what remains is an isotonic regression
    (pool adjacent violators); then the whole is pushed inside [low, high], as far as it fits.
    """
    order = np.argsort(np.asarray(centres, np.float64), kind="stable")
    target, height = np.asarray(centres, np.float64)[order], np.asarray(heights, np.float64)[order]
    offset = np.concatenate([[0.0], np.cumsum((height[1:] + height[:-1]) / 2)])
    pools: list[list[float]] = []  # [sum, count]
    for value in target - offset:
        pools.append([float(value), 1.0])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1] = [pools[-1][0] + total, pools[-1][1] + count]
    fitted = np.concatenate([np.full(int(count), total / count) for total, count in pools])
    floor, ceiling = low + height[0] / 2, high - height[-1] / 2 - offset[-1]
    placed = np.clip(fitted, min(floor, ceiling), ceiling) + offset
    result = np.empty_like(placed)
    result[order] = placed
    return result


def label_lines(axes: Axes, labels: Sequence[Label]) -> None:
    """Write the labels to the right of the axes; a thin connector leads to each from where its line ends."""
    labels = [label for label in labels if np.isfinite(label.y)]
    if not labels:
        return
    axes.set_ylim(axes.get_ylim())  # the labels are placed for these limits
    wrapped = [textwrap.wrap(label.text, LABEL_WIDTH) for label in labels]
    texts = [
        axes.text(
            1.045,
            0.5,
            "\n".join(lines),
            transform=axes.transAxes,
            va="center",
            color=label.colour,
            fontsize=LABEL_SIZE,
            fontweight="bold" if label.bold else "normal",
            linespacing=1.1,
        )
        for label, lines in zip(labels, wrapped, strict=True)
    ]
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout makes room for the texts; only then is the height known
    box = axes.get_window_extent()
    to_axes = axes.transData - axes.transAxes
    ends = [float(to_axes.transform((0, label.y))[1]) for label in labels]
    line = LABEL_SIZE * 1.18 * DPI / 72 / box.height
    heights = [line * len(lines) + 0.3 * line for lines in wrapped]
    for label, text, end, at in zip(labels, texts, ends, spread(ends, heights, -0.02, 1.02), strict=True):
        text.set_y(float(at))
        axes.plot(
            [1.005, 1.018, 1.035],
            [end, at, at],
            transform=axes.transAxes,
            color=label.colour,
            linewidth=0.7,
            clip_on=False,
            scalex=False,
            scaley=False,
            label="_connector",
        )
