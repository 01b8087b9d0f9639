"""Means in which some entries do not count."""

import jax.numpy as jnp

from ..types import Array


def mean(values: Array, weight: Array | None = None) -> Array:
    """The mean of `values` [...] where `weight` [...] is 1, leaving out where it is 0; 0 if nothing counts. None: all
    count."""
    if weight is None:
        return jnp.mean(values)
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)


def variance(values: Array, weight: Array | None = None) -> Array:
    """The variance of what counts, as in `mean`."""
    return mean(jnp.square(values - mean(values, weight)), weight)
