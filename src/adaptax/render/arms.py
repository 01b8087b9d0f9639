"""Bandits: which arm was pulled when, and what it paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.style import GRID, PALETTE, SOFT
from ..report.trajectories import GOAL
from .animation import Moving, Picture, Shot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Task = Mapping[str, Any]


def bandit(task: Task) -> Picture:
    return _arms(np.asarray(task["probabilities"]), "its chance to pay", "filled: it paid")


def gaussian_bandit(task: Task) -> Picture:
    return _arms(np.asarray(task["means"]), "what it pays on average", "darker: it paid more")


def _arms(values: np.ndarray, pays: str, note: str) -> Picture:
    """One row for each arm, the best one at the top; `values` [A] are what they pay on average."""
    order = np.argsort(-values)
    row_of = np.empty(len(values), int)
    row_of[order] = np.arange(len(values))

    def draw(axes: Axes, shot: Shot, shots: Sequence[Shot]) -> Moving:
        path = shot.paths[0]
        rows, rewards = row_of[np.asarray(path.actions, int)], np.asarray(path.rewards, np.float64)
        pulls = len(rows)
        axes.set(xlim=(0.3, pulls + 0.7), ylim=(len(values) - 0.5, -0.5), xlabel="")
        axes.set_yticks(range(len(values)), [f"{values[k]:.2f}" for k in order], fontsize=8)
        axes.set_ylabel(f"arm, by {pays}", fontsize=8, color=SOFT)
        axes.set_xticks([])
        axes.axhspan(-0.5, 0.5, color=GOAL, alpha=0.12, linewidth=0)
        for row in range(len(values)):
            axes.axhline(row, color=GRID, linewidth=0.7, zorder=1)
        size = float(np.clip(900 / pulls, 8, 60))
        low, high = float(min(rewards.min(), 0.0)), float(max(rewards.max(), 1e-6))
        shade = (rewards - low) / (high - low)
        points = np.stack([np.arange(1, pulls + 1), rows], 1)
        dots = axes.scatter(*points.T, s=size, c=shade, cmap="Blues", vmin=0, vmax=1, edgecolors=PALETTE[0], zorder=3)

        def advance(step: int) -> None:
            dots.set_offsets(points[:step])
            dots.set_array(shade[:step])

        return Moving([dots], advance)

    return Picture(draw, aspect=2.0, note=note, streams=1)
