"""Rings: what they hold, what they forget, what they draw, and when they are refused."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax import buffers
from adaptax.types import UserError


class Item(NamedTuple):
    number: jax.Array
    vector: jax.Array  # [2]


def items(numbers: list[int]) -> Item:
    counted = jnp.asarray(numbers, jnp.int32)
    return Item(counted, jnp.stack([counted, -counted], axis=1).astype(jnp.float32))


LIKE = jax.tree.map(lambda x: x[0], items([0]))


def test_a_ring_keeps_the_last_items() -> None:
    ring, add = buffers.ring(LIKE, 5), jax.jit(buffers.add)
    assert ring.capacity == 5 and ring.items.number.dtype == jnp.int32 and ring.items.vector.shape == (5, 2)
    ring = add(ring, items([1, 2, 3]))
    assert int(ring.added) == 3 and sorted(ring.items.number.tolist()) == [0, 0, 1, 2, 3]
    ring = add(ring, items([4, 5, 6]))
    assert int(ring.added) == 6 and sorted(ring.items.number.tolist()) == [2, 3, 4, 5, 6]
    np.testing.assert_array_equal(ring.items.vector[:, 1], -ring.items.number)
    ring = add(ring, items([7, 8, 9, 10, 11]))
    assert sorted(ring.items.number.tolist()) == [7, 8, 9, 10, 11]


def test_only_what_is_held_is_drawn_and_all_of_it_evenly() -> None:
    ring = buffers.add(buffers.ring(LIKE, 8), items([1, 2, 3]))
    drawn = buffers.sample(ring, jax.random.key(0), 3000)
    np.testing.assert_array_equal(drawn.vector[:, 0], drawn.number)
    counts = np.bincount(np.asarray(drawn.number), minlength=4)
    assert counts[0] == 0 and np.all(np.abs(counts[1:] - 1000) < 120)  # four standard deviations
    full = buffers.add(ring, items([4, 5, 6, 7, 8, 9]))
    assert set(buffers.sample(full, jax.random.key(1), 400).number.tolist()) == {2, 3, 4, 5, 6, 7, 8, 9}


def test_too_much_at_once_and_too_large_a_ring_are_refused() -> None:
    with pytest.raises(UserError, match="6 items at once do not fit into a buffer of 5"):
        buffers.add(buffers.ring(LIKE, 5), items([0] * 6))
    with pytest.raises(UserError, match=r"a buffer of 1000000000000 items needs 11175.9 GiB and the machine has \d"):
        buffers.ring(LIKE, 10**12)
