"""Epochs of shuffled minibatches: who is seen, when, and with which memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adaptax.ops.minibatches import epochs


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


def test_every_sequence_once_a_pass_whole_and_with_its_memory() -> None:
    calls, (order, seen) = deal(sequences=12, count=3, parts=4)
    assert int(calls) == 12
    np.testing.assert_array_equal(order, np.arange(12).reshape(3, 4))  # folded one after the other
    assert seen.label.shape == (3, 4, 3, 3) and seen.memory[0].shape == (3, 4, 3, 1)
    np.testing.assert_array_equal(seen.memory[0][..., 0], seen.label[:, :, 0])
    for t in range(3):
        np.testing.assert_array_equal(seen.label[:, :, t], seen.label[:, :, 0] + 100 * t)
    for one_pass in np.asarray(seen.label[:, :, 0]):
        assert sorted(one_pass.ravel().tolist()) == list(range(12))


def test_passes_and_keys_differ() -> None:
    orders = [np.asarray(deal(12, 3, 4, seed)[1][1].label[:, :, 0]).reshape(3, -1) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert len({tuple(one_pass) for one_pass in orders[0].tolist()}) == 3


def test_what_is_left_over_sits_out_and_changes() -> None:
    _, (_, seen) = deal(sequences=7, count=12, parts=3)
    passes = [set(one_pass.ravel().tolist()) for one_pass in np.asarray(seen.label[:, :, 0])]
    assert all(len(one_pass) == 6 for one_pass in passes)
    assert len({min(set(range(7)) - one_pass) for one_pass in passes}) > 3
