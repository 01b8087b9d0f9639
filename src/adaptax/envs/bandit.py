"""Bernoulli bandits (Duan et al. 2016, RL², §3.1): arms with success probabilities p_i ~ U[0, 1], rewards 0
or 1.

A pull is an episode of one step and a trial is a number of pulls, so that the published totals are the return
of a trial. There is nothing to observe: the observation is a constant zero of shape (1,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.splits import disjoint_splits
from adaptax.known import Published
from adaptax.ranges import check_range
from adaptax.types import Array, Benchmark, Key, Outcome, Spec

# Duan et al. 2016, table 1; the SNAIL and MAML columns from Mishra et al. 2018, table 3. Keys: (pulls, arms).
_COLUMNS = (
    "Random",
    "Gittins",
    "TS",
    "OTS",
    "UCB1",
    "ε-greedy",
    "Greedy",
    "RL² paper",
    "SNAIL paper",
    "MAML in SNAIL",
)
_TABLE = {
    (10, 5): (5.0, 6.6, 5.7, 6.5, 6.7, 6.6, 6.6, 6.7, 6.6, 6.5),
    (10, 10): (5.0, 6.6, 5.5, 6.2, 6.7, 6.6, 6.6, 6.7, 6.7, 6.6),
    (10, 50): (5.1, 6.5, 5.2, 5.5, 6.6, 6.5, 6.5, 6.8, 6.7, 6.6),
    (100, 5): (49.9, 78.3, 74.7, 77.9, 78.0, 75.4, 74.8, 78.7, 79.1, 67.1),
    (100, 10): (49.9, 82.8, 76.7, 81.4, 82.4, 77.4, 77.1, 83.5, 83.5, 70.1),
    (100, 50): (49.8, 85.2, 64.5, 67.7, 84.3, 78.3, 78.0, 84.9, 85.1, 70.3),
    (500, 5): (249.8, 405.8, 402.0, 406.7, 405.8, 388.2, 380.6, 401.6, 408.1, None),
    (500, 10): (249.0, 437.8, 429.5, 438.9, 437.1, 408.0, 395.0, 432.5, 432.4, None),
    (500, 50): (249.6, 463.7, 427.2, 437.6, 457.6, 413.6, 402.8, 438.9, 442.6, None),
}
_SOURCE = "Duan et al. 2016; Mishra et al. 2018"


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
    from adaptax.render import arms as drawn
    from adaptax.strategies import bandits

    def draw(key: Key) -> BanditTask:
        return BanditTask(jax.random.uniform(key, (arms,), jnp.float32))

    splits = disjoint_splits(draw)
    describe = f"sum of rewards over {pulls} pulls of unseen {arms}-armed Bernoulli bandits, p ~ U[0, 1]"

    def published(split: str, protocol: Any) -> list[Published]:
        trial = (protocol.rounds, protocol.episodes) == (1, pulls) and not protocol.deterministic
        row = _TABLE.get((pulls, arms), ()) if trial else ()
        return [Published(n, _SOURCE, total) for n, total in zip(_COLUMNS, row, strict=False) if total is not None]

    return Benchmark(
        BernoulliBandit(arms, pulls),
        *splits,
        describe=describe,
        references={
            "random": bandits.random,
            "gittins": bandits.gittins,
            "thompson": bandits.thompson,
            "optimistic-thompson": bandits.optimistic_thompson,
            "ucb1": bandits.ucb1,
            "epsilon-greedy": bandits.epsilon_greedy,
            "greedy": bandits.greedy,
            "known-arms": bandits.KnownArms,
        },
        best="known-arms",
        picture=drawn.bandit,
        published=published,
    )
