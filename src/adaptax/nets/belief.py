"""A variational belief about a task, held while a trial goes on (Zintgraf et al. 2020, VariBAD).

An encoder q_φ reads a trial step by step with a recurrent network and holds a Gaussian over a latent m; a decoder p_θ
predicts from m what any step of the trial pays.

Before anything is read the network's output counts as zero, whichever network it is, as the young state of a GRU or an
LSTM is: q_0 is what the head makes of it, its bias, which is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..ops import distributions
from ..ops.distributions import DiagonalGaussian
from ..ops.observations import Kept, gather
from ..types import Array, Key, Memory, Metrics, Observation, Params, Rollout, Spec, Timestep, UserError
from . import recurrent_network
from .mlp import mlp
from .network import Network
from .perception import Perception
from .transformer import Cache


class BeliefParams(NamedTuple):
    """φ and θ."""

    embedding: Params  # of what the encoder reads
    recurrence: Params
    head: Params  # the recurrence's output to (μ, log σ)
    decoder: Params
    state_decoder: Params = ()  # where states are predicted, too
    perception: Params = ()  # of images and tokens; () where there are none


class BeliefMemory(NamedTuple):
    """The encoder's memory, whether the trial has begun (at its first step there is nothing to read), and s_{t−1}."""

    encoder: Memory
    begun: Array
    observation: Kept


class Story(NamedTuple):
    """One trial as the model sees it: T steps, and so T + 1 beliefs. States are as they are kept."""

    read: Any  # what the encoder reads after each step, gathered: [T, I]
    before: Any  # s_{k−1} and a_{k−1}, gathered: [T, O + A]
    reached: Kept  # s_k: [T, O]
    reward: Array  # r_k [T]
    within: Array  # 0 at the steps after the trial's last episode, which are not predicted, else 1 [T]


class Belief(NamedTuple):
    """The model for environments like `spec`, with observations of O features and flat actions of A
    entries.

    With `cells`, how many whole numbers each entry of an observation counts, from the lowest of its space, the decoder
    has one head for each place and reads m alone: the T (T + 1) predictions of a trial cost T + 1 products. Otherwise
    it reads (s_{k−1}, a_{k−1}, s_k, m) for every pair of belief and step. `positive` predicts whether a reward is
    positive (Bernoulli) in place of the reward itself (Gaussian with unit variance).

    With a `state_weight` a second decoder predicts s_k from (s_{k−1}, a_{k−1}, m), Gaussian with unit variance, for
    tasks that differ in dynamics; of images and tokens it predicts the features, as they are. `beliefs` and `steps`,
    where they are not None, are how many of a trial's beliefs are decoded, and for how many of its steps: drawn afresh
    for every trial, and weighted so that the sum is expected to be that of all.

    The encoder's `network` is one of `nets.RECURRENT`, and `span` its own: for how many steps units start out
    remembering, or how many a transformer's context holds, no fewer than a trial has.
    """

    spec: Spec
    latent: int
    hidden: int
    embedding: int
    decoder_hidden: Sequence[int]
    cells: Sequence[int]
    positive: bool
    state_weight: float = 0.0
    beliefs: int | None = None
    steps: int | None = None
    network: str = "gru"
    span: int = 1

    @property
    def _networks(self) -> tuple[Network, Network, Network, Network]:
        observation, action = self.sizes
        inputs = self.latent if self.cells else self.latent + 2 * observation + action
        return (
            mlp((2 * observation + action + 2, self.embedding)),
            recurrent_network(self.network)(self.embedding, self.hidden, self.span),
            mlp((self.hidden, 2 * self.latent)),
            mlp((inputs, *self.decoder_hidden, self._places)),
        )

    @property
    def _state_decoder(self) -> Network:
        observation, action = self.sizes
        return mlp((observation + action + self.latent, *self.decoder_hidden, observation))

    @property
    def sizes(self) -> tuple[int, int]:
        """O and A."""
        return self.perception.size, distributions.flat_size(self.spec.action_space)

    @property
    def perception(self) -> Perception:
        return Perception(self.spec.observation_space)

    def check(self) -> None:
        """Raise a `UserError` unless `cells` counts whole numbers of each entry of an observation."""
        if self.cells and self.perception.learned:
            raise UserError("cells count places of flat observations; these have images or tokens, so leave them out")
        if self.cells and len(self.cells) != self.sizes[0]:
            raise UserError(f"cells has {len(self.cells)} numbers; an observation has {self.sizes[0]}")
        if self.cells and not np.all(np.isfinite(self._lowest)):
            raise UserError("cells are counted from the lowest observation, and the observation space has none")
        space = self.spec.observation_space
        if self.cells and isinstance(space, gymnasium.spaces.Box):
            needed = np.ravel(space.high).astype(np.float32) - self._lowest + 1
            if np.any(np.isfinite(needed) & (needed > self.cells)):
                places = tuple(needed.astype(int).tolist())
                raise UserError(f"cells is {tuple(self.cells)}, fewer than the {places} places of the observations")

    @property
    def _lowest(self) -> np.ndarray:
        """The least that each entry of an observation can be [O]."""
        space = self.spec.observation_space
        box = isinstance(space, gymnasium.spaces.Box)
        return np.ravel(space.low).astype(np.float32) if box else np.zeros(self.sizes[0], np.float32)

    @property
    def _places(self) -> int:
        return int(np.prod(self.cells)) if self.cells else 1

    def init(self, key: Key) -> BeliefParams:
        keys = jax.random.split(key, 4)
        states = self._state_decoder.init(jax.random.fold_in(key, 4)) if self.state_weight else ()
        params = BeliefParams(*(network.init(k) for network, k in zip(self._networks, keys, strict=True)))
        return params._replace(state_decoder=states, perception=self.perception.init(jax.random.fold_in(key, 5)))

    def features(self, params: BeliefParams, kept: Any) -> Array:
        """What the model reads [..., I] of what was gathered."""
        return self.perception.features(params.perception, kept)

    def perceive(self, before: Kept, timestep: Timestep) -> Any:
        """(s_t, a_{t−1}, r_{t−1}, first_t, s_{t−1}) gathered, with `before` = s_{t−1}: where an episode has ended, s_t
        is not what the last action led to, but s_{t−1} tells."""
        action = distributions.flatten(self.spec.action_space, timestep.action)
        first = timestep.first.astype(jnp.float32)[..., None]
        return gather(self.keep(timestep.observation), action, timestep.reward[..., None], first, before)

    def keep(self, observation: Observation) -> Kept:
        return self.perception.keep(observation)

    def stories(self, rollouts: Rollout, within: Array) -> Story:
        """What the model sees of rollouts [N, B, T], of which the steps of `within` 1 belong to trials: leaves
        [N·B, T, ...]."""
        # After step k the encoder reads the timestep after it.
        after = jax.tree.map(
            lambda x, last: jnp.concatenate([x[:, :, 1:], last[:, :, None]], axis=2), rollouts.timestep, rollouts.last
        )
        observation, reached = self.keep(rollouts.timestep.observation), self.keep(rollouts.next_observation)
        action = distributions.flatten(self.spec.action_space, rollouts.decision.action)
        story = Story(self.perceive(observation, after), gather(observation, action), reached, rollouts.reward, within)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), story)

    def empty_story(self, steps: int) -> Story:
        """Zeros of the shapes of one trial of T = `steps`."""
        state, done, number = self.perception.nothing(), jnp.zeros((self.sizes[1],)), jnp.zeros((1,))
        one = Story(gather(state, done, number, number, state), gather(state, done), state, number[0], number[0])
        return jax.tree.map(lambda x: jnp.zeros((steps, *x.shape), x.dtype), one)

    def start(self, params: BeliefParams) -> Memory:
        return self._networks[1].start(params.recurrence)

    def read(self, params: BeliefParams, memory: Memory, step: Any) -> tuple[Array, Memory]:
        """The encoder's output [..., H] and memory after it has read one step, gathered [...]."""
        return self._networks[1].apply(params.recurrence, memory, self._embed(params, step))

    def _embed(self, params: BeliefParams, read: Any) -> Array:
        return jax.nn.relu(self._networks[0].apply(params.embedding, (), self.features(params, read))[0])

    def belief(self, params: BeliefParams, output: Array) -> DiagonalGaussian:
        """q(m | what was read) [..., Z] of the encoder's output [..., H] after it; zeros where nothing was read."""
        return DiagonalGaussian(*jnp.split(self._networks[2].apply(params.head, (), output)[0], 2, axis=-1))

    def start_trial(self, params: BeliefParams) -> BeliefMemory:
        return BeliefMemory(self.start(params), jnp.zeros((), bool), self.perception.nothing())

    def follow(self, params: BeliefParams, memory: BeliefMemory, timestep: Timestep) -> tuple[Array, BeliefMemory]:
        """b_t = (μ_t, log σ_t) [2 Z] of one stream, and what to remember."""
        output, following = self.read(params, memory.encoder, self.perceive(memory.observation, timestep))
        encoder = _once_begun(memory.begun, following, memory.encoder)
        belief = jnp.concatenate(self.belief(params, jnp.where(memory.begun, output, 0.0)), axis=-1)
        return belief, BeliefMemory(encoder, jnp.ones((), bool), self.keep(timestep.observation))

    def posteriors(self, params: BeliefParams, read: Any) -> DiagonalGaussian:
        """q_0 … q_T [T + 1, S, Z] of what the encoder reads [T, S, I]; q_0 before it has read anything."""
        embedded = self._embed(params, read)
        start = jax.tree.map(lambda x: jnp.broadcast_to(x, (embedded.shape[1], *x.shape)), self.start(params))
        outputs, _ = self._networks[1].unroll(params.recurrence, start, embedded)
        return self.belief(params, jnp.concatenate([jnp.zeros_like(outputs[:1]), outputs]))

    def after_each_step(self, params: BeliefParams, stories: Story) -> DiagonalGaussian:
        """q_1 … q_T [S, T, Z] of trials: what is believed once a step has been read."""
        posterior = self.posteriors(params, _time_first(stories.read))
        return jax.tree.map(lambda x: jnp.swapaxes(x[1:], 0, 1), posterior)

    def log_likelihood(self, params: BeliefParams, latent: Array, story: Story) -> Array:
        """Σ_k log p(r_k | s_k, m) [M], with the weighted ones of states, up to a constant, for latents [M, Z] of one
        trial."""
        before, reached = self.features(params, story.before), self.features(params, story.reached)
        story = story._replace(before=before, reached=reached)
        rewards = self._reward_likelihood(params, latent, story)
        if not self.state_weight:
            return rewards
        outputs = self._state_decoder.apply(params.state_decoder, (), _pairs(latent, before))[0]
        # Features that learned to be predicted would all become the same.
        missed = jnp.sum(jnp.square(outputs - jax.lax.stop_gradient(reached)), axis=2)
        return rewards - 0.5 * self.state_weight * jnp.sum(missed * story.within, axis=1)

    def _reward_likelihood(self, params: BeliefParams, latent: Array, story: Story) -> Array:
        if self.cells:
            # Sums by place first: what is to be summed over T steps then is summed over the places.
            places = jax.nn.one_hot(self.place(story.reached), self._places, dtype=jnp.float32) * story.within[:, None]
            outputs = self.by_place(params, latent)
            visits = jnp.sum(places, axis=0)
            if self.positive:
                paid = (story.reward > 0).astype(jnp.float32)
                return outputs @ (paid @ places) - jax.nn.softplus(outputs) @ visits
            squares = jnp.square(outputs) @ visits - 2 * outputs @ (story.reward @ places)
            return -0.5 * (squares + jnp.sum(jnp.square(story.reward) * story.within))
        inputs = _pairs(latent, jnp.concatenate([story.before, story.reached], axis=-1))
        outputs = self._networks[3].apply(params.decoder, (), inputs)[0][..., 0]
        if self.positive:
            paid = (story.reward > 0).astype(jnp.float32)
            return jnp.sum((paid * outputs - jax.nn.softplus(outputs)) * story.within, axis=1)
        return -0.5 * jnp.sum(jnp.square(outputs - story.reward) * story.within, axis=1)

    def by_place(self, params: BeliefParams, latent: Array) -> Array:
        """The decoder's heads [..., places] for latents [..., Z]: rewards, or logits where it predicts whether they are
        positive."""
        return self._networks[3].apply(params.decoder, (), latent)[0]

    def expected_by_place(self, params: BeliefParams, belief: DiagonalGaussian, key: Key) -> Array:
        """What beliefs [..., Z] expect of every place [..., *cells], over 100 latents: the reward, or the chance that
        it is positive."""

        def one(key: Key) -> Array:
            outputs = self.by_place(params, belief.sample(key))
            return jax.nn.sigmoid(outputs) if self.positive else outputs

        mean = jnp.mean(jax.lax.map(one, jax.random.split(key, 100)), axis=0)
        return mean.reshape(*mean.shape[:-1], *self.cells)

    def place(self, observation: Array) -> Array:
        """The number of the place [...] that an observation [..., O] of whole numbers is."""
        place = jnp.zeros(observation.shape[:-1], jnp.int32)
        for entry, (lowest, count) in enumerate(zip(self._lowest, self.cells, strict=True)):
            place = place * count + (observation[..., entry] - lowest).astype(jnp.int32)
        return place

    def loss(self, params: BeliefParams, stories: Story, prior_weight: float, key: Key) -> tuple[Array, Metrics]:
        """The negative evidence bound of trials [S, T, ...], and its terms:

            mean over trials of Σ_{t=0}^{T} [ −E_{m ~ q_t} Σ_k log p(r_k | s_k, m) + w KL(q_t ‖ q_{t−1}) ],

        with q_{−1} = N(0, I) (eq. 8 and 9, summed over t as in the authors' code); t and k end with the trial's last
        episode.
        """
        posterior = self.posteriors(params, _time_first(stories.read))
        before = jax.tree.map(lambda x: jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]]), posterior)
        held = jnp.concatenate([jnp.ones_like(stories.within[:, :1]), stories.within], axis=1)  # q_0 is, always
        divergence = jnp.mean(jnp.sum(posterior.divergence(before) * jnp.swapaxes(held, 0, 1), axis=0))
        latent = jnp.swapaxes(posterior.sample(key), 0, 1)
        (latent, held), of_beliefs = _some(jax.random.fold_in(key, 1), (latent, held), self.beliefs)
        stories, of_steps = _some(jax.random.fold_in(key, 2), stories, self.steps)

        def of_trial(latent: Array, held: Array, story: Story) -> Array:
            return jnp.sum(self.log_likelihood(params, latent, story) * held)

        error = -jnp.mean(jax.vmap(of_trial)(latent, held, stories)) * of_beliefs * of_steps
        return error + prior_weight * divergence, {"model_error": error, "model_divergence": divergence}


def _time_first(read: Any) -> Any:
    """[S, T, ...] to [T, S, ...] in all leaves."""
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), read)


def _once_begun(begun: Array, following: Memory, before: Memory) -> Memory:
    """The encoder's memory `following` if the trial had begun, and else still that `before`."""
    if isinstance(following, Cache):
        # What a cache holds after its position is never read: to choose between two caches would copy one a step.
        return following._replace(position=jnp.where(begun, following.position, before.position))
    return jax.tree.map(lambda new, old: jnp.where(begun, new, old), following, before)


def _pairs(latent: Array, steps: Array) -> Array:
    """Every latent [M, Z] with every step [T, I]: [M, T, Z + I]."""
    shape = (latent.shape[0], steps.shape[0])
    each = jnp.broadcast_to(latent[:, None], (*shape, latent.shape[1]))
    return jnp.concatenate([each, jnp.broadcast_to(steps, (*shape, steps.shape[1]))], axis=-1)


def _some(key: Key, tree: Any, count: int | None) -> tuple[Any, float]:
    """`count` of the L entries of each row [S, L, ...], none twice, the same of all leaves, and L / `count`; all of
    them, and 1, where `count` is None or no less than L."""
    trials, length = jax.tree.leaves(tree)[0].shape[:2]
    if count is None or count >= length:
        return tree, 1.0
    chosen = jnp.argsort(jax.random.uniform(key, (trials, length)), axis=1)[:, :count]
    return jax.tree.map(lambda x: jax.vmap(lambda row, at: row[at])(x, chosen), tree), length / count
