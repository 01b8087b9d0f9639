"""Trust-region steps: minimise a loss as far as a divergence allows (TRPO; Schulman et al. 2015, appendix C).

All functions work on trees of parameters of any shape.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..types import Array, Params


class Search(NamedTuple):
    """What a line search found: the parameters (those it began with, if no candidate was accepted), the loss and
    divergence there, how many candidates it tried, and whether one was accepted."""

    params: Params
    loss: Array
    divergence: Array
    tried: Array
    accepted: Array


def conjugate_gradient(product: Callable[[Params], Params], target: Params, iterations: int) -> tuple[Params, Params]:
    """x with A x ≈ `target` after at most `iterations` products with the positive definite A, and the residual
    `target` − A x (Hestenes & Stiefel 1952). Once that is zero to rounding, nothing changes any more."""

    def improve(carry: tuple[Params, Params, Params, Array], _: None) -> tuple[Any, None]:
        solution, residual, direction, squared = carry
        curved = product(direction)
        curvature = dot(direction, curved)
        going = jnp.logical_and(squared > 1e-10 * start, curvature > 0)
        length = jnp.where(going, squared / jnp.where(going, curvature, 1.0), 0.0)
        solution = add_scaled(solution, length, direction)
        residual = add_scaled(residual, -length, curved)
        following = dot(residual, residual)
        ratio = jnp.where(going, following / jnp.where(going, squared, 1.0), 0.0)
        return (solution, residual, add_scaled(residual, ratio, direction), following), None

    start = dot(target, target)
    carry = (jax.tree.map(jnp.zeros_like, target), target, target, start)
    (solution, residual, *_), _ = jax.lax.scan(improve, carry, length=iterations)
    return solution, residual


def natural_step(product: Callable[[Params], Params], slope: Params, limit: float, iterations: int) -> Params:
    """The step −√(2δ / xᵀAx) x with A x ≈ `slope`: the longest one along the natural gradient within the divergence
    δ = `limit` to second order, A being the divergence's Hessian."""
    direction, residual = conjugate_gradient(product, slope, iterations)
    curvature = dot(direction, jax.tree.map(jnp.subtract, slope, residual))  # xᵀAx without another product
    length = jnp.sqrt(2.0 * limit / (jnp.maximum(curvature, 0.0) + 1e-8))
    return jax.tree.map(lambda d: -length * d, direction)


def line_search(
    evaluate: Callable[[Params], tuple[Array, Array]],
    params: Params,
    step: Params,
    loss: Array,
    limit: float,
    shrink: float = 0.8,
    tries: int = 15,
) -> Search:
    """The first of params + shrinkᵏ step, k = 0, 1, …, whose (loss, divergence) is below `loss` and within `limit`.

    A candidate whose loss or divergence is not a number is not accepted.
    """

    def unfinished(search: Search) -> Array:
        return jnp.logical_and(search.tried < tries, jnp.logical_not(search.accepted))

    def attempt(search: Search) -> Search:
        candidate = add_scaled(params, shrink ** search.tried.astype(jnp.float32), step)
        reached, divergence = evaluate(candidate)
        accepted = jnp.logical_and(reached < loss, divergence <= limit)
        kept = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), candidate, params)
        return Search(
            kept,
            jnp.where(accepted, reached, loss),
            jnp.where(accepted, divergence, 0.0),
            search.tried + 1,
            accepted,
        )

    nothing = Search(params, loss, jnp.zeros_like(loss), jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    return jax.lax.while_loop(unfinished, attempt, nothing)


def dot(left: Params, right: Params) -> Array:
    """The inner product of two trees."""
    return jax.tree.reduce(jnp.add, jax.tree.map(jnp.vdot, left, right))


def add_scaled(start: Params, scale: Array, direction: Params) -> Params:
    """start + scale · direction."""
    return jax.tree.map(lambda s, d: s + scale * d, start, direction)
