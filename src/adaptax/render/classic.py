"""Gymnasium's cart with a pole, and its pendulum, drawn from what is observed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.style import INK, PALE, PALETTE
from .animation import Moving, Picture, Shot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRACK = 2.4  # where an episode ends, on either side


def cart_pole(task: Mapping[str, Any]) -> Picture:
    length = 2 * float(task["length"])  # a task says half of it
    motor = "the right" if float(task["force"]) > 0 else "the left"

    def draw(axes: Axes, shot: Shot, shots: Sequence[Shot]) -> Moving:
        axes.set(xlim=(-1.1 * TRACK, 1.1 * TRACK), ylim=(-0.5, 2.2), aspect="equal", xticks=[], yticks=[])
        axes.axis("off")
        axes.axhline(0.0, color=PALE, linewidth=1.0, zorder=1)
        seen = np.asarray(shot.paths[0].observations)
        (cart,) = axes.plot([], [], "s", color=INK, markersize=11, zorder=3)
        (pole,) = axes.plot([], [], color=PALETTE[1], linewidth=3.5, zorder=4)

        def advance(step: int) -> None:
            place, _, angle, _ = seen[min(step, len(seen) - 1)]
            cart.set_data([place], [0.0])
            pole.set_data([place, place + length * np.sin(angle)], [0.0, length * np.cos(angle)])

        return Moving([cart, pole], advance)

    return Picture(draw, aspect=1.9, note=f"action 1 pulls to {motor}, which the agent is not told", streams=1)


def pendulum(task: Mapping[str, Any]) -> Picture:
    length = float(task["length"])

    def draw(axes: Axes, shot: Shot, shots: Sequence[Shot]) -> Moving:
        axes.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), aspect="equal", xticks=[], yticks=[])
        axes.axis("off")
        seen = np.asarray(shot.paths[0].observations)
        axes.plot(0, 0, "o", color=INK, markersize=5, zorder=3)
        (rod,) = axes.plot([], [], "-o", color=PALETTE[1], linewidth=4, markersize=7, markevery=[1], zorder=2)

        def advance(step: int) -> None:
            upright, right, _ = seen[min(step, len(seen) - 1)]
            rod.set_data([0.0, -length * right], [0.0, length * upright])  # angles count counter-clockwise

        return Moving([rod], advance)

    note = f"length {length:.2f} m, mass {float(task['mass']):.2f} kg, gravity {float(task['gravity']):.1f} m/s²"
    return Picture(draw, note=note, streams=1)
