"""The four corners (Rothfuss et al. 2019, ProMP; the authors' `point_env_2d_corner.py` and `point_env_2d_momentum.py`).

A point starts uniformly on [−0.2, 0.2]². One of the corners (±2, ±2) is the goal, and it is not observed. No
episode terminates.

Without momentum the point moves by at most 0.2 along each axis. A step that ends at s' with ‖s'‖₁ < ½ pays
nothing, nor does one that ends nearer to another corner than to g. Any other pays its progress,
‖s − g‖ − ‖s' − g‖. So the goal shows once the point has left the middle into the goal's quadrant. Progress is not
charged back outside that quadrant: whoever steps to and fro over the quadrant's border is paid again and again,
and collects more than by walking to the corner (0.2 every other step at (±0.1, 2), which makes 10 in 100 steps).

With momentum the action, at most 0.1 along each axis, is added to a velocity, and the velocity to the position;
nothing damps or limits the velocity. It starts uniformly on [−0.1, 0.1]² and is observed. The reward is another
one: max(2 − ‖s' − g‖, 0), as in the code that was released (revisions before it paid progress within 2 of the
goal less 0.01 ‖a‖, in both environments).

The authors' agents act through a normalising wrapper whose box is [−10, 10]², not [−1, 1]² as in `navigation`: an
action of 10 is the furthest move. Their policy starts with standard deviation 1, a tenth of it.

Success, which the authors do not define, is here to have come within ½ of the goal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.ranges import check_range
from adaptax.tasks import TaskSet
from adaptax.types import Array, Benchmark, Key, Outcome, Spec, UserError

CORNERS = np.asarray([(-2, -2), (2, -2), (-2, 2), (2, 2)], np.float32)  # in the authors' order
REACH = 0.2  # the furthest move along an axis in one step
PUSH = 0.1  # with momentum: the largest change of velocity along an axis in one step
START = 0.2  # positions at the start are uniform on ±START,
START_VELOCITY = 0.1  # and velocities on ±START_VELOCITY
MIDDLE = 0.5  # nothing is paid where ‖s'‖₁ is less
RADIUS = 2.0  # with momentum: of the disc around the goal in which something is paid
NEAR = 0.5  # of the disc around the goal that counts as success


class CornerTask(NamedTuple):
    """One corner."""

    goal: Array  # float32 [2]


@dataclass(frozen=True)
class Corner:
    """The observation, and state, is the position, float32 [2]; with `momentum` position and velocity, float32
    [4]. Actions are float32 [2] in [−action_scale, action_scale]²."""

    horizon: int
    action_scale: float
    momentum: bool

    @property
    def spec(self) -> Spec:
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4 if self.momentum else 2,), np.float32)
        action_space = gymnasium.spaces.Box(-self.action_scale, self.action_scale, (2,), np.float32)
        return Spec(observation_space, action_space, self.horizon)

    def reset(self, task: CornerTask, key: Key) -> tuple[Array, Array]:
        bounds = [START, START, START_VELOCITY, START_VELOCITY] if self.momentum else [START, START]
        edge = jnp.asarray(bounds, jnp.float32)
        start = jax.random.uniform(key, edge.shape, jnp.float32, minval=-edge, maxval=edge)
        return start, start

    def step(self, task: CornerTask, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        edge = PUSH if self.momentum else REACH
        move = jnp.clip(edge / self.action_scale * action, -edge, edge)
        velocity = state[2:] + move if self.momentum else move
        position = state[:2] + velocity
        distance = _norm(position - task.goal)
        if self.momentum:
            reward = jnp.maximum(RADIUS - distance, 0.0)
            after = jnp.concatenate([position, velocity])
        else:
            # No corner is nearer than the goal just when no coordinate has the other sign.
            pays = jnp.all(position * task.goal >= 0) & (jnp.sum(jnp.abs(position)) >= MIDDLE)
            reward = jnp.where(pays, _norm(state - task.goal) - distance, jnp.float32(0))
            after = position
        return after, Outcome(after, reward, success=distance < NEAR)


def corner(
    horizon: int = 100, action_scale: float = 10.0, goals: Literal["held-out", "paper"] = "held-out"
) -> Benchmark:
    """The four corners without momentum, episodes of `horizon` steps.

    `action_scale`, above 0 and at most 1000, is the action that makes the furthest move (published: 10).

    The published protocol trains and tests on all four corners, as GridNavi's does on all its cells: it measures
    how an agent explores, not whether it generalises, and four tasks leave nothing to generalise from. So that
    this is never done unawares, the default `goals="held-out"` trains on the opposite corners (−2, −2) and
    (2, 2), validates on (2, −2) and tests on (−2, 2); two corners suggest a prior that excludes the other two, and
    the published behaviour is out of such an agent's reach. With `goals="paper"` train, validation and test are
    all four corners, which `describe` says. The split "paper" holds the four in either case.

    Raises a `UserError` for a setting out of its range.
    """
    return _benchmark(horizon, action_scale, goals, momentum=False)


def momentum_corner(
    horizon: int = 100, action_scale: float = 10.0, goals: Literal["held-out", "paper"] = "held-out"
) -> Benchmark:
    """The four corners with momentum: an action accelerates, and the reward is max(2 − ‖s' − g‖, 0).

    The settings, the splits and the errors are those of `corner`.
    """
    return _benchmark(horizon, action_scale, goals, momentum=True)


def _benchmark(horizon: int, action_scale: float, goals: str, momentum: bool) -> Benchmark:
    check_range("horizon", horizon, 1)
    check_range("action_scale", action_scale, 0.0, 1000.0, above=True)
    if goals not in ("held-out", "paper"):
        raise UserError(f"goals is {goals!r}; it must be 'held-out' or 'paper'")

    from adaptax.render import plane as drawn
    from adaptax.strategies import corner as strategies
    from adaptax.strategies.navigation import KnownGoal

    def tasks(*chosen: int) -> TaskSet:
        return TaskSet(CornerTask(jnp.asarray(CORNERS[list(chosen)])))

    paper = tasks(0, 1, 2, 3)
    train, validation, test = (paper, paper, paper) if goals == "paper" else (tasks(0, 3), tasks(1), tasks(2))
    on = "the 4 corners of training (the published protocol)" if goals == "paper" else "1 unseen corner"
    describe = f"return per episode of {horizon} steps on {on}"
    known_goal = partial(strategies.Brake, push=PUSH) if momentum else partial(KnownGoal, reach=REACH)
    return Benchmark(
        Corner(horizon, float(action_scale), momentum),
        train,
        validation,
        test,
        {"paper": paper},
        describe,
        references={"random": strategies.random, "known-goal": known_goal},
        best="known-goal",
        picture=drawn.corner,
    )


def _norm(offset: Array) -> Array:
    return jnp.sqrt(jnp.sum(offset * offset))
