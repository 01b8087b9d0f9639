"""Squashed Gaussians against scipy's densities and numerical integration, also where tanh saturates."""

from __future__ import annotations

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from adaptax.ops import squashed
from adaptax.ops.squashed import SquashedGaussian
from adaptax.types import UserError


def test_log_probability_against_the_change_of_variables() -> None:
    generator = np.random.default_rng(0)
    mean, log_std, before = generator.normal(size=(3, 4, 2)).astype(np.float32)
    found = SquashedGaussian(jnp.asarray(mean), jnp.asarray(log_std)).log_probability_of(jnp.asarray(before))
    wide = before.astype(np.float64)
    expected = scipy.stats.norm.logpdf(wide, mean, np.exp(log_std)) - np.log(1 - np.tanh(wide) ** 2)
    np.testing.assert_allclose(found, expected.sum(axis=-1), rtol=1e-5, atol=1e-5)


def test_the_density_over_actions_integrates_to_one() -> None:
    policy = SquashedGaussian(jnp.array([[0.4]]), jnp.array([[-0.3]]))
    actions = np.linspace(-1, 1, 20_001)[1:-1]
    density = np.exp(policy.log_probability_of(jnp.asarray(np.arctanh(actions)[:, None])))
    np.testing.assert_allclose(scipy.integrate.trapezoid(density, actions), 1.0, atol=1e-3)


def test_saturated_actions_have_finite_logs_and_slopes() -> None:
    """At u = 40 tanh rounds to 1; log(1 − tanh²(u)) is 2 log 2 − 80 to single precision."""
    log = SquashedGaussian(jnp.array([40.0]), jnp.array([0.0])).log_probability_of(jnp.array([40.0]))
    np.testing.assert_allclose(log, -0.5 * np.log(2 * np.pi) + 80 - 2 * np.log(2), rtol=1e-6)
    for before in (-40.0, 0.0, 40.0):
        slope = jax.grad(lambda u: SquashedGaussian(jnp.zeros(1), jnp.zeros(1)).log_probability_of(u[None]))(before)
        np.testing.assert_allclose(slope, -before + 2 * np.tanh(before), rtol=1e-5)


def test_samples_have_the_probability_they_come_with() -> None:
    policy = SquashedGaussian(jnp.full((50_000, 1), 0.5), jnp.full((50_000, 1), -0.7))
    actions, logs = policy.sample_with_log_probability(jax.random.key(0))
    assert np.abs(actions).max() < 1
    np.testing.assert_allclose(logs, policy.log_probability_of(jnp.arctanh(actions)), rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(np.median(actions), policy.mode()[0, 0], atol=0.01)
    np.testing.assert_array_equal(policy.sample(jax.random.key(0)), actions)


def test_boxes() -> None:
    space = gymnasium.spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))
    np.testing.assert_allclose(squashed.to_space(space, jnp.array([[-1.0, 1.0], [0.5, 0.0]])), [[-2, 1], [1, 0.5]])
    np.testing.assert_allclose(squashed.from_space(space, jnp.array([1.0, 0.25])), [0.5, -0.5])
    squashed.check_bounded(space, "X")
    with pytest.raises(UserError, match=r"X needs continuous actions, .* the action space here is Discrete\(3\)"):
        squashed.check_bounded(gymnasium.spaces.Discrete(3), "X")
    with pytest.raises(UserError, match="X needs bounded actions"):
        squashed.check_bounded(gymnasium.spaces.Box(-np.inf, np.inf, (2,)), "X")
