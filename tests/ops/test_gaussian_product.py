"""Products of Gaussian factors against hand-computed numbers and against densities that are multiplied."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from adaptax.ops.gaussian_product import no_factors, product


def test_two_factors_by_hand() -> None:
    """N(1, 1) N(4, 1/2): precision 1 + 2, mean (1 + 8)/3."""
    found = product(jnp.array([[1.0], [4.0]]), jnp.array([[1.0], [0.5]])).distribution()
    np.testing.assert_allclose(found.mean, [3.0], rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(2 * found.log_std), [1 / 3], rtol=1e-6)


def test_the_product_is_that_of_the_densities() -> None:
    generator = np.random.default_rng(0)
    mean, variance = generator.normal(size=(6, 2)), generator.uniform(0.3, 2, size=(6, 2))
    found = product(jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32)).distribution()
    grid = np.linspace(-8, 8, 4001)
    for d in range(2):
        logs = scipy.stats.norm.logpdf(grid[:, None], mean[:, d], np.sqrt(variance[:, d]))
        density = np.exp(logs.sum(axis=1))
        density /= density.sum()
        centre = (density * grid).sum()
        np.testing.assert_allclose(found.mean[d], centre, atol=1e-5)
        np.testing.assert_allclose(jnp.exp(2 * found.log_std[d]), (density * (grid - centre) ** 2).sum(), rtol=1e-4)


def test_without_factors_there_is_the_prior_and_it_is_no_factor() -> None:
    prior = no_factors(3).distribution()
    np.testing.assert_array_equal(prior.mean, 0)
    np.testing.assert_array_equal(prior.log_std, 0)
    one = product(jnp.array([[2.0, 2.0, 2.0]]), jnp.array([[1.0, 4.0, 0.25]]))
    found = no_factors(3).times(one).distribution()
    np.testing.assert_allclose(found.mean, 2.0)
    np.testing.assert_allclose(jnp.exp(2 * found.log_std), [1.0, 4.0, 0.25], rtol=1e-6)


def test_factors_in_pieces_are_the_factors_at_once() -> None:
    generator = np.random.default_rng(1)
    mean, variance = (jnp.asarray(generator.uniform(0.5, 2, size=(5, 7, 2)), jnp.float32) for _ in range(2))
    pieces = product(mean[:, :3], variance[:, :3]).times(product(mean[:, 3:], variance[:, 3:]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), pieces, product(mean, variance))
    assert pieces.precision.shape == (5, 2)


def test_tiny_variances_are_bounded() -> None:
    found = product(jnp.array([[1.0]]), jnp.array([[0.0]]))
    np.testing.assert_allclose(found.precision, [1e7])
    slope = jax.grad(lambda v: product(jnp.array([[1.0]]), v).distribution().log_std[0])(jnp.array([[0.0]]))
    assert np.isfinite(slope).all()
