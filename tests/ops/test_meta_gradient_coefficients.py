"""The leading-order coefficients of Reptile's, FOMAML's and MAML's expected meta-gradients (Nichol et al. 2018, §5.1).

With k steps of size α on minibatches that are drawn alike,

    E[g] = c AvgGrad − α d AvgGradInner + O(α²),      AvgGrad = E[g_i],  AvgGradInner = E[H_i g_j],  i ≠ j

with (c, d) = (1, 2(k − 1)) for MAML, (1, k − 1) for FOMAML and (k, k(k − 1)/2) for Reptile. The expectation is taken
whole, over all sequences of three minibatches, in double precision.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops.inner import first_order_step, gradient_step

MINIBATCHES = 3


def loss(params: jax.Array, data: Any) -> jax.Array:
    matrix, offset = data
    return jnp.mean(jnp.cosh(matrix @ params - offset))


def make() -> tuple[jax.Array, Any]:
    generator = np.random.default_rng(0)
    matrices, offsets = generator.normal(size=(MINIBATCHES, 5, 4)), generator.normal(size=(MINIBATCHES, 5))
    return jnp.asarray(0.3 * generator.normal(size=4)), (jnp.asarray(matrices), jnp.asarray(offsets))


def expected(name: str, count: int, step_size: float) -> np.ndarray:
    """E[g] over all sequences of `count` minibatches; for Reptile g = (φ − W) / α."""
    params, minibatches = make()
    sizes = jnp.full_like(params, step_size)
    step = first_order_step if name == "FOMAML" else gradient_step

    def one(sequence: jax.Array) -> jax.Array:
        batches = [jax.tree.map(lambda x, i=i: x[sequence[i]], minibatches) for i in range(count)]

        def last(params: jax.Array) -> jax.Array:
            for batch in batches[:-1]:
                params = step(loss, params, sizes, batch)
            return loss(params, batches[-1])

        if name != "Reptile":
            return jax.grad(last)(params)
        reached = params
        for batch in batches:
            reached = step(loss, reached, sizes, batch)
        return (params - reached) / step_size

    sequences = jnp.asarray(list(product(range(MINIBATCHES), repeat=count)))
    return np.asarray(jnp.mean(jax.jit(jax.vmap(one))(sequences), axis=0))


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize(
    ("name", "gradients", "agreement"),
    [
        ("MAML", lambda k: 1, lambda k: 2 * (k - 1)),
        ("FOMAML", lambda k: 1, lambda k: k - 1),
        ("Reptile", lambda k: k, lambda k: k * (k - 1) / 2),
    ],
)
def test_coefficients(x64: None, name: str, gradients: Any, agreement: Any, count: int) -> None:
    params, minibatches = make()
    slopes = np.asarray(jax.vmap(lambda b: jax.grad(loss)(params, b))(minibatches))
    hessians = np.asarray(jax.vmap(lambda b: jax.hessian(loss)(params, b))(minibatches))
    mean, inner = slopes.mean(axis=0), hessians.mean(axis=0) @ slopes.mean(axis=0)
    basis = np.stack([mean, inner], axis=1)
    step_size = 1e-5
    found = expected(name, count, step_size)
    np.testing.assert_allclose(found, gradients(count) * mean, rtol=1e-2)
    (measured,), residual, *_ = np.linalg.lstsq(inner[:, None], (gradients(count) * mean - found) / step_size)
    assert measured == pytest.approx(agreement(count), rel=1e-3)
    assert residual[0] < 1e-6 * (inner @ inner) * agreement(count) ** 2  # nothing else is in it
    assert np.linalg.matrix_rank(basis) == 2  # or the coefficients could not be told apart
