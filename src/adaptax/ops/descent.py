"""Steps down a slope: one step of an optimizer, and many of them with what there is to say of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..types import Metrics, Params

Gradient = Callable[[Params, Any], tuple[Params, Metrics]]  # (params, data) -> (slope, metrics)


def adam(
    rate: float, gradient_clip: float | None = None, updates: int | None = None, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Adam, whose step size goes from `rate` linearly to zero in so many `updates` (None: it stays), on slopes whose
    global norm is at most `gradient_clip` (None: any)."""
    method = optax.adam(optax.linear_schedule(rate, 0.0, updates) if updates else rate, eps=eps)
    return method if gradient_clip is None else optax.chain(optax.clip_by_global_norm(gradient_clip), method)


def step(optimizer: optax.GradientTransformation, params: Params, state: Any, slope: Params) -> tuple[Params, Any]:
    """One step of `optimizer`: the parameters after it, and its state."""
    move, state = optimizer.update(slope, state, params)
    return optax.apply_updates(params, move), state


def stepper(
    optimizer: optax.GradientTransformation, gradient: Gradient
) -> Callable[[tuple[Params, Any], Any], tuple[tuple[Params, Any], Metrics]]:
    """A step down `gradient`, to be folded: ((params, the optimizer's state), data) -> (both after it, metrics)."""

    def improve(carry: tuple[Params, Any], data: Any) -> tuple[tuple[Params, Any], Metrics]:
        slope, metrics = gradient(carry[0], data)
        return step(optimizer, *carry, slope), metrics

    return improve


def descend(
    optimizer: optax.GradientTransformation,
    gradient: Gradient,
    start: tuple[Params, Any],
    data: Any = None,
    steps: int | None = None,
) -> tuple[tuple[Params, Any], Metrics]:
    """As many steps as `data` has entries along its first axis, or `steps`, from (params, the optimizer's state): both
    after them, and the means of all metrics with the slope's norm, `gradient_norm`, among them."""

    def measured(params: Params, data: Any) -> tuple[Params, Metrics]:
        slope, metrics = gradient(params, data)
        return slope, jax.tree.map(jnp.mean, metrics) | {"gradient_norm": optax.tree.norm(slope)}

    reached, metrics = jax.lax.scan(stepper(optimizer, measured), start, data, steps)
    return reached, jax.tree.map(jnp.mean, metrics)
