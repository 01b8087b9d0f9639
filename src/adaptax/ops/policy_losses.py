"""Policy-gradient losses over arrays of any shape: to be minimised, averaged over all entries."""

import jax
import jax.numpy as jnp

from ..types import Array


def log_probability_loss(log_probabilities: Array, advantages: Array) -> Array:
    """−mean(log π Â): the vanilla policy gradient (Williams 1992)."""
    return -jnp.mean(log_probabilities * advantages)


def ratio_loss(log_probabilities: Array, stored: Array, advantages: Array) -> Array:
    """−mean(π/π_stored Â): its value's gradient at π = π_stored is the policy gradient, and its Hessian is that of
    the low-variance curvature surrogate (Rothfuss et al. 2019, eq. 12)."""
    return -jnp.mean(jnp.exp(log_probabilities - stored) * advantages)


def clipped_loss(log_probabilities: Array, stored: Array, advantages: Array, clip: float) -> Array:
    """−mean(min(ρ Â, clip(ρ, 1−ε, 1+ε) Â)), ρ = π/π_stored (Schulman et al. 2017, eq. 7)."""
    ratio = jnp.exp(log_probabilities - stored)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.mean(jnp.minimum(ratio * advantages, clipped * advantages))


def approximate_divergence(log_probabilities: Array, stored: Array) -> Array:
    """A non-negative low-variance estimate of KL(π_stored ‖ π) from stored actions: mean(ρ − 1 − log ρ)."""
    logs = jax.lax.stop_gradient(log_probabilities - stored)
    return jnp.mean(jnp.expm1(logs) - logs)
