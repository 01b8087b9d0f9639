"""2-D navigation with a dense reward (Finn et al. 2017, MAML; the authors' `point_env_randgoal.py`).

A point starts at the origin and moves by at most 0.1 along each axis; the goal is uniform on [−½, ½]² and is
not observed. The reward is −‖s' − g‖, and the episode terminates once both |s' − g| < 0.01.

The authors' agents act through a normalising wrapper: the policy's box is [−1, 1]², and
a_env = low + (a + 1)(high − low)/2, clipped to ±0.1. Code bases that leave the wrapper out (CAVIA,
pytorch-maml-rl: `scale_actions=False` here) need other learning rates, and their numbers do not compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.splits import NAMED, disjoint_splits, stamp_task
from adaptax.known import Published
from adaptax.ranges import check_range
from adaptax.tasks import TaskSet
from adaptax.types import Array, Benchmark, Key, Outcome, Spec

REACH = 0.1  # the furthest move along an axis in one step
TOLERANCE = 0.01  # the goal is reached when both coordinates are nearer than this
_SOURCE = "Finn et al. 2017, the authors' result files, 40 goals"


class NavigationTask(NamedTuple):
    """One goal."""

    goal: Array  # float32 [2]


@dataclass(frozen=True)
class Navigation:
    """The observation, and state, is the position: float32 [2]."""

    horizon: int
    scale_actions: bool

    @property
    def spec(self) -> Spec:
        bound = 1.0 if self.scale_actions else REACH
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        return Spec(observation_space, gymnasium.spaces.Box(-bound, bound, (2,), np.float32), self.horizon)

    def reset(self, task: NavigationTask, key: Key) -> tuple[Array, Array]:
        start = jnp.zeros((2,), jnp.float32)
        return start, start

    def step(self, task: NavigationTask, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        # With the symmetric box ±REACH, low + (a + 1)(high - low)/2 is REACH·a.
        move = jnp.clip(REACH * action if self.scale_actions else action, -REACH, REACH)
        position = state + move
        offset = position - task.goal
        reached = jnp.all(jnp.abs(offset) < TOLERANCE)
        reward = -jnp.sqrt(jnp.sum(offset * offset))
        return position, Outcome(position, reward, terminated=reached, success=reached)


def published_goals() -> np.ndarray:
    """The 40 test goals of the published evaluation, float32 [40, 2]: NumPy's old generator, seed 1."""
    return np.random.RandomState(1).uniform(-0.5, 0.5, (40, 2)).astype(np.float32)


def navigation(horizon: int = 100, scale_actions: bool = True) -> Benchmark:
    """Dense 2-D navigation, an episode of `horizon` steps; `scale_actions` is the published wrapper.

    The split "published" holds the 40 goals on which Finn et al. report (staying at the origin scores −40.08
    on them). They too are stamped, so that no training goal can equal one; the values move by less than 4e-7.
    """
    check_range("horizon", horizon, 1)
    from adaptax.render import plane as drawn
    from adaptax.strategies import navigation as strategies

    # Half-open at -1/2, so that the stamp cannot leave the square.
    low = np.nextafter(np.float32(-0.5), np.float32(0))

    def draw(key: Key) -> NavigationTask:
        return NavigationTask(jax.random.uniform(key, (2,), jnp.float32, minval=low, maxval=0.5))

    def published(split: str, protocol: Any) -> list[Published]:
        # 40 episodes of 100 steps on each of the 40 goals in a round.
        episodes = protocol.streams, protocol.episodes, protocol.tasks % 40
        if (split, *episodes, horizon) != ("published", 40, 1, 0, 100) or not scale_actions or protocol.deterministic:
            return []
        return [
            Published("MAML paper (TRPO)", _SOURCE, by_round=(-40.41, -11.68, -3.33, -3.23)),
            Published("oracle in the paper", _SOURCE, by_round=(-2.29,)),
        ]

    stamped = jax.vmap(lambda goal: stamp_task(NavigationTask(goal), NAMED))(jnp.asarray(published_goals()))
    return Benchmark(
        Navigation(horizon, scale_actions),
        *disjoint_splits(draw),
        named={"published": TaskSet(stamped)},
        describe=f"return per episode of at most {horizon} steps towards unseen goals ~ U[-0.5, 0.5]²",
        references={"random": strategies.random, "known-goal": partial(strategies.KnownGoal, reach=REACH)},
        best="known-goal",
        picture=drawn.navigation,
        published=published,
    )
