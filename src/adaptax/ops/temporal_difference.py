"""Targets and losses of learning from old transitions: Q-learning, soft actor-critic, deterministic policies.

Arguments may carry any leading axes [...]. Targets are constants: no gradient goes through them.
"""

import jax
import jax.numpy as jnp

from ..types import Array, Key
from .distributions import only_allowed


def q_learning_target(
    reward: Array,
    terminated: Array,
    discount: float,
    online_next: Array,
    target_next: Array,
    double: bool,
    next_allowed: Array | None = None,
) -> Array:
    """y = r + γ (1 − d) Q'(s', a') with a' the best action at s' (Mnih et al. 2015): [...].

    `target_next` [..., A] are the target network's Q-values at s', of which the largest counts; with `double` the one
    of the action that is best by `online_next` [..., A] (van Hasselt et al. 2016). reward, terminated: [...].
    `next_allowed` [..., A] are the actions that can be chosen at s'; None: all.
    """
    best = jnp.argmax(only_allowed(online_next if double else target_next, next_allowed), axis=-1)
    following = jnp.take_along_axis(target_next, best[..., None], axis=-1)[..., 0]
    return jax.lax.stop_gradient(reward + discount * jnp.where(terminated, 0.0, following))


def soft_target(
    reward: Array,
    terminated: Array,
    discount: float,
    next_critics: tuple[Array, ...],
    next_log_probability: Array | float,
    temperature: Array | float,
) -> Array:
    """y = r + γ (1 − d) (min_i Q'_i(s', a') − α log π(a' | s')) (Haarnoja et al. 2018): [...].

    `next_critics` are the target critics' values of a' at s', each [...]. With a temperature of 0 and an action of a
    deterministic policy it is the target of TD3 (two critics) or DDPG (one).
    """
    lowest = jnp.min(jnp.stack(next_critics), axis=0)
    following = lowest - temperature * next_log_probability
    return jax.lax.stop_gradient(reward + discount * jnp.where(terminated, 0.0, following))


def temperature_loss(log_temperature: Array, log_probability: Array, target_entropy: float) -> Array:
    """−α mean(log π + H̄) (Haarnoja et al. 2018b, eq. 18): [].

    Its slope in log α [] lowers α where the entropy, −mean(log π), is above `target_entropy`, and raises it below; no
    gradient goes through `log_probability` [...].
    """
    return -jnp.exp(log_temperature) * jax.lax.stop_gradient(jnp.mean(log_probability) + target_entropy)


def dueling(value: Array, advantage: Array) -> Array:
    """Q = V + A − mean_a A (Wang et al. 2016, eq. 9), from `value` [..., 1] and `advantage` [..., A]: [..., A]."""
    return value + advantage - jnp.mean(advantage, axis=-1, keepdims=True)


def smoothed_action(action: Array, key: Key, std: float, clip: float) -> Array:
    """The action [..., D] with normal noise of `std`, which is cut off at ± `clip`, and then kept in (−1, 1): where
    TD3 asks its target critics (Fujimoto et al. 2018, eq. 14)."""
    noise = jnp.clip(std * jax.random.normal(key, action.shape, action.dtype), -clip, clip)
    return jnp.clip(action + noise, -1.0, 1.0)
