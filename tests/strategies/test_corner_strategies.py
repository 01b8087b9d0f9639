"""Strategies for the four corners against returns computed by hand and by slow loops in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.corner import CORNERS, CornerTask, corner, momentum_corner
from adaptax.strategies.corner import random
from adaptax.types import Benchmark, Birth, Timestep, UserError

Play = Callable[..., np.ndarray]


def alone(benchmark: Benchmark, name: str, goal: Any, start: Any) -> tuple[np.ndarray, np.ndarray]:
    """Observations and rewards of one episode from a given state."""
    strategy, task = benchmark.references[name](benchmark.spec), CornerTask(jnp.asarray(goal, jnp.float32))
    adapted = strategy.begin(task, jax.random.key(0), Birth())

    def step(state: Any, key: Any) -> Any:
        timestep = Timestep(state, jnp.zeros(2, jnp.float32), jnp.float32(0), jnp.asarray(False))
        decision, _ = strategy.act(task, adapted, (), timestep, key)  # type: ignore[arg-type]
        state, outcome = benchmark.environment.step(task, state, decision.action, key)
        return state, (outcome.observation, outcome.reward)

    keys = jax.random.split(jax.random.key(0), benchmark.spec.horizon)
    return jax.tree.map(np.asarray, jax.lax.scan(step, jnp.asarray(start, jnp.float32), keys)[1])


@pytest.mark.parametrize("goal", CORNERS.tolist())
@pytest.mark.parametrize("scale", [10.0, 1.0])
def test_a_known_goal_from_the_origin(goal: list[float], scale: float) -> None:
    """(0, 0), (±0.2, ±0.2) in the middle; from there 1.8 √2 to the corner, all of it paid. There in ten steps."""
    positions, rewards = alone(corner(action_scale=scale), "known-goal", goal, (0, 0))
    assert rewards[0] == 0 and np.all(rewards[1:9] > 0.28)
    assert rewards.sum() == pytest.approx(1.8 * 2**0.5, abs=1e-5)
    np.testing.assert_allclose(positions[9:], np.tile(goal, (91, 1)), atol=1e-5)


def test_a_known_goal_is_paid_for_the_way_from_the_middle() -> None:
    generator = np.random.default_rng(0)
    for start in generator.uniform(-0.2, 0.2, (20, 2)):
        goal = CORNERS[generator.integers(4)]
        positions, rewards = alone(corner(), "known-goal", goal, start)
        path = np.concatenate([[start], positions])
        last = path[np.flatnonzero(np.abs(path).sum(1) < 0.5)[-1]]
        assert rewards.sum() == pytest.approx(np.linalg.norm(last - goal), abs=1e-4)
        assert 1.75 * 2**0.5 - 1e-4 < rewards.sum() < (1.8**2 + 2.1**2) ** 0.5 + 1e-4


def slow_returns(actions: np.ndarray | None, generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns of walks without momentum to (2, 2), by `actions` [100, count, 2] or straight: [count]."""
    goal, position, total = np.asarray([2.0, 2.0]), generator.uniform(-0.2, 0.2, (count, 2)), np.zeros(count)
    for t in range(100):
        after = position + np.clip(goal - position if actions is None else actions[t], -0.2, 0.2)
        before, distance = (np.linalg.norm(at - goal, axis=1) for at in (position, after))
        others = np.linalg.norm(after[:, None] - CORNERS, axis=2).min(1)
        total += np.where((np.abs(after).sum(1) >= 0.5) & (distance <= others + 1e-12), before - distance, 0)
        position = after
    return total


def agree(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return abs(ours.mean() - theirs.mean()) < 4 * (ours.var() / ours.size + theirs.var() / theirs.size) ** 0.5


def test_mean_returns_without_momentum(play: Play) -> None:
    benchmark, generator = corner(), np.random.default_rng(1)
    returns = play(benchmark, "known-goal", "paper", tasks=4000)
    assert agree(returns, slow_returns(None, generator, 20_000))
    assert returns.mean() == pytest.approx(2.62, abs=0.01)
    # The untrained policy in the published box: an action of 1 moves by 0.02.
    for deviation in (1.0, 10.0):
        strategy = random(benchmark.spec, deviation=deviation)
        moves = 0.02 * deviation * generator.normal(size=(100, 4000, 2))
        assert agree(play(benchmark, strategy, "paper", tasks=4000), slow_returns(moves, generator, 4000))


@pytest.mark.parametrize("goal", CORNERS.tolist())
def test_braking_from_rest_by_hand(goal: list[float]) -> None:
    """Both axes: speeds 0.1, 0.2, 0.3, 0.4, 0.4, 0.3, 0.2, 0.1, which add to 2; then rest, the last 0.1 being
    taken back as the ninth step begins. Within 2 of the corner, at √2 (2 − p), from p = 0.6 on."""
    positions, rewards = alone(momentum_corner(), "known-goal", goal, np.zeros(4))
    covered = np.asarray([0.1, 0.3, 0.6, 1.0, 1.4, 1.7, 1.9, 2.0])
    np.testing.assert_allclose(np.abs(positions[:8, 0]), covered, atol=1e-5)
    np.testing.assert_allclose(np.abs(positions[:8, 1]), covered, atol=1e-5)
    np.testing.assert_allclose(positions[7:, :2], np.tile(goal, (93, 1)), atol=1e-4)
    np.testing.assert_allclose(positions[8:, 2:], 0, atol=1e-4)
    # 2 − √2 · (1.4, 1.0, 0.6, 0.3, 0.1) = 0.0201, 0.5858, 1.1515, 1.5757, 1.8586; then 93 times 2.
    assert rewards.sum() == pytest.approx(0.0201 + 0.5858 + 1.1515 + 1.5757 + 1.8586 + 93 * 2, abs=5e-3)


def fewest_steps(distance: float, velocity: float) -> int:
    """The fewest steps to rest at a distance: the stretch that m pushes of ±0.1 or less can cover while they bring
    `velocity` to 0 is an interval, whose ends are to push one way first and then the other."""
    for steps in range(1, 100):
        free = -velocity / 0.1  # the pushes have to add up to this, in units of 0.1
        if abs(free) > steps:
            continue
        weights = np.arange(steps, 0, -1)  # a push in step i moves the point in that step and in all that follow
        # Fill up to the sum greedily: from −1 each, raise the heaviest first (or the lightest first).
        spare = free + steps
        gains = np.clip(spare - 2 * np.arange(steps), 0, 2)
        ends = [velocity * steps + 0.1 * np.sum(weights * (g - 1)) for g in (gains, gains[::-1])]
        if min(ends) - 1e-6 <= distance <= max(ends) + 1e-6:
            return steps
    raise AssertionError


def test_braking_takes_the_fewest_steps() -> None:
    generator = np.random.default_rng(2)
    for _ in range(30):
        start = np.concatenate([generator.uniform(-0.2, 0.2, 2), generator.uniform(-0.1, 0.1, 2)])
        goal = CORNERS[generator.integers(4)]
        states, _ = alone(momentum_corner(), "known-goal", goal, start)
        for axis in range(2):
            off = np.abs(states[:, axis] - goal[axis]) + np.abs(states[:, 2 + axis])
            arrived = int(np.flatnonzero(off < 1e-4)[0]) + 1
            assert np.all(off[arrived:] < 1e-3)
            side = np.sign(goal[axis])
            assert arrived == fewest_steps(side * (goal[axis] - start[axis]), side * start[2 + axis])


def test_mean_returns_with_momentum(play: Play) -> None:
    benchmark, generator = momentum_corner(), np.random.default_rng(3)
    returns = play(benchmark, "known-goal", "paper", tasks=400)
    # 2 in every step but the first seven to nine; 191.2 from rest at the origin.
    assert returns.min() > 188 and returns.max() < 194
    returns = play(benchmark, "random", "paper", tasks=4000)
    position, velocity = generator.uniform(-0.2, 0.2, (4000, 2)), generator.uniform(-0.1, 0.1, (4000, 2))
    total = np.zeros(4000)
    for _ in range(100):
        velocity = velocity + np.clip(0.01 * generator.normal(size=(4000, 2)), -0.1, 0.1)
        position = position + velocity
        total += np.maximum(2 - np.linalg.norm(position - 2, axis=1), 0)
    assert agree(returns, total)


def test_a_deviation_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match=r"deviation is -1; it must satisfy 0 ≤ deviation"):
        random(corner().spec, deviation=-1)
