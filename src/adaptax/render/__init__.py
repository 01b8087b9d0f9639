"""Animations of what agents did: drawn from plain arrays, without JAX.

A benchmark's `picture` says how its tasks are drawn: a function of a task's fields by name that returns a
`animation.Picture`. An environment that offers `frame(task, state)` draws itself (`image`).
"""

from .animation import Path, Picture, Shot, animate
from .write import check_writable, write

__all__ = ["Path", "Picture", "Shot", "animate", "check_writable", "write"]
