"""The strategy that every benchmark is compared with: actions at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.ops.distributions import uniform_action
from adaptax.types import Birth, Decision, Key, Params, Rollout, Spec, Timestep


@dataclass(frozen=True)
class RandomActions:
    """A uniformly random action at every step, of those allowed of a finite set, or of a box; a standard normal number,
    clipped, where the box has no bound."""

    spec: Spec
    informed: ClassVar[bool] = False

    def begin(self, params: Params, key: Key, birth: Birth) -> tuple[()]:
        return ()

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: tuple[()], memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        space = self.spec.action_space
        if isinstance(space, gymnasium.spaces.Box):
            if space.is_bounded():
                return Decision(jax.random.uniform(key, space.shape, jnp.float32, space.low, space.high)), ()
            bounded = space.bounded_below & space.bounded_above
            key_bounded, key_open = jax.random.split(key)
            low, high = np.where(bounded, space.low, 0.0), np.where(bounded, space.high, 1.0)
            even = jax.random.uniform(key_bounded, space.shape, jnp.float32, low, high)
            wide = jnp.clip(jax.random.normal(key_open, space.shape, jnp.float32), space.low, space.high)
            return Decision(jnp.where(bounded, even, wide)), ()
        return Decision(uniform_action(gymnasium.spaces.flatdim(space), key, timestep.allowed)), ()

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted
