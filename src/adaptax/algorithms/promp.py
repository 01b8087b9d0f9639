"""ProMP: proximal meta-policy search (Rothfuss et al. 2019, algorithm 1).

A policy π_θ meets a task, acts for a round D, takes a policy-gradient step on it, and acts again for a round D':

    inner   θ' = θ − α ∇_θ L_ratio(θ; D),       L_ratio(θ; D) = −mean( π_θ(a|s) / π_stored(a|s) Â )
    outer   several Adam steps on the mean over tasks of
            L_clip(θ'; D') + η KL( π_stored ‖ π_θ ) on D

with Â standardised advantages over the linear feature baseline, fitted per task and round on the same data, and
π_stored the policy that collected the data. Every Adam step repeats the inner step from the stored D with the current
θ: L_clip keeps θ' near the policy that collected D', and the divergence keeps θ near the one that collected D.

What sets ProMP apart from MAML is the inner loss. Its value has the same gradient at π_stored as −mean(log π Â), but
its second derivative, through which the outer gradient flows, also credits θ for sampling a D from which the step was a
good one (the low-variance curvature surrogate, eq. 12; MAML's −mean(log π Â) lacks that term). With several inner
steps, the divergence is the mean over the rounds before them.

η is fixed, as in the authors' configurations; their rule that adapts it is left out. ANIL, BOIL and CAVIA have the same
inner and outer losses with `adapts` head, body and context (as in `maml_trpo`).
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..nets.policy import Adapts, Batch, Policy, PolicyParams, adapting, begun
from ..ops import inner, policy_losses
from ..ops.descent import descend
from ..ops.tasks import map_tasks, mean_gradient
from ..ranges import above, at_least, between, check_ranges
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Plan, Rollout, Spec, Timestep, Trial


class Adapted(NamedTuple):
    """The policy after the inner steps so far."""

    policy: PolicyParams


class ProMPState(NamedTuple):
    params: PolicyParams
    optimizer: Any
    iteration: Array


@dataclass(frozen=True)
class ProMP:
    """MAML whose inner step is credited for its data, with a proximal outer step."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 40
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 20
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    inner_steps: Annotated[int, at_least(1)] = 1
    """Gradient steps during meta-training."""
    step_size: Annotated[float, at_least(0)] = 0.1
    """α of the inner step."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (64, 64)
    """Hidden tanh units of the policy's layers."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ."""
    trace: Annotated[float, between(0, 1)] = 1.0
    """λ of the generalized advantage estimate."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size in the outer loop."""
    epochs: Annotated[int, at_least(1)] = 5
    """Outer gradient steps on one meta-batch."""
    clip: Annotated[float, above(0)] = 0.3
    """ε of the outer clipped probability ratio (it acts from the second epoch on)."""
    penalty: Annotated[float, at_least(0)] = 5e-4
    """η: weight of the divergence from the policy that collected the data before the inner step."""
    adapts: Adapts = "all"
    """What the inner step moves: all of the policy, its head (the last layer: ANIL), its body (all but that: BOIL), or
    its context (further inputs, which begin as zeros: CAVIA)."""
    context: Annotated[int, at_least(1)] = 2
    """How many inputs the context has, if it adapts."""
    initial_std: Annotated[float, above(0)] = 1.0
    """Standard deviation of the actions before training (Box action spaces)."""
    minimum_std: Annotated[float, above(0)] = 1e-6
    """Floor under the standard deviation of the actions, adapted or not."""

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
        return Policy(self.spec, self.hidden, self.initial_std, self.minimum_std, context, jnp.tanh)

    # --- how the agent faces one task ---

    def begin(self, params: PolicyParams, key: Key, birth: Birth) -> Adapted:
        return Adapted(begun(self.adapts, params))

    def start(self, params: PolicyParams) -> Memory:
        return ()

    def act(
        self, params: PolicyParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self._policy.decide(adapted.policy, timestep, key), memory

    def adapt(self, params: PolicyParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        return Adapted(self._step(adapted.policy, self._batch(rollout)))

    def _step(self, policy: PolicyParams, batch: Batch) -> PolicyParams:
        """θ' = θ − α ∇_θ L_ratio(θ; D)."""
        step_sizes = jax.tree.map(lambda p: jnp.full_like(p, self.step_size), policy)
        return inner.gradient_step(self.inner_loss, policy, adapting(self.adapts, step_sizes), batch)

    def _batch(self, rollout: Rollout) -> Batch:
        """One round [B·T, ...]: products over two axes at once are slower."""
        batch = self._policy.batch(rollout, self.discount, self.trace)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)

    def inner_loss(self, policy: PolicyParams, batch: Batch) -> Array:
        """L_ratio(θ; D) = −mean(π_θ(a|s) / π_stored(a|s) Â)."""
        logs = self._policy.at(policy, batch).log_probability(batch.action)
        return policy_losses.ratio_loss(logs, batch.extras.log_probability, batch.advantage)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> ProMPState:
        params = self._policy.init(key)
        return ProMPState(params, self._optimizer.init(params), jnp.zeros((), jnp.int32))

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    def update(self, state: ProMPState, trials: Trial, key: Key) -> tuple[ProMPState, Metrics]:
        batches = map_tasks(lambda trial: jax.lax.map(self._batch, trial.rollouts), trials)

        start = (state.params, state.optimizer)
        (params, optimizer), metrics = descend(
            self._optimizer, lambda params, _: mean_gradient(self.loss, params, batches), start, steps=self.epochs
        )
        return ProMPState(params, optimizer, state.iteration + 1), metrics

    def loss(self, params: PolicyParams, rounds: Batch) -> tuple[Array, Metrics]:
        """L_clip(θ'; D') + η KL(π_stored ‖ π_θ) of one task, from its rounds [R, B·T]; and its terms."""
        policy, moved = begun(self.adapts, params), jnp.zeros((), jnp.float32)
        for index in range(self.inner_steps):
            batch = jax.tree.map(lambda x, i=index: x[i], rounds)
            current = self._policy.at(policy, batch)
            moved += jnp.mean(batch.extras.distribution.divergence(current)) / self.inner_steps
            policy = self._step(policy, batch)
        query = jax.tree.map(lambda x: x[-1], rounds)
        adapted = self._policy.at(policy, query)
        logs, stored = adapted.log_probability(query.action), query.extras.log_probability
        loss = policy_losses.clipped_loss(logs, stored, query.advantage, self.clip) + self.penalty * moved
        return loss, {
            "loss": loss,
            "entropy": jnp.mean(adapted.entropy()),
            "divergence": policy_losses.approximate_divergence(logs, stored),
            "divergence_before": moved,
        }
