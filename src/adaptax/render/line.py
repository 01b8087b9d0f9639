"""A position on the line, against the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.trajectories import GOAL, PATHS
from .animation import Moving, Picture, Shot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EDGE = 2.0  # of the line on which `toy-1d` takes place


def toy(task: Mapping[str, Any]) -> Picture:
    def draw(axes: Axes, shot: Shot, shots: Sequence[Shot]) -> Moving:
        longest = max(one.steps for one in shots)
        axes.set(xlim=(-0.2, longest + 0.2), ylim=(-1.05 * EDGE, 1.05 * EDGE), xticks=[], yticks=[-2, -1, 0, 1, 2])
        axes.tick_params(labelsize=7.5, length=2)
        axes.axhline(float(task["goal"]), color=GOAL, linewidth=1.5, linestyle=(0, (4, 2)))
        lines = [axes.plot([], [], "o-", color=c, markersize=3.5)[0] for c in PATHS[: len(shot.paths)]]
        places = [np.asarray(path.observations)[:, 0] for path in shot.paths]

        def advance(step: int) -> None:
            for line, place in zip(lines, places, strict=True):
                shown = place[: step + 1]
                line.set_data(np.arange(len(shown)), shown)

        return Moving(lines, advance)

    return Picture(draw, note="dashed: the goal, which the agent is not told")
