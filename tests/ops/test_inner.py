"""Inner gradient steps: the step, its derivative by three other roads, and the first-order step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops.inner import first_order_step, gradient_step

Step = Callable[..., Any]


def loss(params: Any, data: Any) -> jax.Array:
    """A policy-gradient loss of a small softmax policy: integers and floats in the data, a curved loss."""
    observations, actions, advantages = data
    hidden = jnp.tanh(observations @ params["first"])
    logs = jax.nn.log_softmax(hidden @ params["second"])
    chosen = jnp.take_along_axis(logs, actions[:, None], axis=1)[:, 0]
    return -jnp.mean(chosen * advantages) + 0.1 * jnp.sum(params["first"] ** 4)


def quadratic(params: jax.Array, data: Any) -> jax.Array:
    matrix, offset = data
    return 0.5 * params @ matrix @ params - offset @ params


def make(seed: int = 0, dtype: Any = jnp.float64) -> tuple[Any, Any, Any, Any]:
    """Parameters, step sizes (of both signs, and zeros), data of a support and of a query round."""
    generator = np.random.default_rng(seed)
    shapes = {"first": (3, 5), "second": (5, 2)}
    params = {k: jnp.asarray(0.7 * generator.normal(size=s), dtype) for k, s in shapes.items()}
    sizes = {k: jnp.asarray(generator.uniform(-0.2, 0.6, s), dtype) for k, s in shapes.items()}
    sizes["first"] = sizes["first"].at[0].set(0.0)

    def data() -> Any:
        return (
            jnp.asarray(generator.normal(size=(6, 3)), dtype),
            jnp.asarray(generator.integers(0, 2, 6), jnp.int32),
            jnp.asarray(generator.normal(size=6), dtype),
        )

    return params, sizes, [data(), data()], data()


def plain_step(loss: Any, params: Any, step_sizes: Any, data: Any) -> Any:
    """θ − α∘∇L(θ), for JAX to differentiate in reverse over reverse."""
    slope = jax.grad(loss)(params, data)
    return jax.tree.map(lambda p, a, g: p - a * g, params, step_sizes, slope)


def after(step: Step, count: int, support: Any, query: Any) -> Callable[[Any, Any], jax.Array]:
    """The query loss after `count` steps on the support data, a function of (θ, α)."""

    def outer(params: Any, sizes: Any) -> jax.Array:
        for index in range(count):
            params = step(loss, params, sizes, support[index])
        return loss(params, query)

    return outer


def assert_close(found: Any, expected: Any, **tolerance: float) -> None:
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, **tolerance), found, expected)


def test_the_step(x64: None) -> None:
    params, sizes, support, _ = make()
    slope = jax.grad(loss)(params, support[0])
    expected = {k: np.asarray(params[k]) - np.asarray(sizes[k]) * np.asarray(slope[k]) for k in params}
    for step in (gradient_step, first_order_step):
        found = step(loss, params, sizes, support[0])
        assert_close(found, expected, rtol=1e-14)
        np.testing.assert_array_equal(found["first"][0], params["first"][0])  # step size 0


@pytest.mark.parametrize("count", [1, 2])
def test_the_meta_gradient_is_that_of_reverse_over_reverse(x64: None, count: int) -> None:
    params, sizes, support, query = make()
    found = jax.grad(after(gradient_step, count, support, query), (0, 1))(params, sizes)
    expected = jax.grad(after(plain_step, count, support, query), (0, 1))(params, sizes)
    assert_close(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("count", [1, 2])
def test_the_meta_gradient_against_central_differences(x64: None, count: int) -> None:
    params, sizes, support, query = make(seed=1)
    outer = jax.jit(after(gradient_step, count, support, query))
    slopes = jax.grad(outer, (0, 1))(params, sizes)
    width, both = 1e-5, (params, sizes)
    for which in range(2):
        for name, value in both[which].items():
            for place in np.ndindex(value.shape):

                def shifted(by: float, which=which, name=name, place=place) -> float:
                    moved = [dict(params), dict(sizes)]
                    moved[which][name] = moved[which][name].at[place].add(by)
                    return float(outer(*moved))

                numeric = (shifted(width) - shifted(-width)) / (2 * width)
                assert float(slopes[which][name][place]) == pytest.approx(numeric, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("count", [1, 3])
def test_closed_form_on_a_quadratic(x64: None, count: int) -> None:
    """L = ½ θᵀAθ − bᵀθ, outer loss ½ |θ' − c|²: the meta-gradient after K steps is (I − αA)^K (θ' − c)."""
    generator = np.random.default_rng(3)
    root = generator.normal(size=(4, 4))
    matrix, offset, goal, start = root @ root.T, *generator.normal(size=(3, 4))
    rate = 0.07

    def outer(params: jax.Array) -> jax.Array:
        for _ in range(count):
            params = gradient_step(quadratic, params, jnp.full(4, rate), (matrix, offset))
        return 0.5 * jnp.sum((params - goal) ** 2)

    adapted, factor = start, np.eye(4)
    for _ in range(count):
        adapted = adapted - rate * (matrix @ adapted - offset)
        factor = factor @ (np.eye(4) - rate * matrix)
    np.testing.assert_allclose(jax.grad(outer)(jnp.asarray(start)), factor @ (adapted - goal), rtol=1e-10)


def test_gradient_of_step_sizes_is_minus_inner_times_outer_gradient(x64: None) -> None:
    params, sizes, support, query = make()
    found = jax.grad(after(gradient_step, 1, support, query), 1)(params, sizes)
    inner = jax.grad(loss)(params, support[0])
    outer = jax.grad(loss)(plain_step(loss, params, sizes, support[0]), query)
    assert_close(found, jax.tree.map(lambda i, o: -i * o, inner, outer), rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2])
def test_first_order_is_the_outer_gradient_at_the_adapted_parameters(x64: None, count: int) -> None:
    params, sizes, support, query = make()
    found, toward_sizes = jax.grad(after(first_order_step, count, support, query), (0, 1))(params, sizes)
    adapted = params
    for index in range(count):
        adapted = plain_step(loss, adapted, sizes, support[index])
    assert_close(found, jax.grad(loss)(adapted, query), rtol=1e-12)
    exact = jax.grad(after(gradient_step, count, support, query))(params, sizes)
    assert np.abs(found["second"] - exact["second"]).max() > 1e-3  # the curvature matters in this example
    assert np.abs(toward_sizes["second"]).max() > 1e-3  # step sizes are still learned


def test_first_order_is_maml_with_stopped_inner_gradients(x64: None) -> None:
    params, sizes, support, query = make()

    def stopped(loss: Any, params: Any, sizes: Any, data: Any) -> Any:
        slope = jax.grad(loss)(jax.lax.stop_gradient(params), data)
        return jax.tree.map(lambda p, a, g: p - a * g, params, sizes, slope)

    found = jax.grad(after(first_order_step, 2, support, query), (0, 1))(params, sizes)
    expected = jax.grad(after(stopped, 2, support, query), (0, 1))(params, sizes)
    assert_close(found, expected, rtol=1e-12)


@pytest.mark.parametrize("step", [gradient_step, first_order_step])
def test_vmap_and_jit(step: Step) -> None:
    """Per-task data, shared θ and α, in single precision: the mean over tasks of separate gradients."""
    tasks = [make(seed, jnp.float32) for seed in range(3)]
    params, sizes = tasks[0][:2]
    support, query = (jax.tree.map(lambda *x: jnp.stack(x), *[t[k] for t in tasks]) for k in (2, 3))

    def mean(params: Any, sizes: Any) -> jax.Array:
        each = jax.vmap(lambda s, q: after(step, 2, s, q)(params, sizes))(support, query)
        return jnp.mean(each)

    found = jax.jit(jax.grad(mean, (0, 1)))(params, sizes)
    apart = [jax.grad(after(step, 2, t[2], t[3]), (0, 1))(params, sizes) for t in tasks]
    expected = jax.tree.map(lambda *x: sum(x) / 3, *apart)
    assert_close(found, expected, rtol=1e-4, atol=1e-6)
