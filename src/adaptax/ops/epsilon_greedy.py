"""ε-greedy actions: a uniform one with probability ε, else the best one (Mnih et al. 2015)."""

import jax
import jax.numpy as jnp

from ..types import Array, Key
from .distributions import only_allowed, uniform_action


def epsilon_greedy(values: Array, epsilon: Array, key: Key | None, allowed: Array | None = None) -> Array:
    """An action, int32 [], by its values [A], one of those `allowed` [A] (None: all); without a key the best one."""
    best = jnp.argmax(only_allowed(values, allowed), axis=-1).astype(jnp.int32)
    if key is None:
        return best
    chance_key, action_key = jax.random.split(key)
    other = uniform_action(values.shape[-1], action_key, allowed)
    return jnp.where(jax.random.uniform(chance_key) < epsilon, other, best)


def annealed(first: float, last: float, iterations: int, iteration: Array) -> Array:
    """ε at `iteration` []: it falls linearly from `first` to `last` over `iterations`, and stays there."""
    done = jnp.minimum(iteration.astype(jnp.float32) / iterations, 1.0)
    return first + (last - first) * done
