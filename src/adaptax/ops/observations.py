"""Observations as learners keep them, whatever their space.

Of the parts of an observation (`spaces`) images are kept in their own dtype and tokens as int32. The flat ones stand
side by side in one float32 vector [..., F]: a `Box` ravelled, a `Discrete` or `MultiDiscrete` value one-hot, a
`MultiBinary` as zeros and ones. An observation without images and tokens is kept as that vector alone, any other one as
`Parts`. What networks make of them is `nets.perception`'s.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from ..spaces import at, is_image, is_tokens, parts
from ..spaces import zeros as empty
from ..types import Array, Observation
from . import distributions

POOLED = 4  # rows and columns of an image in a summary


class Parts(NamedTuple):
    """An observation with images or tokens."""

    flat: tuple[Array, ...]  # one float32 [..., F], or none
    images: tuple[Array, ...]  # each [..., H, W, C]
    tokens: tuple[Array, ...]  # each int32 [..., L]


Kept = Any  # a vector [..., F], or `Parts`


def images(space: gymnasium.Space) -> list[spaces.Box]:
    return [part for _, part in parts(space) if isinstance(part, spaces.Box) and is_image(part)]


def tokens(space: gymnasium.Space) -> list[spaces.MultiDiscrete]:
    return [part for _, part in parts(space) if isinstance(part, spaces.MultiDiscrete) and is_tokens(part)]


def is_flat(space: gymnasium.Space) -> bool:
    """Whether observations are kept as one vector."""
    return not images(space) and not tokens(space)


def flat_size(space: gymnasium.Space) -> int:
    """F."""
    return sum(_flat_size(part) for _, part in parts(space) if not is_image(part) and not is_tokens(part))


def _flat_size(part: Any) -> int:
    if isinstance(part, spaces.MultiDiscrete):
        return int(np.sum(part.nvec))
    return int(np.prod(part.shape)) if isinstance(part, spaces.MultiBinary) else distributions.flat_size(part)


def keep(space: gymnasium.Space, observation: Observation) -> Kept:
    """Observations with any leading axes as they are kept, the axes still leading."""
    found: list[tuple[Any, Any]] = [(part, at(observation, path)) for path, part in parts(space)]
    flat = [_flatten(part, value) for part, value in found if not is_image(part) and not is_tokens(part)]
    if is_flat(space):
        return flat[0] if len(flat) == 1 else jnp.concatenate(flat, axis=-1)
    shown = tuple(jnp.asarray(value) for part, value in found if is_image(part))
    told = tuple(jnp.asarray(value, jnp.int32) - int(part.start[0]) for part, value in found if is_tokens(part))
    return Parts((jnp.concatenate(flat, axis=-1),) if flat else (), shown, told)


def _flatten(part: Any, value: Any) -> Array:
    """float32 [..., F] of a flat part."""
    value = jnp.asarray(value)
    if isinstance(part, spaces.MultiDiscrete):
        counts = np.ravel(part.nvec)
        value = (value - part.start).reshape(*value.shape[: value.ndim - part.nvec.ndim], len(counts))
        hot = [jax.nn.one_hot(value[..., i], int(count), dtype=jnp.float32) for i, count in enumerate(counts)]
        return jnp.concatenate(hot, axis=-1)
    if isinstance(part, spaces.MultiBinary):
        size = _flat_size(part)
        return jnp.asarray(value, jnp.float32).reshape(*value.shape[: value.ndim - len(part.shape)], size)
    return distributions.flatten(part, value)


def zeros(space: gymnasium.Space, leading: tuple[int, ...] = ()) -> Observation:
    """An observation of zeros as an environment gives it, with leading axes."""
    return jax.tree.map(jnp.asarray, empty(space, leading))


def nothing(space: gymnasium.Space) -> Kept:
    """What is kept of an observation of zeros."""
    return keep(space, zeros(space))


def gather(first: Kept, *others: Kept) -> Any:
    """Things kept side by side for a network that reads them together: one vector [..., I] if all of them are vectors,
    and else the tuple of them."""
    together = (first, *others)
    if any(isinstance(part, Parts) for part in together):
        return together
    return jnp.concatenate(together, axis=-1) if others else first


def summary(kept: Kept) -> Array:
    """A few numbers [..., S] that say roughly what was observed, with nothing learned: a flat vector as it is; an image
    as its means over 4 × 4 fields, in units of 255 where it is of bytes; of tokens how often each number modulo 16
    occurs."""
    if not isinstance(kept, Parts):
        return kept
    shown = [_pool(image).reshape(*image.shape[:-3], -1) for image in kept.images]
    told = [jnp.sum(jax.nn.one_hot(ids % POOLED**2, POOLED**2, dtype=jnp.float32), axis=-2) for ids in kept.tokens]
    return jnp.concatenate([*kept.flat, *shown, *told], axis=-1)


def _pool(image: Array) -> Array:
    """[..., H, W, C] to at most [..., 4, 4, C]."""
    unit = 255.0 if image.dtype == jnp.uint8 else 1.0
    image = image.astype(jnp.float32) / unit
    for axis in (-3, -2):
        length = image.shape[axis]
        fields = min(length, POOLED)
        weights = np.eye(fields, dtype=np.float32)[np.arange(length) * fields // length]
        image = jnp.moveaxis(jnp.moveaxis(image, axis, -1) @ (weights / weights.sum(0)), -1, axis)
    return image
