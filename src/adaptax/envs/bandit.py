"""Bernoulli bandits (Duan et al. 2016, RL², §3.1): arms with success probabilities p_i ~ U[0, 1], rewards 0
or 1.

A pull is an episode of one step and a trial is a number of pulls, so that the published totals are the return
of a trial. There is nothing to observe: the observation is a constant zero of shape (1,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.splits import disjoint_splits
from adaptax.ranges import check_range
from adaptax.types import Array, Benchmark, Key, Outcome, Spec


class BanditTask(NamedTuple):
    """One bandit."""

    probabilities: Array  # float32 [arms]; chance of reward 1


@dataclass(frozen=True)
class BernoulliBandit:
    """One pull of one arm per episode; the state is empty."""

    arms: int
    pulls: int

    @property
    def spec(self) -> Spec:
        observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(self.arms, dtype=np.int32)
        return Spec(observation_space, action_space, horizon=1, episodes=self.pulls)

    def reset(self, task: BanditTask, key: Key) -> tuple[tuple[()], Array]:
        return (), jnp.zeros((1,), jnp.float32)

    def step(self, task: BanditTask, state: tuple[()], action: Array, key: Key) -> tuple[tuple[()], Outcome]:
        win = jax.random.uniform(key, (), jnp.float32) < task.probabilities[action]
        return (), Outcome(jnp.zeros((1,), jnp.float32), win.astype(jnp.float32))


def bandit(arms: int = 10, pulls: int = 100) -> Benchmark:
    """Bernoulli bandits with `arms` arms, pulled `pulls` times (Duan et al. 2016, Table 1).

    Published cells: pulls 10, 100 and 500 with arms 5, 10 and 50.
    """
    check_range("arms", arms, 2)
    check_range("pulls", pulls, 1)

    def draw(key: Key) -> BanditTask:
        return BanditTask(jax.random.uniform(key, (arms,), jnp.float32))

    splits = disjoint_splits(draw)
    describe = f"sum of rewards over {pulls} pulls of unseen {arms}-armed Bernoulli bandits, p ~ U[0, 1]"
    return Benchmark(BernoulliBandit(arms, pulls), *splits, describe=describe)
