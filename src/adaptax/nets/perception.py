"""What networks make of observations: images by convolution, tokens by an embedding, and the rest as it is.

    image     [H, W, C], scaled to [0, 1] from the bounds that its first pixel has in its space; 3 × 3 convolutions of
              stride 2 with 8, 16, 32, 64, 64 … channels and ReLU, until no side is longer than 4; a ReLU layer of 64
              features
    tokens    [L], each a learned vector of 16 numbers; a ReLU layer of 64 features over all of them
    rest      as `ops.observations` flattens it

Where there are neither images nor tokens nothing is learned here: parameters are () and features the flat vector.

A convolution is written as patches and a product of matrices: XLA's own is several times slower on a CPU where tasks
are mapped over, and its second derivative takes minutes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..ops import distributions, observations
from ..ops.observations import Kept, Parts
from ..types import Array, Key, Memory, Observation, Params, Spec, Timestep
from .mlp import Layer
from .network import Network, uniform_weights

FEATURES = 64  # of an image, or of a sequence of tokens
TOKEN = 16  # numbers that stand for a token
CHANNELS = (8, 64)  # of the first convolution, and the most
SMALLEST = 4  # no side of an image is longer after the convolutions


class ImageParams(NamedTuple):
    convolutions: tuple[Layer, ...]  # weights [9 C, C']
    dense: Layer


class TokenParams(NamedTuple):
    embedding: Array  # [n, 16]
    dense: Layer


class PerceptionParams(NamedTuple):
    images: tuple[ImageParams, ...]
    tokens: tuple[TokenParams, ...]


class Perception(NamedTuple):
    """Observations of `space` to O features."""

    space: gymnasium.Space

    @property
    def learned(self) -> bool:
        """Whether there is anything to learn."""
        return not observations.is_flat(self.space)

    @property
    def size(self) -> int:
        """O."""
        seen = len(observations.images(self.space)) + len(observations.tokens(self.space))
        return observations.flat_size(self.space) + FEATURES * seen

    def keep(self, observation: Observation) -> Kept:
        """Observations [...] as they are kept until a network reads them, which is what `features` takes."""
        return observations.keep(self.space, observation)

    def nothing(self) -> Kept:
        """What is kept of an observation of zeros."""
        return observations.nothing(self.space)

    def init(self, key: Key) -> Params:
        if not self.learned:
            return ()
        image_key, token_key = jax.random.split(key)
        shown, told = observations.images(self.space), observations.tokens(self.space)
        return PerceptionParams(
            tuple(_init_image(jax.random.fold_in(image_key, i), box.shape) for i, box in enumerate(shown)),
            tuple(_init_tokens(jax.random.fold_in(token_key, i), part.nvec) for i, part in enumerate(told)),
        )

    def features(self, params: Params, kept: Any) -> Array:
        """Features [..., O] of what was kept. A vector is taken as it is, and of a tuple, as `gather` makes it, the
        features of its entries stand side by side."""
        if isinstance(kept, Parts):
            shown = zip(params.images, observations.images(self.space), kept.images, strict=True)
            seen = [_see(p, box, image) for p, box, image in shown]
            told = [_read(p, ids) for p, ids in zip(params.tokens, kept.tokens, strict=True)]
            return jnp.concatenate([*kept.flat, *seen, *told], axis=-1)
        if isinstance(kept, tuple):
            return jnp.concatenate([self.features(params, part) for part in kept], axis=-1)
        return kept


def _init_image(key: Key, shape: tuple[int, ...]) -> ImageParams:
    height, width, channels = shape
    convolutions, wanted = [], CHANNELS[0]
    while max(height, width) > SMALLEST:
        weight = uniform_weights(jax.random.fold_in(key, len(convolutions)), 9 * channels, wanted)
        convolutions.append(Layer(weight, jnp.zeros((wanted,), jnp.float32)))
        height, width, channels, wanted = -(-height // 2), -(-width // 2), wanted, min(2 * wanted, CHANNELS[1])
    dense = uniform_weights(jax.random.fold_in(key, len(convolutions)), height * width * channels, FEATURES)
    return ImageParams(tuple(convolutions), Layer(dense, jnp.zeros((FEATURES,), jnp.float32)))


def _init_tokens(key: Key, counts: np.ndarray) -> TokenParams:
    embedding_key, dense_key = jax.random.split(key)
    embedding = jax.random.normal(embedding_key, (int(counts[0]), TOKEN), jnp.float32)
    dense = uniform_weights(dense_key, TOKEN * len(counts), FEATURES)
    return TokenParams(embedding, Layer(dense, jnp.zeros((FEATURES,), jnp.float32)))


def _see(params: ImageParams, box: Any, image: Array) -> Array:
    """64 features [..., 64] of images [..., H, W, C]."""
    low, high = (np.float32(bounds[0, 0]) for bounds in (box.low, box.high))  # [C]
    bounded = np.isfinite(low) & np.isfinite(high) & (high > low)
    x = (image.astype(jnp.float32) - np.where(bounded, low, 0)) / np.where(bounded, high - low, 1)
    for layer in params.convolutions:
        x = jax.nn.relu(convolve(layer, x))
    return _dense(params.dense, x.reshape(*x.shape[:-3], -1))


def _read(params: TokenParams, ids: Array) -> Array:
    """64 features [..., 64] of tokens [..., L]."""
    embedded = params.embedding[ids]
    return _dense(params.dense, embedded.reshape(*ids.shape[:-1], -1))


def _dense(layer: Layer, x: Array) -> Array:
    return jax.nn.relu(x @ layer.weight + layer.bias)


def convolve(layer: Layer, images: Array) -> Array:
    """A 3 × 3 convolution of stride 2 over images [..., H, W, C], zeros around them: [..., ⌈H/2⌉, ⌈W/2⌉, C']. The
    weight [9 C, C'] is a kernel [3, 3, C, C'] ravelled."""
    rows, columns = (-(-side // 2) for side in images.shape[-3:-1])
    around = jnp.pad(images, [(0, 0)] * (images.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
    patches = [
        around[..., i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2, :] for i in range(3) for j in range(3)
    ]
    return jnp.concatenate(patches, axis=-1) @ layer.weight + layer.bias


class Perceiving(NamedTuple):
    """The parameters of a network and of its own perception."""

    perception: PerceptionParams
    network: Params


def perceiving(perception: Perception, network: Network) -> Network:
    """`network` behind a perception of its own: it reads what was kept, or gathered, in place of a vector [..., I]. Its
    parameters are those of `network` alone where nothing is learned of observations."""

    def init(key: Key) -> Params:
        inner = network.init(key)
        # A key besides the network's: with and without pictures the rest begins alike.
        return Perceiving(perception.init(jax.random.fold_in(key, 1)), inner) if perception.learned else inner

    def split(params: Params) -> tuple[Params, Params]:
        return params if isinstance(params, Perceiving) else ((), params)

    def start(params: Params) -> Memory:
        return network.start(split(params)[1])

    def apply(params: Params, memory: Memory, x: Any) -> tuple[Array, Memory]:
        own, inner = split(params)
        return network.apply(inner, memory, perception.features(own, x))

    def unroll(params: Params, memory: Memory, xs: Any) -> tuple[Array, Memory]:
        own, inner = split(params)
        return network.unroll(inner, memory, perception.features(own, xs))

    return Network(init, start, apply, unroll)


class TrialPerception(NamedTuple):
    """What a recurrent policy reads at each step of a trial, for environments like `spec`, with observations of O
    features and flat actions of A entries: where it is, what it did last, and what that paid.

    With `pairs`, which only flat observations have, it also says which observation–action pair the last reward came
    from.
    """

    spec: Spec
    pairs: bool

    @property
    def observations(self) -> Perception:
        return Perception(self.spec.observation_space)

    @property
    def size(self) -> int:
        """I, once observations are features."""
        observation, action = self.observations.size, distributions.flat_size(self.spec.action_space)
        return observation + 2 * action + 2 + (2 * observation * action if self.pairs else 0)

    def read(self, timestep: Timestep, before: Any) -> Any:
        """(s_t, a_{t−1}, r_{t−1} a_{t−1}, r_{t−1}, first_t), gathered: one vector [..., I] where s_t is kept as one.
        With `pairs` also s_{t−1} ⊗ a_{t−1} and its product with r_{t−1}. `before` is s_{t−1} [..., O], zero at first;
        () without `pairs`.

        A product tells no more than its factors, but a cell adds up its inputs, and which reward came from which
        action (in which state) is what it has to count.
        """
        action = distributions.flatten(self.spec.action_space, timestep.action)
        first = timestep.first.astype(jnp.float32)
        reward = timestep.reward[..., None]
        inputs = [self.observations.keep(timestep.observation), action, reward * action, reward, first[..., None]]
        if self.pairs:
            pair = (before[..., :, None] * action[..., None, :]).reshape(*action.shape[:-1], -1)
            inputs += [pair, reward * pair]
        return observations.gather(*inputs)
