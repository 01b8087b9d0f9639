"""Which key of a life goes where.

The collector draws for all tasks and streams at once, an agent on one real environment (`live.agent`) for one step
after another. Both take their keys from here, so the same life is lived either way.
"""

import math
from typing import NamedTuple

import jax

from ..types import Key, Plan


class BirthKeys(NamedTuple):
    task: Key  # the draw of all tasks
    begin: Key  # [N]; the agent's
    reset: Key  # of the first episodes, to be split over [N, B]


class RoundKeys(NamedTuple):
    """Of one round."""

    restart: Key  # [N, B]; of the episodes with which the round begins
    act: Key  # [T, N, B]
    step: Key  # [T, N, B]
    reset: Key  # [T, N, B]; of an episode that begins after this step
    adapt: Key  # [N]


def life_keys(key: Key) -> tuple[Key, Key]:
    """What `birth_keys` is given, and what is split into one key for each round."""
    birth_key, rounds_key = jax.random.split(key)
    return birth_key, rounds_key


def birth_keys(key: Key, tasks: int) -> BirthKeys:
    born_key, reset_key = jax.random.split(key)
    task_key, begin_key = jax.random.split(born_key)
    return BirthKeys(task_key, jax.random.split(begin_key, tasks), reset_key)


def round_keys(key: Key, plan: Plan) -> RoundKeys:
    collect_key, adapt_key = jax.random.split(key)
    restart_key, *each_step = jax.random.split(collect_key, 4)
    streams = (plan.tasks, plan.streams)
    # All keys of the round at once: one wide hash instead of T narrow ones.
    act, step, reset = (split_over(k, (plan.steps, *streams)) for k in each_step)
    return RoundKeys(split_over(restart_key, streams), act, step, reset, jax.random.split(adapt_key, plan.tasks))


def split_over(key: Key, shape: tuple[int, ...]) -> Key:
    """`jax.random.split(key, shape)`, drawn flat: a hash of several axes takes XLA several times as long to compile."""
    return jax.random.split(key, math.prod(shape)).reshape(shape)
