"""Multi-stage rooms, step by step, against a map drawn by hand and against the published counts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.rooms import RoomsTask, all_goals, rooms
from adaptax.types import UserError

MAP = ("ooo   ooo   ooo", "ooooooooooooooo", "ooo   ooo   ooo")  # y = 1, 0, −1; x = −7 … 7
MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))  # stay, up, right, down, left


def walk(goals: Any, actions: Any) -> Any:
    """The outcomes of one stream that takes `actions` in turn, leading axis time."""
    environment, task = rooms().environment, RoomsTask(jnp.asarray(goals, jnp.float32))

    def step(state: Any, action: Any) -> Any:
        return environment.step(task, state, action, jax.random.key(0))

    state, _ = environment.reset(task, jax.random.key(0))
    return jax.lax.scan(step, state, jnp.asarray(actions, jnp.int32))[1]


def slow_walk(goals: np.ndarray, actions: np.ndarray) -> list[tuple[tuple[int, int], float, bool]]:
    """Position, reward and success, as the published definition reads."""
    first, second, third = (tuple(int(x) for x in goal) for goal in goals)
    x = y = 0
    seen_first = seen_second = False
    found = []
    for action in actions:
        there = (x + MOVES[action][0], y + MOVES[action][1])
        if abs(there[0]) <= 7 and abs(there[1]) <= 1 and MAP[1 - there[1]][there[0] + 7] == "o":
            x, y = there
        reward = -0.1
        if (x, y) == first:
            seen_first, reward = True, 1.0
        elif (x, y) == second and seen_first:
            seen_second, reward = True, 10.0
        elif (x, y) == third and seen_second:
            reward = 100.0
        found.append(((x, y), reward, reward == 100.0))
    return found


def test_rooms_against_a_map() -> None:
    goals = np.asarray([[1, 1], [5, -1], [-1, 1]])
    way = [2, 1, 3, 2, 2, 2, 2, 2, 3, 4, 0, 1, 4, 4, 4, 4, 4, 1, 4, 0, 3]  # to all three, in order
    wander = np.random.default_rng(0).choice([1, 2, 3, 4, 4, 2], 2000)
    for actions in (np.asarray(way), wander):
        outcome = walk(goals, actions)
        for t, (place, reward, success) in enumerate(slow_walk(goals, actions)):
            assert tuple(np.asarray(outcome.observation[t], int)) == place
            assert float(outcome.reward[t]) == pytest.approx(reward)
            assert bool(outcome.success[t]) == success
        assert not np.any(outcome.terminated)
    # Every cell, and every kind of reward.
    places = np.unique(np.asarray(walk(goals, wander).observation), axis=0)
    assert len(places) == sum(row.count("o") for row in MAP) == 33
    rewards = np.asarray(walk(goals, way).reward)
    assert set(np.round(rewards, 3)) == {np.float32(x) for x in (-0.1, 1.0, 10.0, 100.0)}


def test_later_goals_pay_only_in_their_order() -> None:
    """Goals 3, then 2, before goal 1: nothing; an episode begins anew."""
    goals = [[1, 1], [5, 1], [1, -1]]
    to_third, to_second = [2, 3], [1, 2, 2, 2, 2, 1]
    back = [3, 4, 4, 4, 4, 1]
    outcome = walk(goals, [*to_third, *to_second, *back, *([3, 2, 2, 2, 2, 1]), *([3, 4, 4, 4, 4, 3])])
    paid = {t: round(float(r), 3) for t, r in enumerate(outcome.reward) if r > 0}
    assert paid == {13: 1.0, 19: 10.0, 25: 100.0}
    np.testing.assert_allclose(np.delete(np.asarray(outcome.reward), list(paid)), -0.1)


def test_the_tasks_are_the_published_ones() -> None:
    goals = all_goals()
    assert goals.shape == (48, 3, 2) and len(np.unique(goals.reshape(48, 6), axis=0)) == 48
    first, second, third = goals[:, 0], goals[:, 1], goals[:, 2]
    assert np.all(np.abs(first) == 1) and np.all(np.abs(third) == 1) and np.all(np.any(first != third, axis=1))
    assert np.all(np.isin(np.abs(second[:, 0]), (5, 7))) and np.all(np.abs(second[:, 1]) == 1)
    assert np.all(np.sign(second[:, 0]) == np.sign(first[:, 0]))
    held_out, paper = rooms(), rooms(goals="paper")
    parts = [{g.tobytes() for g in np.asarray(held_out.split(s).tasks.goals)} for s in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [29, 10, 9] and len(set.union(*parts)) == 48
    assert paper.train.size == paper.test.size == held_out.named["paper"].size == 48
    assert "tasks of training" in paper.describe and "unseen" in held_out.describe


@pytest.mark.parametrize("settings", [{"episodes": 0}, {"goals": "all"}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        rooms(**settings)
