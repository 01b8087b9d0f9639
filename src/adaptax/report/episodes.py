"""A life in one panel for each task: the path of every episode, coloured by its order, so that a search can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .records import Evaluation
from .style import INK, SOFT, new_figure, styled
from .trajectories import (
    COLUMNS,
    TASKS,
    Floats,
    draw_plane,
    drawable,
    episodes_of,
    frame_around,
    goals_of,
    height_of,
    key,
    on_cells,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

HOW_TO_READ = (
    "Every episode of one life on each task, from the first (light) to the last (dark), with a dot where it ended: for "
    "an agent that draws anew for each episode which task it takes this for (posterior sampling, as in PEARL), that is "
    "about the goal it drew."
)
WIDTH = 3.0  # inches of a panel


def episodes(evaluation: Evaluation, label: str = "") -> Figure | None:
    """The first seed's paths in the first stream on a few tasks; None unless they lie in the plane, and are more than
    `trajectories` has columns for."""
    if evaluation.points <= COLUMNS or not drawable(evaluation):
        return None
    assert evaluation.trajectories is not None
    lives = [life(evaluation, task) for task in range(min(TASKS, evaluation.trajectories.shape[1]))]
    goals = [goals_of(evaluation, task) for task in range(len(lives))]
    paths = [path for every in lives for path in every]
    cells = on_cells(paths)
    frame = frame_around([*goals, *paths], cells)
    columns = len(lives) if len(lives) < 4 else 2
    rows = len(lives) // columns
    with styled():
        figure = new_figure(1.2 + WIDTH * columns, 0.85 + (height_of(frame, WIDTH) + 0.3) * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        colours, order = _colours(evaluation.points)
        for task, axes in enumerate(grid.flat):
            draw_plane(axes, frame, goals[task], cells)
            _draw(axes, lives[task], cells, colours, order)
            axes.set_title(f"task {task + 1}", fontsize=9, weight="normal", loc="center", pad=5)
            axes.set(xlabel="x", ylabel="y")
            axes.label_outer()
        _bar(figure, list(grid.flat), colours, order, evaluation.points)
        title = f"{label or evaluation.algorithm} on {evaluation.split} tasks of {evaluation.benchmark}, by episode"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        key(figure, cells, "path of an episode", SOFT)
    return figure


def life(evaluation: Evaluation, task: int) -> list[Floats]:
    """The path of every episode of a task's first stream, in their order: each [steps, 2]."""
    return [path for round_ in range(evaluation.rounds) for path in episodes_of(evaluation, task, round_, 0)]


def _colours(count: int) -> tuple[Colormap, Normalize]:
    """From light to dark, so that what an agent came to stands out; the lightest would be lost on white."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, Normalize

    return ListedColormap(colormaps["viridis_r"](np.linspace(0.08, 1.0, 256))), Normalize(1, count)


def _draw(axes: Axes, paths: list[Floats], cells: bool, colours: Colormap, order: Normalize) -> None:
    if cells:  # the episodes walk over the same cells: side by side they can be told apart
        paths = [path + aside for path, aside in zip(paths, np.linspace(-0.3, 0.3, len(paths)), strict=True)]
    for k, path in enumerate(paths):
        axes.plot(*path.T, color=colours(order(k + 1)), linewidth=1.1, alpha=0.8, zorder=3, label="path")
    starts, ends = (np.stack([path[at] for path in paths]) for at in (0, -1))
    style = {"s": 26, "edgecolors": "white", "linewidths": 0.6, "zorder": 5}
    axes.scatter(*ends.T, c=np.arange(1, len(ends) + 1), cmap=colours, norm=order, **style)
    axes.plot(*np.unique(starts, axis=0).T, "o", color=INK, markersize=3.2, markerfacecolor="white", zorder=5)


def _bar(figure: Figure, beside: list[Axes], colours: Colormap, order: Normalize, count: int) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]).tick_values(0, count)
    bar = figure.colorbar(ScalarMappable(order, colours), ax=beside, shrink=0.8, pad=0.02, aspect=22, label="episode")
    bar.set_ticks([max(1, int(tick)) for tick in ticks if tick <= count])
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, length=2)
