"""A tabular process as a table of its mean rewards, states down and actions across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.style import INK
from ..report.trajectories import GOAL
from .animation import Moving, Picture, Shot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def tabular_mdp(task: Mapping[str, Any]) -> Picture:
    rewards = np.asarray(task["rewards"])
    states, actions = rewards.shape

    def draw(axes: Axes, shot: Shot, shots: Sequence[Shot]) -> Moving:
        path = shot.paths[0]
        places = np.stack([np.asarray(path.actions, int), np.asarray(path.observations[:-1], int)], 1)
        axes.imshow(rewards, cmap="Blues", aspect="auto", zorder=1)
        axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
        axes.set_ylabel("state", fontsize=8)
        axes.text(1.0, -0.04, "action", transform=axes.transAxes, va="top", ha="right", fontsize=8)
        (line,) = axes.plot([], [], color=INK, linewidth=0.8, alpha=0.5, zorder=3)
        (head,) = axes.plot([], [], "o", color=GOAL, markersize=8, markeredgecolor="white", zorder=4)

        def advance(step: int) -> None:
            line.set_data(*places[:step].T)
            head.set_data(*places[max(step - 1, 0) : step].T)

        return Moving([line, head], advance)

    note = "blue: the mean reward of an action in a state"
    return Picture(draw, aspect=max(actions / states, 0.5), note=note, streams=1)
