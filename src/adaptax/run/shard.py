"""Spread the tasks over devices: the leading axis of everything per task lies on one mesh, the state on all devices.

`jit` with `NamedSharding`, not `shard_map`, whose default check of varying axes sums inner gradients over devices and
silently breaks MAML (a contract test compares one device with two).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec

from ..ops.tasks import TASK_AXIS
from ..types import UserError


def mesh_of(devices: int, tasks: int) -> AbstractContextManager[Any]:
    """A context in which `tasks` tasks are spread over the first `devices` devices (1: no mesh at all)."""
    if devices == 1:
        return nullcontext()
    available = jax.devices()
    if devices > len(available):
        raise UserError(
            f"devices is {devices}, but JAX sees {len(available)} here; on a CPU, set jax_num_cpu_devices before JAX "
            "starts (the command line does)"
        )
    if tasks % devices:
        raise UserError(f"tasks is {tasks}, which {devices} devices cannot share equally; use a multiple")
    mesh = jax.make_mesh((devices,), (TASK_AXIS,), axis_types=(AxisType.Auto,), devices=available[:devices])
    return jax.set_mesh(mesh)


def spread(tree: Any) -> Any:
    """Lay the leading axis (tasks) of every leaf over the ambient mesh; without one, nothing happens."""
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, PartitionSpec(TASK_AXIS)), tree)
