"""Rings of what was collected, on the device and part of an algorithm's state, and so of its checkpoints.

A ring costs its capacity times the bytes of one item, whether it is full or not, and rings by task (`TaskRing`) cost
that for every task. `ring` and `task_ring` refuse what is larger than the machine's memory, before they allocate it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .types import Array, Key, UserError


class Ring(NamedTuple):
    """The last `capacity` items: a pytree of arrays [capacity, ...], and how many were ever added."""

    items: Any
    added: Array  # int32 []

    @property
    def capacity(self) -> int:
        return jax.tree.leaves(self.items)[0].shape[0]


def ring(like: Any, capacity: int) -> Ring:
    """An empty ring for items of the shapes and dtypes of `like`.

    Raises a `UserError` when it would not fit into the machine's memory.
    """
    return Ring(_empty(like, (capacity,)), jnp.zeros((), jnp.int32))


def _empty(like: Any, shape: tuple[int, ...]) -> Any:
    """Zeros for as many items as `shape` says, if they fit into the machine's memory."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((*shape, *x.shape), x.dtype), like)
    needed, present = size_of(shapes), machine_memory()
    if needed > present:
        *tasks, capacity = shape
        each = " for each of {} tasks".format(*tasks) if tasks else ""
        raise UserError(
            f"a buffer of {capacity} items{each} needs {needed / 2**30:.1f} GiB and the machine has "
            f"{present / 2**30:.1f}; a capacity of {int(capacity * present / needed / 4)} would take a quarter of that"
        )
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def machine_memory() -> int:
    """The bytes that the device of the arrays has: on a CPU those of the machine, or of the container it is in."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max" is no number
            limits.append(int(Path(path).read_text()))
    device = jax.local_devices()[0].memory_stats() or {}
    return device.get("bytes_limit", min(limits))


def size_of(shapes: Any) -> int:
    """The bytes of a tree of arrays."""
    return sum(int(s.size) * s.dtype.itemsize for s in jax.tree.leaves(shapes))


def add(ring: Ring, batch: Any) -> Ring:
    """The ring with the items of `batch` [M, ...] added, over the oldest ones; M is at most the capacity."""
    count, capacity = jax.tree.leaves(batch)[0].shape[0], ring.capacity
    if count > capacity:
        raise UserError(f"{count} items at once do not fit into a buffer of {capacity}; it must hold at least as many")
    places = (ring.added + jnp.arange(count, dtype=jnp.int32)) % capacity
    items = jax.tree.map(lambda held, new: held.at[places].set(new, unique_indices=True), ring.items, batch)
    return Ring(items, ring.added + count)


def sample(ring: Ring, key: Key, count: int) -> Any:
    """`count` items [count, ...] drawn with replacement, evenly, from those that the ring holds."""
    held = jnp.minimum(ring.added, ring.capacity)
    chosen = jax.random.randint(key, (count,), 0, jnp.maximum(held, 1))
    return jax.tree.map(lambda x: x[chosen], ring.items)


class TaskRing(NamedTuple):
    """A ring for each of K tasks: a pytree of arrays [K, capacity, ...], and how many items were added to each since it
    was last cleared."""

    items: Any
    added: Array  # int32 [K]

    @property
    def capacity(self) -> int:
        return jax.tree.leaves(self.items)[0].shape[1]

    @property
    def held(self) -> Array:
        """How many items each task's ring holds: int32 [K]."""
        return jnp.minimum(self.added, self.capacity)


def task_ring(like: Any, tasks: int, capacity: int) -> TaskRing:
    """Empty rings of `capacity` items like `like` for each of K = `tasks` tasks: K · capacity · bytes of one item.

    Raises a `UserError` when they would not fit into the machine's memory.
    """
    return TaskRing(_empty(like, (tasks, capacity)), jnp.zeros((tasks,), jnp.int32))


def add_by_task(ring: TaskRing, index: Array, batches: Any, clear: bool = False) -> TaskRing:
    """The rings with the items `batches` [N, M, ...] added to those of the tasks `index` [N], over their oldest ones.

    Batches are added one after the other, so that a task that stands in `index` twice gets both. With `clear` a task's
    ring is emptied before each batch: it then holds the last one only. M is at most the capacity. Raises a `UserError`
    for a task that has no ring; inside a compiled function, where values are unknown, that is the caller's care.
    """
    _check_tasks(ring, index)
    count, capacity = jax.tree.leaves(batches)[0].shape[1], ring.capacity
    if count > capacity:
        raise UserError(f"{count} items at once do not fit into a buffer of {capacity}; it must hold at least as many")

    def one(ring: TaskRing, given: tuple[Array, Any]) -> tuple[TaskRing, None]:
        task, batch = given
        before = jnp.zeros((), jnp.int32) if clear else ring.added[task]
        places = (before + jnp.arange(count, dtype=jnp.int32)) % capacity
        items = jax.tree.map(lambda held, new: held.at[task, places].set(new, unique_indices=True), ring.items, batch)
        return TaskRing(items, ring.added.at[task].set(before + count)), None

    return jax.lax.scan(one, ring, (index, batches))[0]


def sample_by_task(ring: TaskRing, key: Key, index: Array, count: int) -> Any:
    """`count` items [N, count, ...] of each of the tasks `index` [N], drawn with replacement, evenly, from those that
    its ring holds. Of an empty ring zeros, or what it held before it was cleared: ask `held` first. Errors as in
    `add_by_task`."""
    _check_tasks(ring, index)
    held = jnp.maximum(ring.held[index], 1)
    chosen = jax.random.randint(key, (len(index), count), 0, held[:, None])
    return jax.tree.map(lambda x: x[index[:, None], chosen], ring.items)


def _check_tasks(ring: TaskRing, index: Array) -> None:
    tasks = len(ring.added)
    known = not isinstance(index, Tracer)  # tracing knows no values
    if known and (wrong := [task for task in np.asarray(index).tolist() if not 0 <= task < tasks]):
        raise UserError(f"there is no buffer of task {wrong[0]}: they are of {tasks} tasks, 0 to {tasks - 1}")
