"""GRU and LSTM against Equinox's cells, with our weights mapped to theirs."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.nets.recurrent import RecurrentParams, gru, lstm

INPUTS, HIDDEN = 3, 4


def random_params(gates: int) -> RecurrentParams:
    generator = np.random.default_rng(0)
    shapes = [(INPUTS, gates * HIDDEN), (gates * HIDDEN,), (HIDDEN, gates * HIDDEN), (gates * HIDDEN,)]
    return RecurrentParams(*(jnp.asarray(generator.normal(size=s), jnp.float32) for s in shapes))


def inputs(count: int) -> list[jax.Array]:
    return [jnp.asarray(x, jnp.float32) for x in np.random.default_rng(1).normal(size=(count, INPUTS))]


def filled(cell: Any, **arrays: jax.Array) -> Any:
    names = tuple(arrays)
    return eqx.tree_at(lambda c: [getattr(c, n) for n in names], cell, [arrays[n] for n in names])


def test_gru_is_equinox_gru() -> None:
    """Gates in the order reset, update, new; the new gate's recurrent bias is inside the reset gate's product."""
    network, params = gru(INPUTS, HIDDEN), random_params(3)
    inside = params.recurrent_bias[2 * HIDDEN :]
    theirs = filled(
        eqx.nn.GRUCell(INPUTS, HIDDEN, key=jax.random.key(0)),
        weight_ih=params.input.T,
        weight_hh=params.recurrent.T,
        bias=params.input_bias + params.recurrent_bias.at[2 * HIDDEN :].set(0.0),
        bias_n=inside,
    )
    memory = (jnp.asarray(np.random.default_rng(2).normal(size=HIDDEN), jnp.float32),)
    hidden = memory[0]
    for x in inputs(6):
        y, memory = network.apply(params, memory, x)
        hidden = theirs(x, hidden)
        np.testing.assert_allclose(y, hidden, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(memory[0], y)


def test_lstm_is_equinox_lstm() -> None:
    """Gates in the order input, forget, candidate, output."""
    network, params = lstm(INPUTS, HIDDEN), random_params(4)
    theirs = filled(
        eqx.nn.LSTMCell(INPUTS, HIDDEN, key=jax.random.key(0)),
        weight_ih=params.input.T,
        weight_hh=params.recurrent.T,
        bias=params.input_bias + params.recurrent_bias,
    )
    memory = tuple(jnp.asarray(x, jnp.float32) for x in np.random.default_rng(2).normal(size=(2, HIDDEN)))
    expected = memory
    for x in inputs(6):
        y, memory = network.apply(params, memory, x)
        expected = theirs(x, expected)
        np.testing.assert_allclose(y, expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(memory[1], expected[1], rtol=1e-5, atol=1e-6)


def test_a_new_network_has_orthogonal_recurrence_and_no_bias_without_a_span() -> None:
    for network, gates in ((gru(INPUTS, HIDDEN), 3), (lstm(INPUTS, HIDDEN), 4)):
        params = network.init(jax.random.key(0))
        blocks = np.split(np.asarray(params.recurrent), gates, axis=1)
        for block in blocks:
            np.testing.assert_allclose(block.T @ block, np.eye(HIDDEN), atol=1e-5)
        assert len({b.tobytes() for b in blocks}) == gates  # each gate has weights of its own
        for leaf in jax.tree.leaves((network.start(params), params.input_bias, params.recurrent_bias)):
            np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))


def test_a_span_spreads_how_long_units_remember() -> None:
    """log U[1, span] on the gate that keeps, its negative on the LSTM's gate that takes in; all else 0."""
    width, span = 100, 50
    for make, keeps, takes in ((gru, 1, None), (lstm, 1, 0)):
        params = make(INPUTS, width, span).init(jax.random.key(0))
        biases = np.split(np.asarray(params.input_bias + params.recurrent_bias), 3 + (make is lstm))
        kept = np.exp(biases[keeps])
        assert 1 <= kept.min() < 5 and 45 < kept.max() < 50.001
        assert abs(kept.mean() - 25.5) < 4 * 49 / 12**0.5 / width**0.5
        for gate, bias in enumerate(biases):
            if gate == takes:
                np.testing.assert_array_equal(bias, -biases[keeps])
            elif gate != keeps:
                np.testing.assert_array_equal(bias, np.zeros(width))
