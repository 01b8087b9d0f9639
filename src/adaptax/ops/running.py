"""Moments of a stream of numbers, or of vectors entry by entry, that comes in batches."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..types import Array


class Moments(NamedTuple):
    """Of all so far: how many, float32 []; their mean, and their variance (divided by the count), float32 [...]."""

    count: Array
    mean: Array
    variance: Array


def no_moments(shape: tuple[int, ...] = ()) -> Moments:
    """Before anything was seen, of things of that shape."""
    return Moments(jnp.zeros((), jnp.float32), jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))


def update(moments: Moments, values: Array, least: float = 0.0) -> Moments:
    """With `values` [..., *shape] added (Chan et al. 1979: the variance of two sets from their own). What is new counts
    for a share of `least` at least, so that what drifts is followed."""
    axes = tuple(range(values.ndim - moments.mean.ndim))
    mean, variance = jnp.mean(values, axes), jnp.var(values, axes)
    added = float(np.prod(values.shape[: len(axes)]))
    count = moments.count + added
    share = jnp.maximum(added / count, least)
    apart = mean - moments.mean
    within = moments.variance + share * (variance - moments.variance)
    return Moments(count, moments.mean + share * apart, within + share * (1.0 - share) * jnp.square(apart))


def normalize(moments: Moments, values: Array, most: float = 10.0) -> Array:
    """`values` [..., *shape] less the mean, in deviations, at most so many of them."""
    mean, unit = (jnp.broadcast_to(x, values.shape) for x in (moments.mean, deviation(moments)))
    return jnp.clip((values - mean) / unit, -most, most)


def deviation(moments: Moments) -> Array:
    """The standard deviation, as a unit to measure in: 1 where nothing has varied yet."""
    return jnp.where(moments.variance > 0, jnp.sqrt(moments.variance), 1.0)
