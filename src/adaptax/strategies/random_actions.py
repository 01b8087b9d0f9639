"""The strategy that every benchmark is compared with: actions at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import jax
import jax.numpy as jnp

from adaptax.types import Array, Decision, Key, Params, Rollout, Spec, Timestep


@dataclass(frozen=True)
class RandomActions:
    """A uniformly random action at every step."""

    spec: Spec
    informed: ClassVar[bool] = False

    def begin(self, params: Params, key: Key, index: Array) -> tuple[()]:
        return ()

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: tuple[()], memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        return Decision(jax.random.randint(key, (), 0, gymnasium.spaces.flatdim(self.spec.action_space), jnp.int32)), ()

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted


@dataclass(frozen=True)
class UniformActions:
    """An action drawn uniformly from a bounded box at every step."""

    spec: Spec
    informed: ClassVar[bool] = False

    def begin(self, params: Params, key: Key, index: Array) -> tuple[()]:
        return ()

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: tuple[()], memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        box = self.spec.action_space
        assert isinstance(box, gymnasium.spaces.Box)
        return Decision(jax.random.uniform(key, box.shape, jnp.float32, box.low, box.high)), ()

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted
