"""Clustered navigation: where its goals lie, and that it is the environment of `navigation`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.clustered_navigation import ClusteredNavigationTask, centres, clustered_navigation
from adaptax.envs.navigation import NavigationTask, navigation
from adaptax.envs.splits import code_of
from adaptax.types import UserError

SPLITS = ("train", "validation", "test")


def draw(split: str = "train", seed: int = 0, count: int = 4000, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """Goals [count, 2] and clusters [count]."""
    tasks = clustered_navigation(**settings).split(split).sample(jax.random.key(seed), count)[1]
    return np.asarray(tasks.goal), np.asarray(tasks.cluster)


def test_the_centres_by_hand() -> None:
    diagonal = 0.4 / 2**0.5
    expected = [(diagonal, diagonal), (-diagonal, diagonal), (-diagonal, -diagonal), (diagonal, -diagonal)]
    np.testing.assert_allclose(centres(4), expected, atol=1e-6)
    np.testing.assert_allclose(centres(2), [(0, 0.4), (0, -0.4)], atol=1e-6)


@pytest.mark.parametrize(("clusters", "spread"), [(2, 0.1), (4, 0.05), (12, 0.05), (64, 0.009)])
def test_goals_lie_in_separate_clusters(clusters: int, spread: float) -> None:
    for split in SPLITS:
        goals, cluster = draw(split, clusters=clusters, spread=spread)
        assert set(cluster) == set(range(clusters))
        # The nearest centre is that of the goal's own cluster; every other is at least three spreads away.
        distances = np.linalg.norm(goals[:, None] - centres(clusters), axis=2)
        np.testing.assert_array_equal(distances.argmin(1), cluster)
        assert np.all(distances.min(1) <= spread + 1e-6)
        assert np.all(np.sort(distances, axis=1)[:, 1] >= 3 * spread - 1e-6)
        assert np.all(np.abs(goals) <= 0.5 + 1e-6)


def test_goals_are_uniform_in_a_cluster_and_clusters_are_equally_likely() -> None:
    for split in SPLITS:
        goals, cluster = draw(split, seed=1)
        np.testing.assert_allclose(np.bincount(cluster) / 4000, 0.25, atol=4 * (3 / 16 / 4000) ** 0.5)
        offset = (goals - centres(4)[cluster]) / 0.05
        # On the unit disc a coordinate has variance 1/4, and the squared radius is uniform.
        np.testing.assert_allclose(offset.mean(0), 0, atol=4 * 0.5 / 4000**0.5)
        np.testing.assert_allclose(offset.var(0), 0.25, atol=0.02)
        np.testing.assert_allclose(np.mean(np.sum(offset**2, 1) < 0.5), 0.5, atol=4 * 0.5 / 4000**0.5)


@pytest.mark.parametrize("clusters", [2, 4])
def test_the_splits_are_disjoint_even_for_one_key(clusters: int) -> None:
    parts = [draw(split, seed=3, clusters=clusters)[0] for split in SPLITS]
    rows = [{goal.tobytes() for goal in part} for part in parts]
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]
    for code, part in enumerate(parts):
        tasks = ClusteredNavigationTask(jnp.asarray(part), jnp.zeros(len(part), jnp.int32))
        assert np.all(np.asarray(jax.vmap(code_of)(tasks)) == code)


@pytest.mark.parametrize("scale_actions", [True, False])
def test_it_is_the_environment_of_navigation(scale_actions: bool) -> None:
    ours = clustered_navigation(horizon=30, scale_actions=scale_actions)
    plain = navigation(horizon=30, scale_actions=scale_actions)
    assert ours.environment == plain.environment
    task = jax.tree.map(lambda leaf: leaf[0], ours.test.enumerate(jax.random.key(0), 1)[1])
    state, _ = ours.environment.reset(task, jax.random.key(0))
    position = np.zeros(2)
    for action in np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32):
        _, same = plain.environment.step(NavigationTask(task.goal), state, jnp.asarray(action), jax.random.key(0))
        state, outcome = ours.environment.step(task, state, jnp.asarray(action), jax.random.key(0))
        jax.tree.map(np.testing.assert_array_equal, outcome, same)
        position = position + np.clip(action * 0.1 if scale_actions else action, -0.1, 0.1)
        np.testing.assert_allclose(outcome.reward, -np.linalg.norm(position - np.asarray(task.goal)), atol=1e-5)


def test_the_spec_and_explicit_types() -> None:
    benchmark = clustered_navigation()
    assert (benchmark.spec.horizon, benchmark.spec.episodes) == (100, 1)
    assert benchmark.spec.observation_space.shape == benchmark.spec.action_space.shape == (2,)
    for split in SPLITS:
        index, tasks = benchmark.split(split).enumerate(jax.random.key(0), 3)
        assert index.tolist() == [-1, -1, -1] and tasks.goal.shape == (3, 2) and tasks.cluster.shape == (3,)
        assert (tasks.goal.dtype, tasks.cluster.dtype) == (jnp.float32, jnp.int32)
        assert not tasks.goal.weak_type and not tasks.cluster.weak_type
    assert "4 clusters" in benchmark.describe and "\n" not in benchmark.describe


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"clusters": 1}, ("clusters", "1", "2 ≤ clusters ≤ 64")),
        ({"clusters": 65}, ("clusters", "65")),
        ({"horizon": 0}, ("horizon", "0", "1 ≤ horizon")),
        ({"spread": 0.0}, ("spread", "0.0", "0 < spread ≤ 0.1")),
        ({"spread": 0.11}, ("spread", "0.11", "spread ≤ 0.1")),
        # 0.4 sin(π/16)/2 = 0.039018
        ({"clusters": 16}, ("spread", "0.05", "spread ≤ 0.039018")),
        ({"spread": float("nan")}, ("spread", "nan")),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], parts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as raised:
        clustered_navigation(**settings)
    assert all(part in str(raised.value) for part in parts)
