"""Epochs of shuffled minibatches over sequences."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..types import Array, Key


def time_first(x: Array) -> Array:
    """All streams of all tasks side by side: [N, B, T, ...] -> [T, N·B, ...]."""
    return jnp.moveaxis(x, 2, 0).reshape(x.shape[2], -1, *x.shape[3:])


def epochs(
    improve: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    batch: Any,
    key: Key,
    count: int,
    parts: int,
) -> tuple[Any, Any]:
    """Fold `improve(carry, part) -> (carry, result)` over `count` passes of `parts` minibatches each.

    `batch` is a NamedTuple of sequences [T, S, ...] with, as its last field `memory`, arrays [S, ...]; every pass
    deals the S sequences anew into `parts` equal minibatches. Where S is a multiple of parts · G (G up to 8), the
    sequences are dealt within G equal groups, and a minibatch takes as many from each: sequences spread over a few
    devices then never change device, and the deal does not depend on how many devices there are. Otherwise S mod
    parts sequences sit a pass out. Results are stacked [count, parts].
    """
    sequences = jax.tree.leaves(batch)[0].shape[1]
    groups = next(g for g in (8, 4, 2, 1) if g == 1 or sequences % (g * parts) == 0)
    each = sequences // groups
    size = each // parts
    grouped = batch._replace(**{name: _group(getattr(batch, name), groups, name != "memory") for name in batch._fields})

    def one_pass(carry: Any, key: Key) -> tuple[Any, Any]:
        order = jax.vmap(lambda k: jax.random.permutation(k, each))(jax.random.split(key, groups))
        order = jnp.swapaxes(order[:, : size * parts].reshape(groups, parts, size), 0, 1)
        return jax.lax.scan(lambda c, chosen: improve(c, _take(grouped, chosen)), carry, order)

    return jax.lax.scan(one_pass, carry, jax.random.split(key, count))


def _group(tree: Any, groups: int, timed: bool) -> Any:
    """[T, S, ...] -> [T, G, S/G, ...], or [S, ...] -> [G, S/G, ...]."""
    at = 1 if timed else 0
    return jax.tree.map(lambda x: x.reshape(*x.shape[:at], groups, -1, *x.shape[at + 1 :]), tree)


def _take(batch: Any, chosen: Any) -> Any:
    """The sequences `chosen` [G, size] of each group, side by side."""

    def sequences(x: Any) -> Any:
        picked = jax.vmap(lambda group, index: group[:, index], in_axes=(1, 0), out_axes=1)(x, chosen)
        return picked.reshape(x.shape[0], -1, *x.shape[3:])

    def memories(x: Any) -> Any:
        return jax.vmap(lambda group, index: group[index])(x, chosen).reshape(-1, *x.shape[2:])

    part = jax.tree.map(sequences, batch._replace(memory=()))
    return part._replace(memory=jax.tree.map(memories, batch.memory))
