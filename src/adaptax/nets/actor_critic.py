"""A policy and a value network side by side, for agents that decide by what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..ops import distributions
from ..types import Array, Key, Params, Spec
from .mlp import mlp
from .network import Network
from .perception import Perception, perceiving


class ActorCriticParams(NamedTuple):
    policy: Params
    value: Params
    log_std: Array  # [D], whatever the input; empty for discrete actions


class ActorCritic(NamedTuple):
    """Two stacks of `hidden` tanh units to a policy and a value, from what was gathered: vectors of `inputs` entries
    once observations are features. Both have a perception of their own."""

    spec: Spec
    inputs: int
    hidden: Sequence[int]

    @property
    def _networks(self) -> tuple[Network, Network]:
        outputs = distributions.outputs_needed(self.spec.action_space)
        policy = mlp((self.inputs, *self.hidden, outputs), jnp.tanh, last_scale=0.01)
        perception = Perception(self.spec.observation_space)
        return perceiving(perception, policy), perceiving(perception, mlp((self.inputs, *self.hidden, 1), jnp.tanh))

    def init(self, key: Key) -> ActorCriticParams:
        policy_key, value_key = jax.random.split(key)
        policy, value = self._networks
        log_std = distributions.initial_log_std(self.spec.action_space)
        return ActorCriticParams(policy.init(policy_key), value.init(value_key), log_std)

    def decide(
        self, params: ActorCriticParams, inputs: Any, allowed: Array | None
    ) -> tuple[distributions.Distribution, Array]:
        """The policy, over the actions `allowed` [..., A] (None: all), and the value [...] at gathered inputs [...]."""
        policy, value = self._networks
        outputs, _ = policy.apply(params.policy, (), inputs)
        distribution = distributions.action_distribution(self.spec.action_space, outputs, params.log_std, allowed)
        return distribution, value.apply(params.value, (), inputs)[0][..., 0]
