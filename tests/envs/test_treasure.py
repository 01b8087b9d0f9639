"""Mountain treasure, step by step, against a slow reference in plain NumPy and numbers found by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.treasure import TreasureTask, treasure
from adaptax.types import UserError


def walk(goal: Any, start: Any, actions: Any) -> Any:
    """The outcomes of one stream from `start` that takes `actions` in turn, leading axis time."""
    environment, task = treasure().environment, TreasureTask(jnp.asarray(goal, jnp.float32))

    def step(state: Any, action: Any) -> Any:
        return environment.step(task, state, action, jax.random.key(0))

    return jax.lax.scan(step, jnp.asarray(start, jnp.float32), jnp.asarray(actions, jnp.float32))[1]


def test_treasure_against_numpy() -> None:
    generator = np.random.default_rng(0)
    goal = np.asarray([0.6, 0.8])
    # Around the goal, over the hill and out to the edges, at times with larger actions than the box holds.
    targets = np.repeat(generator.uniform(-2, 2, (30, 2)), 20, axis=0)
    targets[100:200], targets[200:300] = goal, 0.0
    position, actions, places = np.asarray([0.0, -1.0]), [], []
    for target in targets:
        actions.append(6 * (target - position) + generator.normal(size=2))
        position = np.clip(position + 0.1 * np.clip(actions[-1], -1, 1), -1.5, 1.5)
        places.append(position)
    outcome = walk(goal, (0, -1), actions)
    kinds = set()
    for t, place in enumerate(places):
        height, off, out = 0.5 - np.hypot(*place), np.hypot(*(place - goal)), np.hypot(*place)
        kind = "hill" if height >= 0 else "treasure" if off <= 0.1 else "far" if out > 1 else "plain"
        expected = {"hill": -5 - height, "treasure": 10.0, "far": -5 * out, "plain": -5.0}[kind]
        np.testing.assert_allclose(outcome.observation[t, :2], place, atol=1e-5)
        if min(abs(height), abs(off - 0.1), abs(out - 0.1)) > 1e-4:
            kinds.add(kind)
            assert float(outcome.reward[t]) == pytest.approx(expected, abs=1e-4)
            assert bool(outcome.success[t]) == (kind == "treasure")
            np.testing.assert_allclose(outcome.observation[t, 2:], goal if out < 0.1 else 0.0, atol=1e-6)
    assert kinds == {"hill", "treasure", "far", "plain"} and not np.any(outcome.terminated)
    assert np.any(np.asarray(outcome.observation)[:, 2] != 0) and np.abs(places).max() == 1.5


@pytest.mark.parametrize(
    ("place", "reward"),
    [((0, -1), -5.0), ((0, 0), -5.5), ((0.3, 0), -5.2), ((0, 1), 10.0), ((0.08, 1), 10.0), ((1.2, 0), -6.0)],
)
def test_what_a_place_pays(place: Any, reward: float) -> None:
    assert float(walk((0, 1), place, [[0, 0]]).reward[0]) == pytest.approx(reward, abs=1e-5)


def test_treasures_lie_all_round_the_circle_and_do_not_overlap() -> None:
    benchmark = treasure()
    goals = np.asarray(benchmark.train.sample(jax.random.key(0), 2000)[1].goal)
    np.testing.assert_allclose(np.linalg.norm(goals, axis=1), 1.0, atol=1e-6)
    angles = np.histogram(np.arctan2(goals[:, 1], goals[:, 0]), 8, (-np.pi, np.pi))[0]
    assert np.all(np.abs(angles - 250) < 4 * 250**0.5)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UserError):
        treasure(horizon=0)
