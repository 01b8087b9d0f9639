"""The sparse point robot (Rakelly et al. 2019, PEARL; the authors' `point_robot.py`).

A point starts at the origin and moves by at most 0.1 along each axis, through the same normalising wrapper as
in `navigation`. The goal is one of 100 equally spaced on the unit half circle, shuffled with seed 1337. The
sparse reward is 1 − ‖s' − g‖ within 0.2 of the goal and 0 elsewhere; the episode never terminates and lasts
20 steps. An agent that knows the goal collects about 13.38 per episode on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import gymnasium
import jax.numpy as jnp
import numpy as np

from adaptax.ranges import check_range
from adaptax.tasks import TaskSet
from adaptax.types import Array, Benchmark, Key, Outcome, Spec, UserError

REACH = 0.1  # the furthest move along an axis in one step
RADIUS = 0.2  # of the disc around the goal in which the sparse reward is paid
PAPER_TRAIN = 80  # the first goals of the shuffled hundred train, the last 20 test


class SparseNavigationTask(NamedTuple):
    """One goal, and whether −‖s' − g‖ is paid in place of the sparse reward."""

    goal: Array  # float32 [2]
    dense: Array = np.bool_(False)  # type: ignore[assignment]  # bool []


@dataclass(frozen=True)
class SparseNavigation:
    """The observation, and state, is the position: float32 [2]."""

    horizon: int

    @property
    def spec(self) -> Spec:
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        return Spec(observation_space, gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32), self.horizon)

    def reset(self, task: SparseNavigationTask, key: Key) -> tuple[Array, Array]:
        start = jnp.zeros((2,), jnp.float32)
        return start, start

    def step(self, task: SparseNavigationTask, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        position = state + jnp.clip(REACH * action, -REACH, REACH)
        offset = position - task.goal
        distance = jnp.sqrt(jnp.sum(offset * offset))
        near = distance <= RADIUS
        reward = jnp.where(task.dense, -distance, jnp.where(near, 1.0 - distance, jnp.float32(0)))
        return position, Outcome(position, reward, success=near, shaped=-distance)


def half_circle_goals() -> np.ndarray:
    """The hundred goals in the published order, float32 [100, 2]."""
    angles = np.linspace(0.0, np.pi, 100)
    goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.random.RandomState(1337).shuffle(goals)
    return goals.astype(np.float32)


def sparse_navigation(
    horizon: int = 20,
    dense: bool = False,
    dense_training: bool = False,
    goals: Literal["held-out", "paper"] = "held-out",
) -> Benchmark:
    """The sparse point robot, episodes of `horizon` steps; `dense` pays −‖s' − g‖ instead, and `dense_training` does
    so on the training goals only: what an agent learns from dense rewards is evaluated by sparse ones (MAESN).

    The last 20 goals are the published test goals and are never trained on. The paper has no validation
    goals: with `goals="held-out"` the 80 published training goals are divided into 70 for training and 10 for
    validation; with `goals="paper"` all 80 train, and validation repeats the last ten of them, so it is not
    held out (the test goals still are). The split "paper" holds the 80 training goals in either case.
    """
    check_range("horizon", horizon, 1)
    if goals not in ("held-out", "paper"):
        raise UserError(f"goals is {goals!r}; it must be 'held-out' or 'paper'")
    from adaptax.render import plane as drawn
    from adaptax.strategies import navigation as strategies

    points = half_circle_goals()

    def tasks(part: slice, dense: bool = dense) -> TaskSet:
        goal = jnp.asarray(points[part])
        return TaskSet(SparseNavigationTask(goal, jnp.full(goal.shape[:1], dense)))

    paper = tasks(slice(0, PAPER_TRAIN))
    kind = "dense" if dense else "sparse"
    describe = f"{kind} return per episode of {horizon} steps on the 20 unseen published goals"
    if dense_training and not dense:
        describe += ", after training on dense rewards"
    return Benchmark(
        SparseNavigation(horizon),
        train=tasks(slice(0, PAPER_TRAIN if goals == "paper" else 70), dense or dense_training),
        validation=tasks(slice(70, PAPER_TRAIN)),
        test=tasks(slice(PAPER_TRAIN, 100)),
        named={"paper": paper},
        describe=describe + ("; validation goals are training goals" if goals == "paper" else ""),
        references={
            "random": strategies.random,
            "posterior-sampling": partial(strategies.PosteriorSampling, reach=REACH, radius=RADIUS),
            "known-goal": partial(strategies.KnownGoal, reach=REACH),
        },
        best="known-goal",
        picture=drawn.sparse_navigation,
    )
