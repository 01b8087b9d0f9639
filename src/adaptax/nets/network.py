"""What a network is."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from ..types import Array, Key, Memory, Params


class Network(NamedTuple):
    """A network as functions. Inputs may carry any axes before the last; `unroll` takes time as the first one.

    init(key) -> params · start(params) -> memory of one stream · apply(params, memory, x [..., I]) -> (y [..., O],
    memory) · unroll(params, memory, xs [T, ..., I]) -> (ys [T, ..., O], memory): the scan of `apply`, done faster.
    """

    init: Callable[[Key], Params]
    start: Callable[[Params], Memory]
    apply: Callable[[Params, Memory, Array], tuple[Array, Memory]]
    unroll: Callable[[Params, Memory, Array], tuple[Array, Memory]]


def uniform_weights(key: Key, inputs: int, outputs: int, scale: float = 1.0) -> Array:
    """Glorot-uniform weights [inputs, outputs], scaled."""
    limit = scale * (6.0 / (inputs + outputs)) ** 0.5
    return jax.random.uniform(key, (inputs, outputs), minval=-limit, maxval=limit)


def orthogonal_weights(key: Key, inputs: int, outputs: int, scale: float = 1.0) -> Array:
    """Orthogonal weights [inputs, outputs], scaled."""
    return jax.nn.initializers.orthogonal(scale)(key, (inputs, outputs))
