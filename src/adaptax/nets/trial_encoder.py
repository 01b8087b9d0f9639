"""A recurrence over whole trials, as a recurrent policy carries it and as off-policy learning goes over it again."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..ops import distributions, observations
from ..ops.observations import Kept
from ..types import Array, Key, Memory, Observation, Params, Rollout, Spec, Timestep, UserError
from . import recurrent_network
from .network import Network
from .perception import Perceiving, TrialPerception, perceiving


class TrialMemory(NamedTuple):
    recurrence: Memory
    observation: Any  # the last observation, flat [O]; () without `pairs`


class PastTrial(NamedTuple):
    """All that a stream of T steps perceived and did, from its start: leaves [T, ...]."""

    observation: Observation
    action: Array
    reward: Array
    first: Array  # bool
    allowed: Array | None = None  # bool [T, A]; None: every action


class TrialEncoder(NamedTuple):
    """h_t, what the recurrence called `network` makes of a trial of `steps` steps up to t, its t-th observation
    included: [..., `hidden`]. `pairs` is that of `TrialPerception`. Where observations have images or tokens, the
    parameters are those of the recurrence and of the perception through which it reads."""

    spec: Spec
    network: str
    hidden: int
    steps: int
    pairs: bool = False

    @property
    def perception(self) -> TrialPerception:
        return TrialPerception(self.spec, self.pairs)

    @property
    def _recurrence(self) -> Network:
        perception = self.perception
        recurrence = recurrent_network(self.network)(perception.size, self.hidden, self.steps)
        return perceiving(perception.observations, recurrence)

    def check(self) -> None:
        """Raise a `UserError` unless the network and the space of observations are served."""
        recurrent_network(self.network)
        learned = self.perception.observations.learned
        if self.pairs and learned:
            raise UserError("pairs multiplies observations with actions; these have images or tokens, so leave it off")

    def keep(self, observation: Observation) -> Kept:
        """What the policy's head is given of observations [...], besides h."""
        return self.perception.observations.keep(observation)

    def features(self, params: Params, kept: Kept) -> Array:
        """Features [..., O] of it, as the recurrence reads them."""
        own = params.perception if isinstance(params, Perceiving) else ()
        return self.perception.observations.features(own, kept)

    def init(self, key: Key) -> Params:
        return self._recurrence.init(key)

    def start(self, params: Params) -> TrialMemory:
        last = self.perception.observations.nothing() if self.pairs else ()
        return TrialMemory(self._recurrence.start(params), last)

    def step(self, params: Params, memory: TrialMemory, timestep: Timestep) -> tuple[Array, TrialMemory]:
        """h_t [hidden] of one stream, and what it remembers."""
        inputs = self.perception.read(timestep, memory.observation)
        hidden, recurrence = self._recurrence.apply(params, memory.recurrence, inputs)
        return hidden, TrialMemory(recurrence, self.keep(timestep.observation) if self.pairs else ())

    def inputs(self, timesteps: Timestep, memory: TrialMemory) -> Any:
        """What the recurrence reads, gathered, at `timesteps` [T, S, ...] of streams that remembered `memory` [S, ...]
        before."""
        before: Any = ()
        if self.pairs:
            observation = self.keep(timesteps.observation)
            before = jnp.concatenate([memory.observation[None], observation[:-1]])
        return self.perception.read(timesteps, before)

    def unroll(self, params: Params, memory: TrialMemory, inputs: Any) -> Array:
        """h [T, S, hidden] from `inputs`."""
        return self._recurrence.unroll(params, memory.recurrence, inputs)[0]

    # --- past trials, which are unrolled again from their start ---

    def empty(self) -> PastTrial:
        """A trial of zeros: the form of an item of a ring."""
        observation = observations.zeros(self.spec.observation_space, (self.steps,))
        action = distributions.zero_action(self.spec.action_space)
        nothing = jnp.zeros((self.steps,), jnp.float32)
        allowed = distributions.kept_masks(self.spec, None, (self.steps,))
        done = jnp.zeros((self.steps, *action.shape), action.dtype)
        return PastTrial(observation, done, nothing, nothing > 0, allowed)

    def past(self, rollouts: Rollout) -> PastTrial:
        """The trials that `rollouts` [N, B, T, ...] hold, side by side: [N·B, T, ...]."""
        told = rollouts.timestep
        allowed = distributions.kept_masks(self.spec, told.allowed, rollouts.reward.shape)
        kept = PastTrial(told.observation, rollouts.decision.action, rollouts.reward, told.first, allowed)
        return jax.tree.map(lambda x, like: x.reshape(-1, *x.shape[2:]).astype(like.dtype), kept, self.empty())

    def timesteps(self, past: PastTrial) -> Timestep:
        """What was perceived in `past` [T, S, ...], time first: the last action and reward are those of the step
        before, zero at first."""

        def before(x: Array) -> Array:
            return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])

        return Timestep(past.observation, before(past.action), before(past.reward), past.first, past.allowed)

    def encode(self, params: Params, past: PastTrial) -> Array:
        """h [T, S, hidden] of the trials `past` [T, S, ...], time first, each from its start."""
        streams = past.reward.shape[1]
        memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (streams, *x.shape)), self.start(params))
        return self.unroll(params, memory, self.inputs(self.timesteps(past), memory))


def time_first(trials: Any) -> Any:
    """[S, T, ...] to [T, S, ...] in all leaves."""
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), trials)
