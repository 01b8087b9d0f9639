"""GMPS: guided meta-policy search (Mendonca et al. 2019, algorithm 2).

Meta-learning by imitation: of tasks that experts have mastered, an initialisation is learned whose inner step, a step
of reinforcement learning, ends where the expert of the task would act. Meta-iterations are of two kinds:

    experts   for `expert_iterations`: minimise over the experts π*_i the mean over tasks of L_clip(π*_i; D_i)   (PPO)
    then      inner   θ'_i = θ − α ∘ ∇_θ L_clip(θ; D_i),    D_i collected with θ
              outer   `adam_steps` steps of Adam on the mean over tasks of E_{s ~ S_i}[ −log π_θ'_i(a*_i(s) | s) ]

with L_clip(π; D) = −mean(min(ρ Â, clip(ρ, 1−ε, 1+ε) Â)), ρ = π/π_stored, and standardised advantages Â over the linear
feature baseline, fitted per task and round on the same data. a*_i(s) is the expert's most likely action. Each outer
step takes the inner step again, from the stored D_i and the current θ, and draws `batch` states of each task from S_i:
states that the expert visited and, with `relabel`, those that θ'_i has visited since, which the expert labels (DAgger).
At meta-test there is no expert: the agent is θ and gradient steps.

The experts are one policy that is told which training task it faces, as the paper allows: a network that all share,
with a learned context for each of the K training tasks (`experts.context` is [K, C]). The same inputs of θ's network
are a bias that all tasks share, learned and adapted like the rest of θ (the paper's bias transformation).

S is a ring of the last `capacity` states of each task, float32 [K, capacity, O], in which trials are entered one after
the other: a task that was drawn twice enters both of its trials. Only states are kept: experts do not change after
their phase, so that labels, made when a state is drawn, are always those of the final expert.

Differences from the paper: experts are trained here, by PPO, not beforehand by soft actor-critic, and their data count
as environment steps; S forgets; the inner ratio is clipped as PPO clips it; the standard deviation of the actions has a
floor, under which imitation would drive it; later inner steps are halved (`later_step_scale`), as in MAML's code.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import buffers
from ..nets.policy import Batch, Policy, PolicyParams
from ..ops import distributions, inner, policy_losses
from ..ops.descent import adam, descend
from ..ops.tasks import check_index, map_tasks, mean_gradient
from ..ranges import above, at_least, between, check_range, check_ranges
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Plan, Rollout, Spec, Timestep, Trial, UserError


class GMPSParams(NamedTuple):
    policy: PolicyParams  # θ
    step_sizes: PolicyParams  # α of every parameter
    experts: PolicyParams  # shared by all training tasks but for the context [K, C]
    imitating: Array  # bool []: whether the experts' phase is over


class GMPSAdapted(NamedTuple):
    """The policy to act with, whether it is an expert (which `adapt` leaves as it is), and how many steps it took."""

    policy: PolicyParams
    expert: Array
    steps: Array


class GMPSState(NamedTuple):
    params: GMPSParams
    optimizer: Any
    expert_optimizer: Any
    states: buffers.TaskRing  # S: of states [O], or of `Visited`
    iteration: Array


class Visited(NamedTuple):
    """States in which not every action can be chosen; leaves [...]."""

    observation: Any  # as it is kept
    allowed: Array


class Demonstration(NamedTuple):
    """States of one task and what its expert does there, `weight` 0 when there are none: leaves [batch, ...]."""

    observation: Any  # as it is kept
    action: Array
    weight: Array  # float32 []
    allowed: Array | None = None


@dataclass(frozen=True)
class GMPS:
    """An initialisation whose reinforcement-learning step imitates experts of the training tasks."""

    spec: Spec
    """What the environment looks like; `training_tasks` says how many experts there are."""
    tasks: Annotated[int, at_least(1)] = 20
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 20
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    expert_iterations: Annotated[int, at_least(1)] = 100
    """Meta-iterations in which the experts are trained, before imitation begins."""
    expert_epochs: Annotated[int, at_least(1)] = 20
    """Adam steps of the experts on the data of one meta-iteration."""
    expert_learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size for the experts."""
    clip: Annotated[float, above(0)] = 0.2
    """ε of the experts' clipped probability ratio."""
    step_size: Annotated[float, at_least(0)] = 0.1
    """α of the inner step (the initial one, when step sizes are learned)."""
    learn_step_sizes: bool = True
    """Learn α of every parameter."""
    later_step_scale: Annotated[float, at_least(0)] = 0.5
    """Factor on α at every inner step after the first one, the only one in meta-training."""
    inner_clip: Annotated[float, above(0)] = 0.5
    """ε of the inner step's clipped probability ratio (it acts from the second outer step on)."""
    adam_steps: Annotated[int, at_least(1)] = 20
    """Outer gradient steps on the data of one meta-iteration."""
    learning_rate: Annotated[float, above(0)] = 5e-4
    """Adam's step size in the outer loop."""
    gradient_clip: Annotated[float, above(0)] = 1.0
    """Largest global norm of a gradient, of an outer one or of the experts'."""
    relabel: bool = True
    """Imitate in the states that the adapted policy visits too (DAgger; off: only where the experts went)."""
    batch: Annotated[int, at_least(1)] = 200
    """States of each task that an outer step imitates in."""
    capacity: int = 4000
    """States that are kept of every training task, at least those of one round."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (100, 100)
    """Hidden units of the policy's layers, and of the experts'."""
    context: Annotated[int, at_least(1)] = 32
    """C: inputs that tell the experts the task, and are a learned bias of θ."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ."""
    trace: Annotated[float, between(0, 1)] = 1.0
    """λ of the generalized advantage estimate."""
    initial_std: Annotated[float, above(0)] = 1.0
    """Standard deviation of the actions before training (Box action spaces)."""
    minimum_std: Annotated[float, above(0)] = 0.1
    """Floor under the standard deviation of the actions, adapted or not."""

    def __post_init__(self) -> None:
        check_ranges(self)
        self._policy.check()
        if self.spec.training_tasks is None:
            raise UserError(
                "GMPS trains an expert for every training task, so it needs a benchmark with a finite training set, "
                "such as sparse-navigation or corner, and that benchmark's spec"
            )
        check_range("capacity", self.capacity, self.streams * self.plan.steps)

    @property
    def plan(self) -> Plan:
        steps = self.steps or self.spec.horizon * self.spec.episodes
        return Plan(self.tasks, 2, self.streams, steps, lifetime=2, training_tasks=self.spec.training_tasks)

    @property
    def _policy(self) -> Policy:
        return Policy(self.spec, self.hidden, self.initial_std, self.minimum_std, self.context)

    # --- how the agent faces one task ---

    def begin(self, params: GMPSParams, key: Key, birth: Birth) -> GMPSAdapted:
        """θ; in the experts' phase the expert, where the task is a training task."""
        check_index(birth.index, self.spec.training_tasks)
        expert = jnp.logical_and(jnp.logical_not(params.imitating), birth.index >= 0)
        own = self.expert(params.experts, birth.index)
        policy = jax.tree.map(lambda e, p: jnp.where(expert, e, p), own, params.policy)
        return GMPSAdapted(policy, expert, jnp.zeros((), jnp.int32))

    def start(self, params: GMPSParams) -> Memory:
        return ()

    def act(
        self, params: GMPSParams, adapted: GMPSAdapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self._policy.decide(adapted.policy, timestep, key), memory

    def adapt(self, params: GMPSParams, adapted: GMPSAdapted, rollout: Rollout, key: Key) -> GMPSAdapted:
        def step() -> PolicyParams:
            scale = jnp.where(adapted.steps == 0, 1.0, self.later_step_scale)
            step_sizes = jax.tree.map(lambda a: a * scale, params.step_sizes)
            return inner.gradient_step(self.inner_loss, adapted.policy, step_sizes, self._batch(rollout))

        policy = jax.lax.cond(adapted.expert, lambda: adapted.policy, step)
        return adapted._replace(policy=policy, steps=adapted.steps + 1)

    def expert(self, experts: PolicyParams, index: Array) -> PolicyParams:
        """π*_i of the training task i = `index`."""
        return experts._replace(context=experts.context[index])

    def _batch(self, rollout: Rollout) -> Batch:
        return self._policy.batch(rollout, self.discount, self.trace)

    def inner_loss(self, policy: PolicyParams, batch: Batch) -> Array:
        """L_clip(θ; D)."""
        logs, stored = self._policy.at(policy, batch).log_probability(batch.action), batch.extras.log_probability
        return policy_losses.clipped_loss(logs, stored, batch.advantage, self.inner_clip)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> GMPSState:
        policy_key, expert_key, context_key = jax.random.split(key, 3)
        count, policy = self.spec.training_tasks or 0, self._policy.init(policy_key)
        step_sizes = jax.tree.map(lambda p: jnp.full_like(p, self.step_size), policy)
        # Contexts that were all alike would be moved alike by what the tasks have in common.
        contexts = jax.random.normal(context_key, (count, self.context), jnp.float32)
        experts = self._policy.init(expert_key)._replace(context=contexts)
        params = GMPSParams(policy, step_sizes, experts, jnp.zeros((), bool))
        ring = buffers.task_ring(self._visited(self._policy.perception.nothing(), None, ()), count, self.capacity)
        optimizer = self._optimizer(self.learning_rate).init((policy, step_sizes))
        expert_optimizer = self._optimizer(self.expert_learning_rate).init(experts)
        return GMPSState(params, optimizer, expert_optimizer, ring, jnp.zeros((), jnp.int32))

    def _visited(self, observation: Any, allowed: Array | None, leading: tuple[int, ...]) -> Any:
        """What the ring keeps of states [*leading]."""
        masks = distributions.kept_masks(self.spec, allowed, leading)
        return observation if masks is None else Visited(observation, masks)

    def _optimizer(self, rate: float) -> optax.GradientTransformation:
        return adam(rate, self.gradient_clip)

    def update(self, state: GMPSState, trials: Trial, key: Key) -> tuple[GMPSState, Metrics]:
        batches = map_tasks(lambda trial: jax.lax.map(self._batch, trial.rollouts), trials)
        imitating = state.params.imitating
        count = len(trials.birth.index)
        seen = self._visited(batches.observation, batches.allowed, batches.action.shape)
        visited = jax.tree.map(lambda x: x[:, -1].reshape(count, -1, *x.shape[4:]), seen)
        ring = jax.lax.cond(
            jnp.logical_or(self.relabel, jnp.logical_not(imitating)),
            lambda: buffers.add_by_task(state.states, trials.birth.index, visited),
            lambda: state.states,
        )
        state = state._replace(states=ring, iteration=state.iteration + 1)
        state, metrics = jax.lax.cond(
            imitating, self.imitate, self.train_experts, state, batches, trials.birth.index, key
        )
        over = state.iteration >= self.expert_iterations
        return state._replace(params=state.params._replace(imitating=over)), metrics

    def train_experts(self, state: GMPSState, batches: Batch, index: Array, key: Key) -> tuple[GMPSState, Metrics]:
        """PPO on all rounds [N, R, B, T], in each of which the experts acted."""

        def gradient(experts: PolicyParams, _: None) -> tuple[PolicyParams, Metrics]:
            return mean_gradient(self.expert_loss, experts, batches, index)

        start, optimizer = (state.params.experts, state.expert_optimizer), self._optimizer(self.expert_learning_rate)
        (experts, moments), metrics = descend(optimizer, gradient, start, steps=self.expert_epochs)
        return state._replace(params=state.params._replace(experts=experts), expert_optimizer=moments), metrics

    def expert_loss(self, experts: PolicyParams, rounds: Batch, index: Array) -> tuple[Array, Metrics]:
        """L_clip of the expert of one task."""
        acted = self._policy.at(self.expert(experts, index), rounds)
        logs, stored = acted.log_probability(rounds.action), rounds.extras.log_probability
        loss = policy_losses.clipped_loss(logs, stored, rounds.advantage, self.clip)
        divergence = policy_losses.approximate_divergence(logs, stored)
        return loss, {"loss": loss, "entropy": jnp.mean(acted.entropy()), "divergence": divergence}

    def imitate(self, state: GMPSState, batches: Batch, index: Array, key: Key) -> tuple[GMPSState, Metrics]:
        """Outer steps, each on other states of the tasks in the meta-batch."""
        before = jax.tree.map(lambda x: x[:, 0], batches)
        demonstrate = jax.vmap(self.demonstrate, (None, None, 0, 0))

        def gradient(learned: tuple[PolicyParams, ...], key: Key) -> tuple[tuple[PolicyParams, ...], Metrics]:
            keys = jax.random.split(key, len(index))
            shown = demonstrate(state.params.experts, state.states, index, keys)
            return mean_gradient(self.loss, learned, before, shown)

        start = ((state.params.policy, state.params.step_sizes), state.optimizer)
        keys = jax.random.split(key, self.adam_steps)
        (learned, moments), metrics = descend(self._optimizer(self.learning_rate), gradient, start, keys)
        params = state.params._replace(policy=learned[0], step_sizes=learned[1])
        return state._replace(params=params, optimizer=moments), metrics

    def demonstrate(self, experts: PolicyParams, ring: buffers.TaskRing, index: Array, key: Key) -> Demonstration:
        """What the expert of one task does in `batch` states drawn from its ring."""
        drawn = buffers.sample_by_task(ring, key, index[None], self.batch)
        state = jax.tree.map(lambda x: x[0], drawn)
        observation, allowed = state if isinstance(state, Visited) else (state, None)
        action = self._policy.distribution(self.expert(experts, index), observation, allowed).mode()
        return Demonstration(observation, action, (ring.held[index] > 0).astype(jnp.float32), allowed)

    def loss(self, learned: tuple[PolicyParams, ...], before: Batch, shown: Demonstration) -> tuple[Array, Metrics]:
        """−mean(log π_θ'(a*|s)) of one task, θ' from θ and α (`learned`) and the round before."""
        policy, step_sizes = learned
        if not self.learn_step_sizes:
            step_sizes = jax.lax.stop_gradient(step_sizes)  # Adam leaves what has no gradient where it is
        stepped = inner.gradient_step(self.inner_loss, policy, step_sizes, before)
        adapted = self._policy.at(stepped, shown)
        loss = -jnp.mean(adapted.log_probability(shown.action)) * shown.weight
        logs = self._policy.at(policy, before).log_probability(before.action)
        divergence = policy_losses.approximate_divergence(logs, before.extras.log_probability)
        return loss, {"loss": loss, "entropy": jnp.mean(adapted.entropy()), "divergence": divergence}
