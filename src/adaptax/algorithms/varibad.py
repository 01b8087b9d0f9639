"""VariBAD: a policy that reads a variational belief about the task (Zintgraf et al. 2020, algorithm 1).

An encoder q_φ reads a trial τ_:t step by step and holds a Gaussian over a latent m of the task; a decoder p_θ predicts
from m what any step of the trial pays (`nets.belief`). The policy acts on the state and on the belief, not on a sample:

    belief    b_t = (μ_t, log σ_t) of q_φ(m | τ_:t) = N(μ_t, σ_t²),   a GRU over (s_{t−1}, a_{t−1}, r_{t−1}, s_t)
    model     maximise over φ, θ, per trial of T steps,
              Σ_{t=0}^{T} [ E_{m ~ q_t} Σ_{k=1}^{T} log p_θ(r_k | s_k, m) − w KL( q_t ‖ q_{t−1} ) ],  q_{−1} = N(0, I)
    policy    maximise E Σ_t γ^t r_t of π_ψ(a_t | s_t, b_t) by PPO

At every step the whole trial is predicted, its future included: b_t becomes a belief about what has not been seen yet,
and a policy that reads it can explore as a Bayes-optimal one would. q_0 is what the encoder says before it has read
anything; its hidden state lives for the whole trial. To the PPO loss beliefs are inputs: it does not reach the encoder.
The model learns from a ring of past trials, with an optimizer of its own.

Differences from the authors' code: where an episode ends, the encoder is told so and reads the first observation of the
new one in place of the last one of the old, as the protocol has it (therefore it reads s_{t−1} too); the value loss is
relative to the variance of its targets, in place of running normalisations of rewards, states and beliefs; the ring
begins empty.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import buffers
from ..nets.actor_critic import ActorCritic, ActorCriticParams
from ..nets.belief import Belief, BeliefParams
from ..ops import distributions, minibatches, policy_losses, returns
from ..ops.distributions import DiagonalGaussian
from ..types import (
    Adapted,
    Array,
    Decision,
    Key,
    Memory,
    Metrics,
    Plan,
    Rollout,
    Spec,
    Timestep,
    Trial,
    UserError,
    check_range,
)


class VariBADParams(NamedTuple):
    model: BeliefParams
    heads: ActorCriticParams  # ψ


class VariBADMemory(NamedTuple):
    """The encoder's memory, whether the trial has begun (at its first step there is nothing to read), and s_{t−1}."""

    encoder: Memory
    begun: Array
    observation: Array


class VariBADState(NamedTuple):
    params: VariBADParams
    optimizers: tuple[Any, Any]  # of the model and of the heads
    ring: buffers.Ring  # of past trials
    iteration: Array


class Extras(NamedTuple):
    """What PPO needs to know of a decision."""

    log_probability: Array
    value: Array
    belief: Array  # (μ, log σ) [2 Z]


class Batch(NamedTuple):
    """Decisions one by one, as sequences of one step: leaves [1, S, ...]."""

    inputs: Array
    action: Array
    log_probability: Array
    advantage: Array
    target: Array
    memory: tuple[()] = ()


@dataclass(frozen=True)
class VariBAD:
    """A policy on a variational belief about the task, with PPO."""

    spec: Spec
    """What the environment looks like."""
    tasks: int = 16
    """Tasks per meta-iteration."""
    streams: int = 1
    """Independent trials on each task."""
    episodes: int = 0
    """Episodes per trial; 0: as many as the benchmark's protocol says."""
    latent: int = 5
    """Z: size of m."""
    hidden: int = 64
    """Hidden units of the encoder's GRU."""
    embedding: int = 32
    """Units of the ReLU layer through which the encoder reads."""
    decoder_hidden: tuple[int, ...] = (32, 32)
    """Hidden units of the decoder's layers."""
    cells: tuple[int, ...] = ()
    """How many whole numbers each coordinate of an observation counts, from 0: one head of the decoder for each place;
    (): observations are no places."""
    reward_model: Literal["gaussian", "bernoulli"] = "gaussian"
    """What the decoder predicts: the reward, with unit variance; or whether it is positive."""
    prior_weight: float = 0.1
    """w: weight of KL(q_t ‖ q_{t−1})."""
    model_learning_rate: float = 1e-3
    """Adam's step size for encoder and decoder."""
    model_updates: int = 3
    """Steps of the model in one meta-iteration."""
    model_batch: int = 25
    """Trials in each of them."""
    capacity: int = 20_000
    """Trials in the ring."""
    policy_hidden: tuple[int, ...] = (32,)
    """Hidden tanh units of the policy's layers and of the value's."""
    discount: float = 0.95
    """γ, over the whole trial."""
    trace: float = 0.95
    """λ of the generalized advantage estimate."""
    clip: float = 0.05
    """ε of the clipped probability ratio."""
    epochs: int = 2
    """Passes over the collected trials in one meta-iteration."""
    minibatches: int = 4
    """Parts into which each pass is cut."""
    learning_rate: float = 7e-4
    """Adam's step size for policy and value."""
    decay: int = 0
    """Meta-iterations over which both step sizes and the entropy bonus go linearly to zero; 0: never."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    value_weight: float = 0.5
    """Weight of the value loss."""
    gradient_clip: float = 0.5
    """Largest global norm of a gradient of policy and value."""

    def __post_init__(self) -> None:
        sizes = ("tasks", "streams", "latent", "hidden", "embedding", "epochs", "minibatches")
        for name in (*sizes, "model_batch", "model_updates"):
            check_range(name, getattr(self, name), 1)
        for name in ("episodes", "prior_weight", "decay", "entropy", "value_weight"):
            check_range(name, getattr(self, name), 0)
        for name in ("learning_rate", "model_learning_rate", "gradient_clip", "clip"):
            check_range(name, getattr(self, name), 0, above=True)
        for name in ("discount", "trace"):
            check_range(name, getattr(self, name), 0, 1)
        for name in ("decoder_hidden", "policy_hidden", "cells"):
            for width in getattr(self, name):
                check_range(name, width, 1)
        check_range("capacity", self.capacity, self.tasks * self.streams)
        check_range("minibatches", self.minibatches, 1, self.tasks * self.streams * self.plan.steps)
        if self.cells and len(self.cells) != self.belief_model.sizes[0]:
            raise UserError(f"cells has {len(self.cells)} numbers; an observation has {self.belief_model.sizes[0]}")
        distributions.outputs_needed(self.spec.action_space)

    @property
    def plan(self) -> Plan:
        steps = (self.episodes or self.spec.episodes) * self.spec.horizon
        return Plan(self.tasks, rounds=1, streams=self.streams, steps=steps, lifetime=1)

    @property
    def belief_model(self) -> Belief:
        """q_φ and p_θ."""
        sizes = (self.latent, self.hidden, self.embedding, self.decoder_hidden, self.cells)
        return Belief(self.spec, *sizes, self.reward_model == "bernoulli")

    @property
    def _heads(self) -> ActorCritic:
        return ActorCritic(self.spec, self.belief_model.sizes[0] + 1 + 2 * self.latent, self.policy_hidden)

    # --- how the agent faces one task ---

    def begin(self, params: VariBADParams, key: Key, index: Array) -> Adapted:
        return ()

    def start(self, params: VariBADParams) -> VariBADMemory:
        nowhere = jnp.zeros((self.belief_model.sizes[0],), jnp.float32)
        return VariBADMemory(self.belief_model.start(params.model), jnp.zeros((), bool), nowhere)

    def act(
        self, params: VariBADParams, adapted: Adapted, memory: VariBADMemory, timestep: Timestep, key: Key
    ) -> tuple[Decision, VariBADMemory]:
        perceived = self.belief_model.perceive(memory.observation, timestep)
        following = self.belief_model.read(params.model, memory.encoder, perceived)
        encoder = jax.tree.map(lambda new, old: jnp.where(memory.begun, new, old), following, memory.encoder)
        belief = jnp.concatenate(self.belief_model.belief(params.model, encoder), axis=-1)
        policy, value = self._heads.decide(params.heads, self._inputs(timestep, belief))
        action = policy.sample(key)
        extras = Extras(policy.log_probability(action), value, belief)
        observation = self.belief_model.flat(timestep.observation)
        return Decision(action, extras), VariBADMemory(encoder, jnp.ones((), bool), observation)

    def adapt(self, params: VariBADParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        return adapted

    def believed(self, params: VariBADParams, extras: Extras, key: Key) -> Array | None:
        """For pictures, where observations are places of a grid: what each belief expects there, [..., *cells]."""
        if len(self.cells) != 2:
            return None
        belief = DiagonalGaussian(*jnp.split(extras.belief, 2, axis=-1))
        return self.belief_model.expected_by_place(params.model, belief, key)

    def _inputs(self, timestep: Timestep, belief: Array) -> Array:
        first = timestep.first.astype(jnp.float32)[..., None]
        return jnp.concatenate([self.belief_model.flat(timestep.observation), first, belief], axis=-1)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> VariBADState:
        model_key, heads_key = jax.random.split(key)
        model, heads = self.belief_model.init(model_key), self._heads.init(heads_key)
        for_model, for_heads = self._optimizers
        optimizers = (for_model.init(model), for_heads.init(heads))
        ring = buffers.ring(self.belief_model.empty_story(self.plan.steps), self.capacity)
        return VariBADState(VariBADParams(model, heads), optimizers, ring, jnp.zeros((), jnp.int32))

    @property
    def _optimizers(self) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """Of the model and of the heads."""

        def rate(start: float, updates: int) -> Any:
            return optax.linear_schedule(start, 0.0, self.decay * updates) if self.decay else start

        clip = optax.clip_by_global_norm(self.gradient_clip)
        heads = optax.adam(rate(self.learning_rate, self.epochs * self.minibatches), eps=1e-5)
        return optax.adam(rate(self.model_learning_rate, self.model_updates)), optax.chain(clip, heads)

    def update(self, state: VariBADState, trials: Trial, key: Key) -> tuple[VariBADState, Metrics]:
        policy_key, model_key = jax.random.split(key)
        rollouts = jax.tree.map(lambda x: x[:, 0], trials.rollouts)  # the only round: [N, B, T]
        heads, optimizer, metrics = self._improve_heads(state, rollouts, policy_key)
        ring = buffers.add(state.ring, self.belief_model.stories(rollouts))
        model, model_optimizer, more = self._improve_model(state, ring, model_key)
        params = VariBADParams(model, heads)
        return VariBADState(params, (model_optimizer, optimizer), ring, state.iteration + 1), metrics | more

    def _improve_heads(
        self, state: VariBADState, rollouts: Rollout, key: Key
    ) -> tuple[ActorCriticParams, Any, Metrics]:
        """PPO on the stored beliefs."""
        weight = self.entropy * self._remaining(state.iteration)

        def improve(carry: tuple[ActorCriticParams, Any], part: Batch) -> tuple[tuple[ActorCriticParams, Any], Metrics]:
            heads, optimizer = carry
            slope, metrics = jax.grad(self.loss, has_aux=True)(heads, part, weight)
            step, optimizer = self._optimizers[1].update(slope, optimizer, heads)
            stepped: Any = optax.apply_updates(heads, step)
            return (stepped, optimizer), metrics

        carry = (state.params.heads, state.optimizers[1])
        batch = self._prepare(rollouts)
        (heads, optimizer), metrics = minibatches.epochs(improve, carry, batch, key, self.epochs, self.minibatches)
        return heads, optimizer, jax.tree.map(jnp.mean, metrics)

    def _remaining(self, iteration: Array) -> Array:
        if not self.decay:
            return jnp.ones((), jnp.float32)
        return jnp.maximum(1.0 - iteration.astype(jnp.float32) / self.decay, 0.0)

    def _prepare(self, rollouts: Rollout) -> Batch:
        """Advantages over whole trials, and all decisions side by side."""

        def time_first(x: Array) -> Array:  # [N, B, T, ...] -> [T, N·B, ...]
            return jnp.moveaxis(x, 2, 0).reshape(x.shape[2], -1, *x.shape[3:])

        timestep, extras, reward = jax.tree.map(
            time_first, (rollouts.timestep, rollouts.decision.extras, rollouts.reward)
        )
        # The trial ends with its last step and is worth nothing after; inside it, nothing ends.
        over = jnp.zeros_like(reward, bool).at[-1].set(True)
        advantage = returns.generalized_advantages(
            reward, extras.value, returns.of_the_next_step(extras.value), over, over, self.discount, self.trace
        )
        batch = Batch(
            self._inputs(timestep, extras.belief),
            time_first(rollouts.decision.action),
            extras.log_probability,
            returns.standardize(advantage),
            advantage + extras.value,
        )
        return jax.tree.map(lambda x: x.reshape(1, -1, *x.shape[2:]), batch)

    def loss(self, heads: ActorCriticParams, batch: Batch, entropy_weight: Array) -> tuple[Array, Metrics]:
        """PPO's loss over some decisions, and its terms."""
        policy, value = self._heads.decide(heads, batch.inputs)
        logs = policy.log_probability(batch.action)
        surrogate = policy_losses.clipped_loss(logs, batch.log_probability, batch.advantage, self.clip)
        error = jnp.mean(jnp.square(value - batch.target)) / (jnp.var(batch.target) + 1e-8)
        entropy = jnp.mean(policy.entropy())
        loss = surrogate + self.value_weight * error - entropy_weight * entropy
        divergence = policy_losses.approximate_divergence(logs, batch.log_probability)
        return loss, {"loss": loss, "value_error": error, "entropy": entropy, "divergence": divergence}

    def _improve_model(self, state: VariBADState, ring: buffers.Ring, key: Key) -> tuple[BeliefParams, Any, Metrics]:
        """Steps up the evidence bound, each on trials of the ring."""

        def improve(carry: tuple[BeliefParams, Any], key: Key) -> tuple[tuple[BeliefParams, Any], Metrics]:
            model, optimizer = carry
            chosen_key, latent_key = jax.random.split(key)
            chosen = buffers.sample(ring, chosen_key, self.model_batch)
            loss = jax.grad(self.belief_model.loss, has_aux=True)
            slope, metrics = loss(model, chosen, self.prior_weight, latent_key)
            step, optimizer = self._optimizers[0].update(slope, optimizer, model)
            stepped: Any = optax.apply_updates(model, step)
            return (stepped, optimizer), metrics

        carry = (state.params.model, state.optimizers[0])
        (model, optimizer), metrics = jax.lax.scan(improve, carry, jax.random.split(key, self.model_updates))
        return model, optimizer, jax.tree.map(jnp.mean, metrics)
