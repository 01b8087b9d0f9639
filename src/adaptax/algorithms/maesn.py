"""MAESN: meta-reinforcement learning of structured exploration strategies (Gupta et al. 2018, algorithm 1).

A policy π_θ(a|s, z) reads a latent z that is drawn once per episode, so that what is random is what a whole episode is
about, and not each action. Every training task i has a Gaussian of its own from which z comes:

    draw    z = μ + σ ε,  ε ~ N(0, I),  at the start of every episode
    inner   (μ_i', log σ_i') = (μ_i, log σ_i) − α ∘ ∇ L_z(μ_i, σ_i; D),   L_z = −mean_episodes( log N(z; μ, σ²) Â_z )
    outer   minimise over θ, all (μ_i, σ_i) and α
            mean_tasks [ L_ratio(θ, μ_i', σ_i'; D') + w KL( N(μ_i, σ_i²) ‖ N(0, I) ) ]
            within  mean_tasks mean KL( π_stored ‖ π ) ≤ δ  on D',
            L_ratio = −mean( π_θ(a | s, μ_i' + σ_i' ε) / π_stored(a|s) Â )

D is the round before a step and D' the round after the last one. Â are standardised advantages over the linear feature
baseline, fitted per task and round on the same data; Â_z those of the first step of each episode, which are the
episodes' returns less what the start predicts, standardised over the episodes. The outer loss moves z with (μ_i', σ_i')
at the ε that was drawn. The outer step is TRPO's (`ops.trust_region`), every candidate repeating the inner steps.

The divergence keeps the (μ_i, σ_i) before the step near the prior N(0, I): it is from there that a new task begins, and
a policy that has learned to do something sensible with every likely z explores by drawing one. The published way is to
meta-train on dense rewards, where the step is easily learned, and to adapt to new tasks by sparse ones.

α is learned, one for each entry of μ and of log σ. At test the first `inner_steps` + 1 steps are of this size and every
later one half as long as that before it. As in the authors' code, the inner step leaves θ alone (the paper's text
adapts it too; in the code a switch that is zero by default multiplies that gradient).
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from ..nets.policy import Batch, Policy, PolicyParams
from ..ops import chance, policy_losses, trust_region
from ..ops.distributions import DiagonalGaussian, Distribution
from ..ops.tasks import check_index, map_tasks, mean_gradient, mean_over_tasks
from ..ranges import above, at_least, between, check_ranges
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Plan, Rollout, Spec, Timestep, Trial, UserError


class Latent(NamedTuple):
    """μ and log σ, or a step size for each of their entries."""

    mean: Array
    log_std: Array


class MAESNParams(NamedTuple):
    policy: PolicyParams  # θ
    latents: Latent  # of every training task: [K, Z]
    step_sizes: Latent  # α [Z]


class Adapted(NamedTuple):
    """(μ, log σ) after the inner steps so far [Z], and how many there were."""

    latent: Latent
    steps: Array


class MAESNState(NamedTuple):
    params: MAESNParams
    iteration: Array


class Extras(NamedTuple):
    """The distribution that an action was drawn from, the action's log-probability in it, and the episode's ε and z."""

    log_probability: Array
    distribution: Distribution
    noise: Array
    latent: Array


class Round(NamedTuple):
    """One round as the losses see it: leaves [B·T, ...]."""

    batch: Batch
    weight: Array  # Â_z at the first step of each episode over their number, elsewhere 0


@dataclass(frozen=True)
class MAESN:
    """Exploration by a latent that is drawn once per episode, whose distribution adapts."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 20
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 20
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    inner_steps: Annotated[int, at_least(1)] = 1
    """Gradient steps during meta-training."""
    step_size: Annotated[float, at_least(0)] = 0.5
    """α before training."""
    learn_step_sizes: bool = True
    """Learn α (off: it stays as it is)."""
    later_step_scale: Annotated[float, at_least(0)] = 0.5
    """Factor on α at each inner step beyond one more than those of meta-training, over that of the step before."""
    latent: Annotated[int, at_least(1)] = 2
    """Size of z."""
    prior_weight: Annotated[float, at_least(0)] = 0.1
    """w: weight of the divergence of the tasks' latents from N(0, I)."""
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
    damping: Annotated[float, at_least(0)] = 1e-2
    """Added to the diagonal of the divergence's Hessian."""
    initial_std: Annotated[float, above(0)] = 1.0
    """Standard deviation of the actions before training (Box action spaces)."""
    minimum_std: Annotated[float, above(0)] = 1e-6
    """Floor under the standard deviation of the actions."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.spec.training_tasks is None:
            raise UserError(
                "maesn keeps a latent of every training task: it needs a benchmark with a finite training set, such as "
                "sparse-navigation, not one that draws its tasks afresh"
            )
        self._policy.check()

    @property
    def plan(self) -> Plan:
        rounds = self.inner_steps + 1
        steps = self.steps or self.spec.horizon * self.spec.episodes
        known = self.spec.training_tasks
        return Plan(self.tasks, rounds, self.streams, steps, lifetime=rounds, training_tasks=known)

    @property
    def _policy(self) -> Policy:
        return Policy(self.spec, self.hidden, self.initial_std, self.minimum_std, self.latent)

    def policy(self, params: MAESNParams, latent: Array) -> PolicyParams:
        """θ of π_θ(· | s, z) for latents z [..., Z]."""
        return params.policy._replace(context=latent)

    # --- how the agent faces one task ---

    def begin(self, params: MAESNParams, key: Key, birth: Birth) -> Adapted:
        check_index(birth.index, self.spec.training_tasks)
        return Adapted(self._latent_of(params, birth.index), jnp.zeros((), jnp.int32))

    def _latent_of(self, params: MAESNParams, index: Array) -> Latent:
        """(μ_i, log σ_i) of a training task, and those of the prior N(0, I) for any other."""
        return jax.tree.map(lambda x: jnp.where(index >= 0, x[index], 0.0), params.latents)

    def start(self, params: MAESNParams) -> Memory:
        return jnp.zeros((self.latent,), jnp.float32)

    def act(
        self, params: MAESNParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        """The memory is the episode's ε."""
        noise_key, action_key = chance.split(key, 2)
        noise = jnp.where(timestep.first, chance.normal(noise_key, memory.shape), memory)
        latent = draw(adapted.latent, noise)
        action, drawn = self._policy.decide(self.policy(params, latent), timestep, action_key)
        return Decision(action, Extras(drawn.log_probability, drawn.distribution, noise, latent)), noise

    def adapt(self, params: MAESNParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        """(μ, log σ) − α ∘ ∇ L_z(μ, σ; D)."""
        later = jnp.maximum(adapted.steps - self.inner_steps, 0).astype(jnp.float32)
        sizes = jax.tree.map(lambda x: x * self.later_step_scale**later, params.step_sizes)
        return Adapted(self._step(adapted.latent, sizes, self._round(rollout)), adapted.steps + 1)

    def _step(self, latent: Latent, step_sizes: Latent, seen: Round) -> Latent:
        slope = jax.grad(self.latent_loss)(latent, seen)
        return jax.tree.map(lambda x, a, g: x - a * g, latent, step_sizes, slope)

    def latent_loss(self, latent: Latent, seen: Round) -> Array:
        """L_z = −mean_episodes(log N(z; μ, σ²) Â_z)."""
        logs = DiagonalGaussian(*latent).log_probability(seen.batch.extras.latent)
        return -jnp.sum(logs * seen.weight)

    def _round(self, rollout: Rollout) -> Round:
        batch = self._policy.batch(rollout, self.discount, self.trace)
        seen = Round(batch, over_episodes(batch.advantage, rollout.timestep.first))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), seen)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> MAESNState:
        policy_key, latent_key = jax.random.split(key)
        shape = (self.spec.training_tasks or 0, self.latent)
        latents = Latent(jax.random.normal(latent_key, shape, jnp.float32), jnp.zeros(shape, jnp.float32))
        step_sizes = jnp.full((self.latent,), self.step_size, jnp.float32)
        params = MAESNParams(self._policy.init(policy_key), latents, Latent(step_sizes, step_sizes))
        return MAESNState(params, jnp.zeros((), jnp.int32))

    def update(self, state: MAESNState, trials: Trial, key: Key) -> tuple[MAESNState, Metrics]:
        rounds = map_tasks(lambda trial: jax.lax.map(self._round, trial.rollouts), trials)
        tasks, params = (rounds, trials.birth.index), state.params

        def evaluate(params: MAESNParams) -> tuple[Array, Array]:
            return mean_over_tasks(lambda *task: self.outer(params, *task)[:2], *tasks)

        def objective(params: MAESNParams, *task: Any) -> tuple[Array, tuple[Array, ...]]:
            terms = self.outer(params, *task)
            return terms[0], terms

        slope, terms = mean_gradient(objective, params, *tasks)
        before, _, from_prior = jax.tree.map(jnp.mean, terms)
        step = trust_region.natural_step(
            lambda v: self._hessian_times(params, tasks, v), slope, self.trust_region, self.conjugate_gradients
        )
        search = trust_region.line_search(evaluate, params, step, before, self.trust_region)
        metrics = {
            "loss": before,
            "improvement": before - search.loss,
            "divergence": search.divergence,
            "divergence_from_prior": from_prior,
            "gradient_norm": jnp.sqrt(trust_region.dot(slope, slope)),
            "tried": search.tried.astype(jnp.float32),
            "rejected": 1.0 - search.accepted.astype(jnp.float32),
        }
        return MAESNState(search.params, state.iteration + 1), metrics

    def outer(self, params: MAESNParams, rounds: Round, index: Array) -> tuple[Array, Array, Array]:
        """The outer loss of task `index` from its rounds [R, B·T], mean KL(π_stored ‖ π) on D', and
        KL(N(μ_i, σ_i²) ‖ N(0, I))."""
        latent = DiagonalGaussian(*self._latent_of(params, index))
        from_prior = latent.divergence(jax.tree.map(jnp.zeros_like, latent))
        query = jax.tree.map(lambda x: x[-1], rounds.batch)
        policy = self.adapted_policy(params, rounds, index)
        logs = policy.log_probability(query.action)
        loss = policy_losses.ratio_loss(logs, query.extras.log_probability, query.advantage)
        divergence = jnp.mean(query.extras.distribution.divergence(policy))
        return loss + self.prior_weight * from_prior, divergence, from_prior

    def adapted_policy(self, params: MAESNParams, rounds: Round, index: Array) -> Distribution:
        """π_θ(· | s, μ_i' + σ_i' ε) on D', (μ_i', σ_i') from the rounds [R, B·T] before it."""
        latent, step_sizes = self._latent_of(params, index), params.step_sizes
        if not self.learn_step_sizes:
            step_sizes = jax.lax.stop_gradient(step_sizes)
        for step in range(self.inner_steps):
            latent = self._step(latent, step_sizes, jax.tree.map(lambda x, i=step: x[i], rounds))
        query = jax.tree.map(lambda x: x[-1], rounds.batch)
        return self._policy.at(self.policy(params, draw(latent, query.extras.noise)), query)

    def _hessian_times(self, params: MAESNParams, tasks: tuple[Round, Array], tangent: MAESNParams) -> MAESNParams:
        """(H + damping) v, H the Hessian of the mean divergence at `params`, where it is the Fisher matrix."""

        def one(rounds: Round, index: Array) -> MAESNParams:
            policy, push = jax.linearize(lambda p: self.adapted_policy(p, rounds, index), params)
            curved = policy.curvature(push(tangent))
            samples = rounds.weight.shape[1]
            (pulled,) = jax.linear_transpose(push, params)(jax.tree.map(lambda x: x / samples, curved))
            return pulled

        return trust_region.add_scaled(mean_over_tasks(one, *tasks), jnp.float32(self.damping), tangent)


def draw(latent: Latent, noise: Array) -> Array:
    """z = μ + σ ε."""
    return latent.mean + jnp.exp(latent.log_std) * noise


def over_episodes(advantage: Array, first: Array) -> Array:
    """The advantages [B, T] at the first steps of episodes, standardised over them and divided by their number;
    elsewhere 0."""
    count = jnp.sum(first)
    centred = jnp.where(first, advantage - jnp.sum(advantage * first) / count, 0.0)
    return centred / (jnp.sqrt(jnp.sum(jnp.square(centred)) / count) + 1e-8) / count
