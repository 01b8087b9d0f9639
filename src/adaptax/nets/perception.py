"""What a recurrent policy reads at each step of a trial: where it is, what it did last, and what that paid."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from ..ops import distributions
from ..types import Array, Spec, Timestep


class Perception(NamedTuple):
    """The input vector for environments like `spec`, with flat observations of O entries and actions of A.

    With `pairs` it also says which observation–action pair the last reward came from.
    """

    spec: Spec
    pairs: bool

    @property
    def observation_size(self) -> int:
        """O."""
        return distributions.flat_size(self.spec.observation_space)

    @property
    def size(self) -> int:
        """I."""
        observation, action = self.observation_size, distributions.flat_size(self.spec.action_space)
        return observation + 2 * action + 2 + (2 * observation * action if self.pairs else 0)

    def observation(self, timestep: Timestep) -> Array:
        """φ(s_t) [..., O]."""
        return distributions.flatten(self.spec.observation_space, timestep.observation)

    def read(self, timestep: Timestep, before: Any) -> Array:
        """(φ(s_t), a_{t−1}, r_{t−1} a_{t−1}, r_{t−1}, first_t) as one vector [..., I]; with `pairs` also
        φ(s_{t−1}) ⊗ a_{t−1} and its product with r_{t−1}. `before` is φ(s_{t−1}) [..., O], zero at first; () without
        `pairs`.

        A product tells no more than its factors, but a cell adds up its inputs, and which reward came from which
        action (in which state) is what it has to count.
        """
        action = distributions.flatten(self.spec.action_space, timestep.action)
        first = timestep.first.astype(jnp.float32)
        reward = timestep.reward[..., None]
        inputs = [self.observation(timestep), action, reward * action, reward, first[..., None]]
        if self.pairs:
            pair = (before[..., :, None] * action[..., None, :]).reshape(*action.shape[:-1], -1)
            inputs += [pair, reward * pair]
        return jnp.concatenate(inputs, axis=-1)
