"""Gamma and beta draws for whole arrays at once.

`jax.random.gamma` runs a loop of its own for every element on a CPU: optimistic Thompson sampling, which draws 300 beta
numbers a step on each of 100 bandits, took four times as long with it. Here all elements try together until each has
accepted.
"""

import jax
import jax.numpy as jnp

from ..types import Array, Key


def gamma(key: Key, concentration: Array) -> Array:
    """Standard gamma draws, float32 of the shape of `concentration`, which must be ≥ 1 everywhere.

    Source: Marsaglia and Tsang (2000), "A simple method for generating gamma variables"; a try is accepted with a
    chance of at least 0.95.
    """
    mode = concentration - 1.0 / 3.0
    width = jax.lax.rsqrt(9.0 * mode)

    def attempt(carry: tuple[Key, Array, Array]) -> tuple[Key, Array, Array]:
        key, drawn, accepted = carry
        key, normal_key, uniform_key = jax.random.split(key, 3)
        x = jax.random.normal(normal_key, mode.shape, jnp.float32)
        u = jax.random.uniform(uniform_key, mode.shape, jnp.float32)
        v = (1.0 + width * x) ** 3
        positive = v > 0.0
        logs = jnp.log(jnp.where(positive, v, 1.0))
        # log1p(−u), since u may be 0 and never is 1.
        good = positive & (jnp.log1p(-u) < 0.5 * x**2 + mode * (1.0 - v + logs))
        return key, jnp.where(accepted, drawn, mode * v), accepted | good

    nothing = jnp.zeros(mode.shape, jnp.float32), jnp.zeros(mode.shape, bool)
    return jax.lax.while_loop(lambda carry: ~jnp.all(carry[2]), attempt, (key, *nothing))[1]


def beta(key: Key, a: Array, b: Array) -> Array:
    """Beta(a, b) draws, float32, from two gamma draws; `a` and `b` have one shape and are ≥ 1 everywhere."""
    first, second = gamma(key, jnp.stack([a, b]))
    return first / (first + second)
