"""A feed-forward stochastic policy: what gradient-based agents adapt."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from ..ops import baseline, distributions
from ..ops.distributions import Distribution
from ..ops.observations import Kept
from ..types import Array, Decision, Key, Observation, Params, Rollout, Spec, Timestep
from .mlp import mlp
from .network import Network
from .perception import Perception


class PolicyParams(NamedTuple):
    network: Params
    log_std: Array  # [D], whatever the observation; empty for discrete actions
    context: Array  # [C], read beside every observation; empty without one
    perception: Params = ()  # of images and tokens; () where there are none


class Extras(NamedTuple):
    """The distribution that an action was drawn from, and the action's log-probability in it."""

    log_probability: Array
    distribution: Distribution


class Batch(NamedTuple):
    """One round as losses see it: leaves [B, T, ...]."""

    observation: Kept
    action: Array
    extras: Any  # `Extras`, or an algorithm's own that hold these and more
    advantage: Array
    allowed: Array | None = None


class Seen(Protocol):
    """What a policy reads, at any number of steps."""

    @property
    def observation(self) -> Kept: ...
    @property
    def allowed(self) -> Array | None:
        """bool [..., A]: which discrete actions can be chosen; None: every one."""
        ...


class Policy(NamedTuple):
    """Layers of `hidden` units from the features of an observation, and `context` further inputs that are parameters
    themselves and begin as zeros, to a distribution over actions, which for Box actions is a Gaussian whose standard
    deviation starts at `initial_std` and never acts below `minimum_std`."""

    spec: Spec
    hidden: Sequence[int]
    initial_std: float
    minimum_std: float
    context: int = 0
    activation: Callable[[Array], Array] = jax.nn.relu

    def check(self) -> None:
        """Refuse spaces that are not served, without starting JAX."""
        _ = self.perception.size
        distributions.outputs_needed(self.spec.action_space)

    def init(self, key: Key) -> PolicyParams:
        log_std = distributions.initial_log_std(self.spec.action_space, math.log(self.initial_std))
        context = jnp.zeros((self.context,), jnp.float32)
        # A key besides the network's: with and without pictures the rest begins alike.
        return PolicyParams(self._network.init(key), log_std, context, self.perception.init(jax.random.fold_in(key, 1)))

    @property
    def perception(self) -> Perception:
        return Perception(self.spec.observation_space)

    @property
    def _network(self) -> Network:
        inputs = self.perception.size + self.context
        return mlp((inputs, *self.hidden, distributions.outputs_needed(self.spec.action_space)), self.activation)

    def decide(self, params: PolicyParams, timestep: Timestep, key: Key | None) -> Decision:
        """An action drawn from π(· | s), and what it was drawn from; without a key the most likely one."""
        policy = self.distribution(params, self.observe(timestep.observation), timestep.allowed)
        action = policy.sample(key)
        return Decision(action, Extras(policy.log_probability(action), policy))

    def batch(self, rollout: Rollout, discount: float, trace: float) -> Batch:
        """What this policy's losses see of a round, with standardised advantages over the linear feature baseline that
        is fitted on it."""
        observation = self.observe(rollout.timestep.observation)
        advantage = baseline.advantages(rollout, observation, discount, trace)
        decision, allowed = rollout.decision, rollout.timestep.allowed
        return Batch(observation, decision.action, decision.extras, advantage, allowed)

    def at(self, params: PolicyParams, seen: Seen) -> Distribution:
        """π(· | s) at every step of a batch, whatever its leading axes."""
        return self.distribution(params, seen.observation, seen.allowed)

    def observe(self, observation: Observation) -> Kept:
        """Observations [...] as they are kept until they are read."""
        return self.perception.keep(observation)

    def features(self, params: PolicyParams, kept: Any) -> Array:
        """What is read of them [..., O]."""
        return self.perception.features(params.perception, kept)

    def distribution(self, params: PolicyParams, observation: Kept, allowed: Array | None = None) -> Distribution:
        """π(· | s) for observations [...] as they are kept, over the actions `allowed` [..., A] (None: all)."""
        observation = self.features(params, observation)
        if self.context:
            context = jnp.broadcast_to(params.context, (*observation.shape[:-1], self.context))
            observation = jnp.concatenate([observation, context], axis=-1)
        outputs, _ = self._network.apply(params.network, (), observation)
        log_std = jnp.maximum(params.log_std, math.log(self.minimum_std))
        return distributions.action_distribution(self.spec.action_space, outputs, log_std, allowed)


# What an inner step moves. The outer step moves all, but for a context that adapts.
Adapts = Literal["all", "head", "body", "context"]


def adapting(adapts: Adapts, step_sizes: PolicyParams) -> PolicyParams:
    """The step sizes of what adapts: those of all else are zero, and the same exact derivative of a step serves."""
    return _ONLY[adapts](step_sizes)


def begun(adapts: Adapts, policy: PolicyParams) -> PolicyParams:
    """θ as every life begins with it, which is linear in θ: a context that adapts is zeros then, and never learned."""
    return policy._replace(context=jnp.zeros_like(policy.context)) if adapts == "context" else policy


def only_head(step_sizes: PolicyParams) -> PolicyParams:
    """Step sizes that leave all but the last layer where it is (ANIL; Raghu et al. 2020)."""
    body = jax.tree.map(jnp.zeros_like, step_sizes.network[:-1])
    perception = jax.tree.map(jnp.zeros_like, step_sizes.perception)
    return step_sizes._replace(network=(*body, step_sizes.network[-1]), perception=perception)


def only_body(step_sizes: PolicyParams) -> PolicyParams:
    """Step sizes that leave the last layer where it is (BOIL; Oh et al. 2021)."""
    head = jax.tree.map(jnp.zeros_like, step_sizes.network[-1])
    return step_sizes._replace(network=(*step_sizes.network[:-1], head))


def only_context(step_sizes: PolicyParams) -> PolicyParams:
    """Step sizes that leave everything but the context where it is (CAVIA; Zintgraf et al. 2019)."""
    return jax.tree.map(jnp.zeros_like, step_sizes)._replace(context=step_sizes.context)


_ONLY: dict[Adapts, Callable[[PolicyParams], PolicyParams]] = {
    "all": lambda step_sizes: step_sizes,
    "head": only_head,
    "body": only_body,
    "context": only_context,
}
