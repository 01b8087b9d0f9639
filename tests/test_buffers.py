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


def by_task(numbers: list[list[int]]) -> Item:
    return jax.tree.map(lambda *x: jnp.stack(x), *(items(row) for row in numbers))


def test_rings_by_task_keep_every_write_and_the_newest_items() -> None:
    ring, add = buffers.task_ring(LIKE, tasks=3, capacity=5), jax.jit(buffers.add_by_task)
    assert ring.capacity == 5 and ring.items.vector.shape == (3, 5, 2) and ring.added.dtype == jnp.int32
    # Task 1 stands twice in the meta-batch: both of its batches are kept, the later one after the earlier one.
    ring = add(ring, jnp.asarray([1, 2, 1]), by_task([[1, 2], [3, 4], [5, 6]]))
    np.testing.assert_array_equal(ring.added, [0, 4, 2])
    np.testing.assert_array_equal(ring.items.number, [[0, 0, 0, 0, 0], [1, 2, 5, 6, 0], [3, 4, 0, 0, 0]])
    ring = add(ring, jnp.asarray([1]), by_task([[7, 8]]))
    np.testing.assert_array_equal(ring.items.number[1], [8, 2, 5, 6, 7])
    np.testing.assert_array_equal(ring.items.vector[1, :, 1], -ring.items.number[1])
    np.testing.assert_array_equal(ring.added, [0, 6, 2])
    np.testing.assert_array_equal(ring.held, [0, 5, 2])


def test_cleared_rings_hold_the_last_batch_of_a_task_and_others_stay() -> None:
    ring = buffers.add_by_task(buffers.task_ring(LIKE, 3, 4), jnp.asarray([0, 1]), by_task([[1, 2, 3], [4, 5, 6]]))
    ring = buffers.add_by_task(ring, jnp.asarray([1, 1]), by_task([[7, 8], [9, 10]]), clear=True)
    np.testing.assert_array_equal(ring.held, [3, 2, 0])
    drawn = buffers.sample_by_task(ring, jax.random.key(0), jnp.asarray([1, 0]), 200)
    assert set(drawn.number[0].tolist()) == {9, 10} and set(drawn.number[1].tolist()) == {1, 2, 3}


def test_each_task_is_drawn_from_evenly_and_only_what_it_holds() -> None:
    ring = buffers.add_by_task(buffers.task_ring(LIKE, 4, 8), jnp.asarray([3, 0]), by_task([[1, 2, 3], [4, 5, 6]]))
    drawn = jax.jit(lambda key: buffers.sample_by_task(ring, key, jnp.asarray([0, 3, 0]), 3000))(jax.random.key(0))
    assert drawn.number.shape == (3, 3000) and drawn.vector.shape == (3, 3000, 2)
    np.testing.assert_array_equal(drawn.vector[..., 0], drawn.number)
    for row, (low, high) in zip(drawn.number, ((4, 7), (1, 4), (4, 7)), strict=True):
        counts = np.bincount(np.asarray(row), minlength=8)
        assert counts.sum() == counts[low:high].sum() and np.all(np.abs(counts[low:high] - 1000) < 120)
    assert np.any(drawn.number[0] != drawn.number[2])  # one task twice: draws of its own


def test_rings_by_task_that_are_too_small_or_too_large_are_refused() -> None:
    with pytest.raises(UserError, match="3 items at once do not fit into a buffer of 2"):
        buffers.add_by_task(buffers.task_ring(LIKE, 1, 2), jnp.asarray([0]), by_task([[1, 2, 3]]))
    with pytest.raises(UserError, match=r"a buffer of 1000000000 items for each of 100 tasks needs 1117.6 GiB"):
        buffers.task_ring(LIKE, 100, 10**9)


def test_a_task_without_a_ring_is_named() -> None:
    ring = buffers.add_by_task(buffers.task_ring(LIKE, 3, 4), jnp.asarray([1]), by_task([[5, 6]]))
    for wrong in (3, -1):
        with pytest.raises(UserError, match=f"there is no buffer of task {wrong}: they are of 3 tasks, 0 to 2"):
            buffers.add_by_task(ring, jnp.asarray([0, wrong]), by_task([[1, 2], [3, 4]]))
        with pytest.raises(UserError, match=f"there is no buffer of task {wrong}: they are of 3 tasks, 0 to 2"):
            buffers.sample_by_task(ring, jax.random.key(0), jnp.asarray([wrong]), 2)
    assert set(buffers.sample_by_task(ring, jax.random.key(0), jnp.asarray([1]), 50).number[0].tolist()) == {5, 6}
