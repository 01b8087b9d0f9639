"""Gradient steps inside a lifetime, with their exact derivative.

For θ' = θ − α∘∇L(θ), the vector–Jacobian product with v is v − H(α∘v): one Hessian-vector product, which is cheapest
forward over reverse (a directional derivative of the gradient). JAX's own reverse over reverse gives the same numbers
with about twice the work, so the derivative is written out here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..types import Array, Params

Loss = Callable[[Params, Any], Array]  # (params, data) -> scalar; data is never differentiated


def gradient_step(loss: Loss, params: Params, step_sizes: Params, data: Any) -> Params:
    """θ − α∘∇L(θ; data), differentiable once in θ and α (same tree as θ; entries of α may be 0 or negative)."""
    return _step(loss, params, step_sizes, data)


def first_order_step(loss: Loss, params: Params, step_sizes: Params, data: Any) -> Params:
    """The same step whose gradient ∇L is taken as a constant (FOMAML; Finn et al. 2017, §5.2)."""
    slope = jax.lax.stop_gradient(jax.grad(loss)(params, data))
    return _descend(params, step_sizes, slope)


class Jacobian(NamedTuple):
    """J = I − diag(α) H of a gradient step, whose products cost one Hessian-vector product each."""

    step_sizes: Params
    hessian_times: Callable[[Params], Params]

    def push(self, tangent: Params) -> Params:
        """J v."""
        return _descend(tangent, self.step_sizes, self.hessian_times(tangent))

    def pull(self, cotangent: Params) -> Params:
        """Jᵀ u."""
        curved = self.hessian_times(jax.tree.map(jnp.multiply, self.step_sizes, cotangent))
        return jax.tree.map(jnp.subtract, cotangent, curved)


def linearized_step(loss: Loss, params: Params, step_sizes: Params, data: Any) -> tuple[Params, Jacobian]:
    """The same step as `gradient_step`, and its Jacobian at `params`."""
    slope, hessian_times = jax.linearize(lambda p: jax.grad(loss)(p, data), params)
    return _descend(params, step_sizes, slope), Jacobian(step_sizes, hessian_times)


def _descend(params: Params, step_sizes: Params, slope: Params) -> Params:
    return jax.tree.map(lambda p, a, g: p - a * g, params, step_sizes, slope)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _step(loss: Loss, params: Params, step_sizes: Params, data: Any) -> Params:
    return _descend(params, step_sizes, jax.grad(loss)(params, data))


def _step_forward(loss: Loss, params: Params, step_sizes: Params, data: Any) -> tuple[Params, Any]:
    # Linearising here keeps the gradient's intermediate values, which the Hessian-vector product would compute again.
    slope, hessian_times = jax.linearize(lambda p: jax.grad(loss)(p, data), params)
    return _descend(params, step_sizes, slope), (step_sizes, slope, hessian_times)


def _step_backward(loss: Loss, saved: Any, cotangent: Params) -> tuple[Params, Params, None]:
    step_sizes, slope, hessian_times = saved
    curved = hessian_times(jax.tree.map(jnp.multiply, step_sizes, cotangent))
    toward_params = jax.tree.map(jnp.subtract, cotangent, curved)
    toward_steps = jax.tree.map(lambda g, v: -g * v, slope, cotangent)
    return toward_params, toward_steps, None


_step.defvjp(_step_forward, _step_backward)
