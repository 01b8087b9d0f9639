"""Mountain treasure (Zintgraf et al. 2021, HyperX; the authors' `treasure_hunt.py`): a view that costs something.

A point starts at (0, −1). The treasure lies somewhere on the unit circle, and round the origin there is a hill of
radius ½, from the top of which, ‖s‖ < 0.1, the treasure is seen. A step moves by at most 0.1 along each axis, within
[−1.5, 1.5]², and pays by where it ends, s:

    on the hill, ‖s‖ ≤ ½            −5 − (½ − ‖s‖)
    at the treasure, ‖s − g‖ ≤ 0.1  10
    elsewhere                       −5 max(1, ‖s‖)

The observation is (x, y) and, on the top, the treasure's place, elsewhere (0, 0). An episode has 100 steps and does not
terminate. Along the circle, half of which is 3.1 long, the treasure is found without climbing, within about 60 steps;
over the top it is found sooner, but every step up pays less than one that stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.splits import disjoint_splits
from adaptax.ranges import check_range
from adaptax.types import Array, Benchmark, Key, Outcome, Spec

START = (0.0, -1.0)
REACH = 0.1  # the furthest move along an axis in one step
EDGE = 1.5  # of the square that no step leaves
HILL, TOP = 0.5, 0.1  # radii: of the hill, and of the place from which the treasure is seen
NEAR = 0.1  # of the disc that counts as the treasure
TREASURE, STEP = 10.0, -5.0


class TreasureTask(NamedTuple):
    """Where the treasure is."""

    goal: Array  # float32 [2]; on the unit circle


@dataclass(frozen=True)
class Treasure:
    """The state is the position, float32 [2]; actions are float32 [2] in [−1, 1]²."""

    horizon: int

    @property
    def spec(self) -> Spec:
        observation_space = gymnasium.spaces.Box(-EDGE, EDGE, (4,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        return Spec(observation_space, action_space, self.horizon)

    def reset(self, task: TreasureTask, key: Key) -> tuple[Array, Array]:
        start = jnp.asarray(START, jnp.float32)
        return start, _observe(task, start)

    def step(self, task: TreasureTask, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        position = jnp.clip(state + REACH * jnp.clip(action, -1.0, 1.0), -EDGE, EDGE)
        height = HILL - _norm(position)
        found = (_norm(position - task.goal) <= NEAR) & (height < 0)
        around = STEP * jnp.maximum(_norm(position), 1.0)
        reward = jnp.where(height >= 0, STEP - height, jnp.where(found, jnp.float32(TREASURE), around))
        return position, Outcome(_observe(task, position), reward, success=found)


def _observe(task: TreasureTask, position: Array) -> Array:
    return jnp.concatenate([position, jnp.where(_norm(position) < TOP, task.goal, 0.0)])


def _norm(offset: Array) -> Array:
    return jnp.sqrt(jnp.sum(offset * offset))


def treasure(horizon: int = 100) -> Benchmark:
    """Mountain treasure with episodes of `horizon` steps (published: 100).

    The treasure's angle is uniform in training, validation and test, which share no task. Raises a `UserError` for a
    setting out of its range.
    """
    check_range("horizon", horizon, 1)
    from adaptax.render import plane as drawn
    from adaptax.strategies import navigation as strategies

    def draw(key: Key) -> TreasureTask:
        angle = jax.random.uniform(key, (), jnp.float32, 0.0, 2.0 * np.pi)
        return TreasureTask(jnp.stack([jnp.cos(angle), jnp.sin(angle)]))

    splits = disjoint_splits(draw)
    describe = f"return per episode of {horizon} steps, the treasure's angle uniform"
    return Benchmark(
        Treasure(horizon),
        *splits,
        describe=describe,
        references={"random": strategies.random, "known-goal": partial(strategies.KnownGoal, reach=REACH)},
        best="known-goal",
        picture=drawn.treasure,
    )
