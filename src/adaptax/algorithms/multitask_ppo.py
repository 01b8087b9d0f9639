"""Multi-task PPO with fine-tuning: the baseline that a meta-learner has to beat (Schulman et al. 2017 for PPO).

One policy π_θ is trained on all tasks at once, without being told which one it faces, and on a new task it goes on
learning from what it collects there:

    training      minimise over θ  mean_tasks L_clip(θ; D_i) − w H(π_θ)
    fine-tuning   φ ← φ − Adam_η( ∇_φ L_clip(φ; D) )  `fine_tuning_epochs` times after each round, from φ = θ

with L_clip = −mean( min(ρ Â, clip(ρ, 1−ε, 1+ε) Â) ), ρ = π/π_stored, and standardised advantages Â over the linear
feature baseline, fitted per task and round on the same data, as MAML and its descendants have them: what differs from
those is that nothing in training asks whether θ is a good place to go on from. Every step is on the whole batch. Adam's
moments on a new task begin as zeros.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..nets.policy import Batch, Policy, PolicyParams
from ..ops import policy_losses
from ..ops.descent import adam, descend
from ..ops.tasks import map_tasks, mean_gradient
from ..ranges import above, at_least, between, check_ranges
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Plan, Rollout, Spec, Timestep, Trial


class Adapted(NamedTuple):
    """φ, and Adam's state on this task."""

    policy: PolicyParams
    optimizer: Any


class MultitaskPPOState(NamedTuple):
    params: PolicyParams
    optimizer: Any
    iteration: Array


@dataclass(frozen=True)
class MultitaskPPO:
    """One policy for all tasks, fine-tuned on a new one."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 40
    """Tasks per iteration."""
    streams: Annotated[int, at_least(1)] = 20
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (100, 100)
    """Hidden units of the policy's layers."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ."""
    trace: Annotated[float, between(0, 1)] = 1.0
    """λ of the generalized advantage estimate."""
    clip: Annotated[float, above(0)] = 0.2
    """ε of the clipped probability ratio."""
    epochs: Annotated[int, at_least(1)] = 5
    """Gradient steps on the data of one iteration."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size in training."""
    fine_tuning_epochs: Annotated[int, at_least(0)] = 20
    """Gradient steps on each round of a new task."""
    fine_tuning_rate: Annotated[float, at_least(0)] = 1e-2
    """η: Adam's step size on a new task."""
    entropy: Annotated[float, at_least(0)] = 0.0
    """w: weight of the entropy bonus in training."""
    gradient_clip: Annotated[float, above(0)] = 1.0
    """Largest global norm of a gradient."""
    initial_std: Annotated[float, above(0)] = 1.0
    """Standard deviation of the actions before training (Box action spaces)."""
    minimum_std: Annotated[float, above(0)] = 0.1
    """Floor under the standard deviation of the actions."""

    def __post_init__(self) -> None:
        check_ranges(self)
        self._policy.check()

    @property
    def plan(self) -> Plan:
        steps = self.steps or self.spec.horizon * self.spec.episodes
        return Plan(self.tasks, rounds=1, streams=self.streams, steps=steps, lifetime=1)

    @property
    def _policy(self) -> Policy:
        return Policy(self.spec, self.hidden, self.initial_std, self.minimum_std)

    def _optimizer(self, rate: float) -> optax.GradientTransformation:
        return adam(rate, self.gradient_clip)

    # --- how the agent faces one task ---

    def begin(self, params: PolicyParams, key: Key, birth: Birth) -> Adapted:
        return Adapted(params, self._optimizer(self.fine_tuning_rate).init(params))

    def start(self, params: PolicyParams) -> Memory:
        return ()

    def act(
        self, params: PolicyParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self._policy.decide(adapted.policy, timestep, key), memory

    def adapt(self, params: PolicyParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        """Fine-tuning on one round."""
        batch, optimizer = self._batch(rollout), self._optimizer(self.fine_tuning_rate)

        def gradient(policy: PolicyParams, _: None) -> tuple[PolicyParams, Metrics]:
            return jax.grad(self.loss, has_aux=True)(policy, batch)

        start = (adapted.policy, adapted.optimizer)
        return Adapted(*descend(optimizer, gradient, start, steps=self.fine_tuning_epochs)[0])

    def _batch(self, rollout: Rollout) -> Batch:
        return self._policy.batch(rollout, self.discount, self.trace)

    # --- how the parameters learn from many tasks ---

    def init(self, key: Key) -> MultitaskPPOState:
        params = self._policy.init(key)
        return MultitaskPPOState(params, self._optimizer(self.learning_rate).init(params), jnp.zeros((), jnp.int32))

    def update(self, state: MultitaskPPOState, trials: Trial, key: Key) -> tuple[MultitaskPPOState, Metrics]:
        batches = map_tasks(lambda trial: self._batch(jax.tree.map(lambda x: x[0], trial.rollouts)), trials)

        def gradient(params: PolicyParams, _: None) -> tuple[PolicyParams, Metrics]:
            return mean_gradient(self._objective, params, batches)

        start, optimizer = (state.params, state.optimizer), self._optimizer(self.learning_rate)
        (params, moments), metrics = descend(optimizer, gradient, start, steps=self.epochs)
        return MultitaskPPOState(params, moments, state.iteration + 1), metrics

    def _objective(self, params: PolicyParams, batch: Batch) -> tuple[Array, Metrics]:
        """L_clip − w H of one task."""
        loss, metrics = self.loss(params, batch)
        return loss - self.entropy * metrics["entropy"], metrics

    def loss(self, policy: PolicyParams, batch: Batch) -> tuple[Array, Metrics]:
        """L_clip of one task, and what there is to say of it."""
        acts = self._policy.at(policy, batch)
        logs, stored = acts.log_probability(batch.action), batch.extras.log_probability
        loss = policy_losses.clipped_loss(logs, stored, batch.advantage, self.clip)
        divergence = policy_losses.approximate_divergence(logs, stored)
        return loss, {"loss": loss, "entropy": jnp.mean(acts.entropy()), "divergence": divergence}
