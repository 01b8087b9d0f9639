"""The robots on the host, as `Streams`: what JAX carries is the whole state, so a callback has no memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.filmed import Filmed
from adaptax.envs.host.callback import Host
from adaptax.types import Array, Key, Outcome, Spec, Task, UserError

from .camera import Camera
from .robots import Motion
from .rules import Rules, motion_sizes
from .simulator import Simulator
from .tasks import multipliers


@dataclass(frozen=True, eq=False)
class HostLocomotion:
    """`rules` on MuJoCo's batched rollout. A state is uint32 [N, B, 2 S] (see `simulator`)."""

    name: str
    rules: Rules
    horizon: int
    episodes: int = 1

    @cached_property
    def simulator(self) -> Simulator:
        return Simulator(self.rules.robot)

    @cached_property
    def host(self) -> Host:
        return Host(self.name)

    @property
    def spec(self) -> Spec:
        return self.rules.spec(self.simulator.model, self.horizon, self.episodes)

    def failed(self, after: Array) -> Array:
        return self.host.failed(after)

    def failure(self) -> UserError | None:
        return self.host.failure()

    def first_streams(self, tasks: Task, keys: Key) -> tuple[Array, Array]:
        simulator = self.simulator
        draw = jax.vmap(jax.vmap(lambda key: self.rules.noise(key, simulator.model.nq, simulator.model.nv)))
        states, motion = self._call(simulator.begin, *draw(keys))
        return states, jax.vmap(jax.vmap(self.rules.observe))(motion)

    def reset_streams(
        self, tasks: Task, states: Array, observations: Array, ended: Array, keys: Key
    ) -> tuple[Array, Array]:
        def begin() -> tuple[Array, Array]:
            fresh = self.first_streams(tasks, keys)
            return jax.tree.map(lambda new, old: jnp.where(ended[..., None], new, old), fresh, (states, observations))

        # Nothing is drawn, and the host is not called, while no episode ends.
        return jax.lax.cond(jnp.any(ended), begin, lambda: (states, observations))

    def step_streams(self, tasks: Task, states: Array, actions: Array, keys: Key) -> tuple[Array, Outcome]:
        control = self.rules.control(actions)
        states, motion = self._call(self.simulator.advance, states, control, *multipliers(tasks))
        over_streams = jax.vmap(self.rules.outcome, in_axes=(None, 0, 0))
        return states, jax.vmap(over_streams)(tasks, motion, control)

    def filmed(self, task: Task) -> Filmed:
        camera, size = Camera(self.rules.robot, task), self.simulator.model.nq

        def frame(state: np.ndarray) -> np.ndarray:
            return camera.frame(*np.split(np.ascontiguousarray(state).view(np.float64)[1:], [size]))

        return Filmed(self, frame, camera.note)

    def _call(self, function: Callable[..., Any], first: Array, *others: Array) -> tuple[Array, Motion]:
        batch, simulator = first.shape[:2], self.simulator
        sizes = motion_sizes(self.rules.robot, simulator.model)
        words = jax.ShapeDtypeStruct((*batch, 2 * simulator.size), jnp.uint32)
        joined = jax.ShapeDtypeStruct((*batch, sum(sizes)), jnp.float32)
        states, motion = self.host.call(function, (words, joined), first, *others, ordered=False)
        return states, Motion(*jnp.split(motion, np.cumsum(sizes)[:-1], axis=-1))
