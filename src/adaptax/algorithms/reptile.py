"""Reptile with policy gradients (Nichol et al. 2018, algorithm 2).

On each task of a meta-batch a policy takes k steps, every one on a fresh round of its own experience, and the
initialisation moves towards where they led:

    W_i = U^k(φ; task i),      φ ← φ + ε mean_i( W_i − φ )

U is a step of Adam with β₁ = 0 on L(φ; D) = −mean(log π_φ(a|s) Â), Â standardised advantages over the linear feature
baseline; Adam's second moment belongs to the task and begins with it. No gradient flows through a step. ε goes linearly
to zero over `decay` meta-iterations.

To leading order in the step size the expected move is k times the mean gradient over tasks plus k(k − 1)/2 times a
term that makes a task's successive gradients agree (their inner product grows): with k = 1 Reptile is joint training.
The authors report no success with reinforcement learning; there each step's data depends on the steps before, and
nothing credits φ for what it explores.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..nets.policy import Batch, Policy, PolicyParams
from ..ops import descent, policy_losses
from ..ops.tasks import map_tasks
from ..ranges import above, at_least, between, check_ranges
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Plan, Rollout, Spec, Timestep, Trial


class Adapted(NamedTuple):
    """φ after the steps so far, and Adam's state on this task."""

    policy: PolicyParams
    optimizer: Any


class ReptileState(NamedTuple):
    params: PolicyParams
    iteration: Array


@dataclass(frozen=True)
class Reptile:
    """An initialisation that moves towards what each task makes of it."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 20
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 20
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    inner_steps: Annotated[int, at_least(1)] = 5
    """k: rounds per task, with a step after each."""
    step_size: Annotated[float, at_least(0)] = 0.01
    """Adam's step size on a task."""
    interpolation: Annotated[float, between(0, 1)] = 1.0
    """ε: how far the initialisation moves towards the adapted parameters."""
    decay: Annotated[int | None, at_least(1)] = None
    """Meta-iterations over which ε goes linearly to zero; None: never."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (100, 100)
    """Hidden units of the policy's layers."""
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

    @property
    def plan(self) -> Plan:
        steps = self.steps or self.spec.horizon * self.spec.episodes
        return Plan(self.tasks, self.inner_steps, self.streams, steps, lifetime=self.inner_steps)

    @property
    def _policy(self) -> Policy:
        return Policy(self.spec, self.hidden, self.initial_std, self.minimum_std)

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.step_size, b1=0.0)

    # --- how the agent faces one task ---

    def begin(self, params: PolicyParams, key: Key, birth: Birth) -> Adapted:
        return Adapted(params, self._optimizer.init(params))

    def start(self, params: PolicyParams) -> Memory:
        return ()

    def act(
        self, params: PolicyParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self._policy.decide(adapted.policy, timestep, key), memory

    def adapt(self, params: PolicyParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        """U: a step of Adam on L(φ; D)."""
        slope = jax.grad(self.inner_loss)(adapted.policy, self._batch(rollout))
        return Adapted(*descent.step(self._optimizer, *adapted, slope))

    def _batch(self, rollout: Rollout) -> Batch:
        return self._policy.batch(rollout, self.discount, self.trace)

    def inner_loss(self, policy: PolicyParams, batch: Batch) -> Array:
        """L(φ; D) = −mean(log π_φ(a|s) Â)."""
        logs = self._policy.at(policy, batch).log_probability(batch.action)
        return policy_losses.log_probability_loss(logs, batch.advantage)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> ReptileState:
        return ReptileState(self._policy.init(key), jnp.zeros((), jnp.int32))

    def update(self, state: ReptileState, trials: Trial, key: Key) -> tuple[ReptileState, Metrics]:
        reached, divergences = map_tasks(lambda trial: self._live(state.params, trial), trials)
        move = jax.tree.map(lambda reached, params: jnp.mean(reached - params, axis=0), reached, state.params)
        scale = self.interpolation * self._remaining(state.iteration)
        params = jax.tree.map(lambda p, m: p + scale * m, state.params, move)
        metrics = {"move": optax.tree.norm(move), "divergence": jnp.mean(divergences)}
        return ReptileState(params, state.iteration + 1), metrics

    def _live(self, params: PolicyParams, trial: Trial) -> tuple[PolicyParams, Array]:
        """W_i, the k steps of one trial [R, B, T] taken again; and how far the policy of the last round is from the one
        that acted in it (0)."""

        def step(adapted: Adapted, seen: tuple[Rollout, Key]) -> tuple[Adapted, PolicyParams]:
            return self.adapt(params, adapted, *seen), adapted.policy

        adapted, acted = jax.lax.scan(
            step, self.begin(params, trial.birth_key, trial.birth), (trial.rollouts, trial.keys)
        )
        acted, last = jax.tree.map(lambda x: x[-1], (acted, trial.rollouts))
        batch = self._batch(last)
        logs = self._policy.at(acted, batch).log_probability(batch.action)
        return adapted.policy, policy_losses.approximate_divergence(logs, batch.extras.log_probability)

    def _remaining(self, iteration: Array) -> Array:
        if not self.decay:
            return jnp.ones((), jnp.float32)
        return jnp.maximum(1.0 - iteration.astype(jnp.float32) / self.decay, 0.0)
