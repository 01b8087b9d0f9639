"""Returns and advantages of one trajectory [T] (further axes after T are treated independently)."""

import jax
import jax.numpy as jnp

from ..types import Array
from .weighted import mean


def discounted_returns(rewards: Array, ended: Array, discount: float, after: Array | float = 0.0) -> Array:
    """G_t = r_t + γ (1 − ended_t) G_{t+1}, with G_T = `after`.

    rewards, ended: [T, …] (`ended` is true at the last step of an episode). Returns [T, …].
    """

    def back(value: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, stop = step
        value = reward + discount * jnp.where(stop, 0.0, value)
        return value, value

    start = jnp.broadcast_to(jnp.asarray(after, rewards.dtype), rewards.shape[1:])
    return jax.lax.scan(back, start, (rewards, ended), reverse=True)[1]


def generalized_advantages(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    truncated: Array,
    discount: float,
    trace: float,
) -> Array:
    """GAE(γ, λ), Schulman et al. 2016, eq. 16: Â_t = Σ (γλ)^l δ_{t+l}, δ_t = r_t + γ V(s_{t+1}) − V(s_t).

    `next_values` are those of the true successors. After a terminal state the value is 0; a truncated episode
    bootstraps from its successor; the sum over l stops at either. All arguments [T, …].
    """
    deltas = rewards + discount * jnp.where(terminated, 0.0, next_values) - values

    def back(advantage: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, stop = step
        advantage = delta + discount * trace * jnp.where(stop, 0.0, advantage)
        return advantage, advantage

    ended = jnp.logical_or(terminated, truncated)
    return jax.lax.scan(back, jnp.zeros_like(deltas[0]), (deltas, ended), reverse=True)[1]


def trial_advantages(rewards: Array, values: Array, discount: float, trace: float) -> Array:
    """GAE(γ, λ) over whole trials, all arguments [T, …]: a trial is over with its last step and worth nothing after
    it; inside it nothing ends, episodes included."""
    over = jnp.zeros_like(rewards, bool).at[-1].set(True)
    return generalized_advantages(rewards, values, of_the_next_step(values), over, over, discount, trace)


def standardize(values: Array, epsilon: float = 1e-8, weight: Array | None = None) -> Array:
    """Shift and scale to mean 0 and standard deviation 1 over all entries, or over those of `weight` 1."""
    centred = values - mean(values, weight)
    return centred / (jnp.sqrt(mean(jnp.square(centred), weight)) + epsilon)


def steps_since(first: Array) -> Array:
    """For each step [T, …] the number of steps since its episode began (`first` true), or since step 0."""
    clock = jnp.arange(first.shape[0], dtype=jnp.int32).reshape(-1, *[1] * (first.ndim - 1))
    began = jax.lax.cummax(jnp.where(first, clock, 0), axis=0)
    return clock - began


def without_first_episodes(rewards: Array, first: Array, count: int) -> Array:
    """`rewards` [T, …] with those of the first `count` episodes set to 0; `first` [T, …] is true where an episode
    begins, step 0 included."""
    return jnp.where(jnp.cumsum(first, axis=0) > count, rewards, 0.0)


def within_episodes(first: Array, count: int) -> Array:
    """Which steps [T, …] belong to the first `count` episodes, and so to a trial of as many; `first` [T, …] is true
    where an episode begins, step 0 included. What is stepped after them belongs to nothing."""
    return jnp.cumsum(first, axis=0) <= count


def of_the_next_step(values: Array) -> Array:
    """At each step of `values` [T, …] the one of the step after it; 0 at the last, after which there is none."""
    return jnp.concatenate([values[1:], jnp.zeros_like(values[:1])])


def longest(discount: float, steps: int) -> float:
    """Σ_{t < steps} γ^t, the return of a reward of 1 at every step: a unit for values, so that Adam's first steps are
    as long as the returns are."""
    return float(steps) if discount == 1 else (1 - discount**steps) / (1 - discount)
