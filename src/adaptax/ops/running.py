"""Moments of a stream of numbers that comes in batches."""

from typing import NamedTuple

import jax.numpy as jnp

from ..types import Array


class Moments(NamedTuple):
    """Of all numbers so far: how many, their mean, and their variance (divided by the count); float32 []."""

    count: Array
    mean: Array
    variance: Array


def no_moments() -> Moments:
    zero = jnp.zeros((), jnp.float32)
    return Moments(zero, zero, zero)


def update(moments: Moments, values: Array) -> Moments:
    """With `values`, of any shape, added (Chan et al. 1979: the variance of two sets from their own)."""
    mean, variance = jnp.mean(values), jnp.var(values)
    count = moments.count + values.size
    share = values.size / count
    apart = mean - moments.mean
    within = moments.variance + share * (variance - moments.variance)
    return Moments(count, moments.mean + share * apart, within + share * (1.0 - share) * jnp.square(apart))


def deviation(moments: Moments) -> Array:
    """The standard deviation, as a unit to measure in: 1 where nothing has varied yet."""
    return jnp.where(moments.variance > 0, jnp.sqrt(moments.variance), 1.0)
