"""Strategies for the 1-D toy, and for clustered navigation, against returns that are known beforehand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from adaptax.envs.clustered_navigation import clustered_navigation
from adaptax.envs.toy import toy_1d
from adaptax.strategies.toy import random
from adaptax.types import UserError

Play = Callable[..., np.ndarray]


def test_a_known_goal_is_paid_one_in_every_step(play: Play) -> None:
    benchmark = toy_1d()
    for split in ("train", "test", "paper"):
        returns = play(benchmark, "known-goal", split, tasks=50, episodes=2)
        np.testing.assert_allclose(returns, 5.0, atol=1e-5)


def test_the_published_policy_at_zero(play: Play) -> None:
    """E exp(−0.1 (clip(z) − 1)²) for z ~ N(0, 1), by quadrature; without the clipping it is
    exp(−0.1/1.2)/√1.2 = 0.83989."""
    z = np.linspace(-10, 10, 200_001)
    density = np.exp(-(z**2) / 2) / (2 * np.pi) ** 0.5 * (z[1] - z[0])
    unclipped = np.sum(density * np.exp(-0.1 * (z - 1) ** 2))
    assert unclipped == pytest.approx(np.exp(-0.1 / 1.2) / 1.2**0.5, abs=1e-6)
    expected = np.sum(density * np.exp(-0.1 * (np.clip(z, -2, 2) - 1) ** 2))
    assert unclipped < expected < unclipped + 0.01
    benchmark = toy_1d(goals="paper")
    returns = play(benchmark, "random", tasks=4000)
    assert returns.mean() == pytest.approx(5 * expected, abs=4 * returns.std() / 4000**0.5)


def test_a_deviation_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match=r"deviation is -1; it must satisfy 0 ≤ deviation"):
        random(toy_1d().spec, deviation=-1)


def test_a_known_goal_in_clusters_walks_there_at_full_speed(play: Play) -> None:
    """A goal at (x, y), all but on the centre: x = y = 0.4/√2 = 0.28284. After t steps both coordinates are
    0.28284 − 0.1 t short, until in the third step the goal is reached: −√2 (0.18284 + 0.08284) = −0.37573."""
    benchmark = clustered_navigation(spread=1e-6)
    returns = play(benchmark, "known-goal", tasks=50)
    np.testing.assert_allclose(returns, -0.37573, atol=2e-5)


def test_random_moves_find_no_cluster(play: Play) -> None:
    """By symmetry no cluster is favoured: the return is that of the same walk in NumPy, to one of them."""
    benchmark = clustered_navigation()
    returns = play(benchmark, "random", tasks=2000)
    generator = np.random.default_rng(0)
    moves = np.clip(0.1 * generator.normal(size=(2000, 100, 2)), -0.1, 0.1)
    angle, radius = generator.uniform(0, 2 * np.pi, 2000), 0.05 * generator.uniform(size=2000) ** 0.5
    goal = 0.4 / 2**0.5 + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    offset = np.cumsum(moves, axis=1) - goal[:, None]
    reached = np.all(np.abs(offset) < 0.01, axis=2)
    alive = np.cumsum(reached, axis=1) - reached == 0
    expected = -np.sum(np.linalg.norm(offset, axis=2) * alive, axis=1)
    assert abs(returns.mean() - expected.mean()) < 4 * (returns.var() / 2000 + expected.var() / 2000) ** 0.5
