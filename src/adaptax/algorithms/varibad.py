"""VariBAD: a policy that reads a variational belief about the task (Zintgraf et al. 2020, algorithm 1).

An encoder q_φ reads a trial τ_:t step by step and holds a Gaussian over a latent m of the task; a decoder p_θ predicts
from m what any step of the trial pays (`nets.belief`). The policy acts on the state and on the belief, not on a sample:

    belief    b_t = (μ_t, log σ_t) of q_φ(m | τ_:t) = N(μ_t, σ_t²), recurrent over (s_{t−1}, a_{t−1}, r_{t−1}, s_t)
    model     maximise over φ, θ, per trial of T steps,
              Σ_{t=0}^{T} [ E_{m ~ q_t} Σ_{k=1}^{T} log p_θ(r_k | s_k, m) − w KL( q_t ‖ q_{t−1} ) ],  q_{−1} = N(0, I)
    policy    maximise E Σ_t γ^t r_t of π_ψ(a_t | s_t, b_t) by PPO

At every step the whole trial is predicted, its future included: b_t becomes a belief about what has not been seen yet,
and a policy that reads it can explore as a Bayes-optimal one would. q_0 is what the encoder says before it has read
anything. Its memory, a recurrent state or a transformer's key–value cache, lives for the whole trial. To the PPO loss
beliefs are inputs: it does not reach the encoder. The model learns from a ring of past trials, with an optimizer of its
own.

HyperX (Zintgraf et al. 2021) is VariBAD with `explore`: PPO learns from rewards with bonuses for new hyper-states
(`nets.bonuses`), weighted less and less. The encoder reads, and the ring holds, the rewards alone.

Differences from the authors' code: where an episode ends, the encoder is told so and reads the first observation of the
new one in place of the last one of the old, as the protocol has it (therefore it reads s_{t−1} too); the value loss is
relative to the variance of its targets, in place of a running normalisation of rewards; states and beliefs are
normalised only with `normalize`, by moments that forget; the ring begins empty.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import buffers
from ..nets import BOUNDED, recurrent_network
from ..nets.actor_critic import ActorCritic, ActorCriticParams
from ..nets.belief import Belief, BeliefMemory, BeliefParams, Story
from ..nets.bonuses import Bonuses, BonusState
from ..ops import distributions, minibatches, policy_losses, returns, running
from ..ops.descent import adam, stepper
from ..ops.distributions import DiagonalGaussian
from ..ops.observations import gather
from ..ops.running import Moments
from ..ranges import above, at_least, between, check_range, check_ranges
from ..types import Adapted, Array, Birth, Decision, Key, Metrics, Plan, Rollout, Spec, Timestep, Trial, UserError

# Least share of an iteration in the moments of the heads' inputs: beliefs drift while the encoder learns.
REMEMBERED = 1 / 500


class VariBADParams(NamedTuple):
    model: BeliefParams
    heads: ActorCriticParams  # ψ
    inputs: Moments | tuple[()] = ()  # of what the heads read, with `normalize`


class VariBADState(NamedTuple):
    params: VariBADParams
    optimizers: tuple[Any, Any]  # of the model and of the heads
    ring: buffers.Ring  # of past trials
    iteration: Array
    bonuses: BonusState | tuple[()] = ()


class Extras(NamedTuple):
    """What PPO needs to know of a decision."""

    log_probability: Array
    value: Array
    belief: Array  # (μ, log σ) [2 Z]


class Batch(NamedTuple):
    """Decisions one by one, as sequences of one step: leaves [1, S, ...]."""

    inputs: Any
    action: Array
    log_probability: Array
    advantage: Array
    target: Array
    weight: Array  # 0 after the trial's last episode, else 1
    allowed: Array | None
    memory: tuple[()] = ()


@dataclass(frozen=True)
class VariBAD:
    """A policy on a variational belief about the task, with PPO."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 16
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 1
    """Independent trials on each task."""
    episodes: Annotated[int | None, at_least(1)] = None
    """Episodes per trial; None: as many as the benchmark's protocol says."""
    latent: Annotated[int, at_least(1)] = 5
    """Z: size of m."""
    network: str = "gru"
    """The encoder's recurrent network: gru, lstm, or a transformer that attends to the whole trial."""
    hidden: Annotated[int, at_least(1)] = 64
    """Hidden units of the encoder's recurrent network."""
    embedding: Annotated[int, at_least(1)] = 32
    """Units of the ReLU layer through which the encoder reads."""
    decoder_hidden: Annotated[tuple[int, ...], at_least(1)] = (32, 32)
    """Hidden units of the decoder's layers."""
    cells: Annotated[tuple[int, ...], at_least(1)] = ()
    """How many whole numbers each coordinate of an observation counts, from the lowest: one head of the decoder for
    each place; (): observations are no places."""
    reward_model: Literal["gaussian", "bernoulli"] = "gaussian"
    """What the decoder predicts: the reward, with unit variance; or whether it is positive."""
    state_weight: Annotated[float, at_least(0)] = 0.0
    """Weight of predicting states too, for tasks that differ in dynamics; 0: rewards alone."""
    decoded_beliefs: Annotated[int | None, at_least(1)] = None
    """How many beliefs of a trial enter one estimate of the evidence bound, drawn evenly; None: all."""
    decoded_steps: Annotated[int | None, at_least(1)] = None
    """How many steps of the trial they predict, drawn evenly; None: all."""
    prior_weight: Annotated[float, at_least(0)] = 0.1
    """w: weight of KL(q_t ‖ q_{t−1})."""
    model_learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size for encoder and decoder."""
    model_updates: Annotated[int, at_least(1)] = 3
    """Steps of the model in one meta-iteration."""
    model_batch: Annotated[int, at_least(1)] = 25
    """Trials in each of them."""
    capacity: int = 20_000
    """Trials in the ring."""
    policy_hidden: Annotated[tuple[int, ...], at_least(1)] = (32,)
    """Hidden tanh units of the policy's layers and of the value's."""
    discount: Annotated[float, between(0, 1)] = 0.95
    """γ, over the whole trial."""
    trace: Annotated[float, between(0, 1)] = 0.95
    """λ of the generalized advantage estimate."""
    clip: Annotated[float, above(0)] = 0.05
    """ε of the clipped probability ratio."""
    epochs: Annotated[int, at_least(1)] = 2
    """Passes over the collected trials in one meta-iteration."""
    minibatches: Annotated[int, at_least(1)] = 4
    """Parts into which each pass is cut."""
    learning_rate: Annotated[float, above(0)] = 7e-4
    """Adam's step size for policy and value."""
    decay: Annotated[int | None, at_least(1)] = None
    """Meta-iterations over which both step sizes and the entropy bonus go linearly to zero; None: never."""
    entropy: Annotated[float, at_least(0)] = 0.01
    """Weight of the entropy bonus."""
    value_weight: Annotated[float, at_least(0)] = 0.5
    """Weight of the value loss."""
    gradient_clip: Annotated[float, above(0)] = 0.5
    """Largest global norm of a gradient of policy and value."""
    normalize: bool = False
    """Whether policy and value read states and beliefs less their running mean, in running deviations."""
    explore: bool = False
    """HyperX: policy and value learn from bonuses for new hyper-states too."""
    novelty_weight: Annotated[float, at_least(0)] = 1.0
    """λ_h: weight of the bonus for what random network distillation finds new."""
    surprise_weight: Annotated[float, at_least(0)] = 1.0
    """λ_v: weight of the bonus for what the decoder gets wrong."""
    anneal: Annotated[int | None, at_least(1)] = None
    """Meta-iterations over which both bonuses go linearly to zero; None: never."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_range("capacity", self.capacity, self.tasks * self.streams)
        check_range("minibatches", self.minibatches, 1, self.tasks * self.streams * self.plan.steps)
        recurrent_network(self.network)
        self.belief_model.check()
        if self.normalize and self.belief_model.perception.learned:
            raise UserError("normalize is for flat observations; these have images or tokens, so leave it off")
        distributions.outputs_needed(self.spec.action_space)

    @property
    def _episodes(self) -> int:
        return self.episodes or self.spec.episodes

    @property
    def plan(self) -> Plan:
        steps = self._episodes * self.spec.horizon
        context = steps if self.network in BOUNDED else None
        return Plan(self.tasks, 1, self.streams, steps, lifetime=1, context=context, episodes=self._episodes)

    @property
    def belief_model(self) -> Belief:
        """q_φ and p_θ."""
        sizes = (self.latent, self.hidden, self.embedding, self.decoder_hidden, self.cells)
        decoded = (self.state_weight, self.decoded_beliefs, self.decoded_steps)
        span = 1 if self.network == "gru" else self.plan.steps  # the authors' GRU begins with zero biases
        return Belief(self.spec, *sizes, self.reward_model == "bernoulli", *decoded, self.network, span)

    @property
    def exploration(self) -> Bonuses:
        return Bonuses(self.belief_model, self.novelty_weight, self.surprise_weight, self.discount)

    @property
    def _heads(self) -> ActorCritic:
        return ActorCritic(self.spec, self.belief_model.sizes[0] + 1 + 2 * self.latent, self.policy_hidden)

    # --- how the agent faces one task ---

    def begin(self, params: VariBADParams, key: Key, birth: Birth) -> Adapted:
        return ()

    def start(self, params: VariBADParams) -> BeliefMemory:
        return self.belief_model.start_trial(params.model)

    def act(
        self, params: VariBADParams, adapted: Adapted, memory: BeliefMemory, timestep: Timestep, key: Key
    ) -> tuple[Decision, BeliefMemory]:
        belief, memory = self.belief_model.follow(params.model, memory, timestep)
        read = self._inputs(params, self._read(timestep, belief))
        policy, value = self._heads.decide(params.heads, read, timestep.allowed)
        action = policy.sample(key)
        return Decision(action, Extras(policy.log_probability(action), value, belief)), memory

    def adapt(self, params: VariBADParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        return adapted

    def believed(self, params: VariBADParams, extras: Extras, key: Key) -> Array | None:
        """For pictures, where observations are places of a grid: what each belief expects there, [..., *cells]."""
        if len(self.cells) != 2:
            return None
        belief = DiagonalGaussian(*jnp.split(extras.belief, 2, axis=-1))
        return self.belief_model.expected_by_place(params.model, belief, key)

    def _inputs(self, params: VariBADParams, read: Any) -> Any:
        return running.normalize(params.inputs, read) if isinstance(params.inputs, Moments) else read

    def _read(self, timestep: Timestep, belief: Array) -> Any:
        first = timestep.first.astype(jnp.float32)[..., None]
        return gather(self.belief_model.keep(timestep.observation), first, belief)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> VariBADState:
        model_key, heads_key = jax.random.split(key)
        model, heads = self.belief_model.init(model_key), self._heads.init(heads_key)
        for_model, for_heads = self._optimizers
        optimizers = (for_model.init(model), for_heads.init(heads))
        ring = buffers.ring(self.belief_model.empty_story(self.plan.steps), self.capacity)
        bonuses = self.exploration.init(jax.random.fold_in(key, 2)) if self.explore else ()
        moments = running.no_moments((self._heads.inputs,)) if self.normalize else ()
        return VariBADState(VariBADParams(model, heads, moments), optimizers, ring, jnp.zeros((), jnp.int32), bonuses)

    @property
    def _optimizers(self) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """Of the model and of the heads."""
        model = adam(self.model_learning_rate, updates=self.decay and self.decay * self.model_updates)
        passes = self.decay and self.decay * self.epochs * self.minibatches
        return model, adam(self.learning_rate, self.gradient_clip, passes, eps=1e-5)

    def update(self, state: VariBADState, trials: Trial, key: Key) -> tuple[VariBADState, Metrics]:
        policy_key, model_key = jax.random.split(key)
        rollouts = jax.tree.map(lambda x: x[:, 0], trials.rollouts)  # the only round: [N, B, T]
        stories = self._stories(rollouts)
        ring = buffers.add(state.ring, stories)
        # A key besides the two: without bonuses, or once they are zero, HyperX is VariBAD to the last bit.
        rewards, bonuses, paid = self._rewards(state, stories, ring, jax.random.fold_in(key, 2))
        learnt_from = rollouts._replace(reward=rewards.reshape(rollouts.reward.shape))
        heads, optimizer, metrics = self._improve_heads(state, learnt_from, policy_key)
        model, model_optimizer, more = self._improve_model(state, ring, model_key)
        inputs = state.params.inputs
        if isinstance(inputs, Moments):
            read = self._read(rollouts.timestep, rollouts.decision.extras.belief)
            inputs = running.update(inputs, read, REMEMBERED, stories.within.reshape(rollouts.reward.shape))
        params, optimizers = VariBADParams(model, heads, inputs), (model_optimizer, optimizer)
        return VariBADState(params, optimizers, ring, state.iteration + 1, bonuses), metrics | more | paid

    def _stories(self, rollouts: Rollout) -> Story:
        """What the model sees of the trials [N, B, T]."""
        within = returns.within_episodes(jnp.moveaxis(rollouts.timestep.first, 2, 0), self._episodes)
        return self.belief_model.stories(rollouts, jnp.moveaxis(within, 0, 2).astype(jnp.float32))

    def _rewards(
        self, state: VariBADState, stories: Story, ring: buffers.Ring, key: Key
    ) -> tuple[Array, BonusState | tuple[()], Metrics]:
        """What policy and value learn from [S, T]: the rewards, with HyperX's bonuses if there are any."""
        if not isinstance(state.bonuses, BonusState):
            return stories.reward, (), {}
        sample_key, key = jax.random.split(key)
        past = buffers.sample(ring, sample_key, self.exploration.trials)
        remaining = self._remaining(state.iteration, self.anneal)
        return self.exploration.pay(state.bonuses, state.params.model, stories, past, remaining, key)

    def _improve_heads(
        self, state: VariBADState, rollouts: Rollout, key: Key
    ) -> tuple[ActorCriticParams, Any, Metrics]:
        """PPO on the stored beliefs."""
        weight = self.entropy * self._remaining(state.iteration, self.decay)
        improve = stepper(
            self._optimizers[1], jax.grad(lambda heads, part: self.loss(heads, part, weight), has_aux=True)
        )
        carry = (state.params.heads, state.optimizers[1])
        batch = self._prepare(state.params, rollouts)
        (heads, optimizer), metrics = minibatches.epochs(improve, carry, batch, key, self.epochs, self.minibatches)
        return heads, optimizer, jax.tree.map(jnp.mean, metrics)

    def _remaining(self, iteration: Array, decay: int | None) -> Array:
        if not decay:
            return jnp.ones((), jnp.float32)
        return jnp.maximum(1.0 - iteration.astype(jnp.float32) / decay, 0.0)

    def _prepare(self, params: VariBADParams, rollouts: Rollout) -> Batch:
        """Advantages over whole trials, and all decisions side by side."""
        of_steps = (rollouts.timestep, rollouts.decision, rollouts.reward)
        timestep, (action, extras), reward = jax.tree.map(minibatches.time_first, of_steps)
        weight = returns.within_episodes(timestep.first, self._episodes).astype(jnp.float32)
        value = extras.value * weight
        advantage = returns.trial_advantages(reward * weight, value, self.discount, self.trace)
        batch = Batch(
            self._inputs(params, self._read(timestep, extras.belief)),
            action,
            extras.log_probability,
            returns.standardize(advantage, weight=weight),
            advantage + value,
            weight,
            timestep.allowed,
        )
        return jax.tree.map(lambda x: x.reshape(1, -1, *x.shape[2:]), batch)

    def loss(self, heads: ActorCriticParams, batch: Batch, entropy_weight: Array) -> tuple[Array, Metrics]:
        """PPO's loss over some decisions, and its terms."""
        policy, value = self._heads.decide(heads, batch.inputs, batch.allowed)
        return policy_losses.proximal_loss(policy, value, batch, self.clip, self.value_weight, entropy_weight)

    def _improve_model(self, state: VariBADState, ring: buffers.Ring, key: Key) -> tuple[BeliefParams, Any, Metrics]:
        """Steps up the evidence bound, each on trials of the ring."""

        def loss(model: BeliefParams, key: Key) -> tuple[Array, Metrics]:
            chosen_key, latent_key = jax.random.split(key)
            chosen = buffers.sample(ring, chosen_key, self.model_batch)
            return self.belief_model.loss(model, chosen, self.prior_weight, latent_key)

        improve = stepper(self._optimizers[0], jax.grad(loss, has_aux=True))
        carry, keys = (state.params.model, state.optimizers[0]), jax.random.split(key, self.model_updates)
        (model, optimizer), metrics = jax.lax.scan(improve, carry, keys)
        return model, optimizer, jax.tree.map(jnp.mean, metrics)
