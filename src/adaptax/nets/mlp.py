"""Feed-forward layers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..types import Array, Key, Memory, Params
from .network import Network, uniform_weights


class Layer(NamedTuple):
    """x ↦ x W + b: weight [I, O], bias [O]."""

    weight: Array
    bias: Array


def mlp(
    sizes: Sequence[int],
    activation: Callable[[Array], Array] = jax.nn.relu,
    last_scale: float = 1.0,
) -> Network:
    """Layers of `sizes` (inputs, hidden …, outputs) with `activation` between them; Glorot-uniform weights, zero
    biases; `last_scale` shrinks the initial weights of the last layer."""

    def init(key: Key) -> Params:
        keys = jax.random.split(key, len(sizes) - 1)
        scales = [1.0] * (len(sizes) - 2) + [last_scale]
        return tuple(
            Layer(uniform_weights(k, i, o, s), jnp.zeros((o,), jnp.float32))
            for k, i, o, s in zip(keys, sizes[:-1], sizes[1:], scales, strict=True)
        )

    def start(params: Params) -> Memory:
        return ()

    def apply(params: Params, memory: Memory, x: Array) -> tuple[Array, Memory]:
        for layer in params[:-1]:
            x = activation(x @ layer.weight + layer.bias)
        return x @ params[-1].weight + params[-1].bias, memory

    return Network(init, start, apply, apply)
