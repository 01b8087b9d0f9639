"""Every registered network: `unroll` is `apply` step by step, and so are its derivatives.

The reference is a Python loop, not `lax.scan`: XLA 0.10.2 miscompiles the backward scan of a plain GRU on a CPU in
float64 (4 streams of 5 units; central differences and `jax.disable_jit` agree with the loop, and with `unroll`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.nets import NETWORKS, RECURRENT, recurrent_network
from adaptax.nets.network import Network, orthogonal_weights, uniform_weights
from adaptax.types import UserError

INPUTS, OUTPUTS, STEPS = 3, 5, 4
# Any other network is a function of (inputs, outputs). The transformer's steps begin in the middle of its cache.
ARGUMENTS: dict[str, tuple[Any, ...]] = {"mlp": ((INPUTS, 6, OUTPUTS),), "transformer": (INPUTS, OUTPUTS, 2 * STEPS)}


def unless_long(name: str, *rest: Any) -> Any:
    """The transformer's derivatives compile for a quarter of a minute: once is enough outside the whole suite."""
    return pytest.param(name, *rest, marks=[pytest.mark.slow] if name == "transformer" else [])


def make(name: str) -> Network:
    module, attribute = NETWORKS[name][0].split(":")
    return getattr(import_module(module), attribute)(*ARGUMENTS.get(name, (INPUTS, OUTPUTS)))


def example(name: str, streams: tuple[int, ...], dtype: Any) -> tuple[Network, Any, Any, jax.Array]:
    """A network, its parameters (biases too away from zero), a memory away from the start, inputs [T, …, I]."""
    network, generator = make(name), np.random.default_rng(0)

    def moved(x: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        if x.dtype == jnp.int32:  # a count of steps: another one for each stream
            return jnp.asarray(generator.integers(0, STEPS, size=shape + x.shape), jnp.int32)
        return jnp.asarray(x + 0.3 * generator.normal(size=shape + x.shape), dtype)

    params = jax.tree.map(moved, network.init(jax.random.key(0)))
    memory = jax.tree.map(lambda x: moved(x, streams), network.start(params))
    return network, params, memory, jnp.asarray(generator.normal(size=(STEPS, *streams, INPUTS)), dtype)


def stepwise(network: Network) -> Callable[..., Any]:
    def unroll(params: Any, memory: Any, xs: jax.Array) -> Any:
        ys = []
        for x in xs:
            y, memory = network.apply(params, memory, x)
            ys.append(y)
        return jnp.stack(ys), memory

    return unroll


def assert_close(found: Any, expected: Any, **tolerance: float) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, **tolerance), found, expected)


@pytest.mark.parametrize("streams", [(), (2, 3)])
@pytest.mark.parametrize("name", NETWORKS)
def test_unroll_is_apply_step_by_step(name: str, streams: tuple[int, ...]) -> None:
    network, params, memory, xs = example(name, streams, jnp.float32)
    found = network.unroll(params, memory, xs)
    assert found[0].shape == (STEPS, *streams, OUTPUTS)
    assert_close(found, stepwise(network)(params, memory, xs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_state_is_explicit_and_keeps_its_types(name: str) -> None:
    """Weak types, or a memory that changes its type, would compile the scan or the update twice."""
    network = make(name)
    params = network.init(jax.random.key(0))
    memory = network.start(params)
    _, after = network.apply(params, memory, jnp.zeros(INPUTS))
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, memory)
    for leaf in jax.tree.leaves((params, memory)):
        assert leaf.dtype in (jnp.float32, jnp.int32) and not leaf.weak_type


def toward(output: jax.Array, generator: np.random.Generator) -> Any:
    """A random cotangent; a count of steps has none."""
    if output.dtype == jnp.int32:
        return np.zeros(output.shape, jax.dtypes.float0)
    return jnp.asarray(generator.normal(size=output.shape))


@pytest.mark.parametrize(
    ("name", "streams"), [*((name, (4,)) for name in NETWORKS), *(unless_long(name, ()) for name in NETWORKS)]
)
def test_gradients_are_those_of_the_steps(x64: None, name: str, streams: tuple[int, ...]) -> None:
    """Toward parameters, memory and inputs, with cotangents on all outputs and on the last memory."""
    network, params, memory, xs = example(name, streams, jnp.float64)

    def gradients(unroll: Callable[..., Any]) -> Any:
        outputs, pull = jax.vjp(unroll, params, memory, xs)
        generator = np.random.default_rng(1)
        found = pull(jax.tree.map(lambda y: toward(y, generator), outputs))
        return [leaf for leaf in jax.tree.leaves(found) if leaf.dtype != jax.dtypes.float0]

    assert_close(gradients(network.unroll), gradients(stepwise(network)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [unless_long(name) for name in RECURRENT])
def test_a_hessian_vector_product_through_unroll(x64: None, name: str) -> None:
    """What an inner gradient step on a recurrent policy needs: forward over reverse."""
    network, params, memory, xs = example(name, (2,), jnp.float64)
    generator = np.random.default_rng(2)
    direction = jax.tree.map(lambda p: jnp.asarray(generator.normal(size=p.shape)), params)

    def product(unroll: Callable[..., Any]) -> Any:
        slope = jax.grad(lambda p: jnp.sum(unroll(p, memory, xs)[0] ** 3))
        return jax.jvp(slope, (params,), (direction,))[1]

    assert_close(product(network.unroll), product(stepwise(network)), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", RECURRENT)
def test_under_vmap_and_jit(name: str) -> None:
    network, params, memory, xs = example(name, (3,), jnp.float32)

    def slope(memory: Any, xs: jax.Array) -> Any:
        return jax.grad(lambda p: jnp.sum(network.unroll(p, memory, xs)[0] ** 2))(params)

    found = jax.jit(jax.vmap(slope, in_axes=(0, 1)))(memory, xs)
    total = jax.tree.map(lambda g: jnp.sum(g, axis=0), found)
    assert_close(total, slope(memory, xs), rtol=1e-4, atol=1e-5)


def test_mlp_by_hand() -> None:
    network = make("mlp")
    first, last = network.init(jax.random.key(0))
    first = first._replace(bias=jnp.arange(6.0) - 3)
    x = np.array([0.5, -1.0, 2.0], np.float32)
    hidden = np.maximum(x @ np.asarray(first.weight) + np.arange(6) - 3, 0)
    assert 0 < np.sum(hidden > 0) < 6
    found, memory = network.apply((first, last), (), jnp.asarray(x))
    np.testing.assert_allclose(found, hidden @ np.asarray(last.weight) + np.asarray(last.bias), rtol=1e-5)
    assert memory == ()


def test_initial_weights() -> None:
    weights = np.asarray(uniform_weights(jax.random.key(0), 200, 100, scale=2.0))
    limit = 2.0 * (6 / 300) ** 0.5
    assert 0.99 * limit < np.abs(weights).max() <= limit
    np.testing.assert_allclose(weights.std(), limit / 3**0.5, rtol=0.02)
    square = np.asarray(orthogonal_weights(jax.random.key(0), 8, 8, scale=3.0))
    np.testing.assert_allclose(square.T @ square, 9 * np.eye(8), atol=1e-4)


def test_an_unknown_recurrent_network() -> None:
    with pytest.raises(UserError, match="gru, lstm"):
        recurrent_network("mlp")
