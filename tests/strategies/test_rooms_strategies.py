"""Strategies for multi-stage rooms against the best that any agent can do, found by dynamic programming."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from adaptax.envs.rooms import all_goals, rooms

Play = Callable[..., np.ndarray]
CELLS = [(x, y) for x in range(-7, 8) for y in (-1, 0, 1) if y == 0 or abs(x) not in (2, 3, 4)]


def optimum(goals: np.ndarray) -> float:
    """The largest return of 50 steps from (0, 0), by backward induction over cells and stages."""
    first, second, third = (tuple(int(x) for x in goal) for goal in goals)
    value = {(cell, stage): 0.0 for cell in CELLS for stage in range(3)}
    for _ in range(50):
        before = {}
        for (x, y), stage in value:
            best = -np.inf
            for dx, dy in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)):
                cell = (x + dx, y + dy) if (x + dx, y + dy) in CELLS else (x, y)
                after, reward = stage, -0.1
                if cell == first:
                    after, reward = max(stage, 1), 1.0
                elif cell == second and stage >= 1:
                    after, reward = 2, 10.0
                elif cell == third and stage == 2:
                    reward = 100.0
                best = max(best, reward + value[cell, after])
            before[(x, y), stage] = best
        value = before
    return value[(0, 0), 0]


def test_known_goals_are_the_optimum(play: Play) -> None:
    benchmark = rooms(goals="paper")
    returns = play(benchmark, "known-goal", tasks=48)[:, 0]
    some = slice(None, None, 3)  # each kind of goal 2 and of goal 3 is among them
    np.testing.assert_allclose(returns[some], [optimum(goals) for goals in all_goals()[some]], rtol=1e-5)
    # Goal 3 is reached with step 14 at the earliest, and 20 at the latest.
    assert returns.max() == pytest.approx(3709.9, abs=0.01)
    assert returns.mean() == pytest.approx(3376.6, abs=0.05)


def test_known_goals_begin_anew_with_every_episode(play: Play) -> None:
    benchmark = rooms(goals="paper", episodes=2)
    returns = play(benchmark, "known-goal", tasks=48)
    np.testing.assert_allclose(returns[:, 1], returns[:, 0])


def test_random_actions_hardly_leave_the_first_room(play: Play) -> None:
    benchmark = rooms(goals="paper")
    returns = play(benchmark, "random", tasks=1000)[:, 0]
    assert -5 < returns.mean() < 20 and np.median(returns) < 3
