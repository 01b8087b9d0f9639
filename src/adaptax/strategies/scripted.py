"""The reference strategy that asks a script on the host: a program that knows the task and is not one of JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np

from adaptax.types import Birth, Decision, Key, Params, Rollout, Spec, Task, Timestep


@dataclass(frozen=True)
class Scripted:
    """Does what a script says that is told the task.

    `choose(tasks, observations)` is called on the host with NumPy arrays of any leading axes [...], the same for all,
    and returns actions float32 [..., A]. It must depend on nothing else.
    """

    spec: Spec
    choose: Callable[[Any, np.ndarray], np.ndarray]
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Task:
        return params

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: Task, memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        shape = jax.ShapeDtypeStruct(self.spec.action_space.shape or (), np.float32)
        seen = adapted, timestep.observation
        return Decision(jax.pure_callback(self._choose, shape, *seen, vmap_method="broadcast_all")), ()

    def adapt(self, params: Params, adapted: Task, rollout: Rollout, key: Key) -> Task:
        return adapted

    def _choose(self, tasks: Any, observations: Any) -> np.ndarray:
        return np.asarray(self.choose(jax.tree.map(np.asarray, tasks), np.asarray(observations)), np.float32)
