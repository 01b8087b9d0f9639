"""Reference strategies for Bernoulli bandits: the baselines of Duan et al. (2016), Table 1.

All of them remember, per arm, how often it was pulled and how often it won, score the arms and pull the best
one. They differ in the score alone, so there is one agent and a scoring function for each. Definitions as in
the authors' code: UCB1 and the greedy strategies start from 1 win in 2 pulls; optimistic Thompson sampling
takes, of several posterior draws, the one with the highest joint density; ties go to the first arm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp

from adaptax.ops.gamma import beta
from adaptax.ranges import check_range
from adaptax.strategies.gittins import gittins_table
from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep

# Best constants for (pulls, arms), by `python tests/strategies/tune_bandits.py`; the candidates and the
# method stand there.
TUNED: dict[str, dict[tuple[int, int], float]] = {
    "ucb1": {
        (10, 5): 0.1,
        (10, 10): 0.1,
        (10, 50): 0.1,
        (100, 5): 0.2,
        (100, 10): 0.2,
        (100, 50): 0.2,
        (500, 5): 0.2,
        (500, 10): 0.2,
        (500, 50): 0.2,
    },
    "epsilon_greedy": {
        (10, 5): 0.0,
        (10, 10): 0.0,
        (10, 50): 0.0,
        (100, 5): 0.0,
        (100, 10): 0.02,
        (100, 50): 0.05,
        (500, 5): 0.05,
        (500, 10): 0.05,
        (500, 50): 0.05,
    },
    "optimistic_thompson": {
        (10, 5): 30,
        (10, 10): 30,
        (10, 50): 30,
        (100, 5): 20,
        (100, 10): 30,
        (100, 50): 15,
        (500, 5): 10,
        (500, 10): 10,
        (500, 50): 20,
    },
}


class Counts(NamedTuple):
    """What is remembered in a stream."""

    pulls: Array  # float32 [arms]
    wins: Array  # float32 [arms]; the sum of rewards
    started: Array  # bool []; false before the first pull, when the last action and reward mean nothing


Score = Callable[[Counts, Key], Array]  # higher is better: float32 [arms]


@dataclass(frozen=True)
class BanditStrategy:
    """Pulls the arm with the highest `score`."""

    spec: Spec
    score: Score
    informed: ClassVar[bool] = False

    def begin(self, params: Params, key: Key, birth: Birth) -> tuple[()]:
        return ()

    def start(self, params: Params) -> Counts:
        zeros = jnp.zeros((gymnasium.spaces.flatdim(self.spec.action_space),), jnp.float32)
        return Counts(zeros, zeros, jnp.zeros((), jnp.bool_))

    def act(
        self, params: Params, adapted: tuple[()], memory: Counts, timestep: Timestep, key: Key
    ) -> tuple[Decision, Counts]:
        arms = jnp.arange(memory.pulls.shape[0], dtype=jnp.int32)
        pulled = ((arms == timestep.action) & memory.started).astype(jnp.float32)
        counts = Counts(memory.pulls + pulled, memory.wins + pulled * timestep.reward, jnp.ones((), jnp.bool_))
        return Decision(jnp.argmax(self.score(counts, key)).astype(jnp.int32)), counts

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted


@dataclass(frozen=True)
class KnownArms:
    """Pulls the best arm, which it knows: what no learner can exceed. `params` is the task, its first field the
    expected rewards."""

    spec: Spec
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> tuple[()]:
        return ()

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: tuple[()], memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        return Decision(jnp.argmax(params[0]).astype(jnp.int32)), ()

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted


def random(spec: Spec) -> BanditStrategy:
    """A uniformly random arm."""
    return BanditStrategy(spec, lambda counts, key: jax.random.uniform(key, counts.pulls.shape, jnp.float32))


def greedy(spec: Spec) -> BanditStrategy:
    """The highest (1 + wins)/(2 + pulls)."""
    return BanditStrategy(spec, lambda counts, key: _posterior_mean(counts))


def epsilon_greedy(spec: Spec, epsilon: float | None = None) -> BanditStrategy:
    """Greedy, but with chance `epsilon` (None: tuned) a uniformly random arm."""
    check_range("epsilon", epsilon, 0.0, 1.0)
    return BanditStrategy(spec, partial(_epsilon_greedy, _tuned("epsilon_greedy", epsilon, spec)))


def ucb1(spec: Spec, exploration: float | None = None) -> BanditStrategy:
    """w/m + c √(2 ln t / m) with w, m from 1, 2 and c = `exploration` (None: tuned)."""
    check_range("exploration", exploration, 0.0)
    return BanditStrategy(spec, partial(_upper_bound, _tuned("ucb1", exploration, spec)))


def thompson(spec: Spec) -> BanditStrategy:
    """The best arm of one draw from the posterior under Beta(1, 1) priors."""
    return BanditStrategy(spec, partial(_optimistic_draw, 1))


def optimistic_thompson(spec: Spec, samples: int | None = None) -> BanditStrategy:
    """The best arm of the likeliest of `samples` posterior draws (None: tuned)."""
    check_range("samples", samples, 1)
    return BanditStrategy(spec, partial(_optimistic_draw, int(_tuned("optimistic_thompson", samples, spec))))


def gittins(spec: Spec) -> BanditStrategy:
    """The arm with the highest finite-horizon Gittins index for the pulls that remain in the trial."""
    pulls = spec.episodes * spec.horizon
    gittins_table(pulls)  # computed here, not while a rollout is being traced
    return BanditStrategy(spec, partial(_gittins_index, pulls))


def _tuned(name: str, given: float | None, spec: Spec) -> float:
    """The given constant, or the tuned one of the nearest cell in ratio of pulls and of arms."""
    if given is not None:
        return given
    pulls, arms = spec.episodes * spec.horizon, gymnasium.spaces.flatdim(spec.action_space)

    def ratio(cell: tuple[int, int]) -> float:
        return max(cell[0] / pulls, pulls / cell[0]) * max(cell[1] / arms, arms / cell[1])

    return TUNED[name][min(TUNED[name], key=ratio)]


def _posterior_mean(counts: Counts) -> Array:
    return (counts.wins + 1.0) / (counts.pulls + 2.0)


def _epsilon_greedy(epsilon: float, counts: Counts, key: Key) -> Array:
    # One block of uniforms decides both whether to explore and which arm to try.
    draw = jax.random.uniform(key, (counts.pulls.shape[0] + 1,), jnp.float32)
    return jnp.where(draw[0] < epsilon, draw[1:], _posterior_mean(counts))


def _upper_bound(exploration: float, counts: Counts, key: Key) -> Array:
    pulls = jnp.maximum(jnp.sum(counts.pulls), 1.0)
    bonus = jnp.sqrt(2.0 * jnp.log(pulls) / (counts.pulls + 2.0))
    return _posterior_mean(counts) + exploration * bonus


def _optimistic_draw(samples: int, counts: Counts, key: Key) -> Array:
    wins, losses = counts.wins, counts.pulls - counts.wins
    shape = (samples, counts.pulls.shape[0])
    draws = beta(key, jnp.broadcast_to(wins + 1.0, shape), jnp.broadcast_to(losses + 1.0, shape))
    # The normalising constants are common to all draws. xlogy: 0·log 0 = 0, should a draw round to 0 or 1.
    density = jax.scipy.special.xlogy(wins, draws) + jax.scipy.special.xlog1py(losses, -draws)
    return draws[jnp.argmax(jnp.sum(density, axis=1))]


def _gittins_index(pulls: int, counts: Counts, key: Key) -> Array:
    table = gittins_table(pulls)
    pulled, won = counts.pulls.astype(jnp.int32), counts.wins.astype(jnp.int32)
    horizon = jnp.clip(jnp.minimum(pulls - jnp.sum(pulled), table.size - pulled), 0, table.size)
    place = jnp.asarray(table.offset)[jnp.asarray(table.row)[horizon]] + pulled * (pulled + 1) // 2 + won
    # Beyond the table (streams longer than the trial, arms pulled to the cap) nothing is left to look ahead.
    return jnp.where(horizon > 0, jnp.asarray(table.index)[place], _posterior_mean(counts))
