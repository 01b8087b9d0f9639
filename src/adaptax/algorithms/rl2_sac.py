"""Off-policy RL² for continuous actions: recurrent soft actor-critic over whole trials.

As in RL² (Duan et al. 2016), h_t reads (φ(s_t), a_{t−1}, r_{t−1}, first_t) and lives for the trial of n episodes on one
task. Policy and critics learn from trials of the past, which a ring keeps, in place of PPO on fresh ones. They share
one recurrence and one loss, as in AMAGO (Grigsby et al. 2024); with ã_t ~ π_θ(· | h_t) and ρ = std(y),

    y_t = r_t + γ [min_i Q_θ̄ᵢ(h̄_{t+1}, ã_{t+1}) − α log π(ã_{t+1} | h_{t+1})],  y_T = r_T
    minimise over θ   Σ_i mean_t (Q_θᵢ(h_t, a_t) − y_t)² / ρ² + w mean_t [α log π(ã_t | h_t) − min_i Q_i(h_t, ã_t)] / ρ
    minimise over α   −α mean_t (log π(ã_t | h_t) + H̄)                     (Haarnoja et al. 2018, second version)

In the policy's term (weight w, `actor_weight`) critics and the h_t that they read are constants; its slope reaches the
recurrence through the policy alone. Divided by ρ both terms are of one size whatever the unit of the returns is, where
AMAGO normalises values (PopArt). Neither the discount nor the target stops where an episode ends: only the trial's last
step is terminal. Every drawn trial is read from its start; no hidden state is stored, so none is stale. θ̄ covers the
recurrence and the critics, and follows θ at rate τ after every gradient step; AMAGO's covers the critics alone.

In training actions are drawn from π; an evaluated agent takes its mean action. AMAGO's transformer is larger, and it
has more critics, several discounts at once and a filtered imitation term.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import optax

from .. import buffers
from ..nets import BOUNDED
from ..nets.soft_actor_critic import SoftActorCritic, SoftActorCriticParams
from ..nets.trial_encoder import PastTrial, TrialEncoder, TrialMemory, time_first
from ..ops import returns, squashed, weighted
from ..ops.averaging import polyak
from ..ops.descent import adam, step
from ..ops.temporal_difference import soft_target, temperature_loss
from ..ranges import above, at_least, at_most, between, check_range, check_ranges
from ..types import (
    Adapted,
    Array,
    Birth,
    Decision,
    Key,
    Metrics,
    Params,
    Plan,
    Rollout,
    Spec,
    Timestep,
    Trial,
    UserError,
)


class RL2SACParams(NamedTuple):
    """θ and log α."""

    recurrence: Params
    actor_critic: SoftActorCriticParams  # its `value` is (): the target critics stand in for it
    log_temperature: Array  # float32 []


class Target(NamedTuple):
    """θ̄."""

    recurrence: Params
    critics: Params


class RL2SACState(NamedTuple):
    params: RL2SACParams
    target: Target
    optimizers: tuple[Any, Any]  # of the networks and of the temperature
    ring: buffers.Ring  # of PastTrial
    iteration: Array


Learned = tuple[RL2SACParams, Target, tuple[Any, Any]]  # what a gradient step changes


@dataclass(frozen=True)
class RL2SAC:
    """RL² with recurrent soft actor-critic."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 16
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 1
    """Independent trials on each task."""
    episodes: Annotated[int | None, at_least(1)] = None
    """Episodes per trial; None: as many as the benchmark's protocol says."""
    network: str = "gru"
    """The recurrent network: gru, lstm, or a transformer that attends to the whole trial."""
    hidden: Annotated[int, at_least(1)] = 64
    """Hidden units of the recurrent network."""
    head_hidden: Annotated[tuple[int, ...], at_least(1)] = (128,)
    """Hidden ReLU units of the layers of policy and critics, on the recurrence's output and the observation."""
    pairs: bool = False
    """Whether the recurrence also reads which observation–action pair the last reward came from, as one product."""
    exploration_episodes: int = 0
    """First episodes of a trial whose rewards are left out of the return that trains (E-RL²)."""
    gradient_steps: Annotated[int, at_least(1)] = 10
    """Gradient steps in one meta-iteration."""
    batch: int = 64
    """Whole trials in each of them."""
    capacity: int = 10_000
    """Trials in the ring."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ, over the whole trial."""
    target_rate: Annotated[float, above(0), at_most(1)] = 0.01
    """τ: rate at which the target networks follow, at every gradient step."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size for the networks."""
    decay: Annotated[int | None, at_least(1)] = None
    """Meta-iterations over which it goes linearly to zero; None: never."""
    gradient_clip: Annotated[float, above(0)] = 0.5
    """Largest global norm of a gradient of the networks."""
    actor_weight: Annotated[float, above(0)] = 1.0
    """w: weight of the policy's term in the loss."""
    temperature: Annotated[float, above(0)] = 0.1
    """α at the start, in units of the reward."""
    temperature_learning_rate: Annotated[float, at_least(0)] = 1e-3
    """Adam's step size for log α; 0: α stays as it is."""
    entropy: float = -1.0
    """H̄: entropy of the policy that α aims at, for each dimension of the action (in (−1, 1))."""
    judged_by_mean: bool = True
    """Whether an evaluated agent takes the policy's mean action; else it draws, as in training."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_range("exploration_episodes", self.exploration_episodes, 0, (self.episodes or self.spec.episodes) - 1)
        check_range("capacity", self.capacity, self.tasks * self.streams)
        check_range("batch", self.batch, 1, self.capacity)
        self._encoder.check()
        if isinstance(self.spec.action_space, gymnasium.spaces.Discrete):
            raise UserError(
                f"rl2-sac needs continuous actions; the action space here is {self.spec.action_space}; rl2-dqn and rl2 "
                "take discrete ones"
            )
        squashed.check_bounded(self.spec.action_space, "rl2-sac")

    @property
    def _episodes(self) -> int:
        return self.episodes or self.spec.episodes

    @property
    def plan(self) -> Plan:
        steps = self._episodes * self.spec.horizon
        context = steps if self.network in BOUNDED else None
        return Plan(self.tasks, 1, self.streams, steps, lifetime=1, context=context, episodes=self._episodes)

    @property
    def _encoder(self) -> TrialEncoder:
        return TrialEncoder(self.spec, self.network, self.hidden, self.plan.steps, self.pairs)

    @property
    def _actor_critic(self) -> SoftActorCritic:
        return SoftActorCritic(
            self.spec, self.hidden, self.head_hidden, returns.longest(self.discount, self.plan.steps)
        )

    # --- how the agent faces one task ---

    def begin(self, params: RL2SACParams, key: Key, birth: Birth) -> Array:
        """Whether the agent takes its mean action."""
        return jnp.logical_and(birth.judged, self.judged_by_mean)

    def start(self, params: RL2SACParams) -> TrialMemory:
        return self._encoder.start(params.recurrence)

    def act(
        self, params: RL2SACParams, adapted: Array, memory: TrialMemory, timestep: Timestep, key: Key
    ) -> tuple[Decision, TrialMemory]:
        hidden, memory = self._encoder.step(params.recurrence, memory, timestep)
        observation = self._encoder.keep(timestep.observation)
        policy = self._actor_critic.policy(params.actor_critic.policy, observation, hidden)
        action = jnp.where(adapted, policy.mode(), policy.sample(key))
        return Decision(squashed.to_space(self.spec.action_space, action)), memory

    def adapt(self, params: RL2SACParams, adapted: Array, rollout: Rollout, key: Key) -> Adapted:
        return adapted

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> RL2SACState:
        recurrence_key, heads_key = jax.random.split(key)
        recurrence = self._encoder.init(recurrence_key)
        actor_critic = self._actor_critic.init(heads_key)._replace(value=())
        log_temperature = jnp.log(jnp.float32(self.temperature))
        for_networks, for_temperature = self._optimizers
        optimizers = for_networks.init((recurrence, actor_critic)), for_temperature.init(log_temperature)
        return RL2SACState(
            RL2SACParams(recurrence, actor_critic, log_temperature),
            Target(recurrence, actor_critic.critics),
            optimizers,
            buffers.ring(self._encoder.empty(), self.capacity),
            jnp.zeros((), jnp.int32),
        )

    @property
    def _optimizers(self) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """Of the networks and of the temperature."""
        updates = self.decay and self.decay * self.gradient_steps
        networks = adam(self.learning_rate, self.gradient_clip, updates, eps=1e-5)
        return networks, adam(self.temperature_learning_rate)

    def update(self, state: RL2SACState, trials: Trial, key: Key) -> tuple[RL2SACState, Metrics]:
        rollouts = jax.tree.map(lambda x: x[:, 0], trials.rollouts)  # the only round: [N, B, T]
        ring = buffers.add(state.ring, self._encoder.past(rollouts))

        def improve(learned: Learned, key: Key) -> tuple[Learned, Metrics]:
            sample_key, action_key = jax.random.split(key)
            return self.gradient_step(learned, time_first(buffers.sample(ring, sample_key, self.batch)), action_key)

        learned = (state.params, state.target, state.optimizers)
        learned, metrics = jax.lax.scan(improve, learned, jax.random.split(key, self.gradient_steps))
        return RL2SACState(*learned, ring, state.iteration + 1), jax.tree.map(jnp.mean, metrics)

    def gradient_step(self, learned: Learned, trials: PastTrial, key: Key) -> tuple[Learned, Metrics]:
        """One step of θ and α, and of θ̄ after it, on `trials` [T, S, ...]."""
        params, target, optimizers = learned
        slope, metrics = jax.grad(self.loss, has_aux=True)(params, target, trials, key)
        # The temperature has an optimizer of its own: its slope has no part in the clipped norm of the others'.
        (networks, temperature), (first, second) = self._optimizers, optimizers
        (recurrence, actor_critic), first = step(networks, params[:2], first, slope[:2])
        log_temperature, second = step(temperature, params.log_temperature, second, slope.log_temperature)
        target = polyak(target, Target(recurrence, actor_critic.critics), self.target_rate)
        return (RL2SACParams(recurrence, actor_critic, log_temperature), target, (first, second)), metrics

    def loss(self, params: RL2SACParams, target: Target, trials: PastTrial, key: Key) -> tuple[Array, Metrics]:
        """The terms of θ and of α on `trials` [T, S, ...], added up, and metrics."""
        observation = self._encoder.keep(trials.observation)
        hidden = self._encoder.encode(params.recurrence, trials)
        policy = self._actor_critic.policy(params.actor_critic.policy, observation, hidden)
        action, logs = policy.sample_with_log_probability(key)
        temperature = jax.lax.stop_gradient(jnp.exp(params.log_temperature))
        goal = self.targets(target, trials, action, logs, temperature)
        weight = returns.within_episodes(trials.first, self._episodes).astype(jnp.float32)
        variance = weighted.variance(goal, weight) + 1e-8
        done = squashed.from_space(self.spec.action_space, trials.action)
        critics = params.actor_critic.critics
        values = self._actor_critic.critics(critics, observation, done, hidden)
        errors = (weighted.mean(jnp.square(value - goal), weight) for value in values)
        error = sum(errors, jnp.zeros(())) / variance
        fixed, seen = jax.lax.stop_gradient((critics, hidden))
        lower = jnp.minimum(*self._actor_critic.critics(fixed, observation, action, seen))
        improvement = weighted.mean(temperature * logs - lower, weight) / jnp.sqrt(variance)
        goal_entropy = self.entropy * action.shape[-1]
        loss = error + self.actor_weight * improvement
        mean_log = weighted.mean(logs, weight)
        loss += temperature_loss(params.log_temperature, mean_log, goal_entropy)
        metrics = {"critic_error": error, "value": weighted.mean(lower, weight), "entropy": -mean_log}
        return loss, metrics | {"temperature": temperature}

    def targets(self, target: Target, trials: PastTrial, action: Array, logs: Array, temperature: Array) -> Array:
        """y [T, S] on `trials` [T, S, ...]; `action` [T, S, D] is drawn from the policy at each step, and `logs` [T, S]
        are its log-probabilities."""
        observation = self._encoder.keep(trials.observation)
        hidden = self._encoder.encode(target.recurrence, trials)
        values = self._actor_critic.critics(target.critics, observation, action, hidden)
        following = tuple(returns.of_the_next_step(value) for value in values)
        reward = returns.without_first_episodes(trials.reward, trials.first, self.exploration_episodes)
        # The trial ends with its last episode and is worth nothing after; inside it, nothing ends.
        over = ~returns.of_the_next_step(returns.within_episodes(trials.first, self._episodes))
        next_logs = returns.of_the_next_step(logs)
        return soft_target(reward, over, self.discount, following, next_logs, temperature)
