"""Gaussian bandits (Lee et al. 2023, DPT): arms with means μ_i ~ U[0, 1] and rewards N(μ_i, noise²).

As in `bandit`, a pull is an episode of one step and the observation a constant zero of shape (1,).
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


class GaussianBanditTask(NamedTuple):
    """One bandit."""

    means: Array  # float32 [arms]


@dataclass(frozen=True)
class GaussianBandit:
    """One pull of one arm per episode; the state is empty."""

    arms: int
    pulls: int
    noise: float

    @property
    def spec(self) -> Spec:
        observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(self.arms, dtype=np.int32)
        return Spec(observation_space, action_space, horizon=1, episodes=self.pulls)

    def reset(self, task: GaussianBanditTask, key: Key) -> tuple[tuple[()], Array]:
        return (), jnp.zeros((1,), jnp.float32)

    def step(self, task: GaussianBanditTask, state: tuple[()], action: Array, key: Key) -> tuple[tuple[()], Outcome]:
        reward = task.means[action] + self.noise * jax.random.normal(key, (), jnp.float32)
        return (), Outcome(jnp.zeros((1,), jnp.float32), reward)


def gaussian_bandit(arms: int = 5, pulls: int = 100, noise: float = 0.3) -> Benchmark:
    """Gaussian bandits with `arms` arms, pulled `pulls` times; `noise` is the standard deviation of a reward.

    Lee et al. (2023) use 5 arms, noise 0.3 and up to 500 pulls.
    """
    check_range("arms", arms, 2)
    check_range("pulls", pulls, 1)
    check_range("noise", noise, 0.0)
    from adaptax.render import arms as drawn
    from adaptax.strategies import bandits

    def draw(key: Key) -> GaussianBanditTask:
        return GaussianBanditTask(jax.random.uniform(key, (arms,), jnp.float32))

    splits = disjoint_splits(draw)
    describe = (
        f"sum of rewards over {pulls} pulls of unseen {arms}-armed Gaussian bandits, means ~ U[0, 1], noise {noise:g}"
    )
    return Benchmark(
        GaussianBandit(arms, pulls, noise),
        *splits,
        describe=describe,
        references={"random": bandits.random, "known-arms": bandits.KnownArms},
        best="known-arms",
        picture=drawn.gaussian_bandit,
    )
