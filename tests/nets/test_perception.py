"""What networks read of observations: the kinds of spaces, convolutions against XLA's, embeddings."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from adaptax.nets.mlp import Layer, mlp
from adaptax.nets.perception import Perceiving, Perception, convolve, perceiving
from adaptax.ops import observations
from adaptax.types import UserError

BOX, IMAGE, WORDS = spaces.Box(-1, 1, (2, 3)), spaces.Box(0, 255, (7, 9, 3), np.uint8), spaces.MultiDiscrete([6] * 4)
NESTED = spaces.Dict({"b": spaces.Tuple((IMAGE, spaces.Discrete(3))), "a": spaces.Dict({"x": BOX, "w": WORDS})})
FLAT = {
    "box": BOX,
    "number": spaces.Box(0, 1, ()),
    "discrete": spaces.Discrete(4),
    "choices": spaces.MultiDiscrete([2, 5]),
    "one choice": spaces.MultiDiscrete([3]),
    "grid": spaces.MultiDiscrete(np.full((2, 2), 3)),
    "binary": spaces.MultiBinary([2, 3]),
    "dict": spaces.Dict({"z": spaces.Discrete(3), "a": BOX, "m": spaces.Tuple((spaces.MultiBinary(2), BOX))}),
}


def drawn(space: Any, count: int, seed: int = 0) -> tuple[list[Any], Any]:
    """Observations one by one, and stacked [count, ...]."""
    space.seed(seed)
    ones = [space.sample() for _ in range(count)]
    return ones, jax.tree.map(lambda *x: jnp.stack([jnp.asarray(v) for v in x]), *ones)


@pytest.mark.parametrize("kind", FLAT)
def test_without_images_and_tokens_observations_are_what_gymnasium_flattens(kind: str) -> None:
    space, perception = FLAT[kind], Perception(FLAT[kind])
    ones, stacked = drawn(space, 5)
    kept = perception.keep(stacked)
    assert kept.dtype == jnp.float32 and kept.shape == (5, perception.size) and not perception.learned
    np.testing.assert_array_equal(kept, np.stack([spaces.flatten(space, one) for one in ones]).astype(np.float32))
    # Nothing is learned, and nothing is done to them.
    assert perception.init(jax.random.key(0)) == () and perception.features((), kept) is kept
    network = mlp((perception.size, 3))
    plain, wrapped = network.init(jax.random.key(1)), perceiving(perception, network)
    jax.tree.map(np.testing.assert_array_equal, wrapped.init(jax.random.key(1)), plain)
    np.testing.assert_array_equal(wrapped.apply(plain, (), kept)[0], network.apply(plain, (), kept)[0])
    assert perception.nothing().shape == kept.shape[1:]


def test_the_parts_of_a_nested_space_are_kept_in_its_order_and_dtypes() -> None:
    ones, stacked = drawn(NESTED, 6)
    perception = Perception(NESTED)
    grouped = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), stacked)
    kept = perception.keep(grouped)
    assert kept.images[0].dtype == jnp.uint8 and kept.tokens[0].dtype == jnp.int32 and perception.learned
    for n, one in enumerate(ones):
        at = divmod(n, 3)
        np.testing.assert_array_equal(kept.images[0][at], one["b"][0])
        np.testing.assert_array_equal(kept.tokens[0][at], one["a"]["w"])
        flat = np.concatenate([one["a"]["x"].ravel(), np.eye(3)[one["b"][1]]])
        np.testing.assert_allclose(kept.flat[0][at], flat, rtol=1e-6)
    params = perception.init(jax.random.key(0))
    features = perception.features(params, kept)
    assert features.shape == (2, 3, perception.size) == (2, 3, 6 + 3 + 64 + 64)
    one_by_one = perception.features(params, perception.keep(ones[4]))
    np.testing.assert_allclose(features[1, 1], one_by_one, rtol=1e-5, atol=1e-5)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), perception.nothing())
    assert shapes == jax.tree.map(lambda x: (x.shape[2:], x.dtype), kept)
    assert jax.tree.structure(observations.zeros(NESTED)) == jax.tree.structure(stacked)
    # Every part, and nothing else, has a say in a summary.
    assert observations.summary(kept).shape == (2, 3, 9 + 4 * 4 * 3 + 16)


@pytest.mark.parametrize("shape", [(16, 16, 1), (9, 6, 3), (5, 4, 2)])
def test_a_convolution_is_that_of_xla(shape: tuple[int, int, int]) -> None:
    kernel_key, image_key = jax.random.split(jax.random.key(0))
    kernel = jax.random.normal(kernel_key, (3, 3, shape[-1], 4))
    images, bias = jax.random.normal(image_key, (5, *shape)), jnp.arange(4.0)

    def ours(kernel: Any, images: Any) -> Any:
        return convolve(Layer(kernel.reshape(-1, 4), bias), images)

    def theirs(kernel: Any, images: Any) -> Any:
        numbers = ("NHWC", "HWIO", "NHWC")
        around = [(1, 1), (1, 1)]
        return jax.lax.conv_general_dilated(images, kernel, (2, 2), around, dimension_numbers=numbers) + bias

    found, expected = ours(kernel, images), theirs(kernel, images)
    assert found.shape == (5, -(-shape[0] // 2), -(-shape[1] // 2), 4)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for argument in (0, 1):
        slopes = [
            jax.grad(lambda *given, f=f: jnp.sum(jnp.sin(f(*given))), argument)(kernel, images) for f in (ours, theirs)
        ]
        np.testing.assert_allclose(*slopes, rtol=1e-4, atol=1e-5)


def test_images_are_scaled_from_their_bounds() -> None:
    params = Perception(IMAGE).init(jax.random.key(0))
    image = drawn(IMAGE, 2)[1]
    expected = Perception(IMAGE).features(params, Perception(IMAGE).keep(image))
    for low, high in ((0.0, 1.0), (-1.0, 1.0)):
        space = spaces.Box(low, high, IMAGE.shape, np.float32)
        scaled = low + image.astype(jnp.float32) / 255 * (high - low)
        found = Perception(space).features(params, Perception(space).keep(scaled))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    free = spaces.Box(-np.inf, np.inf, IMAGE.shape, np.float32)  # as they are
    found = Perception(free).features(params, Perception(free).keep(image / 255))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_tokens_are_told_apart_by_a_learned_embedding() -> None:
    perception = Perception(WORDS)
    params = perception.init(jax.random.key(0))
    ids = jnp.asarray([[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 5]])  # the same words in another order are another thing
    features = np.asarray(perception.features(params, perception.keep(ids)))
    assert all(np.abs(features[i] - features[j]).max() > 0.1 for i, j in ((0, 1), (0, 2), (1, 2)))

    def loss(params: Any) -> Any:
        return jnp.sum(jnp.square(perception.features(params, perception.keep(ids))))

    slope = np.asarray(jax.grad(loss)(params).tokens[0].embedding)
    assert np.all(np.any(slope[[0, 1, 2, 3, 5]] != 0, axis=1)) and np.all(slope[4] == 0)  # word 4 was not said


def test_tokens_count_from_where_their_space_does() -> None:
    later = spaces.MultiDiscrete([6] * 4, start=[10] * 4)
    ids = drawn(WORDS, 3)[1]
    np.testing.assert_array_equal(Perception(later).keep(ids + 10).tokens[0], Perception(WORDS).keep(ids).tokens[0])


def test_a_network_with_pictures_begins_as_one_without() -> None:
    perception, network = Perception(NESTED), mlp((Perception(NESTED).size + 1, 3))
    wrapped = perceiving(perception, network)
    params = wrapped.init(jax.random.key(3))
    assert isinstance(params, Perceiving)
    jax.tree.map(np.testing.assert_array_equal, params.network, network.init(jax.random.key(3)))
    kept, beside = perception.keep(drawn(NESTED, 2)[1]), jnp.ones((2, 1))
    found, _ = wrapped.apply(params, (), observations.gather(kept, beside))
    features = jnp.concatenate([perception.features(params.perception, kept), beside], axis=-1)
    np.testing.assert_array_equal(found, network.apply(params.network, (), features)[0])


@pytest.mark.parametrize(
    "space", [spaces.Text(4), spaces.Sequence(BOX), spaces.Graph(BOX, None), spaces.Dict({"a": spaces.Text(4)})]
)
def test_a_space_that_is_not_served_is_named(space: Any) -> None:
    with pytest.raises(UserError, match=r"the observation space .* is not served; Box, Discrete, .* are"):
        _ = Perception(space).size


def test_a_summary_of_an_image_is_its_means_over_fields() -> None:
    image = jnp.arange(16 * 4, dtype=jnp.float32).reshape(16, 4, 1)
    kept = observations.Parts((), (image,), ())
    expected = np.asarray(image).reshape(4, 4, 4, 1).mean(axis=1).ravel()
    np.testing.assert_allclose(observations.summary(kept), expected, rtol=1e-6)
    bright = observations.Parts((), (jnp.full((3, 3, 1), 255, jnp.uint8),), ())
    np.testing.assert_allclose(observations.summary(bright), np.ones(9), rtol=1e-6)
