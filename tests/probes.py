"""Probes: environments of a few steps whose optimum is known by hand, each for one thing that an agent may be able to
do. `optimum` is the expected return of one stream in a round, the last one that an agent lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.tasks import TaskDistribution, TaskSet
from adaptax.types import Benchmark, Outcome, Spec


class Probe(NamedTuple):
    benchmark: Benchmark
    optimum: float
    chance: float  # the return of uniform actions, or of the best agent that lacks what is probed
    goals: int  # how many tasks there are


class Goal(NamedTuple):
    goal: Any  # int32 []


@dataclass(frozen=True)
class Choice:
    """Every step, the action that is the goal pays 1.

    The observation is a constant one, and behind it the goal, one-hot, if it is `visible`; with `look` there is one
    more action, which pays nothing and makes the goal visible for the rest of the episode. With `delayed` the first
    action of an episode counts, and is paid at its end.
    """

    arms: int
    horizon: int
    episodes: int
    visible: bool = False
    look: bool = False
    delayed: bool = False
    constant: float | None = None  # every step pays this much, whatever the agent does

    @property
    def spec(self) -> Spec:
        observation = gymnasium.spaces.Box(0, 1, (1 + self.arms,), np.float32)
        actions = gymnasium.spaces.Discrete(self.arms + self.look)
        return Spec(observation, actions, self.horizon, self.episodes)

    def reset(self, task: Goal, key: Any) -> Any:
        state = (jnp.int32(0), jnp.asarray(self.visible), jnp.asarray(False))
        return state, self._observe(task, state)

    def step(self, task: Goal, state: Any, action: Any, key: Any) -> Any:
        clock, seen, right = state
        hit = action == task.goal
        right = jnp.where(clock == 0, hit, right)
        paid = (right & (clock == self.horizon - 1)) if self.delayed else hit
        reward = paid.astype(jnp.float32) if self.constant is None else jnp.float32(self.constant)
        state = (clock + 1, seen | (self.look & (action == self.arms)), right)
        return state, Outcome(self._observe(task, state), reward)

    def _observe(self, task: Goal, state: Any) -> Any:
        cue = jax.nn.one_hot(task.goal, self.arms, dtype=jnp.float32) * state[1]
        return jnp.concatenate([jnp.ones(1, jnp.float32), cue])


def benchmark(environment: Choice, goals: int) -> Benchmark:
    tasks = TaskDistribution(lambda key: Goal(jax.random.randint(key, (), 0, goals, jnp.int32)))
    return Benchmark(environment, tasks, tasks, tasks)


def finite(probe: Probe) -> Probe:
    """The same with a finite training set, for algorithms that keep something of every training task."""
    goals = TaskSet(Goal(jnp.arange(probe.goals, dtype=jnp.int32)))
    return probe._replace(benchmark=probe.benchmark._replace(train=goals))


def probe(optimum: float, chance: float, goals: int | None = None, **settings: Any) -> Probe:
    environment = Choice(**settings)
    goals = environment.arms if goals is None else goals
    return Probe(benchmark(environment, goals), optimum, chance, goals)


PROBES = {
    # One task: always the first arm.
    "one task": probe(4.0, 4 / 3, goals=1, arms=3, horizon=4, episodes=1),
    # The task stands in the observation.
    "visible": probe(4.0, 4 / 3, arms=3, horizon=4, episodes=1, visible=True),
    # Two arms: whatever the first reward is, it tells which one pays. Blind once, then always right; who has been
    # there for a round is right from the start (`AFTER_A_ROUND`).
    "first reward": probe(3.5, 2.0, arms=2, horizon=4, episodes=1),
    # Four arms: trying one after the other gives 4/4 + 3/4 + 2/4 + 1/4 = 2.5; looking first costs a step: 3.
    "exploring": probe(3.0, 2.5, arms=4, horizon=4, episodes=1, look=True),
    # The first action of three is paid at the end of the episode; four episodes: ½, then 1, 1, 1.
    "border": probe(3.5, 2.0, arms=2, horizon=3, episodes=4, delayed=True),
    # Nothing depends on what the agent does: advantages are zero, and must stay harmless.
    "nothing": probe(4.0, 4.0, arms=2, horizon=4, episodes=1, constant=1.0),
}
AFTER_A_ROUND = {"first reward": 4.0}
