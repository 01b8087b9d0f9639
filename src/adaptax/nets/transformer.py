"""A causal transformer as a memory (Vaswani et al. 2017): every step reads all steps of the trial before it.

    x = embed(input, position)
    x = x + merge(attention(norm(x))),   x = x + contract(relu(expand(norm(x))))      in each of the layers
    y = norm(x)

attention_t = Σ_{j ≤ t} softmax_j(q_t · k_j / √width) v_j, in several heads, each over a few of the entries.

The norms stand before each part and the residual sums are left alone (the order of Parisotto et al. 2020, GTrXL,
whose gates we leave out). GTrXL has what a step reads of the past begin small too, but a mean over a trial is small
already: weights that shrink it further hide from a new agent that there is anything to remember. What begins small is
the output, of norm 1, so that the first steps of the policy's weights on it are no longer than on a young recurrent
state. Grigsby et al. 2024 (AMAGO) carry RL² with a transformer far beyond what is here.

The memory is the key–value cache: keys and values of all layers for every step so far, so that a step costs one row of
each product and attends to at most `span` entries. Positions are sinusoids, not learned rows: how much of the trial is
left matters in meta-reinforcement learning, neighbouring steps share what is learned about it, and no row is rare.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..types import Array, Key, Params, UserError
from .mlp import Layer
from .network import Network, uniform_weights

WAVES = 8  # sinusoids of the position, a sine and a cosine each
SHORTEST = 4.0  # steps of the shortest wave; the longest is four trials, and so never turns back inside one


class Norm(NamedTuple):
    """Layer normalisation: scale [H], bias [H]."""

    scale: Array
    bias: Array


class Block(NamedTuple):
    """One layer; A = heads · width entries of the queries, and as many of the keys and values."""

    before_attention: Norm
    project: Array  # [H, 3 A]: queries, keys, values
    merge: Array  # [A, H]
    before_layers: Norm
    expand: Layer  # [H, 4 H]
    contract: Layer  # [4 H, H]


class TransformerParams(NamedTuple):
    embed: Layer  # [I + 2 WAVES, H]
    blocks: tuple[Block, ...]
    last: Norm


class Cache(NamedTuple):
    """What a stream remembers: the keys and the values of each layer, [heads, span, width], of whose steps the first
    `position` (int32) are filled."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    position: Array


def transformer(inputs: int, hidden: int, span: int, layers: int = 2, heads: int = 4) -> Network:
    """A transformer of `layers` layers over at most `span` steps; memory: `Cache`; output [hidden].

    A step after the last one is NaN, for there is nothing sensible to forget. Who knows how long a trial will be checks
    it before (`Plan.context`).
    """
    width = max(1, hidden // heads)
    joined = heads * width
    table = _sinusoids(span)

    def init(key: Key) -> Params:
        embed_key, *block_keys = jax.random.split(key, 1 + layers)
        return TransformerParams(
            Layer(uniform_weights(embed_key, inputs + table.shape[1], hidden), jnp.zeros((hidden,), jnp.float32)),
            tuple(_new_block(k, hidden, joined, layers) for k in block_keys),
            _new_norm(hidden, hidden**-0.5),
        )

    def start(params: Params) -> Cache:
        empty = (jnp.zeros((heads, span, width), jnp.float32),) * layers
        return Cache(empty, empty, jnp.zeros((), jnp.int32))

    def embed(params: TransformerParams, x: Array, position: Array) -> Array:
        where = jnp.asarray(table, x.dtype)[jnp.minimum(position, span - 1)]
        where = jnp.broadcast_to(where, (*x.shape[:-1], where.shape[-1]))
        return jnp.concatenate([x, where], axis=-1) @ params.embed.weight + params.embed.bias

    def apply(params: TransformerParams, memory: Cache, x: Array) -> tuple[Array, Cache]:
        y, memory = unroll(params, memory, x[None])
        return y[0], memory

    def unroll(params: TransformerParams, memory: Cache, xs: Array) -> tuple[Array, Cache]:
        steps = xs.shape[0]
        if steps > span:
            raise UserError(f"{steps} steps are more than the transformer's context of {span}")
        # Steps that fill the whole cache can only begin at its start, and need not read what it held.
        whole = steps == span
        times = jnp.arange(steps) if whole else memory.position[..., None] + jnp.arange(steps)  # [..., T]
        reach = (jnp.arange(span) <= times[..., None])[..., None, :, :]  # [..., 1, T, span], the same for all heads
        x = embed(params, jnp.moveaxis(xs, 0, -2), times)  # [..., T, H]
        filled = []
        for block, *before in zip(params.blocks, memory.keys, memory.values, strict=True):
            query, *rows = _project(block, x, heads)
            # Written before it is read: otherwise XLA copies the whole cache at every step of a scan of `apply`.
            key, value = rows if whole else (_write(c, memory.position, r) for c, r in zip(before, rows, strict=True))
            x = x + _attend(query, key, value, reach) @ block.merge
            x = x + _layers(block, x)
            filled.append((key, value))
        fits = (memory.position + steps <= span)[..., None, None]
        ys = jnp.where(fits, _norm(params.last, x), jnp.nan)
        keys, values = zip(*filled, strict=True)
        return jnp.moveaxis(ys, -2, 0), Cache(keys, values, memory.position + steps)

    return Network(init, start, apply, unroll)


def _sinusoids(span: int) -> np.ndarray:
    """Sines and cosines of every position, wavelengths from SHORTEST to 4 `span` steps in equal ratios:
    [span, 2 WAVES]. A row has norm 1/3, a third of a one-hot input's: larger, they drown what happened."""
    waves = SHORTEST * span ** (np.arange(WAVES) / (WAVES - 1))
    angle = 2 * np.pi * np.arange(span)[:, None] / waves
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1) / (3 * WAVES**0.5)


def _new_norm(size: int, scale: float = 1.0) -> Norm:
    return Norm(jnp.full((size,), scale, jnp.float32), jnp.zeros((size,), jnp.float32))


def _new_block(key: Key, hidden: int, joined: int, layers: int) -> Block:
    project_key, merge_key, expand_key, contract_key = jax.random.split(key, 4)
    parts = [uniform_weights(k, hidden, joined) for k in jax.random.split(project_key, 3)]
    small = layers**-0.5  # so that the sum grows no larger with more layers
    return Block(
        _new_norm(hidden),
        jnp.concatenate(parts, axis=1),
        uniform_weights(merge_key, joined, hidden, small),
        _new_norm(hidden),
        Layer(uniform_weights(expand_key, hidden, 4 * hidden), jnp.zeros((4 * hidden,), jnp.float32)),
        Layer(uniform_weights(contract_key, 4 * hidden, hidden, small), jnp.zeros((hidden,), jnp.float32)),
    )


def _norm(norm: Norm, x: Array) -> Array:
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-5) * norm.scale + norm.bias


def _project(block: Block, x: Array, heads: int) -> list[Array]:
    """Queries, keys and values [..., heads, T, width] of x [..., T, H]."""
    joined = jnp.split(_norm(block.before_attention, x) @ block.project, 3, axis=-1)
    return [jnp.swapaxes(x.reshape(*x.shape[:-1], heads, -1), -2, -3) for x in joined]


def _layers(block: Block, x: Array) -> Array:
    wide = jax.nn.relu(_norm(block.before_layers, x) @ block.expand.weight + block.expand.bias)
    return wide @ block.contract.weight + block.contract.bias


def _attend(query: Array, key: Array, value: Array, reach: Array) -> Array:
    """Attention of queries [..., heads, T, width] to keys and values [..., heads, J, width], within `reach`
    [..., 1, T, J]: [..., T, A]."""
    # Not query @ keyᵀ: in a batch of two axes XLA then transposes the whole cache at every step.
    scores = jnp.einsum("...td,...jd->...tj", query, key) / query.shape[-1] ** 0.5
    read = jax.nn.softmax(jnp.where(reach, scores, -jnp.inf), axis=-1) @ value
    read = jnp.swapaxes(read, -2, -3)
    return read.reshape(*read.shape[:-2], -1)


def _write(cache: Array, position: Array, rows: Array) -> Array:
    """`cache` [..., heads, span, width] with `rows` [..., heads, T, width] from `position` [...] on."""

    def one(cache: Array, position: Array, rows: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(cache, rows, position, axis=1)

    write = one
    for _ in range(position.ndim):
        write = jax.vmap(write)
    return write(cache, position, rows)
