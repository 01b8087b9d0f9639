"""Strategies for tabular processes: the planner against loops, returns against the published column."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.tabular_mdp import tabular_mdp
from adaptax.strategies.tabular_mdp import plan, posterior_sampling

Play = Callable[..., np.ndarray]


def test_planning_against_loops() -> None:
    generator = np.random.default_rng(0)
    rewards = generator.normal(size=(4, 3))
    transitions = generator.dirichlet(np.ones(4), (4, 3))
    values = plan(jnp.asarray(rewards, jnp.float32), jnp.asarray(transitions, jnp.float32), 5)
    value = np.zeros(4)
    for step in reversed(range(5)):
        action_value = np.zeros((4, 3))
        for s in range(4):
            for a in range(3):
                action_value[s, a] = rewards[s, a] + sum(transitions[s, a, n] * value[n] for n in range(4))
        value = action_value.max(axis=1)
        np.testing.assert_allclose(values[step], action_value, rtol=1e-4, atol=1e-5)


def test_the_known_process_and_random_actions(play: Play) -> None:
    benchmark = tabular_mdp()
    for name, per_episode in (("known-mdp", 21.89), ("random", 10.0)):
        returns = play(benchmark, name, tasks=1000).mean(axis=1)
        assert abs(returns.mean() - per_episode) < 4 * returns.std() / 1000**0.5


@pytest.mark.parametrize(
    ("prior_mean", "expected", "expected_tasks", "tasks"),
    [
        (0.0, 138.1, 1000, 80),
        pytest.param(0.0, 138.1, 1000, 1000, marks=pytest.mark.slow),
        pytest.param(1.0, 132.3, 600, 1000, marks=pytest.mark.slow),
    ],
)
def test_posterior_sampling(play: Play, prior_mean: float, expected: float, expected_tasks: int, tasks: int) -> None:
    """Prior mean 0 is published (1 000 tasks); the true prior mean was computed with 600."""
    benchmark = tabular_mdp()
    strategy = posterior_sampling(benchmark.spec, prior_mean)
    totals = play(benchmark, strategy, tasks=tasks).sum(axis=1)
    tolerance = 4 * totals.std() * (1 / tasks + 1 / expected_tasks) ** 0.5
    assert abs(totals.mean() - expected) < tolerance, (totals.mean(), expected, tolerance)
