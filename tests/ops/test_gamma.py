"""Gamma and beta draws, against the exact distributions."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from adaptax.ops.gamma import beta, gamma

COUNT = 20_000


def test_gamma_draws_follow_the_distribution() -> None:
    shapes = np.asarray([1.0, 1.5, 4.0, 120.0], np.float32)
    drawn = gamma(jax.random.key(0), jnp.broadcast_to(jnp.asarray(shapes), (COUNT, 4)))
    for k, shape in enumerate(shapes):
        assert stats.kstest(np.asarray(drawn[:, k]), stats.gamma(shape).cdf).pvalue > 0.01


def test_beta_draws_follow_the_distribution() -> None:
    a, b = np.asarray([1.0, 3.0, 51.0], np.float32), np.asarray([1.0, 9.0, 51.0], np.float32)
    drawn = beta(jax.random.key(1), *(jnp.broadcast_to(jnp.asarray(x), (COUNT, 3)) for x in (a, b)))
    for k in range(3):
        assert stats.kstest(np.asarray(drawn[:, k]), stats.beta(a[k], b[k]).cdf).pvalue > 0.01


def test_a_batch_draws_what_each_of_it_draws_alone() -> None:
    keys, shapes = jax.random.split(jax.random.key(2), 50), jnp.linspace(1.0, 3.0, 7)
    together = jax.vmap(lambda key: gamma(key, shapes))(keys)
    alone = [gamma(key, shapes) for key in keys]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-6)
