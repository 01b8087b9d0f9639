"""Action distributions. Parameters may carry any leading axes; an event is one action.

A sample without a key (None) is the mode: nothing is left to chance.
"""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..types import Array, Key, UserError


class Categorical(NamedTuple):
    """Actions 0 … A−1 with unnormalised log-probabilities `logits` [..., A]."""

    logits: Array

    def sample(self, key: Key | None) -> Array:
        if key is None:
            return self.mode()
        # Inverse CDF: one uniform number an action instead of one Gumbel number an alternative.
        weights = jnp.cumsum(jax.nn.softmax(self.logits), axis=-1)
        level = jax.random.uniform(key, weights.shape[:-1] + (1,), weights.dtype) * weights[..., -1:]
        return jnp.sum(weights[..., :-1] <= level, axis=-1, dtype=jnp.int32)

    def mode(self) -> Array:
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)

    def log_probability(self, action: Array) -> Array:
        chosen = jax.nn.one_hot(action, self.logits.shape[-1], dtype=self.logits.dtype)
        return jnp.sum(chosen * jax.nn.log_softmax(self.logits), axis=-1)

    def entropy(self) -> Array:
        logs = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(logs) * logs, axis=-1)

    def divergence(self, other: "Categorical") -> Array:
        """KL(self ‖ other)."""
        logs, others = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return jnp.sum(jnp.exp(logs) * (logs - others), axis=-1)

    def curvature(self, tangent: Any) -> "Categorical":
        """The Hessian of KL(self ‖ ·) at itself, in its parameters, times `tangent`: (diag p − p pᵀ) v."""
        weights = jax.nn.softmax(self.logits)
        mean = jnp.sum(weights * tangent.logits, axis=-1, keepdims=True)
        return Categorical(weights * (tangent.logits - mean))


class DiagonalGaussian(NamedTuple):
    """Independent normal actions: `mean` and `log_std` [..., D]."""

    mean: Array
    log_std: Array

    def sample(self, key: Key | None) -> Array:
        if key is None:
            return self.mode()
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self.log_std) * noise

    def mode(self) -> Array:
        return self.mean

    def log_probability(self, action: Array) -> Array:
        standard = (action - self.mean) * jnp.exp(-self.log_std)
        constant = 0.5 * np.log(2 * np.pi)
        return jnp.sum(-0.5 * jnp.square(standard) - self.log_std - constant, axis=-1)

    def entropy(self) -> Array:
        spread = jnp.broadcast_to(self.log_std, self.mean.shape)
        return jnp.sum(spread + 0.5 * np.log(2 * np.pi * np.e), axis=-1)

    def divergence(self, other: "DiagonalGaussian") -> Array:
        """KL(self ‖ other)."""
        ratio = jnp.exp(2 * (self.log_std - other.log_std))
        shift = jnp.square((self.mean - other.mean) * jnp.exp(-other.log_std))
        return jnp.sum(other.log_std - self.log_std + 0.5 * (ratio + shift - 1), axis=-1)

    def curvature(self, tangent: Any) -> "DiagonalGaussian":
        """The Hessian of KL(self ‖ ·) at itself, in its parameters, times `tangent`: (v_μ / σ², 2 v_log σ)."""
        return DiagonalGaussian(tangent.mean * jnp.exp(-2 * self.log_std), 2 * tangent.log_std)


Distribution = Categorical | DiagonalGaussian


def outputs_needed(space: gymnasium.Space) -> int:
    """How many network outputs fix a distribution over `space`: A logits, or D means."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        return int(space.shape[0])
    raise UserError(f"the action space {space} is not served; Discrete and one-dimensional Box spaces are")


def initial_log_std(space: gymnasium.Space, value: float = 0.0) -> Array:
    """A state-independent log standard deviation [D] for a Box; empty [0] for a Discrete space."""
    size = 0 if isinstance(space, gymnasium.spaces.Discrete) else outputs_needed(space)
    return jnp.full((size,), value, jnp.float32)


def action_distribution(space: gymnasium.Space, outputs: Array, log_std: Array) -> Distribution:
    """The distribution that network `outputs` [..., A or D] and `log_std` [D] stand for."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return Categorical(outputs)
    return DiagonalGaussian(outputs, jnp.broadcast_to(log_std, outputs.shape))


def flat_size(space: gymnasium.Space) -> int:
    """The length of what `flatten` makes of one element of `space`."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gymnasium.spaces.Box):
        return int(np.prod(space.shape))
    raise UserError(f"the space {space} is not served; Discrete and Box spaces are")


def flatten(space: gymnasium.Space, value: Array) -> Array:
    """One-hot of a Discrete value, ravelled Box value: float32 [..., flat_size(space)]."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return jax.nn.one_hot(value, int(space.n), dtype=jnp.float32)
    rank = len(space.shape or ())
    return jnp.asarray(value, jnp.float32).reshape(*value.shape[: value.ndim - rank], flat_size(space))


def zero_action(space: gymnasium.Space) -> Array:
    """The action that a stream is told it took before its first step."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return jnp.zeros((), jnp.int32)
    return jnp.zeros(space.shape or (), jnp.float32)
