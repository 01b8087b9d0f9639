"""The mean over tasks, one by one and spread over two devices, against one wide vmap."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops.tasks import map_tasks, mean_gradient, mean_over_tasks
from adaptax.run.shard import mesh_of, spread

TASKS = 6


def loss(params: Any, inputs: jax.Array, targets: Any) -> tuple[jax.Array, Any]:
    predicted = jnp.tanh(inputs @ params["weight"]) @ params["last"]
    error = jnp.mean((predicted - targets["y"]) ** 2)
    return error, {"error": error, "index": targets["index"]}


def make(tasks: int = TASKS) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    params = {"weight": jnp.asarray(generator.normal(size=(3, 4))), "last": jnp.asarray(generator.normal(size=4))}
    nothing = jnp.zeros((tasks, 0))  # such as the context of a policy that has none
    targets = {"y": jnp.asarray(generator.normal(size=(tasks, 5))), "index": jnp.arange(tasks), "nothing": nothing}
    return params, (jnp.asarray(generator.normal(size=(tasks, 5, 3))), targets)


def mesh(devices: int) -> AbstractContextManager[Any]:
    assert len(jax.devices()) >= devices, "conftest sets two CPU devices before JAX starts"
    return mesh_of(devices, TASKS)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("tasks", [TASKS, 5])  # five tasks do not divide over two devices, and still come out right
def test_mean_gradient(devices: int, tasks: int) -> None:
    params, batches = make(tasks)

    def mean(params: Any) -> jax.Array:
        return jnp.mean(jax.vmap(lambda *task: loss(params, *task)[0])(*batches))

    errors = jax.vmap(lambda *task: loss(params, *task)[0])(*batches)
    with mesh(devices):
        on = (lambda b: spread(b)) if tasks == TASKS else (lambda b: b)
        slope, auxiliary = jax.jit(lambda p, b: mean_gradient(loss, p, *on(b)))(params, batches)
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-5, atol=1e-7), slope, jax.grad(mean)(params))
    np.testing.assert_allclose(auxiliary["error"], errors, rtol=1e-5)
    np.testing.assert_array_equal(auxiliary["index"], np.arange(tasks))  # tasks keep their order


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("tasks", [TASKS, 5])
def test_mean_over_tasks(devices: int, tasks: int) -> None:
    _, (inputs, targets) = make(tasks)

    def function(inputs: jax.Array, targets: Any) -> Any:
        return {"inputs": inputs**2, "sum": jnp.sum(targets["y"])}

    with mesh(devices):
        on = (lambda b: spread(b)) if tasks == TASKS else (lambda b: b)
        found = jax.jit(lambda b: mean_over_tasks(function, *on(b)))((inputs, targets))
    np.testing.assert_allclose(found["inputs"], np.square(inputs).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["sum"], np.asarray(targets["y"]).sum(axis=1).mean(), rtol=1e-5)


@pytest.mark.parametrize("devices", [1, 2])
def test_map_tasks(devices: int) -> None:
    params, batches = make()

    def function(inputs: jax.Array, targets: Any) -> Any:
        return inputs @ params["weight"], {"index": targets["index"]}

    with mesh(devices):
        found, rest = jax.jit(lambda b: map_tasks(function, *spread(b)))(batches)
    np.testing.assert_allclose(found, np.einsum("nbi,io->nbo", batches[0], params["weight"]), rtol=1e-5)
    np.testing.assert_array_equal(rest["index"], np.arange(TASKS))


def test_each_device_takes_its_own_tasks() -> None:
    """On a mesh the result stays spread: no device is sent another's tasks."""
    _, (inputs, _) = make()
    with mesh(2):
        found = jax.jit(lambda x: map_tasks(jnp.tanh, spread(x)))(inputs)
    pieces = {shard.device.id: shard.index[0] for shard in found.addressable_shards}
    assert {(s.start, s.stop) for s in pieces.values()} == {(0, 3), (3, 6)}
