"""Off-policy RL² for discrete actions: a recurrent, double, dueling DQN over whole trials.

As in RL² (Duan et al. 2016), h_t reads (φ(s_t), a_{t−1}, r_{t−1}, first_t) and lives for the trial of n episodes on one
task. Q_θ(h_t, ·) is learned from trials of the past, which a ring keeps, in place of PPO on fresh ones; with
ā = argmax_a Q_θ(h_{t+1}, a) (van Hasselt et al. 2016),

    y_t = r_t + γ Q_θ̄(h̄_{t+1}, ā),  y_T = r_T,      minimise mean_t (Q_θ(h_t, a_t) − y_t)² / var(y)

Neither the discount nor the target stops where an episode ends: only the trial's last step is terminal. Both networks
read every drawn trial from its start; no hidden state is stored, so none is stale. θ̄ covers the recurrence and the
head, and follows θ at rate τ after every gradient step. Q = V + A − mean A (Wang et al. 2016), from (h_t, φ(s_t)).

In training an action is random with probability ε, which falls linearly over meta-iterations and reaches `act` as a
part of the parameters; an evaluated agent has an ε of its own. Liu et al. 2021 (DREAM) explore with such a DQN; Grigsby
et al. 2024 (AMAGO) show what off-policy RL² is worth at scale.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import optax

from .. import buffers
from ..nets import BOUNDED
from ..nets.mlp import mlp
from ..nets.network import Network
from ..nets.trial_encoder import PastTrial, TrialEncoder, TrialMemory, time_first
from ..ops import distributions, returns, weighted
from ..ops.averaging import polyak
from ..ops.descent import adam, step
from ..ops.epsilon_greedy import annealed, epsilon_greedy
from ..ops.observations import Kept
from ..ops.temporal_difference import dueling, q_learning_target
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


class Values(NamedTuple):
    """θ."""

    recurrence: Params
    head: Params


class RL2DQNParams(NamedTuple):
    values: Values
    epsilon: Array  # float32 []: the present chance of a random action


class RL2DQNState(NamedTuple):
    params: RL2DQNParams
    target: Values  # θ̄
    optimizer: Any
    ring: buffers.Ring  # of PastTrial
    iteration: Array


Learned = tuple[Values, Values, Any]  # what a gradient step changes: θ, θ̄, optimizer


@dataclass(frozen=True)
class RL2DQN:
    """RL² with a recurrent DQN."""

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
    """Hidden ReLU units of the head's layers, on the recurrence's output and the observation."""
    pairs: bool = False
    """Whether the recurrence also reads which observation–action pair the last reward came from, as one product."""
    exploration_episodes: int = 0
    """First episodes of a trial whose rewards are left out of the return that trains (E-RL²)."""
    double: bool = True
    """Whether the online network chooses the action that the target network values."""
    dueling: bool = True
    """Whether the head is a value and advantages."""
    gradient_steps: Annotated[int, at_least(1)] = 10
    """Gradient steps in one meta-iteration."""
    batch: int = 64
    """Whole trials in each of them."""
    capacity: int = 10_000
    """Trials in the ring."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ, over the whole trial."""
    target_rate: Annotated[float, above(0), at_most(1)] = 0.01
    """τ: rate at which the target network follows, at every gradient step."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size."""
    decay: Annotated[int | None, at_least(1)] = None
    """Meta-iterations over which the step size goes linearly to zero; None: never."""
    gradient_clip: Annotated[float, above(0)] = 0.5
    """Largest global norm of a gradient."""
    epsilon: Annotated[float, between(0, 1)] = 1.0
    """Chance of a random action in the first meta-iteration."""
    final_epsilon: Annotated[float, between(0, 1)] = 0.05
    """Chance of a random action once `epsilon_decay` meta-iterations are over."""
    epsilon_decay: Annotated[int, at_least(1)] = 200
    """Meta-iterations over which it falls, linearly."""
    judged_epsilon: Annotated[float, between(0, 1)] = 0.0
    """Chance of a random action when the agent is evaluated."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_range("exploration_episodes", self.exploration_episodes, 0, (self.episodes or self.spec.episodes) - 1)
        check_range("capacity", self.capacity, self.tasks * self.streams)
        check_range("batch", self.batch, 1, self.capacity)
        self._encoder.check()
        if not isinstance(self.spec.action_space, gymnasium.spaces.Discrete):
            raise UserError(
                f"rl2-dqn needs discrete actions; the action space here is {self.spec.action_space}; rl2-sac and rl2 "
                "take continuous ones"
            )

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
    def _actions(self) -> int:
        return distributions.outputs_needed(self.spec.action_space)

    @property
    def _head(self) -> Network:
        inputs = self.hidden + self._encoder.perception.observations.size
        return mlp((inputs, *self.head_hidden, self._actions + self.dueling), last_scale=0.01)

    # --- how the agent faces one task ---

    def begin(self, params: RL2DQNParams, key: Key, birth: Birth) -> Array:
        """The chance of a random action."""
        return jnp.where(birth.judged, jnp.float32(self.judged_epsilon), params.epsilon)

    def start(self, params: RL2DQNParams) -> TrialMemory:
        return self._encoder.start(params.values.recurrence)

    def act(
        self, params: RL2DQNParams, adapted: Array, memory: TrialMemory, timestep: Timestep, key: Key
    ) -> tuple[Decision, TrialMemory]:
        hidden, memory = self._encoder.step(params.values.recurrence, memory, timestep)
        values = self._values(params.values, hidden, self._encoder.keep(timestep.observation))
        return Decision(epsilon_greedy(values, adapted, key, timestep.allowed)), memory

    def adapt(self, params: RL2DQNParams, adapted: Array, rollout: Rollout, key: Key) -> Adapted:
        return adapted

    def _values(self, params: Values, hidden: Array, observation: Kept) -> Array:
        """Q(h, ·) [..., A], in units of the longest return."""
        seen = self._encoder.features(params.recurrence, observation)
        outputs, _ = self._head.apply(params.head, (), jnp.concatenate([hidden, seen], axis=-1))
        if self.dueling:
            outputs = dueling(outputs[..., :1], outputs[..., 1:])
        return outputs * returns.longest(self.discount, self.plan.steps)

    def values(self, params: Values, trials: PastTrial) -> Array:
        """Q(h_t, ·) [T, S, A] at every step of `trials` [T, S, ...], time first."""
        hidden = self._encoder.encode(params.recurrence, trials)
        return self._values(params, hidden, self._encoder.keep(trials.observation))

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> RL2DQNState:
        recurrence_key, head_key = jax.random.split(key)
        values = Values(self._encoder.init(recurrence_key), self._head.init(head_key))
        ring = buffers.ring(self._encoder.empty(), self.capacity)
        iteration = jnp.zeros((), jnp.int32)
        params = RL2DQNParams(values, self._epsilon(iteration))
        return RL2DQNState(params, values, self._optimizer.init(values), ring, iteration)

    def _epsilon(self, iteration: Array) -> Array:
        """The chance of a random action after so many meta-iterations."""
        return annealed(self.epsilon, self.final_epsilon, self.epsilon_decay, iteration)

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.learning_rate, self.gradient_clip, self.decay and self.decay * self.gradient_steps, eps=1e-5)

    def update(self, state: RL2DQNState, trials: Trial, key: Key) -> tuple[RL2DQNState, Metrics]:
        rollouts = jax.tree.map(lambda x: x[:, 0], trials.rollouts)  # the only round: [N, B, T]
        ring = buffers.add(state.ring, self._encoder.past(rollouts))

        def improve(learned: Learned, key: Key) -> tuple[Learned, Metrics]:
            return self.gradient_step(learned, time_first(buffers.sample(ring, key, self.batch)))

        learned = (state.params.values, state.target, state.optimizer)
        learned, metrics = jax.lax.scan(improve, learned, jax.random.split(key, self.gradient_steps))
        values, target, optimizer = learned
        metrics = {**jax.tree.map(jnp.mean, metrics), "epsilon": state.params.epsilon}
        iteration = state.iteration + 1
        params = RL2DQNParams(values, self._epsilon(iteration))
        return RL2DQNState(params, target, optimizer, ring, iteration), metrics

    def gradient_step(self, learned: Learned, trials: PastTrial) -> tuple[Learned, Metrics]:
        """One step of θ, and of θ̄ after it, on `trials` [T, S, ...]."""
        values, target, optimizer = learned
        slope, metrics = jax.grad(self.loss, has_aux=True)(values, target, trials)
        values, optimizer = step(self._optimizer, values, optimizer, slope)
        return (values, polyak(target, values, self.target_rate), optimizer), metrics

    def loss(self, values: Values, target: Values, trials: PastTrial) -> tuple[Array, Metrics]:
        """The squared error on `trials` [T, S, ...], relative to the variance of its targets, and metrics."""
        online, lagging = self.values(values, trials), self.values(target, trials)
        goal = self.targets(trials, online, lagging)
        chosen = jnp.take_along_axis(online, trials.action[..., None], axis=-1)[..., 0]
        # Relative to what is to be explained: its slope is then of one size whatever the unit and length of returns.
        weight = returns.within_episodes(trials.first, self._episodes).astype(jnp.float32)
        error = weighted.mean(jnp.square(chosen - goal), weight) / (weighted.variance(goal, weight) + 1e-8)
        return error, {"value_error": error, "value": weighted.mean(chosen, weight)}

    def targets(self, trials: PastTrial, online: Array, lagging: Array) -> Array:
        """y [T, S], from the Q-values [T, S, A] of θ and of θ̄ on `trials` [T, S, ...]."""
        reward = returns.without_first_episodes(trials.reward, trials.first, self.exploration_episodes)
        # The trial ends with its last episode and is worth nothing after; inside it, nothing ends.
        over = ~returns.of_the_next_step(returns.within_episodes(trials.first, self._episodes))
        online, lagging = returns.of_the_next_step(online), returns.of_the_next_step(lagging)
        allowed = None if trials.allowed is None else returns.of_the_next_step(trials.allowed)
        return q_learning_target(reward, over, self.discount, online, lagging, self.double, allowed)
