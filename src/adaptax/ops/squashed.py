"""Gaussians squashed by tanh: actions inside a box (Haarnoja et al. 2018, SAC, appendix C)."""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..types import Array, Key, UserError
from .distributions import DiagonalGaussian


class SquashedGaussian(NamedTuple):
    """a = tanh(u) with u normal of `mean` and `log_std` [..., D]; actions lie in (−1, 1)."""

    mean: Array
    log_std: Array

    def sample(self, key: Key | None) -> Array:
        if key is None:
            return self.mode()
        return self.sample_with_log_probability(key)[0]

    def sample_with_log_probability(self, key: Key) -> tuple[Array, Array]:
        """An action [..., D] and its log-density [...], whose gradient goes through the draw."""
        before = DiagonalGaussian(self.mean, self.log_std).sample(key)
        return jnp.tanh(before), self.log_probability_of(before)

    def mode(self) -> Array:
        """tanh(mean): the action of the most likely u."""
        return jnp.tanh(self.mean)

    def log_probability_of(self, before: Array) -> Array:
        """The log-density [...] of the action tanh(u), u = `before` [..., D]:

            Σ_d log N(u_d) − log(1 − tanh²(u_d)),   log(1 − tanh²(u)) = 2 (log 2 − u − softplus(−2u)),

        which stays finite where tanh(u) rounds to ±1.
        """
        slope = 2.0 * (np.log(2.0) - before - jax.nn.softplus(-2.0 * before))
        return DiagonalGaussian(self.mean, self.log_std).log_probability(before) - jnp.sum(slope, axis=-1)


def check_bounded(space: gymnasium.Space, who: str) -> None:
    """Raise a `UserError` unless `space` is a one-dimensional Box with finite bounds."""
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise UserError(f"{who} needs continuous actions, a one-dimensional Box; the action space here is {space}")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise UserError(f"{who} needs bounded actions; the action space here is {space}")


def to_space(space: gymnasium.Space, action: Array) -> Array:
    """From (−1, 1) to the bounds of the box, entry by entry."""
    low, high = _bounds(space, action)
    return low + 0.5 * (action + 1.0) * (high - low)


def from_space(space: gymnasium.Space, action: Array) -> Array:
    """From the bounds of the box to (−1, 1), entry by entry."""
    low, high = _bounds(space, action)
    return 2.0 * (action - low) / (high - low) - 1.0


def _bounds(space: Any, action: Array) -> tuple[Array, Array]:
    low, high = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), action.shape) for x in (space.low, space.high))
    return low, high
