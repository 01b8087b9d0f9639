"""The two kinds of `Tasks`: drawn afresh from a distribution, or a finite set."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .types import UNSEEN, Array, Key, Task


class TaskDistribution(NamedTuple):
    """Unbounded `Tasks`: `draw(key)` makes one task."""

    draw: Callable[[Key], Task]

    @property
    def size(self) -> None:
        return None

    def sample(self, key: Key, count: int) -> tuple[Array, Task]:
        tasks = jax.vmap(self.draw)(jax.random.split(key, count))
        return jnp.full((count,), UNSEEN), tasks

    def enumerate(self, key: Key, count: int) -> tuple[Array, Task]:
        return self.sample(key, count)


class TaskSet(NamedTuple):
    """Finite `Tasks`: a pytree of arrays whose leading axis counts the tasks; drawn with replacement."""

    tasks: Task

    @property
    def size(self) -> int:
        return jax.tree.leaves(self.tasks)[0].shape[0]

    def sample(self, key: Key, count: int) -> tuple[Array, Task]:
        index = jax.random.randint(key, (count,), 0, self.size, jnp.int32)
        return index, jax.tree.map(lambda x: jnp.asarray(x)[index], self.tasks)

    def enumerate(self, key: Key, count: int) -> tuple[Array, Task]:
        index = jnp.arange(count, dtype=jnp.int32) % self.size
        return index, jax.tree.map(lambda x: jnp.asarray(x)[index], self.tasks)
