"""The networks of soft actor-critic with a value function (Haarnoja et al. 2018, first version), on a latent input.

Hidden ReLU units throughout. Biases of hidden layers begin at 0.1, the last layer's weights and biases in ±0.003: all
networks begin near zero (Rakelly et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..ops import distributions
from ..ops.observations import Kept, gather
from ..ops.squashed import SquashedGaussian
from ..types import Array, Key, Params, Spec
from .mlp import Layer, mlp
from .network import Network
from .perception import Perception, perceiving

LOG_STD_RANGE = (-20.0, 2.0)


class SoftActorCriticParams(NamedTuple):
    policy: Params
    critics: tuple[Params, Params]  # two, of which the lower one is believed
    value: Params


class SoftActorCritic(NamedTuple):
    """π(a | s, z), Q_1 and Q_2(s, a, z), V(s, z) for environments like `spec`; a [..., D] in (−1, 1), z
    [..., `latent`] or None, and s as it is kept (`ops.observations`): each network has a perception of its own.

    Q and V are the networks' outputs times `scale`: in units in which they are of the order of one, output weights need
    not all drift one way to reach them, which makes hidden units alike.
    """

    spec: Spec
    latent: int
    hidden: Sequence[int]
    scale: float = 1.0

    @property
    def perception(self) -> Perception:
        return Perception(self.spec.observation_space)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many features observations have, and D."""
        return self.perception.size, distributions.flat_size(self.spec.action_space)

    @property
    def _networks(self) -> tuple[Network, Network, Network]:
        """Policy, critic and value."""
        observation, action = self.sizes
        state = observation + self.latent
        return (
            perceiving(self.perception, near_zero((state, *self.hidden, 2 * action))),
            perceiving(self.perception, near_zero((state + action, *self.hidden, 1))),
            perceiving(self.perception, near_zero((state, *self.hidden, 1))),
        )

    def init(self, key: Key) -> SoftActorCriticParams:
        policy_key, first_key, second_key, value_key = jax.random.split(key, 4)
        policy, critic, value = self._networks
        critics = critic.init(first_key), critic.init(second_key)
        return SoftActorCriticParams(policy.init(policy_key), critics, value.init(value_key))

    def policy(self, params: Params, observation: Kept, latent: Array | None = None) -> SquashedGaussian:
        outputs, _ = self._networks[0].apply(params, (), _together(observation, latent))
        mean, log_std = jnp.split(outputs, 2, axis=-1)
        return SquashedGaussian(mean, jnp.clip(log_std, *LOG_STD_RANGE))

    def critics(
        self, params: tuple[Params, Params], observation: Kept, action: Array, latent: Array | None = None
    ) -> tuple[Array, Array]:
        """Q_1 and Q_2, each [...]."""
        inputs = _together(observation, action, latent)
        first, second = (self.scale * self._networks[1].apply(p, (), inputs)[0][..., 0] for p in params)
        return first, second

    def value(self, params: Params, observation: Kept, latent: Array | None = None) -> Array:
        inputs = _together(observation, latent)
        return self.scale * self._networks[2].apply(params, (), inputs)[0][..., 0]


def _together(*parts: Kept) -> Any:
    return gather(*(part for part in parts if part is not None))


def near_zero(sizes: Sequence[int]) -> Network:
    """ReLU layers of `sizes` that begin near zero: hidden weights in ±1/√inputs and biases of 0.1; the last layer's in
    ±0.003."""
    plain = mlp(sizes)

    def init(key: Key) -> Params:
        *keys, last_key, bias_key = jax.random.split(key, len(sizes))
        body = tuple(
            Layer(_uniform(k, (i, o), i**-0.5), jnp.full((o,), 0.1, jnp.float32))
            for k, i, o in zip(keys, sizes[:-2], sizes[1:-1], strict=True)
        )
        return (*body, Layer(_uniform(last_key, (sizes[-2], sizes[-1]), 3e-3), _uniform(bias_key, sizes[-1:], 3e-3)))

    return plain._replace(init=init)


def _uniform(key: Key, shape: Sequence[int], limit: float) -> Array:
    return jax.random.uniform(key, tuple(shape), jnp.float32, minval=-limit, maxval=limit)
