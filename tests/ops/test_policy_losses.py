"""Policy losses: hand numbers, and what their gradients are at the stored policy."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adaptax.ops.distributions import Categorical
from adaptax.ops.policy_losses import (
    approximate_divergence,
    clipped_loss,
    log_probability_loss,
    proximal_loss,
    ratio_loss,
)

STORED = jnp.log(jnp.array([0.5, 0.25]))
CURRENT = jnp.log(jnp.array([0.75, 0.25]))  # ratios 1.5 and 1
ADVANTAGES = jnp.array([2.0, -4.0])


def test_by_hand() -> None:
    expected = -(np.log(0.75) * 2 - np.log(0.25) * 4) / 2
    np.testing.assert_allclose(log_probability_loss(CURRENT, ADVANTAGES), expected, rtol=1e-6)
    np.testing.assert_allclose(ratio_loss(CURRENT, STORED, ADVANTAGES), -(1.5 * 2 - 4) / 2, rtol=1e-6)
    np.testing.assert_allclose(clipped_loss(CURRENT, STORED, ADVANTAGES, 0.2), -(1.2 * 2 - 4) / 2, rtol=1e-6)
    np.testing.assert_allclose(clipped_loss(CURRENT, STORED, ADVANTAGES, 0.6), -(1.5 * 2 - 4) / 2, rtol=1e-6)
    expected = (1.5 - 1 - np.log(1.5)) / 2
    np.testing.assert_allclose(approximate_divergence(CURRENT, STORED), expected, rtol=1e-5)


class Taken(NamedTuple):
    action: jax.Array
    log_probability: jax.Array
    advantage: jax.Array
    target: jax.Array
    weight: jax.Array


def test_the_proximal_loss_by_hand() -> None:
    policy = Categorical(jnp.log(jnp.array([[0.75, 0.25], [0.75, 0.25]])))
    taken = Taken(jnp.array([0, 1]), STORED, ADVANTAGES, jnp.array([1.0, 5.0]), jnp.ones(2))
    loss, terms = proximal_loss(policy, jnp.array([2.0, 3.0]), taken, 0.2, 0.5, jnp.float32(0.1))
    # The targets' variance is 4, and the values are 1 and 2 off: an error of 2.5 / 4.
    entropy = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    expected = {"value_error": 0.625, "entropy": entropy, "divergence": (1.5 - 1 - np.log(1.5)) / 2}
    expected["loss"] = -(1.2 * 2 - 4) / 2 + 0.5 * 0.625 - 0.1 * entropy
    assert set(terms) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5)
    assert loss == terms["loss"]
    # A decision that does not count changes nothing.
    more = Taken(*(jnp.concatenate([x, jnp.full((1,), 9, x.dtype)]) for x in taken[:-1]), jnp.array([1.0, 1.0, 0.0]))
    more = more._replace(action=jnp.array([0, 1, 1]))
    three = Categorical(jnp.log(jnp.array([[0.75, 0.25], [0.75, 0.25], [0.5, 0.5]])))
    again, _ = proximal_loss(three, jnp.array([2.0, 3.0, 8.0]), more, 0.2, 0.5, jnp.float32(0.1))
    np.testing.assert_allclose(again, loss, rtol=1e-6)


def test_at_the_stored_policy_all_gradients_are_the_policy_gradient() -> None:
    logits = jnp.array([[0.2, -0.3, 1.0], [0.0, 2.0, -1.0]])
    actions, rows = jnp.array([2, 0]), jnp.arange(2)

    def logs(logits: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(logits)[rows, actions]

    stored = logs(logits)
    # ∇ log softmax is e_a − p; its mean over two actions, weighted with −Â.
    expected = -(np.eye(3)[[2, 0]] - jax.nn.softmax(logits)) * np.asarray(ADVANTAGES)[:, None] / 2
    for loss in (
        lambda x: log_probability_loss(logs(x), ADVANTAGES),
        lambda x: ratio_loss(logs(x), stored, ADVANTAGES),
        lambda x: clipped_loss(logs(x), stored, ADVANTAGES, 0.2),
    ):
        np.testing.assert_allclose(jax.grad(loss)(logits), expected, rtol=1e-5, atol=1e-7)


def test_second_derivatives_tell_the_two_surrogates_apart() -> None:
    """∂²/∂(log π)² of −ρ Â is −ρ Â, of −log π Â it is 0: the ratio keeps the score's outer product."""
    curved = jax.hessian(lambda logs: ratio_loss(logs, STORED, ADVANTAGES))(STORED)
    np.testing.assert_allclose(curved, np.diag(-np.asarray(ADVANTAGES) / 2), rtol=1e-6)
    flat = jax.hessian(lambda logs: log_probability_loss(logs, ADVANTAGES))(STORED)
    np.testing.assert_array_equal(flat, np.zeros((2, 2)))


def test_the_clip_kills_the_gradient_only_where_it_would_go_further() -> None:
    ratios = jnp.array([1.5, 1.5, 0.5, 0.5, 1.1])
    advantages = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0])
    slope = jax.grad(lambda logs: clipped_loss(logs, jnp.zeros(5), advantages, 0.2))(jnp.log(ratios))
    # Too likely and good, or too unlikely and bad: nothing more to gain. All else: −ρ Â / 5.
    np.testing.assert_allclose(slope, [0.0, 1.5 / 5, -0.5 / 5, 0.0, -1.1 / 5], rtol=1e-6)


def test_the_divergence_is_non_negative_and_has_no_gradient() -> None:
    assert float(approximate_divergence(STORED, STORED)) == 0.0
    noise = jnp.asarray(np.random.default_rng(0).normal(size=50), jnp.float32)
    assert float(approximate_divergence(noise, jnp.zeros(50))) > 0
    slope = jax.grad(lambda logs: approximate_divergence(logs, jnp.zeros(50)))(noise)
    np.testing.assert_array_equal(slope, np.zeros(50))


def test_the_divergence_estimates_kl() -> None:
    """KL(N(0, 1) ‖ N(m, 1)) = m²/2, from samples of the stored policy."""
    actions = jnp.asarray(np.random.default_rng(0).normal(size=200_000), jnp.float32)
    found = approximate_divergence(-0.5 * (actions - 0.3) ** 2, -0.5 * actions**2)
    np.testing.assert_allclose(found, 0.045, atol=0.001)
