"""Environments that draw themselves: what their `frame` shows of the first stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report import ReportError
from .animation import Frame, Moving, Picture, Shot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def images(first: Any, note: str = "") -> Picture:
    """`first` is one frame, which gives the size of all; `note` says what they show."""
    height, width, _ = checked(first).shape

    def draw(axes: Axes, shot: Shot, shots: Sequence[Shot]) -> Moving:
        path = shot.paths[0]
        frame, last = path.frame, len(path.observations) - 1
        assert frame is not None
        axes.axis("off")
        image = axes.imshow(np.zeros((height, width, 3), np.uint8))

        def advance(step: int) -> None:
            image.set_data(checked(frame(min(step, last))))

        return Moving([image], advance)

    return Picture(draw, aspect=width / height, flat=False, note=note, streams=1)


def checked(frame: Any) -> Frame:
    """Raises a `ReportError` unless it is an array of bytes [H, W, 3]."""
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise ReportError(
            f"the environment's frame returned {frame.dtype} {list(frame.shape)}; it must be uint8 [height, width, 3]"
        )
    return frame
