"""Task-model-guided adaptation: a learned model of how tasks relate chooses where adaptation starts, and how it steps.

A lifetime begins with a round D₀ of probing episodes under the shared start policy π_θ. Then

    embedding        e = mean over the transitions of D₀ of f(observation, action, reward, time)
    similarity       w = softmax( −‖e − c_k‖² )                          to K learned prototypes c_k
    start            φ_0 = θ_e = θ + Σ_k w_k Δ_k                         Δ_k learned offsets of all parameters
    difficulty       y = g(e)                                            predicts the return after adaptation
    step sizes       α_i = α ρ^tanh(h_i(e, y, R(D)))  in [α/ρ, α ρ]      one for each array i of the policy
    inner step       φ_{r+1} = φ_r − α(e, y, R(D_{r+1})) ∘ ∇L(φ_r; D_{r+1}),   L(φ; D) = −mean( log π_φ(a|s) Â )
    outer            minimise the mean over tasks of  mean_r L_PPO(φ_r; D_{r+1}) + β (y − G)²

φ_r acts in the round D_{r+1}, and R(D) is a round's mean return on a logarithmic scale. Â are advantages over the
linear feature baseline, fitted and standardised per task and round on the same data: they do not tell a policy that is
far from good from one that is nearly there, which R does. G is the mean return of the last round, standardised over the
tasks of the meta-batch: y says how much easier than usual a task will be. Every outer step recomputes all of this from
the stored rounds, so that gradients reach f, c, Δ, h, g and θ through the exact inner steps (`ops.inner`); ratios are
against the stored log-probabilities. h takes e and y as given. θ has no loss of its own on D₀: it learns through θ_e.

Sources: MMAML (Vuorio et al. 2019) modulates one initialisation by an encoding of the task's data and then takes MAML's
steps; TSA-MAML (Zhou et al. 2021) has one initialisation for each cluster of tasks; conditional meta-learning (Denevi
et al. 2020) makes it a function of side information; Meta-SGD (Li et al. 2017) learns step sizes and ALFA (Baik et al.
2020) predicts them. Ours: a soft choice among offsets of all parameters, probing as the side information, the predicted
difficulty, and step sizes predicted from the embedding and the return of the round that they step on.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from ..nets.mlp import mlp
from ..nets.network import Network
from ..nets.policy import Batch, Policy, PolicyParams
from ..ops import distributions, inner, policy_losses
from ..ops.descent import adam, descend
from ..ops.observations import gather
from ..ops.returns import standardize, steps_since
from ..ops.tasks import map_tasks, mean_gradient
from ..ranges import above, at_least, between, check_ranges
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Params, Plan, Rollout, Spec, Timestep, Trial


class TaskModelParams(NamedTuple):
    policy: PolicyParams  # θ
    offsets: PolicyParams  # Δ: leaves [K, ...]
    prototypes: Array  # c [K, d]
    encoder: Params  # f
    difficulty: Params  # g
    steps: Params  # h


class Judgement(NamedTuple):
    """What the task model says of one task."""

    similarity: Array  # w [K]
    difficulty: Array  # y []
    known: Array  # (e, y) as the step sizes see them [d + 1]


class Adapted(NamedTuple):
    """The policy to act with, what the task model says, the last α_i/α used, and how many rounds there were."""

    policy: PolicyParams
    judgement: Judgement
    scales: Array
    rounds: Array


class TaskModelState(NamedTuple):
    params: TaskModelParams
    optimizer: Any
    iteration: Array


class Round(NamedTuple):
    """One round as the losses see it."""

    batch: Batch  # [B, T, ...]
    outcome: Array  # R(D) []


class Lesson(NamedTuple):
    """What the outer loss sees of one task, or of all with a leading axis [N]."""

    rounds: Round  # leading axis [R]
    transitions: Any  # of the probing round, gathered: [B, T, ...]
    reached: Array  # G []


@dataclass(frozen=True)
class TaskModel:
    """MAML that starts, and steps, as a learned model of the task says."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 20
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 20
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    inner_steps: Annotated[int, at_least(0)] = 1
    """Gradient steps during meta-training, after the probing round."""
    step_size: Annotated[float, at_least(0)] = 0.1
    """α: the inner step size before the task model scales it."""
    step_range: Annotated[float, at_least(1)] = 10.0
    """ρ: predicted step sizes lie between α/ρ and α ρ."""
    predict_start: bool = True
    """Start from θ + Σ w Δ (off: from θ)."""
    predict_step_sizes: bool = True
    """Step by α_i (off: by α)."""
    prototypes: Annotated[int, at_least(1)] = 8
    """K: prototypes, each with an offset of all parameters of the policy."""
    embedding: Annotated[int, at_least(1)] = 8
    """d: size of the task's embedding."""
    encoder_hidden: Annotated[tuple[int, ...], at_least(1)] = (64, 64)
    """Hidden units of the layers that read a transition."""
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
    difficulty_weight: Annotated[float, at_least(0)] = 0.1
    """β: weight of the difficulty's squared error."""
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
        return Plan(self.tasks, self.inner_steps + 2, self.streams, steps, lifetime=self.inner_steps + 2)

    @property
    def _policy(self) -> Policy:
        return Policy(self.spec, self.hidden, self.initial_std, self.minimum_std)

    @property
    def _networks(self) -> tuple[Network, Network, Network]:
        """f, g and h."""
        seen = self._policy.perception.size
        done = distributions.outputs_needed(self.spec.action_space)
        arrays = len(jax.tree.leaves(jax.eval_shape(self._policy.init, jax.random.key(0))))
        encoder = mlp((seen + done + 2, *self.encoder_hidden, self.embedding))
        steps = mlp((self.embedding + 2, 32, arrays), jnp.tanh, last_scale=0.0)  # at first the scales are 1
        return encoder, mlp((self.embedding, 1)), steps

    # --- how the agent faces one task ---

    def begin(self, params: TaskModelParams, key: Key, birth: Birth) -> Adapted:
        similarity = jnp.full((self.prototypes,), 1 / self.prototypes, jnp.float32)
        judgement = Judgement(similarity, jnp.float32(0), jnp.zeros((self.embedding + 1,), jnp.float32))
        return Adapted(params.policy, judgement, jnp.ones_like(params.steps[-1].bias), jnp.zeros((), jnp.int32))

    def start(self, params: TaskModelParams) -> Memory:
        return ()

    def act(
        self, params: TaskModelParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self._policy.decide(adapted.policy, timestep, key), memory

    def adapt(self, params: TaskModelParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        """After the first round the task model's start, after the others a gradient step."""

        def probed() -> Adapted:
            judgement = self.judge(params, self._transitions(rollout))
            return adapted._replace(policy=self.start_from(params, judgement.similarity), judgement=judgement)

        def stepped() -> Adapted:
            batch, outcome = self._round(rollout)
            scales = self.scales(params, adapted.judgement, outcome)
            return adapted._replace(policy=self._step(adapted.policy, scales, batch), scales=scales)

        return jax.lax.cond(adapted.rounds == 0, probed, stepped)._replace(rounds=adapted.rounds + 1)

    def _transitions(self, rollout: Rollout) -> Any:
        """What the encoder reads of a round: observation, action, reward and time, gathered; [B, T, I]."""
        clock = steps_since(jnp.swapaxes(rollout.timestep.first, 0, 1)).T / self.spec.horizon
        seen = self._policy.observe(rollout.timestep.observation)
        done = distributions.flatten(self.spec.action_space, rollout.decision.action)
        return gather(seen, done, rollout.reward[..., None], clock[..., None])

    def judge(self, params: TaskModelParams, transitions: Any) -> Judgement:
        """w and y from the probing round."""
        encoder, head, _ = self._networks
        read = self._policy.features(params.policy, transitions)
        embedding = jnp.mean(encoder.apply(params.encoder, (), read)[0], axis=(0, 1))
        difficulty, _ = head.apply(params.difficulty, (), embedding)
        known = jax.lax.stop_gradient(jnp.concatenate([embedding, difficulty]))
        return Judgement(self.similarity(params, embedding), difficulty[0], known)

    def scales(self, params: TaskModelParams, judgement: Judgement, outcome: Array) -> Array:
        """ρ^tanh(h(e, y, R)) for each array of the policy."""
        if not self.predict_step_sizes:
            return jnp.ones_like(params.steps[-1].bias)
        heard, _ = self._networks[2].apply(params.steps, (), jnp.concatenate([judgement.known, outcome[None]]))
        return self.step_range ** jnp.tanh(heard)

    def similarity(self, params: TaskModelParams, embedding: Array) -> Array:
        """w = softmax(−‖e − c_k‖²)."""
        return jax.nn.softmax(-jnp.sum(jnp.square(embedding - params.prototypes), axis=-1))

    def start_from(self, params: TaskModelParams, similarity: Array) -> PolicyParams:
        """θ_e = θ + Σ_k w_k Δ_k."""
        moved = jax.tree.map(lambda p, d: p + jnp.tensordot(similarity, d, 1), params.policy, params.offsets)
        return moved if self.predict_start else params.policy

    def _step(self, policy: PolicyParams, scales: Array, batch: Batch) -> PolicyParams:
        """φ − α(e) ∘ ∇_φ L(φ; D)."""
        leaves, tree = jax.tree.flatten(policy)
        step_sizes = tree.unflatten([jnp.full_like(p, self.step_size) * scales[i] for i, p in enumerate(leaves)])
        return inner.gradient_step(self.inner_loss, policy, step_sizes, batch)

    def _round(self, rollout: Rollout) -> Round:
        reached = jnp.mean(jnp.sum(rollout.reward, axis=-1))
        outcome = jnp.sign(reached) * jnp.log1p(jnp.abs(reached))
        return Round(self._policy.batch(rollout, self.discount, self.trace), outcome)

    def inner_loss(self, policy: PolicyParams, batch: Batch) -> Array:
        """L(φ; D) = −mean(log π_φ(a|s) Â)."""
        logs = self._policy.at(policy, batch).log_probability(batch.action)
        return policy_losses.log_probability_loss(logs, batch.advantage)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> TaskModelState:
        policy_key, offset_key, prototype_key, *keys = jax.random.split(key, 6)
        policy = self._policy.init(policy_key)
        # Small and all different: starts that were all alike would leave the similarities without a gradient.
        flat, unravel = ravel_pytree(policy)
        offsets = jax.vmap(unravel)(0.05 * jax.random.normal(offset_key, (self.prototypes, *flat.shape), jnp.float32))
        prototypes = jax.random.normal(prototype_key, (self.prototypes, self.embedding), jnp.float32)
        networks = (network.init(k) for network, k in zip(self._networks, keys, strict=True))
        params = TaskModelParams(policy, offsets, prototypes, *networks)
        return TaskModelState(params, self._optimizer.init(params), jnp.zeros((), jnp.int32))

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.learning_rate, self.gradient_clip, self.decay and self.decay * self.epochs)

    def update(self, state: TaskModelState, trials: Trial, key: Key) -> tuple[TaskModelState, Metrics]:
        lessons = self.lessons(trials)
        start = (state.params, state.optimizer)
        (params, optimizer), metrics = descend(
            self._optimizer, lambda params, _: mean_gradient(self.loss, params, lessons), start, steps=self.epochs
        )
        return TaskModelState(params, optimizer, state.iteration + 1), metrics

    def lessons(self, trials: Trial) -> Lesson:
        """What the loss needs of the trials [N, R, B, T], computed once for all epochs."""
        rounds = map_tasks(lambda trial: jax.lax.map(self._round, trial.rollouts), trials)
        transitions = map_tasks(lambda trial: self._transitions(jax.tree.map(lambda x: x[0], trial.rollouts)), trials)
        reached = jnp.mean(jnp.sum(trials.rollouts.reward[:, -1], axis=-1), axis=-1)
        return Lesson(rounds, transitions, standardize(reached))

    def loss(self, params: TaskModelParams, lesson: Lesson) -> tuple[Array, Metrics]:
        """The outer loss of one task, and its terms."""
        judgement = self.judge(params, lesson.transitions)
        policy = self.start_from(params, judgement.similarity)
        losses, metrics = jnp.zeros((), jnp.float32), {}
        for index in range(1, self.inner_steps + 2):
            batch, outcome = jax.tree.map(lambda x, i=index: x[i], lesson.rounds)
            acted = self._policy.at(policy, batch)
            logs, stored = acted.log_probability(batch.action), batch.extras.log_probability
            losses += policy_losses.clipped_loss(logs, stored, batch.advantage, self.clip)
            metrics["entropy"] = jnp.mean(acted.entropy())
            metrics["divergence"] = policy_losses.approximate_divergence(logs, stored)
            if index <= self.inner_steps:
                policy = self._step(policy, self.scales(params, judgement, outcome), batch)
        error = jnp.square(judgement.difficulty - lesson.reached)
        loss = losses / (self.inner_steps + 1) + self.difficulty_weight * error
        return loss, {"loss": loss, "difficulty_error": error, **metrics}
