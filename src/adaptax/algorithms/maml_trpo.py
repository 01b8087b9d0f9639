"""MAML for reinforcement learning with its own outer step, TRPO (Finn et al. 2017, algorithm 3 and appendix A.2).

A policy π_θ meets a task, acts for one round, takes a policy-gradient step on what it saw, and acts again:

    inner   θ' = θ − α ∘ ∇_θ L(θ; D),        L(θ; D) = −mean( log π_θ(a|s) Â )
    outer   minimise over θ  mean_tasks L_ratio(θ'; D'),  L_ratio = −mean( π_θ'(a|s) / π_stored(a|s) Â )
            within  mean_tasks mean KL( π_stored ‖ π_θ' ) ≤ δ  on D'

D is the round before a step and D' the round after the last one; Â are standardised advantages over the linear
feature baseline, fitted per task and round on the same data; π_stored is the adapted policy that collected D'. The
outer step is the natural gradient by conjugate gradients, scaled to the trust region and shortened (by 0.8) until the
loss falls within it; every candidate repeats the inner steps from the stored D.

At the current θ the divergence is zero and has no slope, so its Hessian H in θ is Jᵀ F J without a further term: J the
Jacobian of the inner steps, an exact Hessian-vector product (`ops.inner`), F the Fisher matrix of π_θ'.

H is singular wherever the inner step undoes a change of θ, and a natural step without damping is longest just there:
it moves the policy before the inner step at no divergence and for no gain. Hence a `damping` much larger than in the
authors' code (1e-5 or none, with finite differences).

Variants by value: FOMAML (`first_order`), ANIL (`adapts` head), BOIL (`adapts` body; Oh et al. 2021), CAVIA (`adapts`
context; Zintgraf et al. 2019: the inner step moves further inputs of the network, which begin every lifetime as zeros,
and the outer step everything else), E-MAML (`exploration_credit`; Stadie et al. 2018,
in the form of Rothfuss et al. 2019's code: the log-likelihood of the pre-update actions times the post-update reward,
standardised over the meta-batch).
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from ..nets.policy import Adapts, Batch, Policy, PolicyParams, adapting, begun
from ..ops import inner, policy_losses, returns, trust_region
from ..ops.tasks import map_tasks, mean_gradient, mean_over_tasks
from ..ranges import above, at_least, between, check_ranges
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Plan, Rollout, Spec, Timestep, Trial


class Adapted(NamedTuple):
    """φ and how many inner steps led to it."""

    policy: PolicyParams
    steps: Array


class MAMLTRPOState(NamedTuple):
    params: PolicyParams
    iteration: Array


@dataclass(frozen=True)
class MAMLTRPO:
    """MAML with a policy-gradient inner step and a TRPO outer step."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 40
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 20
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    inner_steps: Annotated[int, at_least(0)] = 1
    """Gradient steps during meta-training."""
    step_size: Annotated[float, at_least(0)] = 0.1
    """α of the inner step."""
    later_step_scale: Annotated[float, at_least(0)] = 0.5
    """Factor on α at every inner step after those of meta-training."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (100, 100)
    """Hidden units of the policy's layers."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ."""
    trace: Annotated[float, between(0, 1)] = 1.0
    """λ of the generalized advantage estimate."""
    trust_region: Annotated[float, above(0)] = 0.01
    """δ: the largest mean KL divergence of an outer step."""
    conjugate_gradients: Annotated[int, at_least(1)] = 10
    """Iterations of the conjugate-gradient method."""
    damping: Annotated[float, at_least(0)] = 0.3
    """Added to the diagonal of the divergence's Hessian, which is blind to what the inner step undoes."""
    initial_std: Annotated[float, above(0)] = 1.0
    """Standard deviation of the actions before training (Box action spaces)."""
    minimum_std: Annotated[float, above(0)] = 1e-6
    """Floor under the standard deviation of the actions, adapted or not."""
    first_order: bool = False
    """Treat inner gradients as constants (FOMAML)."""
    adapts: Adapts = "all"
    """What the inner step moves: all of the policy, its head (the last layer: ANIL), its body (all but that: BOIL), or
    its context (further inputs, which begin as zeros: CAVIA)."""
    context: Annotated[int, at_least(1)] = 2
    """How many inputs the context has, if it adapts."""
    exploration_credit: bool = False
    """Credit what was done before the inner step with what was earned after it (E-MAML)."""

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

    def begin(self, params: PolicyParams, key: Key, birth: Birth) -> Adapted:
        return Adapted(begun(self.adapts, params), jnp.zeros((), jnp.int32))

    def start(self, params: PolicyParams) -> Memory:
        return ()

    def act(
        self, params: PolicyParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self._policy.decide(adapted.policy, timestep, key), memory

    def adapt(self, params: PolicyParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        """θ' = θ − α ∘ ∇_θ L(θ; D), with a shorter α after the steps of meta-training."""
        later = jnp.where(adapted.steps < self.inner_steps, 1.0, self.later_step_scale)
        policy = self._step(adapted.policy, self._batch(rollout), later)
        return Adapted(policy, adapted.steps + 1)

    def _step(self, policy: PolicyParams, batch: Batch, scale: Array | float = 1.0) -> PolicyParams:
        step = inner.first_order_step if self.first_order else inner.gradient_step
        return step(self.inner_loss, policy, self._step_sizes(policy, scale), batch)

    def _step_sizes(self, policy: PolicyParams, scale: Array | float) -> PolicyParams:
        """α for every parameter."""
        return adapting(self.adapts, jax.tree.map(lambda p: jnp.full_like(p, self.step_size) * scale, policy))

    def _batch(self, rollout: Rollout) -> Batch:
        """One round [B·T, ...]: products over two axes at once are slower."""
        batch = self._policy.batch(rollout, self.discount, self.trace)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)

    def inner_loss(self, policy: PolicyParams, batch: Batch) -> Array:
        """L(θ; D) = −mean(log π_θ(a|s) Â)."""
        logs = self._policy.at(policy, batch).log_probability(batch.action)
        return policy_losses.log_probability_loss(logs, batch.advantage)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> MAMLTRPOState:
        return MAMLTRPOState(self._policy.init(key), jnp.zeros((), jnp.int32))

    def update(self, state: MAMLTRPOState, trials: Trial, key: Key) -> tuple[MAMLTRPOState, Metrics]:
        batches = map_tasks(lambda trial: jax.lax.map(self._batch, trial.rollouts), trials)
        tasks = (batches, self._credits(trials))
        params = state.params

        def objective(params: PolicyParams, *task: Any) -> tuple[Array, Array]:
            loss, _ = self.outer(params, *task)
            return loss, loss

        def evaluate(params: PolicyParams) -> tuple[Array, Array]:
            return mean_over_tasks(lambda *task: self.outer(params, *task), *tasks)

        slope, losses = mean_gradient(objective, params, *tasks)
        before = jnp.mean(losses)
        step = trust_region.natural_step(
            lambda v: self._hessian_times(params, batches, v), slope, self.trust_region, self.conjugate_gradients
        )
        search = trust_region.line_search(evaluate, params, step, before, self.trust_region)
        metrics = {
            "loss": before,
            "improvement": before - search.loss,
            "divergence": search.divergence,
            "gradient_norm": jnp.sqrt(trust_region.dot(slope, slope)),
            "tried": search.tried.astype(jnp.float32),
            "rejected": 1.0 - search.accepted.astype(jnp.float32),
        }
        return MAMLTRPOState(search.params, state.iteration + 1), metrics

    def outer(self, params: PolicyParams, rounds: Batch, credit: Array) -> tuple[Array, Array]:
        """(loss, mean KL(π_stored ‖ π_θ') on D') of one task, θ' from the rounds [R, B·T] before the last."""
        policy, explored = begun(self.adapts, params), jnp.zeros((), jnp.float32)
        for index in range(self.inner_steps):
            batch = jax.tree.map(lambda x, i=index: x[i], rounds)
            if self.exploration_credit:
                logs = self._policy.at(policy, batch).log_probability(batch.action)
                explored += jnp.mean(logs)
            policy = self._step(policy, batch)
        query = jax.tree.map(lambda x: x[-1], rounds)
        distribution = self._policy.at(policy, query)
        logs = distribution.log_probability(query.action)
        loss = policy_losses.ratio_loss(logs, query.extras.log_probability, query.advantage)
        divergence = jnp.mean(query.extras.distribution.divergence(distribution))
        return loss - credit * explored, divergence

    def _credits(self, trials: Trial) -> Array:
        """[N]: the mean reward after the last inner step, standardised over all steps of the meta-batch; 0 for MAML."""
        after = returns.standardize(trials.rollouts.reward[:, -1])
        return jnp.mean(after, axis=(1, 2)) * self.exploration_credit

    def _hessian_times(self, params: PolicyParams, batches: Batch, tangent: PolicyParams) -> PolicyParams:
        """(Jᵀ F J + damping) v, the mean over tasks.

        A task is linearized again for every product: to keep what that computes, for all tasks, was slower.
        """

        def one(rounds: Batch) -> PolicyParams:
            policy, moved, jacobians = begun(self.adapts, params), begun(self.adapts, tangent), []
            for index in range(self.inner_steps):
                batch = jax.tree.map(lambda x, i=index: x[i], rounds)
                if self.first_order:
                    policy = self._step(policy, batch)
                    continue
                sizes = self._step_sizes(policy, 1.0)
                policy, jacobian = inner.linearized_step(self.inner_loss, policy, sizes, batch)
                moved = jacobian.push(moved)
                jacobians.append(jacobian)
            moved = self._fisher_times(policy, jax.tree.map(lambda x: x[-1], rounds), moved)
            for jacobian in reversed(jacobians):
                moved = jacobian.pull(moved)
            return begun(self.adapts, moved)

        return trust_region.add_scaled(mean_over_tasks(one, batches), jnp.float32(self.damping), tangent)

    def _fisher_times(self, policy: PolicyParams, query: Batch, tangent: PolicyParams) -> PolicyParams:
        """F v: the Hessian of mean KL(π_φ ‖ ·) at φ itself, times v."""
        distribution, push = jax.linearize(lambda p: self._policy.at(p, query), policy)
        curved = distribution.curvature(push(tangent))
        samples = query.advantage.shape[0]
        (pulled,) = jax.linear_transpose(push, policy)(jax.tree.map(lambda x: x / samples, curved))
        return pulled
