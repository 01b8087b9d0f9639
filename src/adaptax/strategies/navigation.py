"""Reference strategies for points in the plane: random actions, posterior sampling over the half circle of
`sparse-navigation`, and walking to a known goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.ranges import check_range
from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep


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

    def begin(self, params: Params, key: Key, birth: Birth) -> tuple[()]:
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
    """Walks to the goal, which it knows, at full speed along each axis and stays: at every step no position is nearer
    to the goal.

    `params` is the task; `reach` is the environment's largest move along an axis, which the edge of the
    action box stands for. The first two entries of an observation are the position.
    """

    spec: Spec
    reach: float
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Array:
        return params.goal

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: Array, memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        action = jnp.clip((adapted - timestep.observation[:2]) / self.reach, -1.0, 1.0) * action_edge(self.spec)
        return Decision(action), ()

    def adapt(self, params: Params, adapted: Array, rollout: Rollout, key: Key) -> Array:
        return adapted


ANGLES = np.linspace(0.0, np.pi, 400)
HALF_CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)  # what is drawn from
NEAREST = 0.01  # how much worse than the best a goal may fit what was perceived; they lie 0.008 apart


class Search(NamedTuple):
    """What the search remembers: by how much each goal of `HALF_CIRCLE` contradicts what was perceived, at worst; where
    the last move led; and the goal of this episode."""

    misfit: Array  # float32 [400]
    reached: Array  # float32 [2]
    goal: Array  # float32 [2]


@dataclass(frozen=True)
class PosteriorSampling:
    """Draws one of the goals that are still possible when an episode starts, evenly, and walks there: Thompson
    sampling with the exact belief, which rules out what was searched in vain. A reward, dense or sparse, tells the
    distance: a goal that was found may be one of two until the next episode.

    `reach` is as in `KnownGoal`; nothing is paid further than `radius` from the goal.
    """

    spec: Spec
    reach: float
    radius: float
    informed: ClassVar[bool] = False

    def begin(self, params: Params, key: Key, birth: Birth) -> tuple[()]:
        return ()

    def start(self, params: Params) -> Search:
        # Nowhere yet: so far away that no reward there contradicts a goal.
        nowhere = jnp.full((2,), 1e3, jnp.float32)
        return Search(jnp.zeros((len(HALF_CIRCLE),), jnp.float32), nowhere, jnp.zeros((2,), jnp.float32))

    def act(
        self, params: Params, adapted: tuple[()], memory: Search, timestep: Timestep, key: Key
    ) -> tuple[Decision, Search]:
        goals, reward = jnp.asarray(HALF_CIRCLE), timestep.reward
        distance = jnp.linalg.norm(goals - memory.reached, axis=-1)
        perceived = jnp.where(reward > 0.0, 1.0 - reward, -reward)
        misfit = jnp.where(reward == 0.0, jnp.maximum(self.radius - distance, 0.0), jnp.abs(distance - perceived))
        misfit = jnp.maximum(memory.misfit, misfit)
        draw = jax.random.uniform(key, misfit.shape, jnp.float32)
        drawn = goals[jnp.argmax(jnp.where(misfit <= misfit.min() + NEAREST, draw, -1.0))]
        goal = jnp.where(timestep.first, drawn, memory.goal)
        action = jnp.clip((goal - timestep.observation) / self.reach, -1.0, 1.0)
        following = Search(misfit, timestep.observation + self.reach * action, goal)
        return Decision(action * action_edge(self.spec)), following

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted


def random(spec: Spec, scale: float = 1.0) -> RandomMoves:
    """Independent normal actions of standard deviation `scale` half-widths of the action box."""
    check_range("scale", scale, 0.0)
    return RandomMoves(spec, scale)
