"""Draws that can be left out: where the key is None nothing is left to chance."""

import jax
import jax.numpy as jnp

from ..types import Array, Key


def split(key: Key | None, count: int) -> list[Key | None]:
    """`jax.random.split`; of None, as many Nones."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def normal(key: Key | None, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers, float32; their mean, zero, without a key."""
    return jnp.zeros(shape, jnp.float32) if key is None else jax.random.normal(key, shape, jnp.float32)
