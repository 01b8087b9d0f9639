"""Without a key nothing is drawn."""

import jax
import jax.numpy as jnp
import numpy as np

from adaptax.ops import chance
from adaptax.ops.distributions import Categorical, DiagonalGaussian
from adaptax.ops.epsilon_greedy import epsilon_greedy
from adaptax.ops.squashed import SquashedGaussian


def test_with_a_key_it_is_what_jax_draws() -> None:
    key = jax.random.key(3)
    for ours, theirs in zip(chance.split(key, 3), jax.random.split(key, 3), strict=True):
        np.testing.assert_array_equal(jax.random.key_data(ours), jax.random.key_data(theirs))
    np.testing.assert_array_equal(chance.normal(key, (4,)), jax.random.normal(key, (4,), jnp.float32))


def test_without_one_it_is_the_middle() -> None:
    assert chance.split(None, 2) == [None, None]
    np.testing.assert_array_equal(chance.normal(None, (2, 3)), np.zeros((2, 3), np.float32))
    mean, log_std = jnp.asarray([0.5, -2.0]), jnp.zeros(2)
    np.testing.assert_array_equal(DiagonalGaussian(mean, log_std).sample(None), mean)
    np.testing.assert_array_equal(SquashedGaussian(mean, log_std).sample(None), jnp.tanh(mean))
    values = jnp.asarray([0.1, 0.9, 0.3])
    assert Categorical(values).sample(None) == 1 == epsilon_greedy(values, jnp.float32(1.0), None)
