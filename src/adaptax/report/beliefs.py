"""What an agent expects of every place of a grid while it explores: tasks down, steps of a trial across; of a wide
grid the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .records import Evaluation
from .style import INK, PALETTE, new_figure, styled
from .trajectories import Floats, drawable, goals_of, number_goals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TASKS, IN_FIRST, LATER = 3, 7, 2  # tasks, steps of the first episode, and episodes after it of which the last step


def beliefs(evaluation: Evaluation, label: str = "", tasks: tuple[int, ...] = ()) -> Figure | None:
    """The first seed's expectations in the first stream, for `tasks` or the first few; None unless they were kept and
    the observations are places of a grid."""
    corner = _corner(evaluation)
    if evaluation.beliefs is None or corner is None:
        return None
    rows = tasks or tuple(range(min(TASKS, evaluation.beliefs.shape[1])))
    maps = evaluation.beliefs[0, :, 0, 0]  # [n, T, X, Y]
    across, along = maps.shape[2:]
    shown = shown_steps(_first(evaluation, rows[0]))
    with styled():
        figure, placed = _panels(len(rows), len(shown), along / across)
        panels = placed if placed.shape == (len(rows), len(shown)) else placed.T
        for row, task in enumerate(rows):
            for column, step in enumerate(shown):
                image = panels[row, column].imshow(
                    maps[task, step].T,
                    origin="lower",
                    extent=(corner[0], corner[0] + across, corner[1], corner[1] + along),
                    cmap="Blues",
                    vmin=min(0.0, float(maps.min())),
                    vmax=max(float(maps.max()), 1e-6),
                )
                _path(panels[row, column], evaluation, task, step)
        names = [f"task {task + 1}" for task in rows], [_when(evaluation, rows[0], step) for step in shown]
        _name(placed, *(names if panels is placed else names[::-1]))
        bar = figure.colorbar(image, ax=placed, shrink=0.85, pad=0.01, aspect=16)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7.5, length=2)
        mark = "star: the goal" if len(goals_of(evaluation, rows[0])) == 1 else "numbers: the goals in their order"
        title = f"{label or evaluation.algorithm}: expected reward, or chance of one, by place ({mark})"
        figure.suptitle(title, x=0.01, ha="left", fontsize=9, fontweight="bold")
    return figure


def shown_steps(first: np.ndarray) -> tuple[int, ...]:
    """Steps of a trial whose episodes begin where `first` [T] is true: some of the first episode, evenly, then the last
    ones of the episodes after it."""
    begins = [*np.flatnonzero(first).tolist(), len(first)]
    early = np.unique(np.linspace(0, begins[1] - 1, IN_FIRST).round().astype(int)).tolist()
    return (*early, *(end - 1 for end in begins[2 : 2 + LATER]))


def _corner(evaluation: Evaluation) -> Floats | None:
    """The lower left corner of the maps [2]; None where there are none, or paths leave them: older files do not say
    which place the first of a map is, and it is then taken for (0, 0)."""
    if evaluation.beliefs is None or evaluation.trajectories is None or not drawable(evaluation):
        return None
    lowest = np.zeros(2) if evaluation.beliefs_lowest is None else evaluation.beliefs_lowest
    places = evaluation.trajectories[..., :2]
    inside = (places >= lowest) & (places < lowest + evaluation.beliefs.shape[-2:])
    return lowest - 0.5 if inside.all() else None


def _panels(tasks: int, steps: int, ratio: float) -> tuple[Figure, NDArray[np.object_]]:
    """Axes for maps whose height is `ratio` times their width, as they stand: [tasks, steps], or [steps, tasks]."""
    wide = ratio < 0.5
    rows, columns, width = (steps, tasks, 2.4) if wide else (tasks, steps, 1.02)
    height = width * ratio + 0.1 if wide else 1.0
    figure = new_figure(0.6 * (1 + wide) + width * columns, 0.8 + height * rows)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _name(placed: NDArray[np.object_], left: Sequence[str], above: Sequence[str]) -> None:
    """Names of the rows and columns of axes [rows, columns]; those of two lines are times, and stay upright."""
    for axes, text in zip(placed[:, 0], left, strict=True):
        upright = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 8} if "\n" in text else {}
        axes.set_ylabel(text, **upright)
    for axes, text in zip(placed[0], above, strict=True):
        axes.set_title(text, fontsize=8, weight="normal", loc="center", pad=4)


def _when(evaluation: Evaluation, task: int, step: int) -> str:
    begins = np.flatnonzero(_first(evaluation, task)[: step + 1])
    return f"episode {len(begins)}\nstep {step - int(begins[-1])}"


def _first(evaluation: Evaluation, task: int) -> np.ndarray:
    assert evaluation.trajectories_first is not None
    first = evaluation.trajectories_first[0, task, 0, 0].copy()
    first[0] = True
    return first


def _path(axes: Axes, evaluation: Evaluation, task: int, step: int) -> None:
    """This episode's path up to `step`, and the goals."""
    assert evaluation.trajectories is not None
    begun = int(np.flatnonzero(_first(evaluation, task)[: step + 1])[-1])
    path = evaluation.trajectories[0, task, 0, 0, begun : step + 1, :2]
    axes.plot(path[:, 0], path[:, 1], color=PALETTE[1], linewidth=1.4)
    axes.plot(*path[-1], "o", color=PALETTE[1], markersize=4)
    goals = goals_of(evaluation, task)
    if len(goals) == 1:
        axes.plot(*goals[0], "*", color=INK, markersize=8)
    else:
        number_goals(axes, goals)
    axes.set(xticks=[], yticks=[])
