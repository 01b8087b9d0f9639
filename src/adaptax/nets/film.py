"""Feature-wise linear modulation of a policy's hidden layers (FiLM; Perez et al. 2018).

h_l = act(γ_l ⊙ (W_l x + b_l) + β_l). As γ_l and β_l do not depend on x, a modulated policy is a policy with the weights
γ_l ⊙ W_l and biases γ_l ⊙ b_l + β_l: `modulate` folds them in, and whoever acts or learns with the result needs to know
nothing of the modulation.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import jax.numpy as jnp

from ..types import Array
from .policy import PolicyParams


class Film(NamedTuple):
    """The modulation of one hidden layer of H units: scale γ [H] and shift β [H]."""

    scale: Array
    shift: Array


Modulation = tuple[Film, ...]  # one for each hidden layer


def neutral(params: PolicyParams) -> Modulation:
    """γ = 1 and β = 0: the policy as it is."""
    return tuple(Film(jnp.ones_like(layer.bias), jnp.zeros_like(layer.bias)) for layer in params.network[:-1])


def modulation_of(outputs: Array, hidden: Sequence[int]) -> Modulation:
    """A network's outputs [2 Σ H] as the modulation of layers of `hidden` units; zeros are neutral."""
    scales, shifts = jnp.split(outputs, 2)
    borders = list(accumulate(hidden))[:-1]
    layers = zip(jnp.split(scales, borders), jnp.split(shifts, borders), strict=True)
    return tuple(Film(1 + scale, shift) for scale, shift in layers)


def modulate(params: PolicyParams, modulation: Modulation) -> PolicyParams:
    """The policy whose hidden layers are modulated; the last layer and the standard deviation stay as they are."""
    *body, head = params.network
    folded = (
        layer._replace(weight=layer.weight * film.scale, bias=layer.bias * film.scale + film.shift)
        for layer, film in zip(body, modulation, strict=True)
    )
    return params._replace(network=(*folded, head))
