"""Steps without their order: what an off-policy learner keeps of a rollout."""

from typing import NamedTuple

import gymnasium
import jax.numpy as jnp

from ..types import Array, Rollout
from .observations import Kept, keep


class Transition(NamedTuple):
    """(s, a, r, d, s') with leading axes [...]; s and s' as they are kept (`ops.observations`)."""

    observation: Kept
    action: Array
    reward: Array
    terminated: Array  # float32: 1 where no value follows; a time limit leaves it 0
    next_observation: Kept
    next_allowed: Array | None = None  # bool [..., A]: which discrete actions s' allows; None: every one


def transitions(space: gymnasium.Space, rollout: Rollout, action: Array, reward: Array) -> Transition:
    """The steps of `rollout` (any leading axes), with `action` in the learner's own units and the `reward` that it may
    learn from; `space` is that of observations. s' is the true successor, not what follows a reset."""
    observation, reached = (keep(space, x) for x in (rollout.timestep.observation, rollout.next_observation))
    return Transition(observation, action, reward, rollout.terminated.astype(jnp.float32), reached)
