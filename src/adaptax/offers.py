"""What an agent, or `Streams`, may offer besides its protocol: it is asked for by `isinstance`, and never required.

From Python 3.12 on `isinstance` sees only what an object or its class holds, and nothing that `__getattr__` would
answer. So what stands for another agent (`run.deterministic`) has each method written out.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from .types import Agent, Array, EnvState, Key, Params, Task


@runtime_checkable
class Informed(Protocol):
    """An agent that may be told the task, as reference strategies that bound the others are."""

    @property
    def informed(self) -> bool:
        """Whether the task is given to it in place of params."""
        ...


@runtime_checkable
class RestrictsStreams(Protocol):
    """`Streams` whose spec is `masked`."""

    def allowed_streams(self, tasks: Task, states: EnvState) -> Array:
        """`Restricts.allowed` over the whole batch: bool [N, B, n]."""
        ...


@runtime_checkable
class Believing(Protocol):
    """An agent that can tell what it believes, for pictures of tasks on a grid."""

    def believed(self, params: Params, extras: Any, key: Key) -> Array | None:
        """What it expected of every place of a grid when it made the decisions with these `extras` [...]: [..., H, W].
        None: there is nothing to tell."""
        ...


def is_informed(agent: Agent) -> bool:
    """Whether each task is given to `agent` in place of params."""
    return isinstance(agent, Informed) and agent.informed


def beliefs_of(agent: Agent, params: Params, extras: Any, key: Key) -> Array | None:
    """What `agent` believed (`Believing.believed`), or None if it does not tell."""
    return agent.believed(params, extras, key) if isinstance(agent, Believing) else None
