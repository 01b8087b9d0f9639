"""The four corners, step by step, against a slow reference in plain NumPy and against numbers found by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.corner import CORNERS, CornerTask, corner, momentum_corner
from adaptax.types import Benchmark, UserError


def walk(benchmark: Benchmark, task: Any, start: Any, actions: np.ndarray) -> Any:
    """The outcomes of one stream from `start` that takes `actions` in turn, leading axis time."""

    def step(state: Any, inputs: Any) -> Any:
        return benchmark.environment.step(task, state, *inputs)

    keys = jax.random.split(jax.random.key(1), len(actions))
    return jax.lax.scan(step, jnp.asarray(start, jnp.float32), (jnp.asarray(actions, jnp.float32), keys))[1]


def task_of(x: float, y: float) -> CornerTask:
    return CornerTask(jnp.asarray([x, y], jnp.float32))


def slow_reward(before: np.ndarray, after: np.ndarray, goal: np.ndarray) -> float:
    """The published sparse reward, as its definition reads."""
    if abs(after[0]) + abs(after[1]) < 0.5:
        return 0.0
    distances = [np.linalg.norm(after - other) for other in CORNERS]
    distance = np.linalg.norm(after - goal)
    return float(np.linalg.norm(before - goal) - distance) if distance == min(distances) else 0.0


@pytest.mark.parametrize("scale", [10.0, 1.0])
@pytest.mark.parametrize("goal", CORNERS.tolist())
def test_corner_against_numpy(goal: list[float], scale: float) -> None:
    benchmark = corner(action_scale=scale)
    generator = np.random.default_rng(0)
    # To and fro through the middle, at times beyond the box.
    actions, places = np.zeros((300, 2)), [generator.uniform(-0.2, 0.2, 2)]
    for t in range(300):
        actions[t] = scale * (generator.normal(size=2) - 0.5 * places[-1])
        places.append(places[-1] + np.clip(0.2 / scale * actions[t], -0.2, 0.2))
    position = places[0]
    outcome = walk(benchmark, task_of(*goal), position, actions)
    paid = middle = 0
    for t, action in enumerate(actions):
        low, high = -0.2, 0.2
        after = position + np.clip(low + (action + scale) * (high - low) / (2 * scale), low, high)
        expected = slow_reward(position, after, np.asarray(goal))
        np.testing.assert_allclose(outcome.observation[t], after, atol=2e-5)
        if min(abs(np.abs(after).sum() - 0.5), *np.abs(after)) > 1e-4:
            np.testing.assert_allclose(outcome.reward[t], expected, atol=2e-5)
            paid, middle = paid + (expected != 0), middle + (np.abs(after).sum() < 0.5)
        distance = np.linalg.norm(after - goal)
        if abs(distance - 0.5) > 1e-4:
            assert bool(outcome.success[t]) == (distance < 0.5)
        position = after
    assert paid > 10 and middle > 5
    assert not np.any(outcome.terminated) and not np.any(outcome.truncated)


def test_momentum_against_numpy() -> None:
    benchmark = momentum_corner()
    generator = np.random.default_rng(1)
    state, goal = generator.uniform(-0.1, 0.1, 4), np.asarray([2.0, -2.0])
    # Driven to and fro around the goal, at times beyond the box of ±10.
    actions = np.zeros((200, 2))
    positions, velocity = [state[:2].copy()], state[2:].copy()
    for t in range(200):
        actions[t] = 30 * (goal - positions[-1]) - 150 * velocity + 8 * generator.normal(size=2)
        velocity = velocity + np.clip(actions[t] / 100, -0.1, 0.1)
        positions.append(positions[-1] + velocity)
    outcome = walk(benchmark, task_of(*goal), state, actions)
    velocities = np.diff(positions, axis=0)
    np.testing.assert_allclose(outcome.observation[:, :2], positions[1:], atol=2e-4)
    np.testing.assert_allclose(outcome.observation[:, 2:], velocities, atol=2e-4)
    distances = np.linalg.norm(np.asarray(positions[1:]) - goal, axis=1)
    np.testing.assert_allclose(outcome.reward, np.maximum(2 - distances, 0), atol=3e-4)
    assert np.any(distances > 2) and np.sum(distances < 2) > 50 and np.any(np.abs(actions) > 10)
    assert not np.any(outcome.terminated)


def test_nothing_limits_the_velocity() -> None:
    outcome = walk(momentum_corner(), task_of(2, 2), np.zeros(4), np.full((100, 2), 10.0))
    # 0.1 (1 + … + 100) = 505
    np.testing.assert_allclose(outcome.observation[-1], [505, 505, 10, 10], rtol=1e-5)


@pytest.mark.parametrize(
    ("before", "action", "paid"),
    [
        ((0.0, 0.0), (10.0, 10.0), 0.0),  # ends at (0.2, 0.2): ‖s'‖₁ = 0.4, still in the middle
        ((0.2, 0.2), (10.0, 10.0), 0.2 * 2**0.5),  # to (0.4, 0.4), along the diagonal
        ((2.0, 1.0), (0.0, 10.0), 0.2),
        ((2.0, 1.0), (0.0, -10.0), -0.2),  # moving away is charged in the goal's quadrant
        ((2.0, 0.1), (0.0, -10.0), 0.0),  # but not when it leads to another one
        ((2.0, -0.1), (0.0, 10.0), 0.2),  # and coming back is paid
        ((2.0, 0.1), (0.0, -5.0), -0.1),  # as near to two corners: the goal counts as the nearest
        ((-1.0, -1.0), (10.0, 10.0), 0.0),
        ((0.7, 0.0), (-10.0, 0.0), 1.3**2 - 1.3**2 + ((1.3**2 + 4) ** 0.5 - (1.5**2 + 4) ** 0.5)),  # to (0.5, 0)
        ((0.6, 0.0), (-10.0, 0.0), 0.0),  # to (0.4, 0): the middle, free of charge
        ((2.0, 2.0), (30.0, 0.0), -0.2),  # clipped
    ],
)
def test_rewards_found_by_hand(before: tuple[float, float], action: tuple[float, float], paid: float) -> None:
    outcome = walk(corner(), task_of(2, 2), before, np.asarray([action]))
    assert float(outcome.reward[0]) == pytest.approx(paid, abs=1e-5)


def test_stepping_over_the_border_is_paid_again_and_again() -> None:
    """The published reward has this hole; who knows the corner collects less by going there."""
    actions = np.tile([[10.0, 0.0], [-10.0, 0.0]], (50, 1))
    outcome = walk(corner(), task_of(2, 2), (-0.1, 2.0), actions)
    assert float(np.sum(outcome.reward)) == pytest.approx(50 * 0.2, abs=1e-3)


def test_starts_are_uniform() -> None:
    keys = jax.random.split(jax.random.key(0), 4000)
    for build, edges in ((corner, [0.2, 0.2]), (momentum_corner, [0.2, 0.2, 0.1, 0.1])):
        state, observation = jax.vmap(lambda key, build=build: build().environment.reset(task_of(2, 2), key))(keys)
        np.testing.assert_array_equal(state, observation)
        scaled = np.asarray(state) / edges
        assert np.all(np.abs(scaled) <= 1)
        np.testing.assert_allclose(scaled.mean(0), 0, atol=4 / (3 * 4000) ** 0.5)
        np.testing.assert_allclose(scaled.std(0), 3**-0.5, atol=0.02)


@pytest.mark.parametrize(("build", "size"), [(corner, 2), (momentum_corner, 4)])
def test_the_spec_and_explicit_types(build: Any, size: int) -> None:
    benchmark = build()
    spec = benchmark.spec
    assert (spec.horizon, spec.episodes, spec.observation_space.shape) == (100, 1, (size,))
    np.testing.assert_array_equal(spec.action_space.high, [10, 10])
    np.testing.assert_array_equal(build(action_scale=2).spec.action_space.low, [-2, -2])
    assert build(horizon=7).spec.horizon == 7
    _, tasks = benchmark.test.enumerate(jax.random.key(0), 1)
    task = jax.tree.map(lambda leaf: leaf[0], tasks)
    state, observation = benchmark.environment.reset(task, jax.random.key(1))
    action = jnp.asarray(spec.action_space.sample())
    after, outcome = benchmark.environment.step(task, state, action, jax.random.key(2))
    for leaf in (state, observation, after, outcome.observation, outcome.reward, task.goal):
        assert leaf.dtype == jnp.float32 and not leaf.weak_type
    assert state.shape == after.shape == observation.shape == (size,) and outcome.reward.shape == ()
    assert spec.observation_space.contains(np.asarray(observation))


@pytest.mark.parametrize("build", [corner, momentum_corner])
def test_the_splits_share_a_corner_only_when_asked_to(build: Any) -> None:
    held_out, paper = build(), build(goals="paper")
    names = ("train", "validation", "test")
    parts = [{tuple(goal) for goal in np.asarray(held_out.split(name).tasks.goal)} for name in names]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert set.union(*parts) == {(-2, -2), (2, -2), (-2, 2), (2, 2)}
    assert parts[0] == {(-2, -2), (2, 2)}, "opposite corners"
    for split in (paper.train, paper.validation, paper.test, held_out.named["paper"], paper.named["paper"]):
        np.testing.assert_array_equal(split.tasks.goal, CORNERS)
    assert "corners of training" in paper.describe and "unseen" in held_out.describe
    _, drawn = paper.train.sample(jax.random.key(0), 4000)
    for goal in CORNERS:
        assert abs(np.mean(np.all(drawn.goal == goal, axis=1)) - 0.25) < 4 * (3 / 16 / 4000) ** 0.5


@pytest.mark.parametrize("build", [corner, momentum_corner])
@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"horizon": 0}, ("horizon", "0", "1 ≤ horizon")),
        ({"action_scale": 0.0}, ("action-scale", "0.0", "0 < action-scale ≤ 1000")),
        ({"action_scale": float("inf")}, ("action-scale", "inf")),
        ({"goals": "all"}, ("goals", "'all'", "'held-out' or 'paper'")),
    ],
)
def test_settings_out_of_range_are_refused(build: Any, settings: dict[str, Any], parts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as raised:
        build(**settings)
    assert all(part in str(raised.value) for part in parts)
