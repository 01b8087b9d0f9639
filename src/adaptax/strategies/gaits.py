"""The reference strategy of robots that run along a line: a rhythm for either way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep


class Rhythm(NamedTuple):
    """How the J joints of a robot swing: action j after t seconds is offsets[j] + amplitudes[j] sin(2π frequency t +
    phases[j]), clipped to ±1."""

    frequency: float  # Hz
    amplitudes: tuple[float, ...]
    phases: tuple[float, ...]
    offsets: tuple[float, ...]


@dataclass(frozen=True)
class Gait:
    """Runs forwards or backwards, as the direction says that it knows (`params` is the task), by a rhythm for each that
    does not look at the robot.

    A step takes `seconds`. Forwards is where `direction[0]` is not negative.
    """

    spec: Spec
    forwards: Rhythm
    backwards: Rhythm
    seconds: float
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Array:
        return params.direction[0] < 0.0

    def start(self, params: Params) -> Array:
        return jnp.zeros((), jnp.int32)

    def act(
        self, params: Params, adapted: Array, memory: Array, timestep: Timestep, key: Key
    ) -> tuple[Decision, Array]:
        step = jnp.where(timestep.first, 0, memory)
        actions = [self._swing(rhythm, step) for rhythm in (self.forwards, self.backwards)]
        return Decision(jnp.where(adapted, actions[1], actions[0])), (step + 1).astype(jnp.int32)

    def adapt(self, params: Params, adapted: Array, rollout: Rollout, key: Key) -> Array:
        return adapted

    def _swing(self, rhythm: Rhythm, step: Array) -> Array:
        amplitudes, phases, offsets = (jnp.asarray(part, jnp.float32) for part in rhythm[1:])
        angle = 2.0 * jnp.pi * rhythm.frequency * self.seconds * step
        return jnp.clip(offsets + amplitudes * jnp.sin(angle + phases), -1.0, 1.0)
