"""Surrogates whose every derivative estimates that of the expected return: DiCE and Loaded DiCE.

Like `policy_losses` they are losses to be minimised, averaged over all entries: −1/T times the objective of a
trajectory, averaged over the axes after T. Unlike them they know the order of the steps: time is the first axis, as
in `returns`. Differentiate them at the policy that acted.

The surrogate of low-variance curvature (LVC, Rothfuss et al. 2019) has no function here: it is
`policy_losses.ratio_loss(log π, stop_gradient(log π), γ^t Â)`, and `loaded_dice` with a decay of 0 has its derivatives.
"""

import jax
import jax.numpy as jnp

from ..types import Array
from .returns import steps_since


def magic_box(x: Array) -> Array:
    """□(x) = exp(x − ⊥x), ⊥ stopping the gradient: 1, with ∇□(x) = □(x) ∇x (Foerster et al. 2018). Any shape."""
    return jnp.exp(x - jax.lax.stop_gradient(x))


def dice(
    log_probabilities: Array,
    rewards: Array,
    discount: float,
    baseline: Array | None = None,
    first: Array | None = None,
) -> Array:
    """−mean(γ^t (□(Σ_{k≤t} log π_k) r_t + (1 − □(log π_t)) b_t)): DiCE (Foerster et al. 2018) with its baseline.

    b_t estimates the return from s_t on, so it is discounted like the reward at t. It may depend on the state, not on
    the action; then it changes no derivative's expectation, and lowers the variance of the first derivative only.

    log_probabilities, rewards, baseline: [T, …]. `first` (bool [T, …]) is true where an episode begins: rewards are not
    credited to actions of an earlier one, and t counts from there. Without it there is one episode. Returns a scalar.
    """
    _, through = _dependencies(log_probabilities, 1.0, first)
    objective = magic_box(through) * rewards
    if baseline is not None:
        objective += (1.0 - magic_box(log_probabilities)) * baseline
    return -jnp.mean(_weights(log_probabilities, discount, first) * objective)


def loaded_dice(
    log_probabilities: Array,
    advantages: Array,
    discount: float,
    decay: float,
    first: Array | None = None,
) -> Array:
    """−mean(γ^t (□(w_t) − □(λ w_{t−1})) Â_t), w_t = λ w_{t−1} + log π_t: Loaded DiCE (Farquhar et al. 2019).

    Its value is 0; only its derivatives mean something. λ (`decay`) discounts how the actions before t changed the
    chance of reaching s_t. With λ = 1 and unbiased advantages every derivative is unbiased; with returns less a
    baseline as advantages, every one is that of DiCE with the baseline of Mao et al. 2019. With λ = 0 all are those of
    LVC: the first is the policy gradient still, higher ones are biased and vary less.

    log_probabilities, advantages: [T, …]; `first` as in `dice`. A discount of 1 drops the weights γ^t, as the losses of
    `policy_losses` do. Returns a scalar.
    """
    before, through = _dependencies(log_probabilities, decay, first)
    boxes = magic_box(through) - magic_box(before)
    return -jnp.mean(_weights(log_probabilities, discount, first) * boxes * advantages)


def _dependencies(log_probabilities: Array, decay: float, first: Array | None) -> tuple[Array, Array]:
    """λ w_{t−1} and w_t, [T, …] each; w begins at 0 in every episode."""

    def step(loaded: Array, now: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        log_probability, begins = now
        before = decay * jnp.where(begins, 0.0, loaded)
        through = before + log_probability
        return through, (before, through)

    begins = jnp.zeros(log_probabilities.shape, bool) if first is None else first
    return jax.lax.scan(step, jnp.zeros_like(log_probabilities[0]), (log_probabilities, begins))[1]


def _weights(log_probabilities: Array, discount: float, first: Array | None) -> Array:
    """γ^t [T, …], t counted from the beginning of the episode."""
    begins = jnp.zeros(log_probabilities.shape, bool) if first is None else first
    dtype = log_probabilities.dtype
    return jnp.asarray(discount, dtype) ** steps_since(begins).astype(dtype)
