"""Moments of a stream of numbers, or of vectors entry by entry, that comes in batches."""

from typing import NamedTuple

import jax.numpy as jnp

from ..types import Array


class Moments(NamedTuple):
    """Of all so far: how many, float32 []; their mean, and their variance (divided by the count), float32 [...]."""

    count: Array
    mean: Array
    variance: Array


def no_moments(shape: tuple[int, ...] = ()) -> Moments:
    """Before anything was seen, of things of that shape."""
    return Moments(jnp.zeros((), jnp.float32), jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))


def update(moments: Moments, values: Array, least: float = 0.0, weight: Array | None = None) -> Moments:
    """With `values` [..., *shape] added (Chan et al. 1979: the variance of two sets from their own), or those of
    `weight` [...] 1. What is new counts for a share of `least` at least, so that what drifts is followed."""
    axes = tuple(range(values.ndim - moments.mean.ndim))
    leading = values.shape[: len(axes)]
    weight = jnp.ones(leading, jnp.float32) if weight is None else weight
    added = jnp.sum(weight)
    each = weight.reshape(*leading, *(1,) * moments.mean.ndim)
    mean = jnp.sum(values * each, axes) / jnp.maximum(added, 1.0)
    apart = values - jnp.broadcast_to(mean, values.shape)
    variance = jnp.sum(jnp.square(apart) * each, axes) / jnp.maximum(added, 1.0)
    count = moments.count + added
    share = jnp.where(added > 0, jnp.maximum(added / jnp.maximum(count, 1.0), least), 0.0)
    moved = mean - moments.mean
    within = moments.variance + share * (variance - moments.variance)
    return Moments(count, moments.mean + share * moved, within + share * (1.0 - share) * jnp.square(moved))


def normalize(moments: Moments, values: Array, most: float = 10.0) -> Array:
    """`values` [..., *shape] less the mean, in deviations, at most so many of them."""
    mean, unit = (jnp.broadcast_to(x, values.shape) for x in (moments.mean, deviation(moments)))
    return jnp.clip((values - mean) / unit, -most, most)


def deviation(moments: Moments) -> Array:
    """The standard deviation, as a unit to measure in: 1 where nothing has varied yet."""
    return jnp.where(moments.variance > 0, jnp.sqrt(moments.variance), 1.0)
