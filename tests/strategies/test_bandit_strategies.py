"""Bandit strategies: decisions against plain NumPy, indices against a slow recursion, returns against the
paper.

A published total is the mean of 1 000 tasks, so it and ours are taken to agree within four standard errors of
their difference, √(σ²/1000 + σ²/N), plus 0.05 for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.bandit import bandit
from adaptax.strategies import bandits
from adaptax.strategies.gittins import GittinsTable, gittins_table
from adaptax.types import Timestep, UserError

Play = Callable[..., np.ndarray]

PUBLISHED = {  # Duan et al. (2016), Table 1: (pulls, arms)
    (10, 5): {"random": 5.0, "greedy": 6.6, "epsilon-greedy": 6.6, "ucb1": 6.7, "gittins": 6.6},
    (10, 10): {"random": 5.0, "greedy": 6.6, "epsilon-greedy": 6.6, "ucb1": 6.7, "gittins": 6.6},
    (100, 5): {"random": 49.9, "greedy": 74.8, "epsilon-greedy": 75.4, "ucb1": 78.0, "gittins": 78.3},
    (100, 10): {"random": 49.9, "greedy": 77.1, "epsilon-greedy": 77.4, "ucb1": 82.4, "gittins": 82.8},
}
SAMPLED = [(10, 5, "thompson", 5.7)]
SLOW = [
    (10, 5, "optimistic-thompson", 6.5),
    (100, 5, "thompson", 74.7),
    (100, 5, "optimistic-thompson", 77.9),
    (100, 10, "thompson", 76.7),
    (100, 10, "optimistic-thompson", 81.4),
]


def agree(totals: np.ndarray, published: float) -> None:
    tolerance = 4 * totals.std() * (1 / 1000 + 1 / len(totals)) ** 0.5 + 0.05
    assert abs(totals.mean() - published) < tolerance, (totals.mean(), published, tolerance)


@pytest.mark.parametrize(
    ("pulls", "arms", "name"),
    [
        # Half of the cells is enough for every day.
        pytest.param(*cell, name, marks=() if cell in ((10, 5), (100, 10)) else pytest.mark.slow)
        for cell, column in PUBLISHED.items()
        for name in column
    ],
)
def test_published_totals(play: Play, pulls: int, arms: int, name: str) -> None:
    benchmark = bandit(arms=arms, pulls=pulls)
    totals = play(benchmark, name, tasks=4000).sum(axis=1)
    agree(totals, PUBLISHED[pulls, arms][name])


@pytest.mark.parametrize(
    ("pulls", "arms", "name", "published"),
    [*SAMPLED, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
)
def test_published_totals_of_sampling_strategies(
    play: Play, pulls: int, arms: int, name: str, published: float
) -> None:
    benchmark = bandit(arms=arms, pulls=pulls)
    # Thirty draws per decision are dear.
    tasks = 250 if name == "optimistic-thompson" and pulls > 10 else 1000
    totals = play(benchmark, name, tasks=tasks).sum(axis=1)
    agree(totals, published)


@pytest.mark.parametrize(("arms", "optimum"), [(5, 6.660), (10, 6.714)])
def test_gittins_attains_and_does_not_exceed_the_bayes_optimum(play: Play, arms: int, optimum: float) -> None:
    benchmark = bandit(arms=arms, pulls=10)
    totals = play(benchmark, bandits.gittins(benchmark.spec), tasks=20_000).sum(axis=1)
    error = totals.std() / len(totals) ** 0.5
    assert optimum - 4 * error - 0.02 < totals.mean() < optimum + 4 * error


def test_nothing_exceeds_the_known_best_arm(play: Play) -> None:
    benchmark = bandit(arms=10, pulls=100)
    totals = play(benchmark, "known-arms", tasks=4000).sum(axis=1)
    # The largest of ten uniforms has mean 10/11.
    assert abs(totals.mean() - 1000 / 11) < 4 * totals.std() / 4000**0.5


def entry(table: GittinsTable, horizon: int, pulls: int, wins: int) -> float:
    return float(table.index[table.offset[table.row[horizon]] + pulls * (pulls + 1) // 2 + wins])


def slow_index(pulls: int, wins: int, horizon: int) -> float:
    """The root of W by bisection and plain recursion."""

    def advantage(reward: float) -> float:
        @cache
        def pull(n: int, s: int, h: int) -> float:
            mean = (s + 1) / (n + 2)
            later = 0.0
            if h > 1:
                later = mean * max(pull(n + 1, s + 1, h - 1), 0) + (1 - mean) * max(pull(n + 1, s, h - 1), 0)
            return mean - reward + later

        return pull(pulls, wins, horizon)

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if advantage(middle) > 0 else (low, middle)
    return low


def test_gittins_indices_against_a_slow_recursion() -> None:
    table = gittins_table(12)
    assert entry(table, 2, 0, 0) == pytest.approx(5 / 9, abs=1e-4)  # ½ − λ + ½ (⅔ − λ) = 0
    for horizon in (1, 2, 5, 12):
        for pulls in range(12 - horizon + 1):
            for wins in range(pulls + 1):
                index = entry(table, horizon, pulls, wins)
                assert index == pytest.approx(slow_index(pulls, wins, horizon), abs=1e-4)


def test_long_tables_agree_with_short_ones_where_they_skip_horizons() -> None:
    exact, sparse = gittins_table(100), gittins_table(140)
    for horizon in (1, 20, 32, 50, 90):
        for wins in (0, 3, 8):
            assert entry(sparse, horizon, 8, wins) == pytest.approx(entry(exact, horizon, 8, wins), abs=5e-3)


@pytest.mark.parametrize("name", ["greedy", "ucb1", "gittins"])
def test_decisions_against_numpy(name: str) -> None:
    """One stream with scripted rewards, longer than the trial that the strategy was made for."""
    arms, pulls = 4, 30
    on = bandit(arms=arms, pulls=pulls)
    strategy: Any = on.references[name](on.spec)
    act = jax.jit(strategy.act)
    generator = np.random.default_rng(0)
    wins, count = np.zeros(arms), np.zeros(arms)
    memory = strategy.start(())
    # The action of the first timestep was never taken, whatever it says.
    action, reward = np.int32(0), np.float32(0)
    for t in range(pulls + 5):
        timestep = Timestep(jnp.zeros(1), jnp.asarray(action), jnp.asarray(reward), jnp.asarray(True))
        decision, memory = act((), (), memory, timestep, jax.random.key(t))
        np.testing.assert_array_equal(memory.pulls, count)
        np.testing.assert_array_equal(memory.wins, wins)
        mean = (wins + 1) / (count + 2)
        score = mean
        if name == "ucb1":
            score = mean + bandits.TUNED["ucb1"][10, 5] * np.sqrt(2 * np.log(max(t, 1)) / (count + 2))
        if name == "gittins" and t < pulls:
            table = gittins_table(pulls)
            horizons = np.minimum(pulls - t, pulls - count)
            arms_now = zip(horizons, count, wins, strict=True)
            score = np.asarray([entry(table, int(h), int(n), int(s)) for h, n, s in arms_now])
        action = np.int32(decision.action)
        assert score[action] >= score.max() - 1e-6
        reward = np.float32(generator.random() < 0.2 + 0.2 * action)
        wins[action] += reward
        count[action] += 1
        assert memory.pulls.dtype == jnp.float32 and decision.action.dtype == jnp.int32


def test_settings() -> None:
    spec = bandit().spec
    with pytest.raises(UserError):
        bandits.epsilon_greedy(spec, epsilon=1.5)
    with pytest.raises(UserError):
        bandits.ucb1(spec, exploration=-1.0)
    with pytest.raises(UserError):
        bandits.optimistic_thompson(spec, samples=0)
    assert [bandits.gittins(spec).informed, bandits.KnownArms(spec).informed] == [False, True]
