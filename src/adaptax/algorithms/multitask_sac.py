"""Multi-task soft actor-critic with fine-tuning (Haarnoja et al. 2018b, algorithm 1, for soft actor-critic).

One policy π for all tasks, trained without being told which one it faces on the transitions of all of them, and on a
new task trained further on that task's own (`replay`). Each gradient step, on a batch of (s, a, r, d, s'):

    critics        minimise Σ_i mean (Q_i(s, a) − y)²,  y = r + γ (1 − d) (min_i Q'_i(s', a') − α log π(a' | s'))
    policy         minimise mean α log π(ã | s) − min_i Q_i(s, ã)
    temperature    minimise −α mean(log π(ã | s) + H̄),  H̄ = −dim A
    targets        Q'_i ← (1 − τ) Q'_i + τ Q_i

with a' ~ π(· | s') and ã ~ π(· | s), α = exp(`log_temperature`), and d only where an episode terminates. π is a
Gaussian squashed by tanh; actions are drawn from it on new tasks too, since what is collected there is learned from.

Differences from the paper: actions are never drawn uniformly at first, networks begin near zero, and what was
collected is learned from in one piece after each iteration, not after each step.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import replay
from ..nets.soft_actor_critic import SoftActorCritic
from ..ops import distributions, squashed
from ..ops.averaging import polyak
from ..ops.descent import adam, step
from ..ops.observations import Kept
from ..ops.temporal_difference import soft_target, temperature_loss
from ..ops.transitions import Transition
from ..ranges import above, at_least, at_most, between, check_ranges
from ..replay import Adapted, ReplayState
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Params, Plan, Rollout, Spec, Timestep, Trial


class SACParams(NamedTuple):
    policy: Params
    critics: tuple[Params, Params]
    targets: tuple[Params, Params]  # Q'
    log_temperature: Array  # log α, []


class Moments(NamedTuple):
    """Adam's states."""

    policy: Any
    critics: Any
    temperature: Any


@dataclass(frozen=True)
class MultitaskSAC:
    """Soft actor-critic on all tasks at once, fine-tuned on a new one."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 20
    """Tasks per iteration."""
    streams: Annotated[int, at_least(1)] = 4
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (128, 128)
    """Hidden ReLU units of the layers of policy and critics."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ."""
    gradient_steps: Annotated[int, at_least(1)] = 200
    """Gradient steps in one iteration."""
    batch: Annotated[int, at_least(1)] = 256
    """Transitions in each of them."""
    capacity: int = 200_000
    """Transitions in the replay, at least those of one iteration."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size, in training and on a new task."""
    target_rate: Annotated[float, above(0), at_most(1)] = 0.005
    """τ: rate at which the targets Q' follow Q."""
    initial_temperature: Annotated[float, above(0)] = 1.0
    """α before training."""
    fine_tuning_steps: Annotated[int, at_least(0)] = 200
    """Gradient steps after each round of a new task."""
    fine_tuning_capacity: int = 10_000
    """Transitions that are kept of a new task, at least those of one round."""

    def __post_init__(self) -> None:
        replay.check_continuous(self.spec.action_space, "multitask-sac")
        check_ranges(self)
        replay.check(self)

    @property
    def plan(self) -> Plan:
        return replay.plan(self)

    @property
    def _networks(self) -> SoftActorCritic:
        return SoftActorCritic(self.spec, 0, self.hidden)

    # --- how the agent faces one task ---

    def begin(self, params: SACParams, key: Key, birth: Birth) -> Adapted:
        return replay.begin(self, params)

    def start(self, params: SACParams) -> Memory:
        return ()

    def act(
        self, params: SACParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        observation = self._networks.perception.keep(timestep.observation)
        action = self.policy(adapted.params.policy, observation).sample(key)
        return Decision(squashed.to_space(self.spec.action_space, action)), memory

    def adapt(self, params: SACParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        return replay.adapt(self, adapted, rollout, key)

    def policy(self, params: Params, observation: Kept) -> squashed.SquashedGaussian:
        """π(· | s) at observations [...] as they are kept."""
        return self._networks.policy(params, observation)

    def critics(self, params: tuple[Params, Params], observation: Kept, action: Array) -> tuple[Array, Array]:
        """Q_1 and Q_2 [...] of actions in (−1, 1)."""
        return self._networks.critics(params, observation, action)

    # --- how the parameters learn from many tasks ---

    def init(self, key: Key) -> ReplayState:
        return replay.init(self, key)

    def update(self, state: ReplayState, trials: Trial, key: Key) -> tuple[ReplayState, Metrics]:
        return replay.update(self, state, trials, key)

    def init_params(self, key: Key) -> SACParams:
        policy, critics, _ = self._networks.init(key)
        return SACParams(policy, critics, critics, jnp.asarray(np.log(self.initial_temperature), jnp.float32))

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.learning_rate)

    def init_moments(self, params: SACParams) -> Moments:
        init = self._optimizer.init
        return Moments(init(params.policy), init(params.critics), init(params.log_temperature))

    def learner_action(self, action: Array) -> Array:
        return squashed.from_space(self.spec.action_space, action)

    def gradient_step(
        self, params: SACParams, moments: Moments, batch: Transition, key: Key
    ) -> tuple[SACParams, Moments, Metrics]:
        next_key, action_key = jax.random.split(key)
        error, slope = jax.value_and_grad(self.critic_loss)(params.critics, params, batch, next_key)
        critics, critic_moments = step(self._optimizer, params.critics, moments.critics, slope)
        actor_slope = jax.value_and_grad(self.policy_loss, has_aux=True)
        (_, logs), slope = actor_slope(params.policy, critics, params.log_temperature, batch.observation, action_key)
        policy, policy_moments = step(self._optimizer, params.policy, moments.policy, slope)
        slope = jax.grad(temperature_loss)(params.log_temperature, logs, self.target_entropy)
        log_temperature, temperature_moments = step(self._optimizer, params.log_temperature, moments.temperature, slope)
        params = SACParams(policy, critics, polyak(params.targets, critics, self.target_rate), log_temperature)
        metrics = {"critic_error": error, "entropy": -jnp.mean(logs), "temperature": jnp.exp(log_temperature)}
        return params, Moments(policy_moments, critic_moments, temperature_moments), metrics

    @property
    def target_entropy(self) -> float:
        """H̄, of actions in (−1, 1)."""
        return -float(distributions.flat_size(self.spec.action_space))

    def critic_loss(self, critics: tuple[Params, Params], params: SACParams, batch: Transition, key: Key) -> Array:
        """The squared errors of both critics, added up; all else is constant."""
        action, logs = self.policy(params.policy, batch.next_observation).sample_with_log_probability(key)
        following = self.critics(params.targets, batch.next_observation, action)
        temperature = jnp.exp(params.log_temperature)
        goal = soft_target(batch.reward, batch.terminated, self.discount, following, logs, temperature)
        values = self.critics(critics, batch.observation, batch.action)
        return sum((jnp.mean(jnp.square(value - goal)) for value in values), jnp.zeros(()))

    def policy_loss(
        self, policy: Params, critics: tuple[Params, Params], log_temperature: Array, observation: Kept, key: Key
    ) -> tuple[Array, Array]:
        """The loss at observations [B] as they are kept, and log π(ã | s) [B]."""
        action, logs = self.policy(policy, observation).sample_with_log_probability(key)
        lower = jnp.minimum(*self.critics(critics, observation, action))
        return jnp.mean(jnp.exp(log_temperature) * logs - lower), logs
