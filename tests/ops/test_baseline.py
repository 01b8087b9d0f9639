"""The linear feature baseline against least squares in double precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops.baseline import features, fit_predict


def test_features_by_hand() -> None:
    found = features(jnp.array([[0.5, -20.0], [2.0, 3.0]]), jnp.array([0, 50]))
    expected = [
        [0.5, -10.0, 0.25, 100.0, 0.0, 0.0, 0.0, 1.0],
        [2.0, 3.0, 4.0, 9.0, 0.5, 0.25, 0.125, 1.0],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == jnp.float32


def ridge(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """argmin |X w − y|² + penalty |w|² by least squares on augmented rows, and its predictions."""
    flat = inputs.reshape(-1, inputs.shape[-1])
    width = flat.shape[1]
    rows = np.concatenate([flat, np.sqrt(penalty) * np.eye(width)])
    weights = np.linalg.lstsq(rows, np.concatenate([targets.ravel(), np.zeros(width)]), rcond=None)[0]
    return (flat @ weights).reshape(targets.shape)


@pytest.mark.parametrize("penalty", [1e-5, 3.0])
def test_against_least_squares(x64: None, penalty: float) -> None:
    generator = np.random.default_rng(0)
    inputs, targets = generator.normal(size=(7, 5, 4)), generator.normal(size=(7, 5))
    found = fit_predict(jnp.asarray(inputs), jnp.asarray(targets), penalty)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, ridge(inputs, targets, penalty), rtol=1e-8, atol=1e-10)


def test_features_of_one_step_trials(x64: None) -> None:
    """A bandit has a constant observation and no time: the features are collinear, and the fit is the mean."""
    inputs = features(jnp.zeros((40, 1)), jnp.zeros(40, jnp.int32)).astype(jnp.float64)
    targets = jnp.asarray(np.random.default_rng(0).random(40))
    np.testing.assert_allclose(fit_predict(inputs, targets), np.full(40, targets.mean()), rtol=1e-6)


def test_a_larger_penalty_where_the_first_ones_fail() -> None:
    """Two equal columns, so long that single precision loses 1e-5 beside them: the system is singular as it
    stands, and solvable once the penalty has grown."""
    column = np.full(16, 64.0, np.float32)
    inputs, targets = jnp.asarray(np.stack([column, column], axis=1)), jnp.asarray(2.0 * column)
    gram = inputs.T @ inputs
    first = jnp.linalg.solve(gram + 1e-5 * jnp.eye(2), inputs.T @ targets)
    assert not np.isfinite(np.asarray(first)).all(), "the example must fail at the first penalty"
    np.testing.assert_allclose(fit_predict(inputs, targets), targets, rtol=1e-2)


def test_nothing_solvable_predicts_zero() -> None:
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)
    targets = jnp.zeros(6).at[0].set(jnp.inf)
    np.testing.assert_array_equal(fit_predict(inputs, targets), np.zeros(6))


def test_per_task_under_vmap() -> None:
    generator = np.random.default_rng(2)
    inputs, targets = generator.normal(size=(3, 10, 4)), generator.normal(size=(3, 10))
    found = jax.vmap(fit_predict)(jnp.asarray(inputs, jnp.float32), jnp.asarray(targets, jnp.float32))
    for k in range(3):
        np.testing.assert_allclose(found[k], ridge(inputs[k], targets[k], 1e-5), rtol=1e-3, atol=1e-4)
