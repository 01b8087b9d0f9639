"""Points that move in the plane, towards a goal that they are not told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.style import INK, PALE
from ..report.trajectories import GOAL, PATHS
from .animation import Moving, Picture, Shot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Task = Mapping[str, Any]

SPARSE_RADIUS = 0.2  # of the disc in which `sparse-navigation` pays
CORNERS = ((-2, -2), (2, -2), (-2, 2), (2, 2))  # of `corner` and `momentum-corner`
TAIL = 12  # steps of a path that are drawn boldly; the older ones are pale
HILL, TOP, TREASURE = 0.5, 0.1, 0.1  # radii in `treasure`


def navigation(task: Task) -> Picture:
    return _plane(task, lambda axes: None)


def sparse_navigation(task: Task) -> Picture:
    return _plane(task, lambda axes: _disc(axes, task["goal"], SPARSE_RADIUS, GOAL))


def corner(task: Task) -> Picture:
    def others(axes: Axes) -> None:
        for place in CORNERS:
            axes.plot(*place, marker="*", color=PALE, markersize=10, markerfacecolor="white", zorder=2)

    return _plane(task, others, also=CORNERS)


def treasure(task: Task) -> Picture:
    def hill(axes: Axes) -> None:
        _disc(axes, (0, 0), HILL, PALE)
        _disc(axes, (0, 0), TOP, INK)
        _disc(axes, task["goal"], TREASURE, GOAL)

    return _plane(task, hill, also=((-1, -1), (1, 1)))._replace(
        note="star: the treasure, which is seen from the top of the hill"
    )


def _plane(task: Task, stands: Callable[[Axes], None], also: Sequence[Any] = ()) -> Picture:
    """`stands` draws what there is besides the goal; `also` are points that have to be in view."""

    def draw(axes: Axes, shot: Shot, shots: Sequence[Shot]) -> Moving:
        low, high = _view(shots, [task["goal"], *also])
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
        for side in ("top", "right"):
            axes.spines[side].set_visible(True)
        stands(axes)
        style = {"marker": "*", "color": GOAL, "markersize": 13, "markeredgecolor": "white", "markeredgewidth": 0.8}
        goal = axes.plot(*task["goal"], zorder=7, **style)  # among what moves, so that no path covers it
        places = [np.asarray(path.observations)[:, :2] for path in shot.paths]
        lines, tails, heads = [], [], []
        for k, place in enumerate(places):
            colour = PATHS[k % len(PATHS)]
            axes.plot(*place[0], "o", color=INK, markersize=3.5, markerfacecolor="white", zorder=3)
            lines += axes.plot([], [], color=colour, linewidth=0.8, alpha=0.35, zorder=4)
            tails += axes.plot([], [], color=colour, linewidth=1.5, alpha=0.9, zorder=5)
            heads += axes.plot([], [], "o", color=colour, markersize=5.5, markeredgecolor="white", zorder=6)

        def advance(step: int) -> None:
            for place, line, tail, head in zip(places, lines, tails, heads, strict=True):
                now = min(step, len(place) - 1)
                line.set_data(*place[: now + 1].T)
                tail.set_data(*place[max(now - TAIL, 0) : now + 1].T)
                head.set_data(*place[now][:, None])

        return Moving([*lines, *tails, *heads, *goal], advance)

    return Picture(draw, note="star: the goal, which the agent is not told")


def _disc(axes: Axes, centre: Any, radius: float, colour: str) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle(tuple(centre), radius, color=colour, alpha=0.18, linewidth=0, zorder=1))


def _view(shots: Sequence[Shot], also: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a square that holds all paths and the points of `also`."""
    points = [np.asarray(path.observations)[:, :2] for shot in shots for path in shot.paths]
    everything = np.concatenate([*points, np.asarray(also, np.float64)])
    low, high = everything.min(0), everything.max(0)
    centre, half = (low + high) / 2, 0.55 * max(float((high - low).max()), 1e-6)
    return centre - half, centre + half
