"""MMAML: multimodal MAML, in its form for reinforcement learning (Vuorio et al. 2019).

MAML's one initialisation has to lie between the modes of the tasks. MMAML modulates it: the prior policy π_θ meets a
task and acts for a round D₀, which serves two purposes,

    first step       θ₁ = θ − α₀ ∇_θ L(θ; D₀)                 of the policy that acted, so without modulation
    encoding         υ = mean over trajectories of [GRU→(D₀), GRU←(D₀)]
    modulation       τ = (γ_l, β_l) for each hidden layer l,  γ_l = 1 + A_l υ + a_l,  β_l = B_l υ + b_l
    FiLM             h_l = act(γ_l ⊙ (W_l h_{l−1} + c_l) + β_l)

and after which π(· ; θ₁, τ) acts. Further steps keep τ and move θ, each by the round D_r in which π(· ; θ_r, τ) acted:

    inner            θ_{r+1} = θ_r − α ∇_θ L(θ_r, τ; D_r),    L = −mean( π(a|s) / π_stored(a|s) Â )
    outer            several Adam steps on the mean over tasks of
                     L_clip(θ_R, τ; D_R) + η mean over the rounds before of KL( π_stored ‖ π )

with Â standardised advantages over the linear feature baseline. As in the paper that is ProMP (Rothfuss et al. 2019)
with a modulated policy: only the last round has a clipped loss. Every Adam step encodes D₀ and takes the inner steps
again, so that gradients reach the GRU, A, B and θ through the exact steps (`ops.inner`; τ is a parameter whose step
size is 0). θ has no clipped loss of its own on D₀.

In the names below: `prior` is θ_r, `policy` the modulated policy that acts, `modulation` τ, α₀ `probing_step_size`
and α `step_size`. `inner_steps` counts the steps after the one on D₀: the authors' code takes two in all, which is
`inner_steps` 1.

What we do differently: the GRU reads in both directions (in the authors' code for reinforcement learning in one; it has
layers of units around the mean over trajectories, here the maps A and B are linear in it), and reads along a stream,
where a flag marks the start of an episode. A and B start at zero, so that τ starts neutral. FiLM is the only
modulation: the paper's others, a sigmoid gate and softmax attention, did worse there. η and α are fixed.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..nets.film import Modulation, modulate, modulation_of, neutral
from ..nets.mlp import mlp
from ..nets.network import Network
from ..nets.policy import Batch, Policy, PolicyParams
from ..nets.recurrent import gru
from ..ops import distributions, inner, policy_losses
from ..ops.descent import adam, descend
from ..ops.observations import gather
from ..ops.tasks import map_tasks
from ..ranges import above, at_least, between, check_range, check_ranges
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Params, Plan, Rollout, Spec, Timestep, Trial


class MMAMLParams(NamedTuple):
    policy: PolicyParams  # θ
    encoder: Params  # the GRU forwards and backwards: leaves [2, ...]
    modulators: Params  # A, B, and their biases


class Modulated(NamedTuple):
    """What an inner step sees: the parameters that it moves, and those that it does not."""

    prior: PolicyParams  # θ_r
    modulation: Modulation  # τ


class Adapted(NamedTuple):
    """The policy to act with, what it is made of, and how many rounds there were."""

    policy: PolicyParams
    modulated: Modulated
    rounds: Array


class MMAMLState(NamedTuple):
    params: MMAMLParams
    optimizer: Any
    iteration: Array


class Lesson(NamedTuple):
    """What the outer loss sees of one task, or of all with a leading axis [N]."""

    rounds: Batch  # leading axis [R]
    transitions: Any  # of the probing round, gathered: [B, T, ...]


@dataclass(frozen=True)
class MMAML:
    """MAML whose initialisation is modulated by an encoding of the first round."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 40
    """Tasks per meta-iteration."""
    streams: Annotated[int, at_least(1)] = 20
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    inner_steps: Annotated[int, at_least(0)] = 1
    """Gradient steps during meta-training, after the one on the probing round."""
    step_size: Annotated[float, at_least(0)] = 0.1
    """α: the inner step size of the modulated policy."""
    probing_step_size: Annotated[float, at_least(0)] = 0.1
    """α₀: the inner step size on the probing round, of the policy without modulation; 0: it is only encoded."""
    encoder_hidden: Annotated[int, at_least(1)] = 32
    """Units of the encoder's GRU, in each direction."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (64, 64)
    """Hidden units of the policy's layers, all of which are modulated."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ."""
    trace: Annotated[float, between(0, 1)] = 1.0
    """λ of the generalized advantage estimate."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size in the outer loop."""
    decay: Annotated[int | None, at_least(1)] = None
    """Meta-iterations over which the outer step size goes linearly to zero; None: never."""
    epochs: Annotated[int, at_least(1)] = 5
    """Outer gradient steps on one meta-batch."""
    clip: Annotated[float, above(0)] = 0.2
    """ε of the outer clipped probability ratio (it acts from the second epoch on)."""
    penalty: Annotated[float, at_least(0)] = 5e-4
    """η: weight of the divergence from the policies that collected the data before the inner steps."""
    gradient_clip: Annotated[float, above(0)] = 1.0
    """Largest global norm of an outer gradient."""
    initial_std: Annotated[float, above(0)] = 1.0
    """Standard deviation of the actions before training (Box action spaces)."""
    minimum_std: Annotated[float, above(0)] = 0.1
    """Floor under the standard deviation of the actions, adapted or not."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_range("number of hidden layers", len(self.hidden), 1)  # else there is nothing to modulate
        self._policy.check()

    @property
    def plan(self) -> Plan:
        rounds = self.inner_steps + 2
        steps = self.steps or self.spec.horizon * self.spec.episodes
        return Plan(self.tasks, rounds, self.streams, steps, lifetime=rounds)

    @property
    def _policy(self) -> Policy:
        return Policy(self.spec, self.hidden, self.initial_std, self.minimum_std)

    @property
    def _networks(self) -> tuple[Network, Network]:
        """The GRU of one direction; A and B."""
        seen = self._policy.perception.size
        done = distributions.outputs_needed(self.spec.action_space)
        encoder = gru(seen + done + 2, self.encoder_hidden)
        return encoder, mlp((2 * self.encoder_hidden, 2 * sum(self.hidden)), last_scale=0.0)  # neutral at first

    # --- how the agent faces one task ---

    def begin(self, params: MMAMLParams, key: Key, birth: Birth) -> Adapted:
        return self._acting(Modulated(params.policy, neutral(params.policy)), jnp.zeros((), jnp.int32))

    def start(self, params: MMAMLParams) -> Memory:
        return ()

    def act(
        self, params: MMAMLParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self._policy.decide(adapted.policy, timestep, key), memory

    def adapt(self, params: MMAMLParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        """A gradient step of θ; after the first round the modulation as well."""
        first = adapted.rounds == 0
        step_size = jnp.where(first, self.probing_step_size, self.step_size)
        stepped = self._step(adapted.modulated, step_size, self._batch(rollout))

        def probed() -> Modulation:
            return self.modulation(params, self.encode(params, self._transitions(rollout)))

        modulation = jax.lax.cond(first, probed, lambda: stepped.modulation)
        return self._acting(Modulated(stepped.prior, modulation), adapted.rounds + 1)

    def _acting(self, modulated: Modulated, rounds: Array) -> Adapted:
        return Adapted(modulate(*modulated), modulated, rounds)

    def _transitions(self, rollout: Rollout) -> Any:
        """What the encoder reads of a round: observation, action, reward and first, gathered; [B, T, I]."""
        seen = self._policy.observe(rollout.timestep.observation)
        done = distributions.flatten(self.spec.action_space, rollout.decision.action)
        first = rollout.timestep.first.astype(jnp.float32)
        return gather(seen, done, rollout.reward[..., None], first[..., None])

    def encode(self, params: MMAMLParams, transitions: Any) -> Array:
        """υ [..., 2 · encoder_hidden] from [..., B, T, I]: where the GRUs of both directions end, mean over B."""
        read = self._policy.features(params.policy, transitions)
        forwards = jnp.moveaxis(read, -2, 0)
        both = jnp.stack([forwards, forwards[::-1]])
        memory = jnp.zeros((2, *forwards.shape[1:-1], self.encoder_hidden), read.dtype)
        outputs, _ = jax.vmap(self._networks[0].unroll)(params.encoder, (memory,), both)
        ends = jnp.mean(outputs[:, -1], axis=-2)
        return jnp.concatenate([ends[0], ends[1]], axis=-1)

    def modulation(self, params: MMAMLParams, code: Array) -> Modulation:
        """τ from υ."""
        outputs, _ = self._networks[1].apply(params.modulators, (), code)
        return modulation_of(outputs, self.hidden)

    def _step(self, modulated: Modulated, step_size: Array | float, batch: Batch) -> Modulated:
        """θ − α ∇_θ L(θ, τ; D), and τ."""
        still = jax.tree.map(jnp.zeros_like, modulated)
        moving = jax.tree.map(lambda p: jnp.full_like(p, step_size), modulated.prior)
        return inner.gradient_step(self.inner_loss, modulated, still._replace(prior=moving), batch)

    def _batch(self, rollout: Rollout) -> Batch:
        return self._policy.batch(rollout, self.discount, self.trace)

    def inner_loss(self, modulated: Modulated, batch: Batch) -> Array:
        """L(θ, τ; D) = −mean(π(a|s) / π_stored(a|s) Â)."""
        logs = self._policy.at(modulate(*modulated), batch).log_probability(batch.action)
        return policy_losses.ratio_loss(logs, batch.extras.log_probability, batch.advantage)

    # --- how meta-parameters learn from many tasks ---

    def init(self, key: Key) -> MMAMLState:
        policy_key, modulator_key, *encoder_keys = jax.random.split(key, 4)
        encoder, modulators = self._networks
        directions = jax.vmap(encoder.init)(jnp.stack(encoder_keys))
        params = MMAMLParams(self._policy.init(policy_key), directions, modulators.init(modulator_key))
        return MMAMLState(params, self._optimizer.init(params), jnp.zeros((), jnp.int32))

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.learning_rate, self.gradient_clip, self.decay and self.decay * self.epochs)

    def update(self, state: MMAMLState, trials: Trial, key: Key) -> tuple[MMAMLState, Metrics]:
        lessons = self.lessons(trials)
        start = (state.params, state.optimizer)
        (params, optimizer), metrics = descend(
            self._optimizer, lambda params, _: self.gradient(params, lessons), start, steps=self.epochs
        )
        return MMAMLState(params, optimizer, state.iteration + 1), metrics

    def lessons(self, trials: Trial) -> Lesson:
        """What the loss needs of the trials [N, R, B, T], computed once for all epochs."""
        rounds = map_tasks(lambda trial: jax.lax.map(self._batch, trial.rollouts), trials)
        transitions = map_tasks(lambda trial: self._transitions(jax.tree.map(lambda x: x[0], trial.rollouts)), trials)
        return Lesson(rounds, transitions)

    def gradient(self, params: MMAMLParams, lessons: Lesson) -> tuple[MMAMLParams, Metrics]:
        """The gradient of the mean loss over tasks, and the metrics [N].

        Everything else is done task by task, but the encoder reads all tasks at once: its scan over time takes hardly
        longer for all of them than for one.
        """
        codes, pull = jax.vjp(lambda p: self.encode(p, lessons.transitions), params)

        def one(code: Array, rounds: Batch) -> Any:
            return jax.grad(self.loss, argnums=(0, 1), has_aux=True)(params, code, rounds)

        (slopes, toward_codes), metrics = map_tasks(one, codes, lessons.rounds)
        (through,) = pull(toward_codes / codes.shape[0])
        return jax.tree.map(lambda s, t: jnp.mean(s, axis=0) + t, slopes, through), metrics

    def loss(self, params: MMAMLParams, code: Array, rounds: Batch) -> tuple[Array, Metrics]:
        """L_clip(θ_R, τ; D_R) + η KL(π_stored ‖ π) of one task from its υ and its rounds [R, ...], and its terms."""
        modulated, moved = Modulated(params.policy, neutral(params.policy)), jnp.zeros((), jnp.float32)
        modulation = self.modulation(params, code)
        for index in range(self.inner_steps + 1):
            batch = jax.tree.map(lambda x, i=index: x[i], rounds)
            current = self._policy.at(modulate(*modulated), batch)
            moved += jnp.mean(batch.extras.distribution.divergence(current)) / (self.inner_steps + 1)
            step_size = self.step_size if index else self.probing_step_size
            modulated = Modulated(self._step(modulated, step_size, batch).prior, modulation)
        last = jax.tree.map(lambda x: x[-1], rounds)
        acted = self._policy.at(modulate(*modulated), last)
        logs, stored = acted.log_probability(last.action), last.extras.log_probability
        loss = policy_losses.clipped_loss(logs, stored, last.advantage, self.clip) + self.penalty * moved
        return loss, {
            "loss": loss,
            "entropy": jnp.mean(acted.entropy()),
            "divergence": policy_losses.approximate_divergence(logs, stored),
            "divergence_before": moved,
            "modulation": jnp.mean(jnp.stack([jnp.mean(jnp.abs(film.scale - 1)) for film in modulation])),
        }
