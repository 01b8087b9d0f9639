"""PEARL: off-policy meta-learning with a belief about the task (Rakelly et al. 2019, algorithms 1 and 2).

Each transition c_n = (s, a, r) of a task is a Gaussian factor Ψ_φ(z | c_n) over a latent z (`nets.task_encoder`); the
belief is their product q_φ(z | c_1:N), in which N(0, I) is no factor; it only stands in while there are none. A policy
π_θ(a | s, z) acts with one z for a whole episode, drawn from the prior first and from the belief later: exploration by
posterior sampling. Learning is soft actor-critic with a value function on transitions from rings, for each of
`gradient_steps` on fresh tasks, transitions, contexts c and latents z ~ q_φ(z | c), one z for each task:

    critics, encoder   mean_b Σ_i (Q_i(s, a, z) − (ρ r + γ (1 − d) V̄(s', z̄)))²  +  β Σ_tasks KL(q_φ(z | c) ‖ N(0, I))
    value              mean_b (V(s, z̄) − [min_i Q_i(s, ã, z̄) − log π(ã | s, z̄)])²,   ã ~ π(· | s, z̄)
    policy             mean_b [log π(ã | s, z̄) − min_i Q_i(s, ã, z̄)] + 10⁻³ mean μ_π² + 10⁻³ mean (log σ_π)²

z̄ is z held constant: only the critics' loss and the divergence, which is a sum over tasks and dimensions where the loss
is a mean, teach φ. ρ (`reward_scale`) stands in place of a temperature; V̄ follows V at rate τ; β is `prior_weight`.

Every training task has two rings: one of all its transitions, for soft actor-critic, and one of those of its last
trial, from which contexts are drawn; it is emptied when the task is collected from again, so that contexts are near to
what the policy would see. Soft actor-critic learns from `Rollout.shaped`; contexts hold the reward that is perceived.

In the words of the protocol: `begin` gives no factors, `act` draws z when an episode starts and remembers it, `adapt`
multiplies the factors of a round in; two sums hold the product. Until `exploration` episodes are over, and with
`explore_until_rewarded` until a reward came, z is drawn from the prior. Evaluated, the agent takes the policy's
mean action, if `judged_by_mean`; before z is drawn from the belief only if `explore_by_mean`, too.

Differences from the authors' code: when collecting, the belief is that of all transitions of the trial so far, not of a
sample of them; the rings begin empty, without data of every task, and meta-batches hold tasks that have data; hidden
weights begin in ±1/√inputs; Q and V are networks' outputs times ρ (`nets.soft_actor_critic` says why).
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import buffers
from ..nets.soft_actor_critic import SoftActorCritic, SoftActorCriticParams
from ..nets.task_encoder import TaskEncoder
from ..ops import chance, squashed
from ..ops.averaging import polyak
from ..ops.descent import adam, step
from ..ops.distributions import DiagonalGaussian
from ..ops.gaussian_product import GaussianProduct, no_factors
from ..ops.observations import Kept, gather
from ..ops.tasks import mean_gradient
from ..ops.transitions import Transition, transitions
from ..ranges import above, at_least, at_most, between, check_range, check_ranges
from ..types import Array, Birth, Decision, Key, Metrics, Params, Plan, Rollout, Spec, Timestep, Trial, UserError


class PEARLParams(NamedTuple):
    encoder: Params  # φ
    actor_critic: SoftActorCriticParams


class PEARLAdapted(NamedTuple):
    """The factors so far; of how many episodes; whether any was rewarded; and whether it is evaluated."""

    factors: GaussianProduct
    episodes: Array  # int32 []
    rewarded: Array  # bool []
    judged: Array  # bool []


class PEARLState(NamedTuple):
    params: PEARLParams
    target: Params  # V̄
    optimizers: tuple[Any, Any]  # of encoder and critics; of policy and value
    transitions: buffers.TaskRing  # of Transition
    contexts: buffers.TaskRing  # of what the encoder reads [I]
    iteration: Array


Learned = tuple[PEARLParams, Params, tuple[Any, Any]]  # what a gradient step changes: parameters, V̄, optimizers


@dataclass(frozen=True)
class PEARL:
    """Soft actor-critic on a latent of the task, which is inferred from the task's transitions."""

    spec: Spec
    """What the environment looks like; `training_tasks` says of how many tasks data are kept."""
    tasks: Annotated[int, at_least(1)] = 5
    """Tasks per meta-iteration from which data are collected."""
    rounds: Annotated[int, at_least(1)] = 2
    """Rounds of a trial, with a new belief after each."""
    context_rounds: int | None = 1
    """How many of them, from the first, contexts are drawn from; None: all."""
    streams: Annotated[int, at_least(1)] = 2
    """Episodes that are collected side by side in a round, with latents of their own."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per stream and round; None: one full-length episode."""
    exploration: Annotated[int, at_least(0)] = 2
    """Episodes on a training task until which latents are drawn from the prior."""
    judged_exploration: Annotated[int | None, at_least(1)] = None
    """The same on a new task; None: as many."""
    explore_until_rewarded: bool = False
    """Draw latents from the prior for longer, as long as no reward but 0 was perceived (for sparse rewards)."""
    judged_by_mean: bool = True
    """Whether an evaluated agent takes the policy's mean action; else it draws, as in training."""
    explore_by_mean: bool = True
    """Whether it takes that action already while its latents are drawn from the prior."""
    latent: Annotated[int, at_least(1)] = 5
    """Z: size of z."""
    encoder_hidden: Annotated[tuple[int, ...], at_least(1)] = (200, 200, 200)
    """Hidden ReLU units of the encoder's layers."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (300, 300, 300)
    """Hidden ReLU units of the layers of policy, critics and value."""
    next_in_context: bool = False
    """Let the encoder read s' too (for tasks that differ in dynamics)."""
    deterministic: bool = False
    """z is the belief's mean, without divergence from the prior (the paper's ablation)."""
    prior_weight: Annotated[float, at_least(0)] = 0.1
    """β: weight of KL(q(z | c) ‖ N(0, I))."""
    gradient_steps: Annotated[int, at_least(1)] = 2000
    """Gradient steps in one meta-iteration."""
    meta_batch: Annotated[int, at_least(1)] = 16
    """Tasks in each of them."""
    batch: Annotated[int, at_least(1)] = 256
    """Transitions of each task in each of them."""
    context: Annotated[int, at_least(1)] = 64
    """Transitions of each task from which its belief is inferred there, at most those collected for it."""
    capacity: int = 20_000
    """Transitions that are kept of every training task, at least those of one trial."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ."""
    reward_scale: Annotated[float, above(0)] = 5.0
    """ρ: factor on rewards, in place of a temperature."""
    learning_rate: Annotated[float, above(0)] = 3e-4
    """Adam's step size, for all networks."""
    decay: Annotated[int | None, at_least(1)] = None
    """Meta-iterations over which it goes linearly to zero; None: never."""
    target_rate: Annotated[float, above(0), at_most(1)] = 0.005
    """τ: rate at which V̄ follows V."""
    mean_weight: Annotated[float, at_least(0)] = 1e-3
    """Weight of the mean square of the policy's means before tanh."""
    log_std_weight: Annotated[float, at_least(0)] = 1e-3
    """Weight of the mean square of the policy's log standard deviations."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_range("context_rounds", self.context_rounds, 1, self.rounds)
        squashed.check_bounded(self.spec.action_space, "PEARL")
        if self.spec.training_tasks is None:
            raise UserError(
                "PEARL keeps data of every training task, so it needs a benchmark with a finite training set, such as "
                "sparse-navigation, and that benchmark's spec"
            )
        read = (self.context_rounds or self.rounds) * self.streams * self.plan.steps
        if self.context > read:
            raise UserError(
                f"context is {self.context}, but a meta-iteration collects {read} transitions of a task to draw it "
                "from; lower it, or raise streams or the rounds that count"
            )
        check_range("capacity", self.capacity, self.rounds * self.streams * self.plan.steps)

    @property
    def plan(self) -> Plan:
        steps, tasks = self.steps or self.spec.horizon, self.spec.training_tasks
        return Plan(self.tasks, self.rounds, self.streams, steps, lifetime=self.rounds, training_tasks=tasks)

    @property
    def _actor_critic(self) -> SoftActorCritic:
        return SoftActorCritic(self.spec, self.latent, self.hidden, self.reward_scale)

    @property
    def _encoder(self) -> TaskEncoder:
        observation, action = self._actor_critic.sizes
        inputs = observation + action + 1 + observation * self.next_in_context
        return TaskEncoder(self._actor_critic.perception, inputs, self.latent, self.encoder_hidden)

    # --- how the agent faces one task ---

    def begin(self, params: PEARLParams, key: Key, birth: Birth) -> PEARLAdapted:
        none = jnp.zeros((), jnp.int32)
        return PEARLAdapted(no_factors(self.latent), none, jnp.zeros((), bool), jnp.asarray(birth.judged))

    def start(self, params: PEARLParams) -> Array:
        return jnp.zeros((self.latent,), jnp.float32)

    def act(
        self, params: PEARLParams, adapted: PEARLAdapted, memory: Array, timestep: Timestep, key: Key
    ) -> tuple[Decision, Array]:
        latent_key, action_key = chance.split(key, 2)
        latent = jnp.where(timestep.first, self._draw(self.belief(adapted), latent_key), memory)
        observation = self._actor_critic.perception.keep(timestep.observation)
        policy = self._actor_critic.policy(params.actor_critic.policy, observation, latent)
        certain = jnp.logical_or(self.explore_by_mean, jnp.logical_not(self._exploring(adapted)))
        by_mean = adapted.judged & self.judged_by_mean & certain
        action = jnp.where(by_mean, policy.mode(), policy.sample(action_key))
        return Decision(squashed.to_space(self.spec.action_space, action)), latent

    def adapt(self, params: PEARLParams, adapted: PEARLAdapted, rollout: Rollout, key: Key) -> PEARLAdapted:
        read = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), self._read(rollout))
        factors = self._encoder.product(params.encoder, read)
        ended = jnp.sum(jnp.logical_or(rollout.terminated, rollout.truncated), dtype=jnp.int32)
        rewarded = jnp.logical_or(adapted.rewarded, jnp.any(rollout.reward != 0.0))
        return PEARLAdapted(adapted.factors.times(factors), adapted.episodes + ended, rewarded, adapted.judged)

    def belief(self, adapted: PEARLAdapted) -> DiagonalGaussian:
        """What z is drawn from [Z]: the prior while exploring, then the product of all factors."""
        exploring = self._exploring(adapted)
        return jax.tree.map(lambda x: jnp.where(exploring, 0.0, x), adapted.factors.distribution())

    def _exploring(self, adapted: PEARLAdapted) -> Array:
        alone = jnp.where(adapted.judged, self.judged_exploration or self.exploration, self.exploration)
        exploring = adapted.episodes < alone
        if self.explore_until_rewarded:
            exploring = jnp.logical_or(exploring, jnp.logical_not(adapted.rewarded))
        return exploring

    def _draw(self, belief: DiagonalGaussian, key: Key | None) -> Array:
        return belief.mode() if self.deterministic else belief.sample(key)

    def _read(self, rollout: Rollout) -> Any:
        """What the encoder reads of each transition: (s, a, r[, s']) gathered, with the reward that is perceived."""
        return self._gathered(self._transitions(rollout)._replace(reward=rollout.reward))

    def _gathered(self, of: Transition) -> Any:
        reached = (of.next_observation,) if self.next_in_context else ()
        return gather(of.observation, of.action, of.reward[..., None], *reached)

    def _transitions(self, rollout: Rollout) -> Transition:
        """What soft actor-critic learns from: actions in (−1, 1), the reward for training."""
        action = squashed.from_space(self.spec.action_space, rollout.decision.action)
        return transitions(self.spec.observation_space, rollout, action, rollout.shaped)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> PEARLState:
        encoder_key, actor_critic_key = jax.random.split(key)
        encoder, learns = self._encoder.init(encoder_key), self._actor_critic.init(actor_critic_key)
        init = self._optimizer.init
        optimizers = (init((encoder, learns.critics)), init((learns.policy, learns.value)))
        observation, nothing = self._actor_critic.perception.nothing(), jnp.zeros((), jnp.float32)
        action = jnp.zeros((self._actor_critic.sizes[1],), jnp.float32)
        count, plan = self.spec.training_tasks or 0, self.plan
        like = Transition(observation, action, nothing, nothing, observation)
        read = (self.context_rounds or plan.rounds) * plan.streams * plan.steps
        return PEARLState(
            PEARLParams(encoder, learns),
            learns.value,
            optimizers,
            buffers.task_ring(like, count, self.capacity),
            buffers.task_ring(self._gathered(like), count, read),
            jnp.zeros((), jnp.int32),
        )

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.learning_rate, updates=self.decay and self.decay * self.gradient_steps)

    def update(self, state: PEARLState, trials: Trial, key: Key) -> tuple[PEARLState, Metrics]:
        def flat(x: Array) -> Array:  # [N, R, B, T, ...] -> [N, R·B·T, ...]
            return x.reshape(x.shape[0], -1, *x.shape[4:])

        held = jax.tree.map(flat, self._transitions(trials.rollouts))
        transitions = buffers.add_by_task(state.transitions, trials.birth.index, held)
        read = jax.tree.map(lambda x: flat(x[:, : self.context_rounds]), self._read(trials.rollouts))
        contexts = buffers.add_by_task(state.contexts, trials.birth.index, read, clear=True)

        def improve(learned: Learned, key: Key) -> tuple[Learned, Metrics]:
            return self.gradient_step(learned, transitions, contexts, key)

        learned = (state.params, state.target, state.optimizers)
        learned, metrics = jax.lax.scan(improve, learned, jax.random.split(key, self.gradient_steps))
        return PEARLState(*learned, transitions, contexts, state.iteration + 1), jax.tree.map(jnp.mean, metrics)

    def gradient_step(
        self, learned: Learned, transitions: buffers.TaskRing, contexts: buffers.TaskRing, key: Key
    ) -> tuple[Learned, Metrics]:
        """One step of everything on a fresh meta-batch, whose tasks are gone through one by one."""
        (encoder, (policy, critics, value)), target, (first, second) = learned
        task_key, batch_key, context_key, *draw_keys = jax.random.split(key, 5)
        # A task from which nothing was collected yet cannot be drawn.
        chance = jnp.where(contexts.added > 0, 0.0, -jnp.inf)
        index = jax.random.categorical(task_key, chance, shape=(self.meta_batch,))
        batch = buffers.sample_by_task(transitions, batch_key, index, self.batch)
        context = buffers.sample_by_task(contexts, context_key, index, self.context)
        latent_keys, action_keys = (jax.random.split(k, self.meta_batch) for k in draw_keys)
        learns: Any = (encoder, critics)
        loss = partial(self.critic_loss, target)
        slope, (latent, metrics) = mean_gradient(loss, learns, batch, context, latent_keys)
        (encoder, critics), first = step(self._optimizer, learns, first, slope)
        learns = (policy, value)
        loss = partial(self.actor_loss, critics)
        slope, more = mean_gradient(loss, learns, batch.observation, latent, action_keys)
        (policy, value), second = step(self._optimizer, learns, second, slope)
        params = PEARLParams(encoder, SoftActorCriticParams(policy, critics, value))
        metrics = jax.tree.map(jnp.mean, metrics | more)
        return (params, polyak(target, value, self.target_rate), (first, second)), metrics

    def critic_loss(
        self, target: Params, learned: tuple[Params, Params], batch: Transition, context: Any, key: Key
    ) -> tuple[Array, tuple[Array, Metrics]]:
        """The loss of encoder and critics on the transitions [B] and the context [C] of one task; and z̄ [B, Z].

        Its mean over the M tasks of a meta-batch has the divergence summed over tasks: here it counts M times.
        """
        encoder, critics = learned
        belief = self._encoder.product(encoder, context).distribution()
        latent = jnp.broadcast_to(self._draw(belief, key), (*batch.reward.shape, self.latent))
        fixed = jax.lax.stop_gradient(latent)
        following = self._actor_critic.value(target, batch.next_observation, fixed)
        goal = self.reward_scale * batch.reward + self.discount * (1.0 - batch.terminated) * following
        values = self._actor_critic.critics(critics, batch.observation, batch.action, latent)
        error = sum((jnp.mean(jnp.square(value - goal)) for value in values), jnp.zeros(()))
        prior = jax.tree.map(jnp.zeros_like, belief)
        divergence = jnp.sum(belief.divergence(prior))
        loss = error if self.deterministic else error + self.prior_weight * self.meta_batch * divergence
        metrics = {"critic_error": error, "belief_divergence": divergence}
        return loss, (fixed, metrics)

    def actor_loss(
        self, critics: Params, learned: tuple[Params, Params], observation: Kept, latent: Array, key: Key
    ) -> tuple[Array, Metrics]:
        """The losses of policy and value, added up, at one task's observations [B] and latents z̄ [B, Z]."""
        policy_params, value_params = learned
        policy = self._actor_critic.policy(policy_params, observation, latent)
        action, logs = policy.sample_with_log_probability(key)
        lower = jnp.minimum(*self._actor_critic.critics(critics, observation, action, latent))
        penalty = self.mean_weight * jnp.mean(jnp.square(policy.mean))
        penalty += self.log_std_weight * jnp.mean(jnp.square(policy.log_std))
        goal = jax.lax.stop_gradient(lower - logs)
        error = jnp.mean(jnp.square(self._actor_critic.value(value_params, observation, latent) - goal))
        metrics = {"value_error": error, "entropy": -jnp.mean(logs), "soft_value": jnp.mean(goal)}
        return jnp.mean(logs - lower) + penalty + error, metrics
