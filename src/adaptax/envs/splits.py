"""Training, validation and test tasks of a continuous distribution that cannot overlap.

Two draws from one continuous distribution differ almost surely, but "almost surely" is no proof: float32
uniforms have 2²³ values, and whoever reuses a key draws the very same tasks for training and for testing. So
each split has a code, and a task carries the code of its split in the two lowest mantissa bits of its first
float32 coordinate: the first element of its first leaf. No two tasks of different splits are then equal,
whatever the keys.

The stamp moves that coordinate by at most three units in the last place, which is less than 4e-7 of its
value, and never out of its binade: a number below 1 stays below 1, and one inside (−½, ½) stays inside. (An
end point that is itself a power of two may move outwards; a benchmark must not draw it.) The key is salted
with the code as well, so that one key gives unrelated tasks in different splits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from adaptax.tasks import TaskDistribution
from adaptax.types import Array, Key, Task

TRAIN, VALIDATION, TEST, NAMED = 0, 1, 2, 3  # NAMED: fixed tasks, such as the test goals of a publication


class Splits(NamedTuple):
    """The three distributions of a benchmark; equal in law, disjoint in fact."""

    train: TaskDistribution
    validation: TaskDistribution
    test: TaskDistribution


def stamp(value: Array, code: int) -> Array:
    """Write `code` (0 to 3) into the two lowest mantissa bits of `value`, float32 of any shape."""
    bits = jax.lax.bitcast_convert_type(jnp.asarray(value, jnp.float32), jnp.uint32)
    return jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFFFFFFFC) | jnp.uint32(code), jnp.float32)


def code_of(task: Task) -> Array:
    """The code of the split that one task was drawn for: uint32 []."""
    first = jnp.ravel(jax.tree.leaves(task)[0])[0]
    return jax.lax.bitcast_convert_type(first, jnp.uint32) & jnp.uint32(3)


def stamp_task(task: Task, code: int) -> Task:
    """One task with `code` in its first coordinate; its first leaf must be float32."""
    leaves, structure = jax.tree.flatten(task)
    shape = leaves[0].shape
    first = jnp.ravel(leaves[0])
    first = first.at[0].set(stamp(first[0], code))
    return jax.tree.unflatten(structure, [first.reshape(shape), *leaves[1:]])


def disjoint_splits(draw: Callable[[Key], Task]) -> Splits:
    """Train, validation and test distributions of the tasks that `draw(key)` makes."""

    def distribution(code: int) -> TaskDistribution:
        return TaskDistribution(lambda key: stamp_task(draw(jax.random.fold_in(key, code)), code))

    return Splits(distribution(TRAIN), distribution(VALIDATION), distribution(TEST))
