"""Trust-region steps on quadratics, where everything is known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops.inner import gradient_step, linearized_step
from adaptax.ops.trust_region import conjugate_gradient, line_search, natural_step


def positive(size: int, seed: int = 0) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(size, size))
    return root @ root.T + 0.1 * np.eye(size)


@pytest.mark.parametrize("iterations", [6, 30])
def test_conjugate_gradients_solve_in_as_many_steps_as_there_are_dimensions(x64: None, iterations: int) -> None:
    matrix, target = positive(6), np.arange(1.0, 7.0)
    found, residual = conjugate_gradient(lambda v: jnp.asarray(matrix) @ v, jnp.asarray(target), iterations)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, target), rtol=1e-4)
    np.testing.assert_allclose(residual, target - matrix @ found, atol=1e-9)


def test_conjugate_gradients_on_a_tree_and_stopped_early() -> None:
    """One iteration is the steepest descent: (bᵀb / bᵀAb) b. A tree is the vector of its entries."""
    scale = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([[4.0]])}
    target = {"a": jnp.array([1.0, 1.0]), "b": jnp.array([[2.0]])}
    found, residual = conjugate_gradient(lambda v: jax.tree.map(jnp.multiply, scale, v), target, 1)
    length = 6.0 / (1 + 2 + 16)
    np.testing.assert_allclose(found["a"], [length, length], rtol=1e-6)
    np.testing.assert_allclose(found["b"], [[2 * length]], rtol=1e-6)
    np.testing.assert_allclose(residual["b"], [[2 - 4 * 2 * length]], rtol=1e-6)


def test_conjugate_gradients_of_nothing_and_without_curvature_are_finite() -> None:
    nothing, _ = conjugate_gradient(lambda v: v, jnp.zeros(3), 10)
    np.testing.assert_array_equal(nothing, 0.0)
    flat, residual = conjugate_gradient(jnp.zeros_like, jnp.ones(3), 10)
    np.testing.assert_array_equal(flat, 0.0)
    np.testing.assert_array_equal(residual, 1.0)


def test_the_natural_step_is_as_long_as_the_limit_allows(x64: None) -> None:
    """½ sᵀAs = δ, along −A⁻¹g."""
    matrix, slope = positive(5, 1), np.random.default_rng(2).normal(size=5)
    step = np.asarray(natural_step(lambda v: jnp.asarray(matrix) @ v, jnp.asarray(slope), 0.01, 20))
    assert 0.5 * step @ matrix @ step == pytest.approx(0.01, rel=1e-5)
    direction = -np.linalg.solve(matrix, slope)
    np.testing.assert_allclose(step / np.linalg.norm(step), direction / np.linalg.norm(direction), rtol=1e-6)


def bowl(params: Any) -> tuple[Any, Any]:
    """Loss |p − 1|², divergence |p|²."""
    return jnp.sum(jnp.square(params - 1.0)), jnp.sum(jnp.square(params))


@pytest.mark.parametrize(
    ("step", "limit", "tried"),
    [(0.5, 1.0, 1), (1.9, 9.0, 1), (2.1, 9.0, 2), (1.0, 0.5, 3), (1.0, 1.0, 1)],
)
def test_the_search_takes_the_first_candidate_that_is_better_and_near(step: float, limit: float, tried: int) -> None:
    start = jnp.zeros(1)
    found = line_search(bowl, start, jnp.full(1, step), jnp.float32(1.0), limit)
    expected = step * 0.8 ** (tried - 1)
    assert bool(found.accepted) and int(found.tried) == tried
    assert float(found.params[0]) == pytest.approx(expected, rel=1e-6)
    assert float(found.loss) == pytest.approx((expected - 1) ** 2, abs=1e-6)
    assert float(found.divergence) == pytest.approx(expected**2, rel=1e-6)


def test_a_search_without_success_gives_back_what_it_began_with() -> None:
    start = jnp.full(1, 0.25)
    found = jax.jit(lambda p: line_search(bowl, p, jnp.full(1, -1.0), bowl(p)[0], 1.0))(start)
    assert not bool(found.accepted) and int(found.tried) == 15
    np.testing.assert_array_equal(found.params, start)
    assert float(found.loss) == pytest.approx(0.75**2) and float(found.divergence) == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_a_number_never_gets_in(bad: float) -> None:
    start = jnp.zeros(1)
    none = line_search(bowl, start, jnp.full(1, bad), jnp.float32(1.0), 1.0)
    np.testing.assert_array_equal(none.params, start)

    def breaks(params: Any) -> tuple[Any, Any]:  # the first two candidates are broken
        loss, divergence = bowl(params)
        return jnp.where(params[0] > 0.7, bad, loss), divergence

    found = line_search(breaks, start, jnp.ones(1), jnp.float32(1.0), 1.0)
    assert int(found.tried) == 3 and float(found.params[0]) == pytest.approx(0.64, rel=1e-6)


def test_the_jacobian_of_an_inner_step(x64: None) -> None:
    """`push` and `pull` are products with dθ'/dθ and its transpose, for step sizes of both signs."""
    matrix = positive(4, 3)
    sizes = jnp.array([0.1, -0.2, 0.0, 0.3])

    def loss(params: Any, data: Any) -> Any:
        return 0.5 * params @ data @ params + jnp.sum(jnp.sin(params))

    params = jnp.arange(4.0)
    after, found = linearized_step(loss, params, sizes, jnp.asarray(matrix))
    np.testing.assert_array_equal(after, gradient_step(loss, params, sizes, jnp.asarray(matrix)))
    jacobian = np.eye(4) - np.diag(sizes) @ (matrix - np.diag(np.sin(np.arange(4.0))))
    for row in np.eye(4):
        np.testing.assert_allclose(found.push(jnp.asarray(row)), jacobian @ row, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.pull(jnp.asarray(row)), jacobian.T @ row, rtol=1e-10, atol=1e-12)
