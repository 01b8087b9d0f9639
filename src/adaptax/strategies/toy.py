"""Reference strategies for the 1-D toy: random actions, and a known goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from adaptax.ranges import check_range
from adaptax.strategies.navigation import RandomMoves, action_edge
from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep


@dataclass(frozen=True)
class KnownGoal:
    """Plays the goal, which it knows (`params` is the task): 1 in every step, and no learner can exceed it."""

    spec: Spec
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Array:
        return params.goal

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: Array, memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        return Decision(jnp.reshape(adapted, (1,))), ()

    def adapt(self, params: Params, adapted: Array, rollout: Rollout, key: Key) -> Array:
        return adapted


def random(spec: Spec, deviation: float = 1.0) -> RandomMoves:
    """Normal actions of standard deviation `deviation` ≥ 0: with 1, the published policy at θ = 0."""
    check_range("deviation", deviation, 0.0)
    return RandomMoves(spec, deviation / float(action_edge(spec)[0]))
