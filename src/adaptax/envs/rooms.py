"""Multi-stage rooms (Zintgraf et al. 2021, HyperX; the authors' `rooms.py`): three hidden goals, one after the other.

Three rooms of 3 × 3 cells stand in a row, joined by corridors of three cells along y = 0. An episode of 50 steps starts
in the middle of the middle room, (0, 0):

    y  1    o o o         o o o         o o o
       0    o o o - - - o o o - - - o o o          x = −7 … 7; corridors at |x| = 2, 3, 4
      −1    o o o         o o o         o o o

Goal 1 is a corner of the middle room, goal 2 a corner of the room on that side, goal 3 another corner of the middle
room: 4 · 4 · 3 = 48 tasks. A step that ends on goal 1 pays 1, on goal 2, once goal 1 has been reached, 10, on goal 3,
once goal 2 has been, 100, any other −0.1; whoever stays on a goal is paid again. Only the position (x, y) is observed.
Actions: stay, up, right, down, left; a step into a wall stays where it is.

Goal 1 alone is a local optimum, about 46 an episode: an agent that stays there never learns that others exist.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import gymnasium
import jax.numpy as jnp
import numpy as np

from adaptax.ranges import check_range
from adaptax.tasks import TaskSet
from adaptax.types import Array, Benchmark, Key, Outcome, Spec, UserError

HORIZON = 50
SIDE = 7.0  # the largest |x|
CORRIDOR = (2.0, 4.0)  # the |x| of the cells between two rooms
NEXT_ROOM = 6.0  # the |x| of the middle of the outer rooms
STEP, PAYS = -0.1, (1.0, 10.0, 100.0)  # by goal


class RoomsTask(NamedTuple):
    """The three goals in their order."""

    goals: Array  # float32 [3, 2]; (x, y), whole numbers


class RoomsState(NamedTuple):
    position: Array  # float32 [2]; whole numbers
    reached: Array  # int32 []; how many of goals 1 and 2, in their order


@dataclass(frozen=True)
class Rooms:
    """The observation is the position (x, y): float32 [2], whole numbers."""

    episodes: int

    @property
    def spec(self) -> Spec:
        edge = np.asarray([SIDE, 1.0], np.float32)
        observation_space = gymnasium.spaces.Box(-edge, edge, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(5, dtype=np.int32)
        return Spec(observation_space, action_space, HORIZON, self.episodes)

    def reset(self, task: RoomsTask, key: Key) -> tuple[RoomsState, Array]:
        start = jnp.zeros((2,), jnp.float32)
        return RoomsState(start, jnp.zeros((), jnp.int32)), start

    def step(self, task: RoomsTask, state: RoomsState, action: Array, key: Key) -> tuple[RoomsState, Outcome]:
        right = (action == 2).astype(jnp.float32) - (action == 4)
        up = (action == 1).astype(jnp.float32) - (action == 3)
        there = state.position + jnp.stack([right, up])
        position = jnp.where(_is_cell(there), there, state.position)
        on = jnp.all(position == task.goals, axis=1)
        first, second, third = on[0], on[1] & (state.reached >= 1), on[2] & (state.reached >= 2)
        reached = jnp.maximum(state.reached, jnp.where(second, 2, jnp.where(first, 1, 0)))
        reward = jnp.float32(STEP)
        for found, pay in zip((first, second, third), PAYS, strict=True):
            reward = jnp.where(found, jnp.float32(pay), reward)
        return RoomsState(position, reached), Outcome(position, reward, success=third)


def _is_cell(place: Array) -> Array:
    """Whether (x, y) is a cell and no wall."""
    across, along = jnp.abs(place[0]), jnp.abs(place[1])
    corridor = (across >= CORRIDOR[0]) & (across <= CORRIDOR[1])
    return (across <= SIDE) & (along <= jnp.where(corridor, 0.0, 1.0))


def all_goals() -> np.ndarray:
    """The goals of the 48 tasks, float32 [48, 3, 2]."""
    corners = np.asarray(list(itertools.product((-1, 1), (-1, 1))), np.float32)
    found = []
    for first in corners:
        middle = np.asarray([np.sign(first[0]) * NEXT_ROOM, 0.0], np.float32)
        for second, third in itertools.product(corners + middle, corners):
            if np.any(third != first):
                found.append([first, second, third])
    return np.asarray(found, np.float32)


def rooms(episodes: int = 1, goals: Literal["held-out", "paper"] = "held-out") -> Benchmark:
    """Multi-stage rooms with `episodes` episodes per trial (published: 1).

    The published protocol trains and tests on all 48 tasks: it measures whether an agent explores, not whether it
    generalises. So that this is never done unawares, the default `goals="held-out"` keeps every fifth task for
    validation (10) and every fifth for test (9), and trains on the other 29. With `goals="paper"` train, validation
    and test are all 48 tasks, which `describe` says. The split "paper" holds the 48 tasks in either case.

    Raises a `UserError` for a setting out of its range.
    """
    check_range("episodes", episodes, 1)
    if goals not in ("held-out", "paper"):
        raise UserError(f"goals is {goals!r}; it must be 'held-out' or 'paper'")
    from adaptax.render import grid as drawn
    from adaptax.strategies.rooms import KnownGoals

    every = all_goals()
    residue = np.arange(len(every)) % 5

    def tasks(chosen: np.ndarray) -> TaskSet:
        return TaskSet(RoomsTask(jnp.asarray(every[chosen])))

    paper = tasks(residue >= 0)
    held_out = (tasks((residue != 2) & (residue != 4)), tasks(residue == 2), tasks(residue == 4))
    train, validation, test = (paper, paper, paper) if goals == "paper" else held_out
    on = "the 48 tasks of training (the published protocol)" if goals == "paper" else "9 unseen tasks"
    describe = f"return over {episodes} episode{'s' * (episodes > 1)} of {HORIZON} steps on {on}"
    return Benchmark(
        Rooms(episodes),
        train,
        validation,
        test,
        {"paper": paper},
        describe,
        references={"known-goal": KnownGoals},
        best="known-goal",
        picture=drawn.rooms,
    )
