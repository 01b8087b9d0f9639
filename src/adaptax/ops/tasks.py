"""The mean over tasks, one task at a time.

A task's activations stay in cache when its gradient is taken alone; one wide `vmap` over tasks streams them through
memory. When the tasks are spread over devices, each takes its own tasks one by one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import PartitionSpec

from ..ranges import check_range
from ..types import UNSEEN, Array

TASK_AXIS = "tasks"


def check_index(index: Array, training_tasks: int | None) -> None:
    """Raise a `UserError` unless `index`, where it is a number and not traced, is that of a training task, or -1."""
    if not isinstance(index, Tracer):
        check_range("index", int(index), int(UNSEEN), (training_tasks or 0) - 1)


def map_tasks(function: Callable[..., Any], *batches: Any) -> Any:
    """Stacked results of `function` on each task; every leaf of `batches` has the leading axis [N]."""
    width = _devices()
    count = jax.tree.leaves(batches)[0].shape[0]
    if width == 1 or count % width:
        return jax.lax.map(lambda args: function(*args), batches)

    def gather(x: Any) -> Any:
        return jnp.swapaxes(x, 0, 1).reshape(count, *x.shape[2:])

    results = jax.lax.map(lambda args: jax.vmap(function)(*args), _deal(batches, width))
    return jax.tree.map(gather, results)


def mean_over_tasks(function: Callable[..., Any], *batches: Any) -> Any:
    """The mean over tasks of `function(*task)`, a tree of arrays, added up task by task."""
    return _mean(lambda *task: (function(*task), ()), *batches)[0]


def mean_gradient(loss: Callable[..., Any], params: Any, *batches: Any) -> tuple[Any, Any]:
    """Gradient of the mean over tasks of `loss(params, *task) -> (scalar, auxiliary)`, and the auxiliaries [N]."""
    slope = jax.grad(loss, has_aux=True)
    return _mean(lambda *task: slope(params, *task), *batches)


def _mean(function: Callable[..., tuple[Any, Any]], *batches: Any) -> tuple[Any, Any]:
    """The mean over tasks of the first result of `function(*task)`, and the second ones stacked."""
    width = _devices()
    count = jax.tree.leaves(batches)[0].shape[0]
    if count % width:
        width = 1

    def add(total: Any, batch: Any) -> tuple[Any, Any]:
        result, auxiliary = jax.vmap(lambda args: function(*args))(batch)
        return jax.tree.map(jnp.add, total, result), auxiliary

    shapes = jax.eval_shape(lambda all_: function(*jax.tree.map(lambda x: x[0], all_))[0], batches)
    zeros = jax.tree.map(lambda s: jnp.zeros((width, *s.shape), s.dtype), shapes)
    total, auxiliaries = jax.lax.scan(add, zeros, _deal(batches, width))
    mean = jax.tree.map(lambda x: jnp.sum(x, axis=0) / count, total)
    return mean, jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(count, *x.shape[2:]), auxiliaries)


def _deal(batches: Any, width: int) -> Any:
    """[N, ...] -> [N / width, width, ...]: step k of a loop takes the k-th task of every device."""

    def one(x: Any) -> Any:
        dealt = jnp.swapaxes(x.reshape(width, x.shape[0] // width, *x.shape[1:]), 0, 1)
        # Tasks drawn inside an update lie on all devices, and each would go through all of them.
        return dealt if width == 1 else jax.lax.with_sharding_constraint(dealt, PartitionSpec(None, TASK_AXIS))

    return jax.tree.map(one, batches)


def _devices() -> int:
    """Over how many devices the ambient mesh spreads the tasks (1 without a mesh)."""
    mesh = jax.sharding.get_abstract_mesh()
    return int(mesh.shape.get(TASK_AXIS, 1)) if not mesh.empty else 1
