"""Epochs of shuffled minibatches: who is seen, when, and with which memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops.minibatches import epochs, time_first


class Batch(NamedTuple):
    label: Any  # [T, S]
    memory: Any  # a tuple of arrays [S, ...]


def deal(sequences: int, count: int, parts: int, seed: int = 0) -> tuple[Any, Any]:
    """(number of calls, what each call saw, stacked [count, parts])."""
    label = jnp.asarray(np.arange(sequences) + 100 * np.arange(3)[:, None])
    memory = (jnp.arange(sequences, dtype=jnp.float32)[:, None],)

    def improve(calls: Any, part: Batch) -> Any:
        return calls + 1, (calls, part)

    return epochs(improve, jnp.int32(0), Batch(label, memory), jax.random.key(seed), count, parts)


# Twelve sequences are dealt as one heap; 16 and 48 lie in eight groups, of which every part takes as many.
@pytest.mark.parametrize(("sequences", "parts"), [(12, 4), (16, 2), (48, 3)])
def test_every_sequence_once_a_pass_whole_and_with_its_memory(sequences: int, parts: int) -> None:
    calls, (order, seen) = deal(sequences, count=3, parts=parts)
    assert int(calls) == 3 * parts
    np.testing.assert_array_equal(order, np.arange(3 * parts).reshape(3, parts))  # folded one after the other
    size = sequences // parts
    assert seen.label.shape == (3, parts, 3, size) and seen.memory[0].shape == (3, parts, size, 1)
    np.testing.assert_array_equal(seen.memory[0][..., 0], seen.label[:, :, 0])
    for t in range(3):
        np.testing.assert_array_equal(seen.label[:, :, t], seen.label[:, :, 0] + 100 * t)
    for one_pass in np.asarray(seen.label[:, :, 0]):
        assert sorted(one_pass.ravel().tolist()) == list(range(sequences))
        if sequences > 12:
            for part in one_pass:
                np.testing.assert_array_equal(np.bincount(part // (sequences // 8)), [size // 8] * 8)


@pytest.mark.parametrize(("sequences", "parts"), [(12, 4), (48, 3)])
def test_passes_and_keys_differ(sequences: int, parts: int) -> None:
    orders = [np.asarray(deal(sequences, 3, parts, seed)[1][1].label[:, :, 0]).reshape(3, -1) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert len({tuple(one_pass) for one_pass in orders[0].tolist()}) == 3


def test_what_is_left_over_sits_out_and_changes() -> None:
    _, (_, seen) = deal(sequences=7, count=12, parts=3)
    passes = [set(one_pass.ravel().tolist()) for one_pass in np.asarray(seen.label[:, :, 0])]
    assert all(len(one_pass) == 6 for one_pass in passes)
    assert len({min(set(range(7)) - one_pass) for one_pass in passes}) > 3


def test_streams_of_all_tasks_side_by_side() -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # [N, B, T, ...]
    found = time_first(jnp.asarray(x))
    assert found.shape == (4, 6, 5)
    np.testing.assert_array_equal(found[3, 4], x[1, 1, 3])
