"""Policy-gradient losses over arrays of any shape: to be minimised, averaged over all entries."""

from typing import Protocol

import jax
import jax.numpy as jnp

from ..types import Array, Metrics
from . import weighted
from .distributions import Distribution


class Decisions(Protocol):
    """What a proximal loss has to know of decisions, in arrays of one shape (and that of an action)."""

    @property
    def action(self) -> Array: ...
    @property
    def log_probability(self) -> Array: ...
    @property
    def advantage(self) -> Array: ...
    @property
    def target(self) -> Array:
        """Of the value."""
        ...

    @property
    def weight(self) -> Array:
        """1 where a decision counts, 0 where it belongs to no trial."""
        ...


def log_probability_loss(log_probabilities: Array, advantages: Array) -> Array:
    """−mean(log π Â): the vanilla policy gradient (Williams 1992)."""
    return -jnp.mean(log_probabilities * advantages)


def ratio_loss(log_probabilities: Array, stored: Array, advantages: Array) -> Array:
    """−mean(π/π_stored Â): its value's gradient at π = π_stored is the policy gradient, and its Hessian is that of
    the low-variance curvature surrogate (Rothfuss et al. 2019, eq. 12)."""
    return -jnp.mean(jnp.exp(log_probabilities - stored) * advantages)


def clipped_loss(
    log_probabilities: Array, stored: Array, advantages: Array, clip: float, weight: Array | None = None
) -> Array:
    """−mean(min(ρ Â, clip(ρ, 1−ε, 1+ε) Â)), ρ = π/π_stored (Schulman et al. 2017, eq. 7), over the entries of `weight`
    1 (None: all)."""
    ratio = jnp.exp(log_probabilities - stored)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -weighted.mean(jnp.minimum(ratio * advantages, clipped * advantages), weight)


def approximate_divergence(log_probabilities: Array, stored: Array, weight: Array | None = None) -> Array:
    """A non-negative low-variance estimate of KL(π_stored ‖ π) from stored actions: mean(ρ − 1 − log ρ), over the
    entries of `weight` 1 (None: all)."""
    logs = jax.lax.stop_gradient(log_probabilities - stored)
    return weighted.mean(jnp.expm1(logs) - logs, weight)


def proximal_loss(
    policy: Distribution, value: Array, taken: Decisions, clip: float, value_weight: float, entropy_weight: Array
) -> tuple[Array, Metrics]:
    """PPO's loss of a policy and its value, L_clip + w_V error − w_H entropy, and its terms.

    The error is the unexplained part of the targets' variance: its gradient stays of the size of the surrogate's,
    with which it may share parameters and the gradient clip, whatever the unit and length of the returns.
    """
    logs = policy.log_probability(taken.action)
    surrogate = clipped_loss(logs, taken.log_probability, taken.advantage, clip, taken.weight)
    unexplained = weighted.mean(jnp.square(value - taken.target), taken.weight)
    error = unexplained / (weighted.variance(taken.target, taken.weight) + 1e-8)
    entropy = weighted.mean(policy.entropy(), taken.weight)
    loss = surrogate + value_weight * error - entropy_weight * entropy
    divergence = approximate_divergence(logs, taken.log_probability, taken.weight)
    return loss, {"loss": loss, "value_error": error, "entropy": entropy, "divergence": divergence}
