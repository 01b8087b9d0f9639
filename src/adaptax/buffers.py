"""Rings of what was collected, on the device and part of an algorithm's state, and so of its checkpoints.

A ring costs its capacity times the bytes of one item, whether it is full or not; `ring` refuses one that is larger than
the machine's memory before anything is allocated.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((capacity, *x.shape), x.dtype), like)
    needed, present = size_of(shapes), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        raise UserError(
            f"a buffer of {capacity} items needs {needed / 2**30:.1f} GiB and the machine has {present / 2**30:.1f}; "
            f"one of {int(capacity * present / needed / 2)} items would take half of that"
        )
    return Ring(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), jnp.zeros((), jnp.int32))


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
