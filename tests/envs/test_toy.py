"""The 1-D toy, step by step, against plain NumPy and against numbers found by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.splits import code_of
from adaptax.envs.toy import ToyTask, toy_1d
from adaptax.types import UserError

SPLITS = ("train", "validation", "test")


def goals_of(split: str, seed: int, count: int = 2000) -> np.ndarray:
    return np.asarray(toy_1d().split(split).sample(jax.random.key(seed), count)[1].goal)


@pytest.mark.parametrize("goal", [-1.0, 1.0, 0.7])
def test_toy_against_numpy(goal: float) -> None:
    environment, task = toy_1d().environment, ToyTask(jnp.float32(goal))
    actions = np.random.default_rng(0).normal(0, 1.5, (100, 1)).astype(np.float32)
    state, observation = environment.reset(task, jax.random.key(0))
    np.testing.assert_array_equal(state, observation)
    for action in actions:
        state, outcome = environment.step(task, state, jnp.asarray(action), jax.random.key(1))
        moved = min(max(float(action[0]), -2.0), 2.0)
        np.testing.assert_allclose(state, [moved], rtol=1e-6)
        np.testing.assert_array_equal(state, outcome.observation)
        np.testing.assert_allclose(outcome.reward, np.exp(-0.1 * (moved - goal) ** 2), rtol=1e-6)
        assert not outcome.terminated and not outcome.truncated
    assert np.any(np.abs(actions) > 2)


@pytest.mark.parametrize(
    ("action", "paid"),
    [(1.0, 1.0), (0.0, 0.904837), (-1.0, 0.670320), (-2.0, 0.406570), (-5.0, 0.406570), (3.0, 0.904837)],
)
def test_rewards_found_by_hand(action: float, paid: float) -> None:
    """exp(−0.1), exp(−0.4), exp(−0.9): the goal is 1, and actions are clipped to ±2."""
    environment, task = toy_1d().environment, ToyTask(jnp.float32(1))
    for state in (-1.5, 2.0):
        outcome = environment.step(task, jnp.asarray([state]), jnp.asarray([action]), jax.random.key(0))[1]
        assert float(outcome.reward) == pytest.approx(paid, abs=1e-6)


def test_starts_are_uniform() -> None:
    keys = jax.random.split(jax.random.key(0), 4000)
    state, _ = jax.vmap(lambda key: toy_1d().environment.reset(ToyTask(jnp.float32(1)), key))(keys)
    assert state.shape == (4000, 1) and np.all(np.abs(state) <= 2)
    assert abs(float(state.mean())) < 4 * 2 / (3 * 4000) ** 0.5
    assert float(state.std()) == pytest.approx(2 / 3**0.5, abs=0.04)


def test_the_spec_and_explicit_types() -> None:
    benchmark = toy_1d()
    spec = benchmark.spec
    assert (spec.horizon, spec.episodes) == (5, 1) and toy_1d(horizon=9).spec.horizon == 9
    for space in (spec.observation_space, spec.action_space):
        np.testing.assert_array_equal([space.low, space.high], [[-2], [2]])  # type: ignore[attr-defined]
    for split in (*SPLITS, "paper"):
        index, tasks = benchmark.split(split).enumerate(jax.random.key(0), 3)
        assert index.dtype == jnp.int32 and tasks.goal.shape == (3,)
        assert tasks.goal.dtype == jnp.float32 and not tasks.goal.weak_type
    task = ToyTask(jnp.float32(1))
    state, observation = benchmark.environment.reset(task, jax.random.key(1))
    after, outcome = benchmark.environment.step(task, state, jnp.asarray(spec.action_space.sample()), jax.random.key(2))
    for leaf in (state, observation, after, outcome.observation, outcome.reward):
        assert leaf.dtype == jnp.float32 and not leaf.weak_type
    assert outcome.reward.shape == () and spec.observation_space.contains(np.asarray(after))


def test_held_out_goals_are_disjoint_even_for_one_key() -> None:
    parts = [goals_of(split, seed=3) for split in SPLITS]
    assert not set(parts[0]) & set(parts[1]) and not set(parts[0]) & set(parts[2]) and not set(parts[1]) & set(parts[2])
    for code, part in enumerate(parts):
        assert np.all(np.asarray(jax.vmap(code_of)(ToyTask(jnp.asarray(part)))) == code)


def test_held_out_goals_lie_around_the_published_ones() -> None:
    for split in SPLITS:
        goals = goals_of(split, seed=1)
        assert np.all((np.abs(goals) >= 0.5) & (np.abs(goals) < 1.5))
        assert abs(np.mean(goals > 0) - 0.5) < 4 * 0.5 / 2000**0.5
        assert np.mean(np.abs(goals)) == pytest.approx(1.0, abs=4 / (12 * 2000) ** 0.5)


def test_the_published_goals() -> None:
    held_out, paper = toy_1d(), toy_1d(goals="paper")
    for split in (paper.train, paper.validation, paper.test, held_out.named["paper"], paper.named["paper"]):
        np.testing.assert_array_equal(split.enumerate(jax.random.key(0), 2)[1].goal, [-1, 1])
    assert "goals of training" in paper.describe and "unseen" in held_out.describe


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"horizon": 0}, ("horizon", "0", "1 ≤ horizon")),
        ({"goals": "all"}, ("goals", "'all'", "'held-out' or 'paper'")),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], parts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as raised:
        toy_1d(**settings)
    assert all(part in str(raised.value) for part in parts)
