"""Strategies for mountain treasure against numbers found by hand and a bound."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest

from adaptax.envs.treasure import TreasureTask, treasure
from adaptax.tasks import TaskSet

Play = Callable[..., np.ndarray]


def test_a_known_treasure(play: Play) -> None:
    """The treasure at the start: 10 a step. To the right, (1, 0): nine steps bring (0.9, −0.1), the tenth the treasure,
    nowhere over the hill: 9 · −5 + 91 · 10."""
    benchmark = treasure()
    goals = np.asarray([[0, -1], [1, 0], [-1, 0]], np.float32)
    benchmark = benchmark._replace(test=TaskSet(TreasureTask(jax.numpy.asarray(goals))))
    returns = play(benchmark, "known-goal", tasks=3)[:, 0]
    np.testing.assert_allclose(returns, [1000, 865, 865], atol=1e-3)


def test_a_known_treasure_is_nearly_the_most_there_is(play: Play) -> None:
    """No agent is at the treasure sooner, every step before pays −5 at most, and every step there 10."""
    benchmark = treasure()
    returns = play(benchmark, "known-goal", tasks=500)[:, 0]
    goals = np.asarray(benchmark.test.enumerate(jax.random.split(jax.random.key(0))[0], 500)[1].goal, np.float64)
    away = np.abs(goals - [0.0, -1.0])
    before = [next(n for n in range(30) if np.hypot(*np.maximum(d - 0.1 * (n + 1), 0)) <= 0.1 + 1e-6) for d in away]
    short = 1000.0 - 15.0 * np.asarray(before) - returns
    assert short.min() > -0.01 and short.max() < 5 and short.mean() < 1
    assert returns.mean() == pytest.approx(854.5, abs=0.1)


def test_random_moves_pay_at_every_step(play: Play) -> None:
    benchmark = treasure()
    returns = play(benchmark, "random", tasks=500)[:, 0]
    assert -650 < returns.mean() < -400
