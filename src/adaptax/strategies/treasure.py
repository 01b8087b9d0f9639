"""Reference strategies for mountain treasure: random actions, and a known place of the treasure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from adaptax.strategies.navigation import random
from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep

REACH = 0.1  # the furthest move along an axis in one step


@dataclass(frozen=True)
class KnownTreasure:
    """Walks to the treasure, whose place it knows (`params` is the task), at full speed along each axis, and stays.

    It is there after the fewest steps. On the way it does not avoid the hill, which takes at most ½ a step: what an
    agent could collect is less than 5 more in an episode.
    """

    spec: Spec
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Array:
        return params.goal

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: Array, memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        return Decision(jnp.clip((adapted - timestep.observation[:2]) / REACH, -1.0, 1.0)), ()

    def adapt(self, params: Params, adapted: Array, rollout: Rollout, key: Key) -> Array:
        return adapted


STRATEGIES = {"random": random, "known-goal": KnownTreasure}
