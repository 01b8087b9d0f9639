"""A belief about a task from single transitions, in whatever order (Rakelly et al. 2019, PEARL).

Each transition c_n = (s, a, r[, s']) gives a Gaussian factor N(f_μ(c_n), softplus f_σ²(c_n)); the belief is their
product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..ops.gaussian_product import GaussianProduct, product
from ..types import Array, Key, Params
from .network import Network
from .perception import Perception, perceiving
from .soft_actor_critic import near_zero


class TaskEncoder(NamedTuple):
    """f: transitions, gathered, of `inputs` entries once observations are features, to factors over a latent of
    `latent` entries, through `hidden` ReLU units."""

    perception: Perception
    inputs: int
    latent: int
    hidden: Sequence[int]

    @property
    def _network(self) -> Network:
        return perceiving(self.perception, near_zero((self.inputs, *self.hidden, 2 * self.latent)))

    def init(self, key: Key) -> Params:
        return self._network.init(key)

    def factors(self, params: Params, transitions: Any) -> tuple[Array, Array]:
        """Means and variances [..., Z] of the factors of transitions [..., I]."""
        mean, raw = jnp.split(self._network.apply(params, (), transitions)[0], 2, axis=-1)
        return mean, jax.nn.softplus(raw)

    def product(self, params: Params, transitions: Any) -> GaussianProduct:
        """The product [..., Z] of the factors of transitions [..., C, I]."""
        return product(*self.factors(params, transitions))
