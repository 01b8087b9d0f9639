"""Navigation strategies against the anchors of the published benchmarks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from adaptax.envs.navigation import navigation
from adaptax.envs.sparse_navigation import sparse_navigation
from adaptax.strategies.navigation import STRATEGIES

Play = Callable[..., np.ndarray]


@pytest.mark.parametrize("scale_actions", [True, False])
def test_a_known_goal_on_the_published_goals(play: Play, scale_actions: bool) -> None:
    benchmark = navigation(scale_actions=scale_actions)
    returns = play(benchmark, STRATEGIES["known-goal"](benchmark.spec), "published", tasks=40)
    assert returns.mean() == pytest.approx(-0.54, abs=0.006)  # noise-free, so exact but for rounding


def test_random_moves_drift_off(play: Play) -> None:
    """No published number: the −82.7 of an untrained network has a mean that is not zero. A random walk is
    compared with the same walk in NumPy."""
    benchmark = navigation()
    returns = play(benchmark, STRATEGIES["random"](benchmark.spec), tasks=2000)[:, 0]
    generator = np.random.default_rng(0)
    moves = np.clip(0.1 * generator.normal(size=(2000, 100, 2)), -0.1, 0.1)
    offset = np.cumsum(moves, axis=1) - generator.uniform(-0.5, 0.5, (2000, 1, 2))
    reached = np.all(np.abs(offset) < 0.01, axis=2)
    alive = np.cumsum(reached, axis=1) - reached == 0
    expected = -np.sum(np.linalg.norm(offset, axis=2) * alive, axis=1)
    assert abs(returns.mean() - expected.mean()) < 4 * (returns.var() / 2000 + expected.var() / 2000) ** 0.5


def test_a_known_goal_in_sparse_navigation(play: Play) -> None:
    benchmark = sparse_navigation()
    strategy = STRATEGIES["known-goal"](benchmark.spec)
    splits = [("train", 70), ("validation", 10), ("test", 20)]
    means = [play(benchmark, strategy, split, tasks=count).mean() for split, count in splits]
    assert means[2] == pytest.approx(13.42, abs=0.01)
    assert float(np.dot(means, [0.7, 0.1, 0.2])) == pytest.approx(13.38, abs=0.02)


def test_random_moves_hardly_find_a_sparse_goal(play: Play) -> None:
    benchmark = sparse_navigation()
    assert 0 <= play(benchmark, STRATEGIES["random"](benchmark.spec), tasks=1000).mean() < 0.05
