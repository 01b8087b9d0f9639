"""Half-cheetah, ant and humanoid that have to run at a hidden velocity, in a hidden direction, or to a hidden place.

The literature agrees on the families and on little else, so each has a `variant` named after the code base whose
observations, rewards, horizon and range of tasks it has: `maml` (Finn et al. 2017, cbfinn/maml_rl), `promp` (Rothfuss
et al. 2019), `pearl` (Rakelly et al. 2019, oyster), `varibad` (Zintgraf et al. 2020). Bodies and time steps are
Gymnasium's in all of them, and contact forces are left out (`robots`); docs/benchmarks.md tables the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from adaptax.envs.splits import TEST, TRAIN
from adaptax.tasks import TaskSet
from adaptax.types import Array, Benchmark, Tasks, UserError

from . import robots, tasks
from .build import Backend, bounded, chosen, locomotion, reached
from .robots import Motion
from .rules import Rules
from .tasks import DirectionTask, GoalTask, VelocityTask

Goals = Literal["held-out", "paper"]
FORWARD_BACKWARD = (0.0, np.pi)


def at_velocity(motion: Motion, task: VelocityTask) -> Array:
    return -jnp.abs(motion.velocity[0] - task.velocity)


def along(motion: Motion, task: DirectionTask) -> Array:
    return jnp.dot(motion.velocity, task.direction)


def humanoid_along(motion: Motion, task: DirectionTask) -> Array:
    """0.25 (metres moved in the direction) / (seconds of one of the 5 substeps)."""
    return 0.25 * robots.HUMANOID.frame_skip * along(motion, task)


def near_goal(motion: Motion, task: GoalTask) -> Array:
    """Minus the distance in x plus that in y."""
    return -jnp.sum(jnp.abs(motion.position[:2] - task.goal))


class Velocity(NamedTuple):
    fastest: float
    horizon: int
    observe: Callable[[Motion], Array]
    training: int = 0  # the number of training and test tasks; 0: drawn afresh
    test: int = 0


CHEETAH_VELOCITY = {
    "maml": Velocity(2.0, 200, robots.cheetah_torso),
    "promp": Velocity(3.0, 100, robots.cheetah_joints),
    "pearl": Velocity(3.0, 200, robots.cheetah_torso, 100, 30),
    "varibad": Velocity(3.0, 200, robots.cheetah_torso),
}


def half_cheetah_velocity(
    variant: Literal["maml", "promp", "pearl", "varibad"] = "maml",
    horizon: int | None = None,
    episodes: int = 1,
    training_tasks: int | None = None,
    backend: Backend = "host",
) -> Benchmark:
    """Half-cheetah at a hidden velocity g: −|v − g| − 0.05 ‖a‖² a step; never terminates.

    `horizon` and `training_tasks` (a fixed set of so many; 0: drawn afresh) are the variant's unless given. The splits
    of `pearl` are the 100 and 30 velocities of the authors' seed. Raises a `UserError` for a setting out of its range.
    """
    found = chosen(CHEETAH_VELOCITY, variant)
    rules = Rules(robots.HALF_CHEETAH, found.observe, at_velocity, control_cost=0.05)
    count = found.training if training_tasks is None else training_tasks
    train, validation, test = tasks.split_tasks(tasks.draw_velocity(found.fastest), count)
    if found.test:
        published = tasks.oyster_velocities()
        test = tasks.given(VelocityTask(jnp.asarray(published[found.training :])), TEST)
        if training_tasks is None:
            train = tasks.given(VelocityTask(jnp.asarray(published[: found.training])), TRAIN)
    on = f"unseen velocities ~ U[0, {found.fastest:g}]"
    steps = found.horizon if horizon is None else horizon
    made = locomotion("half-cheetah-velocity", rules, (train, validation, test), steps, episodes, backend, on=on)
    return bounded(made, 0.0, "at the right velocity, without torques")


class Cheetah(NamedTuple):
    horizon: int
    observe: Callable[[Motion], Array]


CHEETAH_DIRECTION = {
    "maml": Cheetah(200, robots.cheetah_torso),
    "promp": Cheetah(100, robots.cheetah_joints),
    "pearl": Cheetah(200, robots.cheetah_torso),
    "varibad": Cheetah(200, robots.cheetah_torso),
}


def half_cheetah_direction(
    variant: Literal["maml", "promp", "pearl", "varibad"] = "maml",
    goals: Goals = "held-out",
    horizon: int | None = None,
    episodes: int = 1,
    training_tasks: int | None = None,
    backend: Backend = "host",
) -> Benchmark:
    """Half-cheetah forwards or backwards: d·v − 0.05 ‖a‖² a step; never terminates.

    The published tasks are d = −1 and 1, for training and for testing; that is `goals="paper"`, and the split "paper".
    Two tasks cannot be divided, so `goals="held-out"` gives d either sign and a size of U[0.5, 1.5].
    """
    from adaptax.strategies.gaits import Gait

    from .gaits import CHEETAH, SECONDS

    found = chosen(CHEETAH_DIRECTION, variant)
    rules = Rules(robots.HALF_CHEETAH, found.observe, along, control_cost=0.05)
    splits, paper, on = two_ways(FORWARD_BACKWARD, goals, training_tasks)
    steps = found.horizon if horizon is None else horizon
    named = {"paper": paper}
    made = locomotion("half-cheetah-direction", rules, splits, steps, episodes, backend, on=on, named=named)
    return made._replace(references={"gait": partial(Gait, seconds=SECONDS, **CHEETAH)}, best="gait")


def ant_velocity(
    variant: Literal["maml"] = "maml",
    horizon: int | None = None,
    episodes: int = 1,
    training_tasks: int | None = None,
    backend: Backend = "host",
) -> Benchmark:
    """Ant at a hidden velocity g ~ U[0, 3] along x: 1.05 − |v − g| − 0.005 ‖a‖² a step; terminates when it falls."""
    steps = chosen({"maml": 200}, variant) if horizon is None else horizon
    rules = Rules(robots.ANT, robots.ant_frame, at_velocity, control_cost=0.005, alive=1.05, stands=robots.ant_stands)
    splits = tasks.split_tasks(tasks.draw_velocity(3.0), training_tasks or 0)
    made = locomotion("ant-velocity", rules, splits, steps, episodes, backend, on="unseen velocities ~ U[0, 3]")
    return bounded(made, rules.alive, "at the right velocity, without torques")


class Ant(NamedTuple):
    """An ant that runs in a direction: one of those at `angles` to the x axis, or any."""

    horizon: int
    rules: Rules
    angles: tuple[float, ...] = FORWARD_BACKWARD


ANT_DIRECTION = {
    "maml": Ant(200, Rules(robots.ANT, robots.ant_frame, along, 0.005, 0.05, robots.ant_stands)),
    "promp": Ant(100, Rules(robots.ANT, robots.ant_joints, along, 0.5, 1.0, robots.ant_stands_low)),
    "promp-2d": Ant(100, Rules(robots.ANT, robots.ant_joints, along, 0.5, 1.0, robots.ant_stands_low), ()),
    "pearl": Ant(200, Rules(robots.ANT, robots.ant_joints, along, 0.5, 1.0, robots.ant_stands)),
    # Its code takes the cosine and sine of the ±1 that stand for forwards and backwards.
    "varibad": Ant(200, Rules(robots.ANT, robots.ant_joints, along, 0.5, 1.0, robots.ant_stands), (1.0, -1.0)),
}


# The test tasks' weights have a mean of 1, so that a metre pays as much on average as in the two published directions.
ORACLE = 524.8, "published: Finn et al. 2017's oracle, TRPO in the two published directions, on rllab's body"


def ant_direction(
    variant: Literal["maml", "promp", "promp-2d", "pearl", "varibad"] = "maml",
    goals: Goals = "held-out",
    horizon: int | None = None,
    episodes: int = 1,
    training_tasks: int | None = None,
    backend: Backend = "host",
) -> Benchmark:
    """Ant in a hidden direction d: d·v + alive − cost ‖a‖² a step; terminates when it falls.

    Forwards or backwards (`maml`, `promp`, `pearl`), at ±1 rad (`varibad`), or anywhere (`promp-2d`). Where the
    published tasks are two, `goals` is as for `half_cheetah_direction`.
    """
    found = chosen(ANT_DIRECTION, variant)
    named: dict[str, Tasks] = {}
    if found.angles:
        splits, named["paper"], on = two_ways(found.angles, goals, training_tasks)
    elif goals == "paper":
        raise UserError(f"variant {variant!r} draws any direction, so that goals='paper' means nothing: leave it out")
    else:
        splits, on = tasks.split_tasks(tasks.draw_heading, training_tasks or 0), "unseen directions in the plane"
    steps = found.horizon if horizon is None else horizon
    made = locomotion("ant-direction", found.rules, splits, steps, episodes, backend, on=on, named=named)
    return reached(made, *ORACLE) if (variant, steps) == ("maml", 200) else made


class Goal(NamedTuple):
    horizon: int
    rules: Rules
    square: float = 0.0  # goals in [−square, square]², or else on the disc of radius 3
    training: int = 0
    test: int = 0


_ANT_GOAL = Rules(robots.ANT, robots.ant_place, near_goal, 0.1)
ANT_GOAL = {
    "maml": Goal(200, Rules(robots.ANT, robots.ant_frame, near_goal, 0.005, 4.05, robots.ant_stands), square=3.0),
    "promp": Goal(100, _ANT_GOAL),
    "pearl": Goal(200, _ANT_GOAL, training=150, test=30),
    "varibad": Goal(200, _ANT_GOAL),
}


def ant_goal(
    variant: Literal["maml", "promp", "pearl", "varibad"] = "pearl",
    horizon: int | None = None,
    episodes: int = 1,
    training_tasks: int | None = None,
    backend: Backend = "host",
) -> Benchmark:
    """Ant to a hidden place g: −‖(x, y) − g‖₁ + alive − cost ‖a‖² a step.

    Goals are on the disc of radius 3, and no episode terminates; with `maml` they are on [−3, 3]², and one terminates
    when the ant falls.
    """
    found = chosen(ANT_GOAL, variant)
    draw = tasks.draw_on_square(found.square) if found.square else tasks.draw_on_disc(3.0)
    splits = tasks.split_tasks(draw, found.training if training_tasks is None else training_tasks, found.test)
    steps = found.horizon if horizon is None else horizon
    made = locomotion("ant-goal", found.rules, splits, steps, episodes, backend, on="unseen places")
    return bounded(made, found.rules.alive, "at the goal, without torques")


HUMANOID_DIRECTION = {"promp": (100, 0, 0), "pearl": (200, 100, 30), "varibad": (200, 0, 0)}


def humanoid_direction(
    variant: Literal["promp", "pearl", "varibad"] = "pearl",
    horizon: int | None = None,
    episodes: int = 1,
    training_tasks: int | None = None,
    backend: Backend = "host",
) -> Benchmark:
    """Humanoid in any hidden direction d: 1.25 d·v + 5 − 0.1 ‖a‖² a step; terminates when it falls.

    v is the velocity of its centre of mass, a the controls in [−0.4, 0.4].
    """
    own, training, held_out = chosen(HUMANOID_DIRECTION, variant)
    rules = Rules(robots.HUMANOID, robots.humanoid_bodies, humanoid_along, 0.1, 5.0, robots.humanoid_stands)
    splits = tasks.split_tasks(tasks.draw_heading, training if training_tasks is None else training_tasks, held_out)
    on = "unseen directions in the plane"
    steps = own if horizon is None else horizon
    return locomotion("humanoid-direction", rules, splits, steps, episodes, backend, on=on)


def two_ways(
    angles: tuple[float, ...], goals: Goals, training_tasks: int | None
) -> tuple[tuple[Tasks, Tasks, Tasks], Tasks, str]:
    """The splits where the published tasks are two directions, the split of those two, and what is tested on."""
    if goals not in ("held-out", "paper"):
        raise UserError(f"goals is {goals!r}; it must be 'held-out' or 'paper'")
    both = tasks.headings(*angles)
    paper = TaskSet(both)
    if goals == "paper":
        if training_tasks not in (None, 2):
            raise UserError(f"training-tasks is {training_tasks}; with goals='paper' there are two")
        return (paper, paper, paper), paper, "the 2 directions of training (the published protocol)"
    splits = tasks.split_tasks(tasks.draw_weighted(both), training_tasks or 0)
    return splits, paper, "both directions, with unseen weights ~ U[0.5, 1.5]"
