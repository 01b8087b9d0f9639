"""The transformer against NumPy, and what holds for its cache. That `unroll` is `apply` step by step, from the middle
of a cache too, is tests/nets/test_networks.py."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.nets.network import Network
from adaptax.nets.transformer import SHORTEST, WAVES, Cache, TransformerParams, transformer
from adaptax.types import UserError

INPUTS, HIDDEN, SPAN = 3, 8, 6


def made(span: int = SPAN) -> tuple[Network, TransformerParams, jax.Array]:
    """A network, parameters in which every part counts, and the inputs [T, I] of one stream."""
    network, generator = transformer(INPUTS, HIDDEN, span, layers=2, heads=2), np.random.default_rng(0)
    params = network.init(jax.random.key(0))
    params = jax.tree.map(lambda x: x + jnp.asarray(0.3 * generator.normal(size=x.shape), jnp.float32), params)
    return network, params, jnp.asarray(generator.normal(size=(span, INPUTS)), jnp.float32)


def plain(params: Any, xs: np.ndarray, span: int, heads: int) -> np.ndarray:
    """The equations of the module's docstring, head by head and step by step, in float64."""
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)

    def norm(part: Any, x: np.ndarray) -> np.ndarray:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * part.scale + part.bias

    waves = SHORTEST * span ** (np.arange(WAVES) / (WAVES - 1))
    angle = 2 * np.pi * np.arange(len(xs))[:, None] / waves
    position = np.concatenate([np.sin(angle), np.cos(angle)], 1) / (3 * np.sqrt(WAVES))
    x = np.concatenate([xs, position], 1) @ params.embed.weight + params.embed.bias
    for block in params.blocks:
        query, key, value = np.split(norm(block.before_attention, x) @ block.project, 3, axis=1)
        read = np.zeros_like(query)
        for head in np.split(np.arange(query.shape[1]), heads):
            for t in range(len(xs)):
                scores = key[: t + 1, head] @ query[t, head] / np.sqrt(len(head))
                weights = np.exp(scores - scores.max())
                read[t, head] = weights @ value[: t + 1, head] / weights.sum()
        x = x + read @ block.merge
        wide = np.maximum(norm(block.before_layers, x) @ block.expand.weight + block.expand.bias, 0)
        x = x + wide @ block.contract.weight + block.contract.bias
    return norm(params.last, x)


def test_the_equations() -> None:
    network, params, xs = made()
    ys, _ = network.unroll(params, network.start(params), xs)
    np.testing.assert_allclose(ys, plain(params, np.asarray(xs), SPAN, heads=2), rtol=1e-4, atol=1e-5)


def test_a_whole_trial_is_the_scan_of_its_steps() -> None:
    """Steps that fill the whole cache have a way of their own, which reads nothing of it."""
    network, params, xs = made()
    ys, after = network.unroll(params, network.start(params), xs)

    def step(memory: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        y, memory = network.apply(params, memory, x)
        return memory, y

    memory, stepwise = jax.lax.scan(step, network.start(params), xs)
    np.testing.assert_allclose(ys, stepwise, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), after, memory)
    parts, middle = network.unroll(params, network.start(params), xs[:4])
    rest, end = network.unroll(params, middle, xs[4:])
    np.testing.assert_allclose(jnp.concatenate([parts, rest]), ys, rtol=1e-5, atol=1e-5)
    assert int(middle.position) == 4 and int(end.position) == SPAN


@pytest.mark.parametrize("steps", [SPAN, SPAN - 1])
def test_no_output_depends_on_a_later_input(steps: int) -> None:
    network, params, xs = made()
    start = network.start(params)

    def output(xs: jax.Array) -> jax.Array:
        return jnp.sum(network.unroll(params, start, xs)[0], axis=-1) + 0.1 * jnp.arange(steps)

    # Not the sum: a normalised output has nearly the same sum whatever it read.
    def first_entry(xs: jax.Array) -> jax.Array:
        return network.unroll(params, start, xs)[0][:, 0]

    for function in (output, first_entry):
        slope = np.abs(jax.jacobian(function)(xs[:steps])).sum(axis=-1)  # [output's time, input's time]
        np.testing.assert_array_equal(np.triu(slope, 1), 0)
    assert (np.tril(slope) > 0).sum() == steps * (steps + 1) / 2  # and every one on all before it


def test_what_the_cache_holds_after_its_position_is_not_read() -> None:
    network, params, xs = made()
    start = network.start(params)
    keys, values = jax.tree.map(lambda c: c + 7.0, (start.keys, start.values))
    stale = Cache(keys, values, start.position)
    ys, _ = network.unroll(params, start, xs[:3])
    np.testing.assert_array_equal(network.unroll(params, stale, xs[:3])[0], ys)


def test_the_memory_keeps_its_types_and_has_the_size_of_a_trial() -> None:
    network, params, xs = made()
    memory = network.start(params)
    _, after = jax.jit(network.apply)(params, memory, xs[0])
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, memory)
    assert [c.shape for c in memory.keys + memory.values] == [(2, SPAN, HIDDEN // 2)] * 4
    assert memory.position.dtype == jnp.int32 and not memory.position.weak_type


def test_gradients_are_finite_where_nothing_varies() -> None:
    """Zero inputs and the parameters of a new network: norms and attention have nothing to tell apart."""
    network, _, xs = made()
    params = network.init(jax.random.key(1))
    loss = lambda p: jnp.sum(network.unroll(p, network.start(p), 0 * xs)[0] ** 2)  # noqa: E731
    for leaf in jax.tree.leaves(jax.grad(loss)(params)):
        assert np.isfinite(leaf).all()


def test_more_steps_than_the_context() -> None:
    """Refused where the number is known, and NaN where only the running program knows it."""
    network, params, xs = made()
    start = network.start(params)
    with pytest.raises(UserError, match="7 steps are more than the transformer's context of 6"):
        network.unroll(params, start, jnp.concatenate([xs, xs[:1]]))
    ys, full = network.unroll(params, start, xs)
    assert np.isfinite(ys).all()
    y, after = network.apply(params, full, xs[0])
    assert np.isnan(y).all() and int(after.position) == SPAN + 1
