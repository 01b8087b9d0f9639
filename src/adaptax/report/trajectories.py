"""Paths through the plane as small multiples: tasks down, points of the adaptation curve across."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .records import Evaluation
from .style import GRID, INK, PALETTE, new_figure, styled
from .tables import chosen_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

TASKS, COLUMNS, STREAMS = 4, 5, 4  # at most so many are drawn
PATHS = ("#0072B2", "#56B4E9", "#009E73", "#CC79A7")  # goals are vermilion
GOAL = PALETTE[1]

Frame = tuple[Floats, Floats]  # lower left and upper right corner


class Panel(NamedTuple):
    """What one panel shows: the paths of several streams on one task, and the frame that all panels share."""

    paths: tuple[Floats, ...]  # each [steps, 2]
    goals: Floats  # [G, 2]; more than one where they have to be reached in their order
    frame: Frame
    cells: bool  # the plane is a grid of integer cells


def trajectories(evaluation: Evaluation, label: str = "") -> Figure | None:
    """The first seed's paths towards the goals of a few tasks; None unless they lie in the plane."""
    if not drawable(evaluation):
        return None
    rows, columns = _chosen(evaluation)
    with styled():
        panel = 1.55 if len(columns) > 3 else 1.9
        width = max(0.9 + panel * len(columns), 4.6)
        height = height_of(_frame(evaluation), panel)
        figure = new_figure(width, 0.95 + height * len(rows))
        grid = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
        for row, task in enumerate(rows):
            for column, point in enumerate(columns):
                _draw(grid[row, column], panel_of(evaluation, task, point))
            grid[row, 0].set_ylabel(f"task {task + 1}\ny")
        for column, point in enumerate(columns):
            title = evaluation.point_labels()[point]
            grid[-1, column].set_xlabel("x")
            grid[0, column].set_title(title, fontsize=9, weight="normal", loc="center", pad=5)
        title = f"{label or evaluation.algorithm} on {evaluation.split} tasks of {evaluation.benchmark}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        key(figure, _cells(evaluation), "path, one colour per stream", PATHS[0])
    return figure


def drawable(evaluation: Evaluation) -> bool:
    """Whether observations are points of the plane and tasks are goals in it.

    With goals of two numbers, an observation of two numbers is taken for a position, and one of four for a
    position and a velocity. Longer ones may begin with anything and are not drawn.
    """
    paths = evaluation.trajectories
    return (
        paths is not None
        and evaluation.trajectories_first is not None
        and paths.ndim == 6
        and paths.shape[-1] in (2, 4)
        and paths.size > 0
        and _goals(evaluation).shape[2:] == (2,)
    )


def goals_of(evaluation: Evaluation, task: int) -> Floats:
    """The goals of a task in the plane, in their order: [G, 2]."""
    return _goals(evaluation)[task].astype(np.float64)


def _goals(evaluation: Evaluation) -> NDArray[Any]:
    """`goals` [N, G, …], or `goal` [N, …] as the only one; empty without either."""
    fields = evaluation.task
    return fields["goals"] if "goals" in fields else fields["goal"][:, None] if "goal" in fields else np.empty(0)


def panel_of(evaluation: Evaluation, task: int, point: int) -> Panel:
    """The panel of one task at one point of the adaptation curve."""
    assert evaluation.trajectories is not None
    round_, episode = divmod(point, evaluation.episodes)
    streams = range(min(STREAMS, evaluation.trajectories.shape[3]))
    paths = [episodes_of(evaluation, task, round_, stream) for stream in streams]
    shown = tuple(path[episode] for path in paths if episode < len(path))
    return Panel(shown, goals_of(evaluation, task), _frame(evaluation), _cells(evaluation))


def _chosen(evaluation: Evaluation) -> tuple[range, tuple[int, ...]]:
    assert evaluation.trajectories is not None
    tasks = min(TASKS, evaluation.trajectories.shape[1])
    return range(tasks), chosen_points(evaluation.points, COLUMNS)


def episodes_of(evaluation: Evaluation, task: int, round_: int, stream: int) -> list[Floats]:
    """The first E episodes of a round in one stream, cut where `first` is true."""
    assert evaluation.trajectories is not None and evaluation.trajectories_first is not None
    steps = evaluation.trajectories[0, task, round_, stream, :, :2]
    first = evaluation.trajectories_first[0, task, round_, stream].copy()
    first[0] = True  # also where a round goes on with the episode of the one before
    return np.split(steps, np.flatnonzero(first)[1:])[: evaluation.episodes]


def _frame(evaluation: Evaluation) -> Frame:
    goals = [goals_of(evaluation, task) for task in _chosen(evaluation)[0]]
    return frame_around([*goals, *_drawn(evaluation)], _cells(evaluation))


def frame_around(points: Iterable[Floats], cells: bool) -> Frame:
    """Corners that hold all points [..., 2], with a margin; the longer side is at most twice the shorter, unless the
    plane is a grid."""
    every = np.concatenate([part.reshape(-1, 2) for part in points])
    low, high = every.min(0), every.max(0)
    if cells:
        return low - 0.5, high + 0.5
    longest = max(float((high - low).max()), 1e-6)
    half = np.maximum((high - low) / 2 + 0.06 * longest, 0.28 * longest)
    centre = (low + high) / 2
    return centre - half, centre + half


def height_of(frame: Frame, width: float) -> float:
    """How high a panel of this width is, in inches; never so low that its ticks would not fit."""
    across, along = frame[1] - frame[0]
    return max(width * float(along / across), 0.5)


def _drawn(evaluation: Evaluation) -> Iterator[Floats]:
    assert evaluation.trajectories is not None
    tasks, points = _chosen(evaluation)
    for task in tasks:
        for round_ in {point // evaluation.episodes for point in points}:
            yield from evaluation.trajectories[0, task, round_, :STREAMS, :, :2].astype(np.float64)


def _cells(evaluation: Evaluation) -> bool:
    return on_cells(_drawn(evaluation))


def on_cells(paths: Iterable[Floats]) -> bool:
    """Whether all paths go over integer cells."""
    return all(bool((path == np.round(path)).all()) for path in paths)


def _draw(axes: Axes, panel: Panel) -> None:
    draw_plane(axes, panel.frame, panel.goals, panel.cells)
    for k, path in enumerate(panel.paths):
        # on a grid the streams walk over the same cells: side by side they can be told apart
        aside = 0.15 * (k - (len(panel.paths) - 1) / 2) if panel.cells else 0.0
        x, y = path[:, 0] + aside, path[:, 1] + aside
        axes.plot(x, y, color=PATHS[k % 4], linewidth=1.2, alpha=0.85, zorder=3, label="path")
        axes.plot(x[:1], y[:1], "o", color=INK, markersize=3.2, markerfacecolor="white", zorder=5)
        axes.plot(x[-1:], y[-1:], "o", color=PATHS[k % 4], markersize=2.6, zorder=4)


def draw_plane(axes: Axes, frame: Frame, goals: Floats, cells: bool) -> None:
    """An empty panel with its goals [G, 2]: stars, or cells of a grid. Several have their numbers."""
    low, high = frame
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.tick_params(labelsize=7.5, length=2)
    axes.locator_params(nbins=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    if cells:
        _grid_lines(axes, frame)
    for goal in goals:
        _goal(axes, goal, cells)
    if len(goals) > 1:
        number_goals(axes, goals)


def _goal(axes: Axes, goal: Floats, cells: bool) -> None:
    from matplotlib.patches import Rectangle

    if cells:
        axes.add_patch(Rectangle((goal[0] - 0.5, goal[1] - 0.5), 1, 1, color=GOAL, alpha=0.45, zorder=2, label="goal"))
        return
    axes.plot(
        *goal,
        marker="*",
        color=GOAL,
        markersize=10,
        markeredgecolor="white",
        markeredgewidth=0.6,
        zorder=6,
        linestyle="none",
        label="goal",
    )


def number_goals(axes: Axes, goals: Floats) -> None:
    """Each goal's place in their order, up and left of it, so that paths leave it legible."""
    from matplotlib.patheffects import withStroke

    style = {"fontsize": 7.5, "ha": "center", "va": "center", "zorder": 7}
    halo = [withStroke(linewidth=1.6, foreground="white")]
    for k, goal in enumerate(goals):
        axes.annotate(
            str(k + 1), tuple(goal), xytext=(-2.5, 1.5), textcoords="offset points", path_effects=halo, **style
        )


def _grid_lines(axes: Axes, frame: Frame) -> None:
    low, high = frame
    for x in np.arange(low[0], high[0] + 0.5):
        axes.axvline(float(x), color=GRID, linewidth=0.7, zorder=1)
    for y in np.arange(low[1], high[1] + 0.5):
        axes.axhline(float(y), color=GRID, linewidth=0.7, zorder=1)


def key(figure: Figure, cells: bool, path: str, colour: str) -> None:
    """One key below all panels, where it covers nothing; `path` says what the lines are."""
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=colour, linewidth=1.4),
        Line2D([], [], color=INK, marker="o", markersize=4, markerfacecolor="white", linestyle="none"),
        Line2D([], [], color=colour, marker="o", markersize=3.5, linestyle="none"),
        Line2D([], [], color=GOAL, marker="s" if cells else "*", markersize=9, linestyle="none"),
    ]
    marks[3].set_alpha(0.45 if cells else 1.0)
    figure.legend(
        marks,
        [path, "start", "end", "goal"],
        loc="outside lower left",
        ncols=4,
        frameon=False,
        fontsize=8,
        handletextpad=0.4,
        columnspacing=1.4,
    )
