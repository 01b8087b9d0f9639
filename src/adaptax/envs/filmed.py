"""What an environment offers that can show itself, but has to prepare for it, or to be watched while it acts.

Such an environment has `filmed(task)`, which returns a `Filmed` before anything is lived, and raises a `UserError` if
there can be no pictures. One whose states hold all that is seen needs no more than `frame(task, state)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..types import EnvState, Task


class Filmed(NamedTuple):
    environment: Any
    """In which the agent lives while it is filmed."""
    frame: Callable[[Any], Any]
    """Shows one stream in a state of `environment`, as NumPy arrays: uint8 [H, W, 3]."""
    note: str = ""
    """What the task is, and what the marks in a frame mean."""


@runtime_checkable
class ShowsItself(Protocol):
    """An environment whose states hold all that is seen."""

    def frame(self, task: Task, state: EnvState) -> Any:
        """The picture of a state of one stream, as NumPy arrays: uint8 [H, W, 3]."""
        ...


@runtime_checkable
class CanBeFilmed(Protocol):
    """An environment that has to prepare for being seen."""

    def filmed(self, task: Task) -> Filmed:
        """How it is seen on `task`; raises a `UserError` if there can be no pictures."""
        ...
