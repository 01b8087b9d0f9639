"""Navigation strategies against the anchors of the published benchmarks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from adaptax.envs.navigation import navigation
from adaptax.envs.sparse_navigation import sparse_navigation

Play = Callable[..., np.ndarray]


@pytest.mark.parametrize("scale_actions", [True, False])
def test_a_known_goal_on_the_published_goals(play: Play, scale_actions: bool) -> None:
    benchmark = navigation(scale_actions=scale_actions)
    returns = play(benchmark, "known-goal", "published", tasks=40)
    assert returns.mean() == pytest.approx(-0.54, abs=0.006)  # noise-free, so exact but for rounding


def test_random_moves_drift_off(play: Play) -> None:
    """No published number: the −82.7 of an untrained network has a mean that is not zero. A random walk is
    compared with the same walk in NumPy."""
    benchmark = navigation()
    returns = play(benchmark, "random", tasks=2000)[:, 0]
    generator = np.random.default_rng(0)
    moves = np.clip(0.1 * generator.normal(size=(2000, 100, 2)), -0.1, 0.1)
    offset = np.cumsum(moves, axis=1) - generator.uniform(-0.5, 0.5, (2000, 1, 2))
    reached = np.all(np.abs(offset) < 0.01, axis=2)
    alive = np.cumsum(reached, axis=1) - reached == 0
    expected = -np.sum(np.linalg.norm(offset, axis=2) * alive, axis=1)
    assert abs(returns.mean() - expected.mean()) < 4 * (returns.var() / 2000 + expected.var() / 2000) ** 0.5


def test_a_known_goal_in_sparse_navigation(play: Play) -> None:
    benchmark = sparse_navigation()
    strategy = benchmark.references["known-goal"](benchmark.spec)
    splits = [("train", 70), ("validation", 10), ("test", 20)]
    means = [play(benchmark, strategy, split, tasks=count).mean() for split, count in splits]
    assert means[2] == pytest.approx(13.42, abs=0.01)
    assert float(np.dot(means, [0.7, 0.1, 0.2])) == pytest.approx(13.38, abs=0.02)


def test_random_moves_hardly_find_a_sparse_goal(play: Play) -> None:
    benchmark = sparse_navigation()
    assert 0 <= play(benchmark, "random", tasks=1000).mean() < 0.05


def test_posterior_sampling_searches_the_half_circle_without_repeating_itself(play: Play) -> None:
    """Against a search of our own: where nothing was paid no goal is left, and a reward leaves the two goals at its
    distance. An agent that draws afresh finds one goal in eight an episode, and 80 % in twelve."""
    benchmark = sparse_navigation()
    returns = play(benchmark, "posterior-sampling", "test", tasks=400, episodes=14)
    generator, circle = np.random.default_rng(0), np.linspace(0.0, np.pi, 400)
    places = np.stack([np.cos(circle), np.sin(circle)], axis=1)
    goal = np.asarray(benchmark.test.tasks.goal)[np.arange(400) % 20]  # type: ignore[attr-defined]
    possible, found = np.ones((400, 400), bool), np.zeros((400, 14), bool)
    for episode in range(14):
        drawn = places[np.argmax(possible * generator.uniform(size=possible.shape), axis=1)]
        position = np.zeros((400, 2))
        for _ in range(20):
            position += np.clip(drawn - position, -0.1, 0.1)
            distance = np.linalg.norm(position - goal, axis=1)
            away, hit = np.linalg.norm(position[:, None] - places, axis=2), distance < 0.2
            possible &= np.where(hit[:, None], np.abs(away - distance[:, None]) < 0.01, away >= 0.19)
            found[:, episode] |= hit
    share = (returns > 0).mean(axis=0)
    np.testing.assert_allclose(share, found.mean(axis=0), atol=0.1)  # about three standard errors
    assert share[-1] == 1.0 and returns[:, -1].mean() == pytest.approx(13.3, abs=0.1)
