"""Products of Gaussian factors: a belief that every observation multiplies (Rakelly et al. 2019, eq. of section 4.1).

    Π_n N(μ_n, σ_n²) ∝ N(μ, σ²),   1/σ² = Σ_n 1/σ_n²,   μ = σ² Σ_n μ_n/σ_n²

Two sums say all, whatever the number of factors. N(0, I) is no factor: it stands in only while there is none.
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..types import Array
from .distributions import DiagonalGaussian

SMALLEST_VARIANCE = 1e-7


class GaussianProduct(NamedTuple):
    """Σ 1/σ_n² and Σ μ_n/σ_n², each [..., Z]; zeros when there is no factor."""

    precision: Array
    weighted_mean: Array

    def times(self, other: "GaussianProduct") -> "GaussianProduct":
        return GaussianProduct(self.precision + other.precision, self.weighted_mean + other.weighted_mean)

    def distribution(self) -> DiagonalGaussian:
        """The normalised product [..., Z]; N(0, I) without factors."""
        some = self.precision > 0
        precision = jnp.where(some, self.precision, jnp.ones_like(self.precision))
        return DiagonalGaussian(self.weighted_mean / precision, -0.5 * jnp.log(precision))


def no_factors(size: int) -> GaussianProduct:
    """Of Z = `size` dimensions."""
    return GaussianProduct(jnp.zeros((size,), jnp.float32), jnp.zeros((size,), jnp.float32))


def product(mean: Array, variance: Array) -> GaussianProduct:
    """Of the factors along the axis before the last of `mean` and `variance` [..., C, Z]; variances below 1e-7 count
    as that."""
    precision = 1.0 / jnp.maximum(variance, SMALLEST_VARIANCE)
    return GaussianProduct(jnp.sum(precision, axis=-2), jnp.sum(precision * mean, axis=-2))
