"""Recurrent networks with a derivative of their own.

The scan of a cell is h_{t+1} = cell(h_t, x_t W, h_t U). Differentiated as it stands, the backward scan adds a product
h_tᵀ g_t to the gradient of U at every step, and keeps every intermediate value; here a cell says what its backward
pass needs, the scan only keeps g_t, and the gradient of U is one matrix product afterwards. The input's projection x W
stands outside the scan for the same reason. Equal to plain differentiation up to rounding (a test pins it).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..types import Array, Key, Memory, Params
from .network import Network, orthogonal_weights, uniform_weights


class Cell(NamedTuple):
    """An elementwise recurrence over hidden units; the first leaf of a state is its output.

    forward(state, from_input, from_state) -> (state, saved) and backward(saved, toward_state) -> (toward_state before,
    toward_input, toward_recurrent), the cotangents of `forward`'s arguments.
    """

    forward: Callable[[Memory, Array, Array], tuple[Memory, Any]]
    backward: Callable[[Any, Memory], tuple[Memory, Array, Array]]


class RecurrentParams(NamedTuple):
    """input weight [I, G·H], bias [G·H]; recurrent weight [H, G·H], bias [G·H]; G gates."""

    input: Array
    input_bias: Array
    recurrent: Array
    recurrent_bias: Array


def _gru_forward(state: Memory, from_input: Array, from_state: Array) -> tuple[Memory, Any]:
    """r = σ(a_r + b_r), z = σ(a_z + b_z), n = tanh(a_n + r b_n), h' = (1 − z) n + z h (Cho et al. 2014, with the
    reset gate after the product, as in cuDNN)."""
    (hidden,) = state
    input_reset, input_update, input_new = jnp.split(from_input, 3, axis=-1)
    state_reset, state_update, state_new = jnp.split(from_state, 3, axis=-1)
    reset = jax.nn.sigmoid(input_reset + state_reset)
    update = jax.nn.sigmoid(input_update + state_update)
    new = jnp.tanh(input_new + reset * state_new)
    return (new + update * (hidden - new),), (hidden, reset, update, new, state_new)


def _gru_backward(saved: Any, toward: Memory) -> tuple[Memory, Array, Array]:
    hidden, reset, update, new, state_new = saved
    (toward_hidden,) = toward
    toward_new = toward_hidden * (1 - update) * (1 - new * new)
    toward_update = toward_hidden * (hidden - new) * update * (1 - update)
    toward_reset = toward_new * state_new * reset * (1 - reset)
    toward_input = jnp.concatenate([toward_reset, toward_update, toward_new], axis=-1)
    toward_recurrent = jnp.concatenate([toward_reset, toward_update, toward_new * reset], axis=-1)
    return (toward_hidden * update,), toward_input, toward_recurrent


def _lstm_forward(state: Memory, from_input: Array, from_state: Array) -> tuple[Memory, Any]:
    """c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c') (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""
    _, before = state
    enter, forget, candidate, leave = jnp.split(from_input + from_state, 4, axis=-1)
    enter, forget, leave = (jax.nn.sigmoid(gate) for gate in (enter, forget, leave))
    candidate = jnp.tanh(candidate)
    cell = forget * before + enter * candidate
    seen = jnp.tanh(cell)
    return (leave * seen, cell), (before, enter, forget, candidate, leave, seen)


def _lstm_backward(saved: Any, toward: Memory) -> tuple[Memory, Array, Array]:
    before, enter, forget, candidate, leave, seen = saved
    toward_hidden, toward_cell = toward
    toward_cell = toward_cell + toward_hidden * leave * (1 - seen * seen)
    gates = jnp.concatenate(
        [
            toward_cell * candidate * enter * (1 - enter),
            toward_cell * before * forget * (1 - forget),
            toward_cell * enter * (1 - candidate * candidate),
            toward_hidden * seen * leave * (1 - leave),
        ],
        axis=-1,
    )
    return (jnp.zeros_like(toward_hidden), toward_cell * forget), gates, gates


GRU = Cell(_gru_forward, _gru_backward)
LSTM = Cell(_lstm_forward, _lstm_backward)


def gru(inputs: int, hidden: int, span: int = 1) -> Network:
    """A GRU layer; memory: (h [hidden],); output h. `span` as in `lstm`, on the update gate."""

    def biases(slow: Array) -> list[Array]:
        return [jnp.zeros_like(slow), slow, jnp.zeros_like(slow)]

    return _recurrent(GRU, biases, 1, inputs, hidden, span)


def lstm(inputs: int, hidden: int, span: int = 1) -> Network:
    """An LSTM layer; memory: (h [hidden], c [hidden]); output h.

    With `span` > 1 the units start out remembering for up to `span` steps: gate biases log U[1, span] (chrono
    initialization, Tallec & Ollivier 2018, eq. 16). Without it a unit forgets half of what it holds at each step,
    and what a long trial reveals early is lost before learning can keep it.
    """

    def biases(slow: Array) -> list[Array]:
        return [-slow, slow, jnp.zeros_like(slow), jnp.zeros_like(slow)]

    return _recurrent(LSTM, biases, 2, inputs, hidden, span)


def _recurrent(
    cell: Cell, biases: Callable[[Array], list[Array]], parts: int, inputs: int, hidden: int, span: int
) -> Network:
    def init(key: Key) -> Params:
        input_key, recurrent_key, span_key = jax.random.split(key, 3)
        slow = jnp.log(jax.random.uniform(span_key, (hidden,), minval=1.0, maxval=float(max(span, 1))))
        bias = jnp.concatenate(biases(slow))
        gates = bias.shape[0] // hidden
        blocks = [orthogonal_weights(k, hidden, hidden) for k in jax.random.split(recurrent_key, gates)]
        weights = [uniform_weights(k, inputs, hidden) for k in jax.random.split(input_key, gates)]
        joined = jnp.concatenate(weights, 1), bias, jnp.concatenate(blocks, 1), jnp.zeros_like(bias)
        return RecurrentParams(*joined)

    def start(params: Params) -> Memory:
        return (jnp.zeros((hidden,), jnp.float32),) * parts

    def apply(params: RecurrentParams, memory: Memory, x: Array) -> tuple[Array, Memory]:
        from_input = x @ params.input + params.input_bias
        memory, _ = cell.forward(memory, from_input, memory[0] @ params.recurrent + params.recurrent_bias)
        return memory[0], memory

    def unroll(params: RecurrentParams, memory: Memory, xs: Array) -> tuple[Array, Memory]:
        projected = xs @ params.input + params.input_bias
        return _unroll(cell, params.recurrent, params.recurrent_bias, memory, projected)

    return Network(init, start, apply, unroll)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unroll(cell: Cell, weight: Array, bias: Array, memory: Memory, xs: Array) -> tuple[Array, Memory]:
    """Outputs [T, ..., H] and last memory of the cell over the projected inputs xs [T, ..., G·H]."""

    def step(state: Memory, x: Array) -> tuple[Memory, Array]:
        state, _ = cell.forward(state, x, state[0] @ weight + bias)
        return state, state[0]

    memory, outputs = jax.lax.scan(step, memory, xs)
    return outputs, memory


def _unroll_forward(cell: Cell, weight: Array, bias: Array, memory: Memory, xs: Array):
    def step(state: Memory, x: Array):
        following, saved = cell.forward(state, x, state[0] @ weight + bias)
        return following, (following[0], saved)

    last, (outputs, saved) = jax.lax.scan(step, memory, xs)
    before = jnp.concatenate([memory[0][None], outputs[:-1]])
    return (outputs, last), (weight, before, saved)


def _unroll_backward(cell: Cell, saved, cotangents):
    weight, before, kept = saved
    toward_outputs, toward_last = cotangents

    def step(toward_state: Memory, saved_step):
        toward_output, kept = saved_step
        toward_state = (toward_state[0] + toward_output, *toward_state[1:])
        toward_before, toward_x, toward_recurrent = cell.backward(kept, toward_state)
        hidden = toward_before[0] + toward_recurrent @ weight.T
        return (hidden, *toward_before[1:]), (toward_x, toward_recurrent)

    toward_memory, (toward_xs, toward_recurrents) = jax.lax.scan(
        step, toward_last, (toward_outputs, kept), reverse=True
    )
    # Contracted over time and streams as they stand: merging the two first would gather streams spread over devices.
    axes = tuple(range(before.ndim - 1))
    toward_weight = jnp.tensordot(before, toward_recurrents, axes=(axes, axes))
    return toward_weight, jnp.sum(toward_recurrents, axis=axes), toward_memory, toward_xs


_unroll.defvjp(_unroll_forward, _unroll_backward)
