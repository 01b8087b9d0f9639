"""RL²: a recurrent policy that learns to learn (Duan et al. 2016; Wang et al. 2016), trained with PPO.

The policy π_θ(a_t | h_t) reads (φ(s_t), a_{t−1}, r_{t−1}, first_t) into its hidden state h_t, which lives for the whole
trial of n episodes on one task: the learned algorithm is the recurrence, and nothing is adapted otherwise. The
objective is the discounted return of the trial; neither the discount nor the advantage stops where an episode ends.

    maximise E_task E_trial [ Σ_t γ^t r_t ]      by PPO-clip (Schulman et al. 2017, eq. 7 and 9)

With a transformer the recurrence is its key–value cache, and h_t attends to all steps of the trial so far. E-RL²
(Stadie et al. 2018) leaves the rewards of the first k episodes, `exploration_episodes`, out of the sum: they are
perceived, but exploring need not pay for itself.

Differences from the paper: PPO with Adam in place of its TRPO; the value function shares the recurrence; tanh cells
without weight normalisation. With `episodes` left out, a trial has the benchmark's own number of episodes.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..nets import BOUNDED
from ..nets.mlp import Layer
from ..nets.network import uniform_weights
from ..nets.trial_encoder import TrialEncoder, TrialMemory
from ..ops import distributions, minibatches, policy_losses, returns
from ..ops.descent import adam, stepper
from ..ops.observations import Kept
from ..ranges import above, at_least, between, check_range, check_ranges
from ..types import Adapted, Array, Birth, Decision, Key, Metrics, Params, Plan, Rollout, Spec, Timestep, Trial


class RL2Params(NamedTuple):
    recurrence: Params
    layer: Layer | tuple[()]  # [hidden + O, head_hidden]; () where the heads read the hidden state itself
    heads: Array  # [head_hidden or hidden, outputs + 1]: the policy's outputs and the value
    bias: Array
    log_std: Array  # [D]; empty for discrete actions


class RL2State(NamedTuple):
    params: RL2Params
    optimizer: Any
    iteration: Array


class Extras(NamedTuple):
    """What PPO needs to know of a decision; all [...]."""

    log_probability: Array
    value: Array


class Batch(NamedTuple):
    """Whole trials, time first: [T, S, ...] with S streams of all tasks; `memory` [S, ...]."""

    inputs: Any
    observation: Kept
    action: Array
    log_probability: Array
    value: Array
    advantage: Array
    target: Array
    weight: Array  # 0 after the trial's last episode, else 1
    allowed: Array | None
    memory: TrialMemory


@dataclass(frozen=True)
class RL2:
    """RL² with PPO."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 256
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 1
    """Independent trials on each task."""
    episodes: Annotated[int | None, at_least(1)] = None
    """Episodes per trial; None: as many as the benchmark's protocol says."""
    network: str = "gru"
    """The recurrent network: gru, lstm, or a transformer that attends to the whole trial."""
    hidden: Annotated[int, at_least(1)] = 128
    """Hidden units of the recurrent network."""
    head_hidden: Annotated[int | None, at_least(1)] = None
    """Units of a ReLU layer that the policy and the value have in front of them, on the recurrence's output and the
    observation; None: no layer."""
    pairs: bool = False
    """Whether the recurrence also reads which observation–action pair the last reward came from, as one product."""
    exploration_episodes: int = 0
    """First episodes of a trial whose rewards are left out of the return that trains (E-RL²)."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ, over the whole trial."""
    trace: Annotated[float, between(0, 1)] = 0.95
    """λ of the generalized advantage estimate."""
    clip: Annotated[float, above(0)] = 0.2
    """ε of the clipped probability ratio."""
    epochs: Annotated[int, at_least(1)] = 4
    """Passes over the collected trials in one meta-iteration."""
    minibatches: Annotated[int, at_least(1)] = 4
    """Parts into which each pass is cut (whole trials)."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size."""
    decay: Annotated[int | None, at_least(1)] = None
    """Meta-iterations over which the step size goes linearly to zero, and the entropy bonus in two thirds of them;
    None: never."""
    entropy: Annotated[float, at_least(0)] = 0.0
    """Weight of the entropy bonus."""
    final_entropy: float = 0.0
    """What `decay` leaves of it."""
    value_weight: Annotated[float, at_least(0)] = 0.5
    """Weight of the value loss."""
    gradient_clip: Annotated[float, above(0)] = 0.5
    """Largest global norm of a gradient."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_range("final_entropy", self.final_entropy, 0, self.entropy)
        check_range("minibatches", self.minibatches, 1, self.tasks * self.streams)
        check_range("exploration_episodes", self.exploration_episodes, 0, (self.episodes or self.spec.episodes) - 1)
        distributions.outputs_needed(self.spec.action_space)
        self._encoder.check()

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

    # --- how the agent faces one task ---

    def begin(self, params: RL2Params, key: Key, birth: Birth) -> Adapted:
        return ()

    def start(self, params: RL2Params) -> TrialMemory:
        return self._encoder.start(params.recurrence)

    def act(
        self, params: RL2Params, adapted: Adapted, memory: TrialMemory, timestep: Timestep, key: Key
    ) -> tuple[Decision, TrialMemory]:
        hidden, memory = self._encoder.step(params.recurrence, memory, timestep)
        policy, value = self._heads(params, hidden, self._encoder.keep(timestep.observation), timestep.allowed)
        action = policy.sample(key)
        return Decision(action, Extras(policy.log_probability(action), value)), memory

    def adapt(self, params: RL2Params, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        return adapted

    def _heads(
        self, params: RL2Params, hidden: Array, observation: Kept, allowed: Array | None
    ) -> tuple[distributions.Distribution, Array]:
        if params.layer:
            seen = self._encoder.features(params.recurrence, observation)
            both = jnp.concatenate([hidden, seen], axis=-1)
            hidden = jax.nn.relu(both @ params.layer.weight + params.layer.bias)
        outputs = hidden @ params.heads + params.bias
        policy = distributions.action_distribution(self.spec.action_space, outputs[..., :-1], params.log_std, allowed)
        return policy, outputs[..., -1] * returns.longest(self.discount, self.plan.steps)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> RL2State:
        recurrence_key, policy_key, value_key = jax.random.split(key, 3)
        outputs = distributions.outputs_needed(self.spec.action_space)
        width = self.head_hidden or self.hidden
        policy = uniform_weights(policy_key, width, outputs, scale=0.01)
        value = uniform_weights(value_key, width, 1)
        layer: Layer | tuple[()] = ()
        if self.head_hidden:
            inputs = self.hidden + self._encoder.perception.observations.size
            # A key besides the three: agents with and without the layer begin with the same recurrence and heads.
            weight = uniform_weights(jax.random.fold_in(key, 3), inputs, self.head_hidden)
            layer = Layer(weight, jnp.zeros((self.head_hidden,), jnp.float32))
        params = RL2Params(
            self._encoder.init(recurrence_key),
            layer,
            jnp.concatenate([policy, value], axis=1),
            jnp.zeros((outputs + 1,), jnp.float32),
            distributions.initial_log_std(self.spec.action_space),
        )
        return RL2State(params, self._optimizer.init(params), jnp.zeros((), jnp.int32))

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        updates = self.decay and self.decay * self.epochs * self.minibatches
        return adam(self.learning_rate, self.gradient_clip, updates, eps=1e-5)

    def update(self, state: RL2State, trials: Trial, key: Key) -> tuple[RL2State, Metrics]:
        batch = self._prepare(state.params, trials)
        weight = self._entropy_weight(state.iteration)
        improve = stepper(self._optimizer, jax.grad(lambda params, part: self.loss(params, part, weight), has_aux=True))
        (params, optimizer), metrics = minibatches.epochs(
            improve, (state.params, state.optimizer), batch, key, self.epochs, self.minibatches
        )
        metrics = jax.tree.map(jnp.mean, metrics)
        return RL2State(params, optimizer, state.iteration + 1), metrics

    def _entropy_weight(self, iteration: Array) -> Array:
        """Falls to what is left at last by two thirds of `decay`: after that the policy still has to sharpen."""
        if not self.decay:
            return jnp.full((), self.entropy, jnp.float32)
        remaining = self.entropy * (1.0 - 1.5 * iteration.astype(jnp.float32) / self.decay)
        return jnp.maximum(remaining, self.final_entropy)

    def _prepare(self, params: RL2Params, trials: Trial) -> Batch:
        """Advantages over whole trials, and all streams of all tasks side by side."""
        rollouts = jax.tree.map(lambda x: x[:, 0], trials.rollouts)  # one round [N, B, T]
        timesteps = jax.tree.map(minibatches.time_first, rollouts.timestep)
        memory = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rollouts.memory)
        extras = jax.tree.map(minibatches.time_first, rollouts.decision.extras)
        reward = returns.without_first_episodes(
            minibatches.time_first(rollouts.reward), timesteps.first, self.exploration_episodes
        )
        weight = returns.within_episodes(timesteps.first, self._episodes).astype(jnp.float32)
        value = extras.value * weight
        advantage = returns.trial_advantages(reward * weight, value, self.discount, self.trace)
        return Batch(
            self._encoder.inputs(timesteps, memory),
            self._encoder.keep(timesteps.observation),
            minibatches.time_first(rollouts.decision.action),
            extras.log_probability,
            value,
            returns.standardize(advantage, weight=weight),
            advantage + value,
            weight,
            timesteps.allowed,
            memory,
        )

    def loss(self, params: RL2Params, batch: Batch, entropy_weight: Array) -> tuple[Array, Metrics]:
        """PPO's loss over some trials, and its terms."""
        hidden = self._encoder.unroll(params.recurrence, batch.memory, batch.inputs)
        policy, value = self._heads(params, hidden, batch.observation, batch.allowed)
        return policy_losses.proximal_loss(policy, value, batch, self.clip, self.value_weight, entropy_weight)
