"""Reference strategies for multi-stage rooms: random, and known goals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep


@dataclass(frozen=True)
class KnownGoals:
    """Walks to the three goals, which it knows (`params` is the task), one after the other, and stays on the last.

    No agent collects more: every way is a shortest one, and where one from goal 2 to goal 3 leads over goal 1, which
    pays again, that is the one taken. Its memory is how many of goals 1 and 2 it has reached.
    """

    spec: Spec
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Array:
        return params.goals

    def start(self, params: Params) -> Array:
        return jnp.zeros((), jnp.int32)

    def act(
        self, params: Params, adapted: Array, memory: Array, timestep: Timestep, key: Key
    ) -> tuple[Decision, Array]:
        position = timestep.observation
        reached = jnp.where(timestep.first, 0, memory)
        on = jnp.all(position == adapted, axis=1)
        reached = reached + (on[0] & (reached == 0)) + (on[1] & (reached == 1))
        goal = adapted[reached]
        # Corridors are along y = 0. In the goal's room, whose middle is at x = −6, 0 or 6, along y first: a goal 1 on
        # the way across the middle room is then passed.
        middle = 6.0 * jnp.round(goal[0] / 6.0)
        row = jnp.where(jnp.abs(position[0] - middle) <= 1, goal[1], 0.0)
        along_y = jnp.where(position[1] < row, 1, 3)
        along_x = jnp.where(position[0] < goal[0], 2, jnp.where(position[0] > goal[0], 4, 0))
        action = jnp.where(position[1] != row, along_y, along_x)
        return Decision(action.astype(jnp.int32)), reached.astype(jnp.int32)

    def adapt(self, params: Params, adapted: Array, rollout: Rollout, key: Key) -> Array:
        return adapted
