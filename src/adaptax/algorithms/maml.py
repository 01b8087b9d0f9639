"""MAML for reinforcement learning (Finn et al. 2017, algorithm 3), with an Adam or PPO outer step.

A policy π_θ meets a task, acts for one round, takes a policy-gradient step on what it saw, and acts again:

    inner   θ' = θ − α ∘ ∇_θ L(θ; D),        L(θ; D) = −mean( log π_θ(a|s) Â )
    outer   minimise over θ  Σ_tasks L_PPO(θ'; D') ,   the gradient taken through θ' exactly

D is the round before a step and D' the round after the last one. Â are standardised advantages over the linear feature
baseline, fitted per task and round on the same data. The outer gradient is (I − α H) ∇L_PPO(θ'): a Hessian-vector
product (`ops.inner`). The log standard deviation of the actions is part of θ and is adapted too. The outer ratio is
against the stored log-probabilities of the adapted policy that collected D'; with `epochs` 1 it is exactly 1 and the
outer step is Adam on the bare policy gradient; with more, every epoch recomputes the inner steps from the stored D
with the current θ (PPO-clip).

Variants by value: FOMAML (`first_order`), ANIL (`adapts` head; Raghu et al. 2020), Meta-SGD (`learn_step_sizes`; Li
et al. 2017); BOIL and CAVIA (`adapts` body, context) as in `maml_trpo`. Differences from the paper: Adam or PPO in
place of TRPO, and with it a floor under the standard deviation and a gradient clip. As in the authors' code, steps
after the first one at meta-test are halved (`later_step_scale`), and what would follow a time limit is not bootstrapped
(`ops.baseline`).
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..nets.policy import Adapts, Batch, Policy, PolicyParams, adapting, begun
from ..ops import inner, policy_losses
from ..ops.descent import adam, descend
from ..ops.tasks import map_tasks, mean_gradient
from ..ranges import above, at_least, between, check_ranges
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Params, Plan, Rollout, Spec, Timestep, Trial


class MAMLParams(NamedTuple):
    policy: PolicyParams  # θ: what the inner step adapts
    step_sizes: PolicyParams  # α of every parameter


class MAMLAdapted(NamedTuple):
    """φ and how many inner steps led to it."""

    policy: PolicyParams
    steps: Array


class MAMLState(NamedTuple):
    params: MAMLParams
    optimizer: Any
    iteration: Array


@dataclass(frozen=True)
class MAML:
    """MAML with a policy-gradient inner step."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 20
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 20
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    inner_steps: Annotated[int, at_least(0)] = 1
    """Gradient steps during meta-training."""
    step_size: Annotated[float, at_least(0)] = 0.1
    """α of the inner step (the initial one, when step sizes are learned)."""
    later_step_scale: Annotated[float, at_least(0)] = 0.5
    """Factor on α at every inner step after those of meta-training."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (100, 100)
    """Hidden units of the policy's layers."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ."""
    trace: Annotated[float, between(0, 1)] = 1.0
    """λ of the generalized advantage estimate."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size in the outer loop."""
    decay: Annotated[int | None, at_least(1)] = None
    """Meta-iterations over which the outer step size goes linearly to zero; None: never."""
    epochs: Annotated[int, at_least(1)] = 1
    """Outer gradient steps on one meta-batch: 1 is Adam on the policy gradient, more is PPO."""
    clip: Annotated[float, above(0)] = 0.2
    """ε of the outer clipped probability ratio (it acts from the second epoch on)."""
    gradient_clip: Annotated[float, above(0)] = 1.0
    """Largest global norm of an outer gradient."""
    initial_std: Annotated[float, above(0)] = 1.0
    """Standard deviation of the actions before training (Box action spaces)."""
    minimum_std: Annotated[float, above(0)] = 0.1
    """Floor under the standard deviation of the actions, adapted or not."""
    first_order: bool = False
    """Treat inner gradients as constants (FOMAML)."""
    adapts: Adapts = "all"
    """What the inner step moves: all of the policy, its head (the last layer: ANIL), its body (all but that: BOIL), or
    its context (further inputs, which begin as zeros: CAVIA)."""
    context: Annotated[int, at_least(1)] = 2
    """How many inputs the context has, if it adapts."""
    learn_step_sizes: bool = False
    """Learn α of every parameter (Meta-SGD)."""

    def __post_init__(self) -> None:
        check_ranges(self)
        self._policy.check()

    @property
    def plan(self) -> Plan:
        rounds = self.inner_steps + 1
        steps = self.steps or self.spec.horizon * self.spec.episodes
        return Plan(self.tasks, rounds, self.streams, steps, lifetime=rounds)

    @property
    def _policy(self) -> Policy:
        context = self.context if self.adapts == "context" else 0
        return Policy(self.spec, self.hidden, self.initial_std, self.minimum_std, context)

    # --- how the agent faces one task ---

    def begin(self, params: MAMLParams, key: Key, birth: Birth) -> MAMLAdapted:
        return MAMLAdapted(begun(self.adapts, params.policy), jnp.zeros((), jnp.int32))

    def start(self, params: MAMLParams) -> Memory:
        return ()

    def act(
        self, params: MAMLParams, adapted: MAMLAdapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self._policy.decide(adapted.policy, timestep, key), memory

    def adapt(self, params: MAMLParams, adapted: MAMLAdapted, rollout: Rollout, key: Key) -> MAMLAdapted:
        return self._adapt(params, adapted, self._batch(rollout))

    def _adapt(self, params: MAMLParams, adapted: MAMLAdapted, batch: Batch) -> MAMLAdapted:
        """θ' = θ − α ∘ ∇_θ L(θ; D)."""
        later = jnp.where(adapted.steps < self.inner_steps, 1.0, self.later_step_scale)
        step_sizes = jax.tree.map(lambda a: a * later, adapting(self.adapts, params.step_sizes))
        step = inner.first_order_step if self.first_order else inner.gradient_step
        policy = step(self.inner_loss, adapted.policy, step_sizes, batch)
        return MAMLAdapted(policy, adapted.steps + 1)

    def _batch(self, rollout: Rollout) -> Batch:
        return self._policy.batch(rollout, self.discount, self.trace)

    def inner_loss(self, policy: PolicyParams, batch: Batch) -> Array:
        """L(θ; D) = −mean(log π_θ(a|s) Â)."""
        logs = self._policy.at(policy, batch).log_probability(batch.action)
        return policy_losses.log_probability_loss(logs, batch.advantage)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> MAMLState:
        policy = self._policy.init(key)
        params = MAMLParams(policy, jax.tree.map(lambda p: jnp.full_like(p, self.step_size), policy))
        return MAMLState(params, self._optimizer.init(self._learned(params)), jnp.zeros((), jnp.int32))

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.learning_rate, self.gradient_clip, self.decay and self.decay * self.epochs)

    def _learned(self, params: MAMLParams) -> Params:
        return params if self.learn_step_sizes else params.policy

    def _with(self, params: MAMLParams, learned: Params) -> MAMLParams:
        return learned if self.learn_step_sizes else params._replace(policy=learned)

    def update(self, state: MAMLState, trials: Trial, key: Key) -> tuple[MAMLState, Metrics]:
        batches = map_tasks(lambda trial: jax.lax.map(self._batch, trial.rollouts), trials)

        def loss(learned: Params, rounds: Batch) -> tuple[Array, Metrics]:
            return self.loss(self._with(state.params, learned), rounds)

        start = (self._learned(state.params), state.optimizer)
        (learned, optimizer), metrics = descend(
            self._optimizer, lambda learned, _: mean_gradient(loss, learned, batches), start, steps=self.epochs
        )
        return MAMLState(self._with(state.params, learned), optimizer, state.iteration + 1), metrics

    def loss(self, params: MAMLParams, rounds: Batch) -> tuple[Array, Metrics]:
        """L_PPO(θ'; D') of one task, θ' from the rounds [R, B, T] before the last; and its terms."""
        adapted = MAMLAdapted(begun(self.adapts, params.policy), jnp.zeros((), jnp.int32))
        for index in range(self.inner_steps):
            adapted = self._adapt(params, adapted, jax.tree.map(lambda x, i=index: x[i], rounds))
        query = jax.tree.map(lambda x: x[-1], rounds)
        policy = self._policy.at(adapted.policy, query)
        logs, stored = policy.log_probability(query.action), query.extras.log_probability
        loss = policy_losses.clipped_loss(logs, stored, query.advantage, self.clip)
        return loss, {
            "loss": loss,
            "entropy": jnp.mean(policy.entropy()),
            "divergence": policy_losses.approximate_divergence(logs, stored),
        }
