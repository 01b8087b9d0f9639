"""What an agent expects of every place of a grid while it explores: tasks down, steps of a trial across."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .records import Evaluation
from .style import INK, PALETTE, new_figure, styled
from .trajectories import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TASKS, IN_FIRST, LATER = 3, 7, 2  # tasks, steps of the first episode, and episodes after it of which the last step


def beliefs(evaluation: Evaluation, label: str = "", tasks: tuple[int, ...] = ()) -> Figure | None:
    """The first seed's expectations in the first stream, for `tasks` or the first few; None unless they were kept and
    the observations are places of a grid."""
    if evaluation.beliefs is None or not drawable(evaluation):
        return None
    rows = tasks or tuple(range(min(TASKS, evaluation.beliefs.shape[1])))
    maps = evaluation.beliefs[0, :, 0, 0]  # [n, T, H, W]
    shown = shown_steps(_first(evaluation, rows[0]))
    low, high = min(0.0, float(maps.min())), max(float(maps.max()), 1e-6)
    with styled():
        figure = new_figure(0.6 + 1.02 * len(shown), 0.8 + 1.0 * len(rows))
        grid = figure.subplots(len(rows), len(shown), squeeze=False)
        for row, task in enumerate(rows):
            first = _first(evaluation, task)
            episode = np.cumsum(first) - 1
            for column, step in enumerate(shown):
                axes = grid[row, column]
                image = axes.imshow(maps[task, step].T, origin="lower", cmap="Blues", vmin=low, vmax=high)
                begun = int(np.flatnonzero(first[: step + 1])[-1])
                _path(axes, evaluation, task, begun, step)
                if row == 0:
                    title = f"episode {episode[step] + 1}\nstep {step - begun}"
                    axes.set_title(title, fontsize=8, weight="normal", loc="center", pad=4)
            grid[row, 0].set_ylabel(f"task {task + 1}")
        bar = figure.colorbar(image, ax=grid, shrink=0.85, pad=0.01, aspect=16)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7.5, length=2)
        title = f"{label or evaluation.algorithm}: expected reward, or chance of one, by place (star: the goal)"
        figure.suptitle(title, x=0.01, ha="left", fontsize=9, fontweight="bold")
    return figure


def shown_steps(first: np.ndarray) -> tuple[int, ...]:
    """Steps of a trial whose episodes begin where `first` [T] is true: some of the first episode, evenly, then the last
    ones of the episodes after it."""
    begins = [*np.flatnonzero(first).tolist(), len(first)]
    early = np.unique(np.linspace(0, begins[1] - 1, IN_FIRST).round().astype(int)).tolist()
    return (*early, *(end - 1 for end in begins[2 : 2 + LATER]))


def _first(evaluation: Evaluation, task: int) -> np.ndarray:
    assert evaluation.trajectories_first is not None
    first = evaluation.trajectories_first[0, task, 0, 0].copy()
    first[0] = True
    return first


def _path(axes: Axes, evaluation: Evaluation, task: int, begun: int, step: int) -> None:
    """This episode's path up to `step`, and the goal."""
    assert evaluation.trajectories is not None
    path = evaluation.trajectories[0, task, 0, 0, begun : step + 1, :2]
    axes.plot(path[:, 0], path[:, 1], color=PALETTE[1], linewidth=1.4)
    axes.plot(*path[-1], "o", color=PALETTE[1], markersize=4)
    axes.plot(*evaluation.task["goal"][task], "*", color=INK, markersize=8)
    axes.set(xticks=[], yticks=[])
