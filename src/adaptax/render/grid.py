"""Walks over the cells of a grid, and what the agent believes of every cell, where it says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.style import GRID, INK, PALETTE
from ..report.trajectories import GOAL, PATHS
from .animation import Moving, Picture, Shot

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

ON_BLUE = PALETTE[5]  # a path over beliefs

Task = Mapping[str, Any]
Cells = Sequence[tuple[int, int]]


def gridnavi(task: Task) -> Picture:
    return _grid([(x, y) for x in range(5) for y in range(5)], [task["goal"]])


def rooms(task: Task) -> Picture:
    cells = [(x, y) for x in range(-7, 8) for y in (-1, 0, 1) if y == 0 or not 2 <= abs(x) <= 4]
    return _grid(cells, list(task["goals"]))


def _grid(cells: Cells, goals: Sequence[Any]) -> Picture:
    """Several goals are numbered, in the order in which they have to be reached."""
    places = np.asarray(cells)
    low, high = places.min(0) - 0.5, places.max(0) + 0.5
    span = [(int(a), int(b) + 1) for a, b in zip(places.min(0), places.max(0), strict=True)]

    def draw(axes: Axes, shot: Shot, shots: Sequence[Shot]) -> Moving:
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
        axes.axis("off")
        walls = sorted({(x, y) for x in range(*span[0]) for y in range(*span[1])} - set(cells))
        above = _cells(axes, cells, walls, goals)  # drawn again in every frame, for beliefs lie under them
        believed = shot.paths[0].beliefs is not None
        moving = [_belief(axes, shot.paths[0].beliefs, low, high, shots)] if believed else []
        colours = (ON_BLUE,) if believed else PATHS
        moving += [_walk(axes, path.observations, k, len(shot.paths), colours[k]) for k, path in enumerate(shot.paths)]

        def advance(step: int) -> None:
            for part in moving:
                part.advance(step)

        return Moving([*above, *(artist for part in moving for artist in part.artists)], advance)

    note = "frame: the goal, which the agent is not told" if len(goals) == 1 else "frames: the goals in their order"
    return Picture(draw, aspect=float((high - low)[0] / (high - low)[1]), note=note)


def _cells(axes: Axes, cells: Cells, walls: Cells, goals: Sequence[Any]) -> list[Artist]:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    squares, solid = ([Rectangle((x - 0.5, y - 0.5), 1, 1) for x, y in places] for places in (cells, walls))
    blank = PatchCollection(solid, color="white", zorder=2)
    lines = PatchCollection(squares, facecolor="none", edgecolor=GRID, linewidth=1.0, zorder=3)
    frames = [Rectangle((float(x) - 0.46, float(y) - 0.46), 0.92, 0.92) for x, y in goals]
    marks = PatchCollection(frames, facecolor="none", edgecolor=GOAL, linewidth=2.0, zorder=4)
    style = {"color": GOAL, "fontsize": 8, "va": "top", "fontweight": "bold", "zorder": 4}
    style["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    numbers = [axes.text(x - 0.39, y + 0.37, str(k + 1), **style) for k, (x, y) in enumerate(goals)]
    patches = [axes.add_collection(part) for part in (blank, lines, marks)]
    return [*patches, *(numbers if len(goals) > 1 else [])]


def _belief(axes: Axes, beliefs: Any, low: Any, high: Any, shots: Sequence[Shot]) -> Moving:
    """Shades of blue, the same for all panels."""
    every = [path.beliefs for shot in shots for path in shot.paths if path.beliefs is not None]
    bounds = min(0.0, *(float(b.min()) for b in every)), max(1e-6, *(float(b.max()) for b in every))
    extent = (low[0], high[0], low[1], high[1])
    image = axes.imshow(
        beliefs[0].T, origin="lower", cmap="Blues", vmin=bounds[0], vmax=bounds[1], extent=extent, zorder=1
    )

    def advance(step: int) -> None:
        image.set_data(beliefs[min(step, len(beliefs) - 1)].T)

    return Moving([image], advance)


def _walk(axes: Axes, observations: Any, number: int, count: int, colour: str) -> Moving:
    """Streams walk over the same cells: side by side they can be told apart."""
    aside = 0.15 * (number - (count - 1) / 2)
    place = np.asarray(observations)[:, :2] + aside
    (line,) = axes.plot([], [], color=colour, linewidth=1.6, alpha=0.8, zorder=5)
    (head,) = axes.plot([], [], "o", color=colour, markersize=8, markeredgecolor=INK, markeredgewidth=0.8, zorder=6)

    def advance(step: int) -> None:
        line.set_data(*place[: step + 1].T)
        head.set_data(*place[min(step, len(place) - 1)][:, None])

    return Moving([line, head], advance)
