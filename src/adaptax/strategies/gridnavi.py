"""Reference strategies for GridNavi: random, known goal, posterior sampling, and the Bayes-optimal agent.

Positions are (x, y) float32 [2]; actions are stay, up, right, down, left. A goal is learned of by its reward
alone: the step that ended on it paid more than zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep

CELLS = 5
CANDIDATES = np.asarray([(x, y) for x in range(CELLS) for y in range(CELLS) if x > 1 or y > 1], np.float32)

# The first episode looks at a new candidate in every step from the second on. The seven that are left lie on
# one shortest path, the second route, so that a goal found there is found no later than if it had been known.
# Cells (x, y) after each step; found by hand, and its optimality (4.000, then full information) is tested.
FIRST_ROUTE = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (1, 3), (1, 2), (2, 2), (2, 1), (3, 1), (3, 2), (3, 3)]
FIRST_ROUTE += [(2, 3), (2, 4), (3, 4)]
SECOND_ROUTE = [(1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (4, 3)] + [(4, 4)] * 8
ROUTES = np.asarray([FIRST_ROUTE, SECOND_ROUTE], np.float32)  # [2, 15, 2]


def towards(position: Array, target: Array, x_first: Array | bool = True) -> Array:
    """The action of a shortest path, which moves along x first or along y first: int32 []."""
    offset = target - position
    along_x = jnp.where(offset[0] > 0, 2, 4)
    along_y = jnp.where(offset[1] > 0, 1, jnp.where(offset[1] < 0, 3, 0))
    use_x = (offset[0] != 0) & (x_first | (offset[1] == 0))
    return jnp.where(use_x, along_x, along_y).astype(jnp.int32)


def after(position: Array, action: Array) -> Array:
    """The cell that `action` leads to: float32 [2]."""
    right = (action == 2).astype(jnp.float32) - (action == 4)
    up = (action == 1).astype(jnp.float32) - (action == 3)
    return jnp.clip(position + jnp.stack([right, up]), 0.0, CELLS - 1.0)


class Search(NamedTuple):
    """What a searching agent remembers of a stream."""

    cell: Array  # float32 [2]; where the last action led: after a reset the observation no longer says
    goal: Array  # float32 [2]; the goal, once found; until then where this episode looks for it
    found: Array  # bool []
    possible: Array  # bool [21]; candidates not yet seen to pay nothing
    episode: Array  # int32 []; episodes begun
    step: Array  # int32 []; within the episode


def _nothing_seen() -> Search:
    zero = jnp.zeros((), jnp.int32)
    start = jnp.zeros((2,), jnp.float32)
    return Search(start, start, jnp.zeros((), jnp.bool_), jnp.ones((len(CANDIDATES),), jnp.bool_), zero, zero)


def _look(memory: Search, timestep: Timestep) -> Search:
    """Take in what the last step paid."""
    # At the start of a stream the cell is (0, 0), no candidate, and the reward zero: nothing changes.
    paid = timestep.reward > 0
    here = jnp.all(jnp.asarray(CANDIDATES) == memory.cell, axis=1)
    return memory._replace(
        goal=jnp.where(paid, memory.cell, memory.goal),
        found=memory.found | paid,
        possible=memory.possible & (~here | paid),
        episode=memory.episode + timestep.first.astype(jnp.int32),
        step=jnp.where(timestep.first, jnp.zeros((), jnp.int32), memory.step),
    )


def _move(memory: Search, position: Array, action: Array) -> tuple[Decision, Search]:
    return Decision(action), memory._replace(cell=after(position, action), step=memory.step + 1)


@dataclass(frozen=True)
class KnownGoal:
    """Walks to the goal, which it knows (`params` is the task), and stays."""

    spec: Spec
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Array:
        return params.goal

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: Array, memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        return Decision(towards(timestep.observation, adapted)), ()

    def adapt(self, params: Params, adapted: Array, rollout: Rollout, key: Key) -> Array:
        return adapted


@dataclass(frozen=True)
class PosteriorSampling:
    """Draws a goal among those still possible when an episode starts, walks there by a random shortest path,
    and stays; exploits the true goal once it is found. About 0.5, 2.3, 3.8, 5.2, … per episode."""

    spec: Spec
    informed: ClassVar[bool] = False

    def begin(self, params: Params, key: Key, birth: Birth) -> tuple[()]:
        return ()

    def start(self, params: Params) -> Search:
        return _nothing_seen()

    def act(
        self, params: Params, adapted: tuple[()], memory: Search, timestep: Timestep, key: Key
    ) -> tuple[Decision, Search]:
        memory = _look(memory, timestep)
        # One block of uniforms ranks the candidates and picks the axis to move along.
        draw = jax.random.uniform(key, (len(CANDIDATES) + 1,), jnp.float32)
        drawn = jnp.asarray(CANDIDATES)[jnp.argmax(jnp.where(memory.possible, draw[1:], -1.0))]
        memory = memory._replace(goal=jnp.where(timestep.first & ~memory.found, drawn, memory.goal))
        action = towards(timestep.observation, memory.goal, draw[0] < 0.5)
        return _move(memory, timestep.observation, action)

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted


@dataclass(frozen=True)
class BayesOptimal:
    """Searches along two fixed routes, one for each of the first episodes, until the goal is found.

    Optimal for a goal that is uniform over all 21 candidates and for episodes of 15 steps.
    """

    spec: Spec
    informed: ClassVar[bool] = False

    def begin(self, params: Params, key: Key, birth: Birth) -> tuple[()]:
        return ()

    def start(self, params: Params) -> Search:
        return _nothing_seen()

    def act(
        self, params: Params, adapted: tuple[()], memory: Search, timestep: Timestep, key: Key
    ) -> tuple[Decision, Search]:
        memory = _look(memory, timestep)
        route = jnp.asarray(ROUTES)[jnp.clip(memory.episode - 1, 0, 1)]
        waypoint = route[jnp.minimum(memory.step, ROUTES.shape[1] - 1)]
        target = jnp.where(memory.found, memory.goal, waypoint)
        return _move(memory, timestep.observation, towards(timestep.observation, target))

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted
