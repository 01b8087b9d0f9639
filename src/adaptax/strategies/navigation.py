"""Reference strategies for 2-D navigation, dense and sparse: random actions, and walking to a known goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import jax
import jax.numpy as jnp

from adaptax.types import Array, Decision, Key, Params, Rollout, Spec, Timestep, check_range


def action_edge(spec: Spec) -> Array:
    """The upper edge of the action box, which is symmetric: float32 [2]."""
    box = spec.action_space
    assert isinstance(box, gymnasium.spaces.Box)
    return jnp.asarray(box.high, jnp.float32)


@dataclass(frozen=True)
class RandomMoves:
    """Independent normal actions in the agent's units, clipped by the environment: `scale` in half-widths of
    the action box. Scale 1 is the untrained Gaussian policy of MAML with its mean at zero."""

    spec: Spec
    scale: float = 1.0
    informed: ClassVar[bool] = False

    def begin(self, params: Params, key: Key, index: Array) -> tuple[()]:
        return ()

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: tuple[()], memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        edge = action_edge(self.spec)
        return Decision(self.scale * edge * jax.random.normal(key, edge.shape, jnp.float32)), ()

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted


@dataclass(frozen=True)
class KnownGoal:
    """Walks to the goal at full speed along each axis and stays: at every step no position is nearer to the
    goal.

    `params` is the task; `reach` is the environment's largest move along an axis, which the edge of the
    action box stands for.
    """

    spec: Spec
    reach: float = 0.1
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, index: Array) -> Array:
        return params.goal

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: Array, memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        action = jnp.clip((adapted - timestep.observation) / self.reach, -1.0, 1.0) * action_edge(self.spec)
        return Decision(action), ()

    def adapt(self, params: Params, adapted: Array, rollout: Rollout, key: Key) -> Array:
        return adapted


def random(spec: Spec, scale: float = 1.0) -> RandomMoves:
    """Independent normal actions of standard deviation `scale` half-widths of the action box."""
    check_range("scale", scale, 0.0)
    return RandomMoves(spec, scale)


def known_goal(spec: Spec) -> KnownGoal:
    """The shortest way to a known goal: what no learner can exceed."""
    return KnownGoal(spec)


STRATEGIES = {"random": random, "known-goal": known_goal}
