"""The tasks of the locomotion families: what one is, how it is drawn, and the splits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.splits import TEST, TRAIN, Splits, disjoint_splits, stamp_task
from adaptax.ranges import check_range
from adaptax.tasks import TaskSet
from adaptax.types import Array, Key, Task, Tasks

NEAREST, FURTHEST = 0.5, float(np.nextafter(np.float32(1.5), np.float32(0)))  # the weight of a direction


class VelocityTask(NamedTuple):
    """The velocity along x at which to run."""

    velocity: Array  # float32 []; m/s


class DirectionTask(NamedTuple):
    """What a metre in x, and one in y, pays: a unit vector in the published tasks."""

    direction: Array  # float32 [2]


class GoalTask(NamedTuple):
    """The place where to be."""

    goal: Array  # float32 [2]; m


class BodyTask(NamedTuple):
    """By what the parameters of the model file are multiplied."""

    mass: Array  # float32 [nbody]
    inertia: Array  # float32 [nbody, 3]
    damping: Array  # float32 [nv]
    friction: Array  # float32 [ngeom, 3]


def multipliers(tasks: Task) -> tuple[Array, ...]:
    """What `tasks` [N] make of the model: float32 [N, K], in the order of `simulator.PARAMETERS`; or nothing."""
    if not isinstance(tasks, BodyTask):
        return ()
    return (jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in tasks], axis=1),)


def draw_velocity(fastest: float) -> Callable[[Key], VelocityTask]:
    return lambda key: VelocityTask(jax.random.uniform(key, (), jnp.float32, 0.0, fastest))


def draw_heading(key: Key) -> DirectionTask:
    """Any direction in the plane."""
    angle = jax.random.uniform(key, (), jnp.float32, 0.0, 2.0 * np.pi)
    return DirectionTask(jnp.stack([jnp.cos(angle), jnp.sin(angle)]))


def headings(*angles: float) -> DirectionTask:
    """The unit vectors at these angles to the x axis: a batch of tasks."""
    return DirectionTask(jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1).round(12), jnp.float32))


def draw_weighted(tasks: DirectionTask) -> Callable[[Key], DirectionTask]:
    """One of a few directions, times a weight on [0.5, 1.5): where these few are all published tasks."""

    def draw(key: Key) -> DirectionTask:
        key_which, key_weight = jax.random.split(key)
        weight = jax.random.uniform(key_weight, (), jnp.float32, NEAREST, FURTHEST)
        return DirectionTask(weight * jax.random.choice(key_which, tasks.direction))

    return draw


def draw_on_disc(radius: float) -> Callable[[Key], GoalTask]:
    """Uniform on the disc around the origin."""

    def draw(key: Key) -> GoalTask:
        key_angle, key_radius = jax.random.split(key)
        angle = jax.random.uniform(key_angle, (), jnp.float32, 0.0, 2.0 * np.pi)
        distance = radius * jnp.sqrt(jax.random.uniform(key_radius, (), jnp.float32))
        return GoalTask(distance * jnp.stack([jnp.cos(angle), jnp.sin(angle)]))

    return draw


def draw_on_square(edge: float) -> Callable[[Key], GoalTask]:
    """Uniform on [−edge, edge]²."""
    return lambda key: GoalTask(jax.random.uniform(key, (2,), jnp.float32, -edge, edge))


def draw_body(model: Any, limit: float) -> Callable[[Key], BodyTask]:
    """Multipliers 1.5^U(−limit, limit), of dampings 1.3^U(−limit, limit), each entry for itself."""

    shapes = (model.body_mass.shape, model.body_inertia.shape, model.dof_damping.shape, model.geom_friction.shape)
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    base = np.repeat(np.log([1.5, 1.5, 1.3, 1.5]), np.diff(ends, prepend=0)).astype(np.float32)

    def draw(key: Key) -> BodyTask:
        factors = jnp.exp(base * jax.random.uniform(key, base.shape, jnp.float32, -limit, limit))
        parts = jnp.split(factors, ends[:-1])
        return BodyTask(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))

    return draw


def split_tasks(draw: Callable[[Key], Task], training: int = 0, test: int = 0) -> tuple[Tasks, Tasks, Tasks]:
    """Train, validation and test tasks that cannot overlap: unbounded, or as many fixed ones (0: unbounded).

    Raises a `UserError` for a negative number.
    """
    check_range("training_tasks", training, 0)
    splits: Splits = disjoint_splits(draw)
    train = fixed(splits.train, TRAIN, training) if training else splits.train
    return train, splits.validation, fixed(splits.test, TEST, test) if test else splits.test


def fixed(tasks: Tasks, code: int, count: int) -> TaskSet:
    """`count` draws with a key of their own, the same in every run."""
    draw = jax.jit(lambda key: tasks.sample(key, count)[1])  # one compilation in place of one for every operation
    return TaskSet(draw(jax.random.key(1337 + code)))


def given(tasks: Task, code: int) -> TaskSet:
    """Published tasks, stamped for the split `code`, so that no other split can hold them."""
    return TaskSet(jax.vmap(lambda task: stamp_task(task, code))(tasks))


def oyster_velocities(count: int = 130) -> np.ndarray:
    """The velocities of PEARL's tasks, float32: NumPy's old generator, seed 1337; 100 train, the last 30 test."""
    return np.random.RandomState(1337).uniform(0.0, 3.0, count).astype(np.float32)
