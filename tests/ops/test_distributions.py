"""Action distributions against scipy, and samples against their probabilities."""

from __future__ import annotations

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from jax.flatten_util import ravel_pytree

from adaptax.ops import distributions
from adaptax.ops.distributions import Categorical, DiagonalGaussian
from adaptax.types import UserError

LOGITS = np.array([[0.3, -1.2, 2.0, 0.0], [5.0, 5.0, -3.0, 1.0]], np.float32)
OTHERS = np.array([[1.0, 0.0, -1.0, 0.5], [0.0, 2.0, 2.0, -2.0]], np.float32)
DISCRETE = gymnasium.spaces.Discrete(4)
KEYS = list(jax.random.split(jax.random.key(4), 40))
BOX = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)


def test_categorical_against_scipy() -> None:
    p, q = scipy.special.softmax(LOGITS, axis=-1), scipy.special.softmax(OTHERS, axis=-1)
    policy, other = Categorical(jnp.asarray(LOGITS)), Categorical(jnp.asarray(OTHERS))
    actions = np.array([2, 3])
    logs = policy.log_probability(jnp.asarray(actions))
    np.testing.assert_allclose(logs, np.log(p[[0, 1], actions]), rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(), scipy.stats.entropy(p, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(policy.divergence(other), scipy.stats.entropy(p, q, axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(policy.mode(), [2, 0])
    assert policy.mode().dtype == jnp.int32


def test_categorical_with_certain_actions_stays_finite() -> None:
    policy = Categorical(jnp.array([0.0, 1000.0, -1000.0]))
    np.testing.assert_array_equal(policy.log_probability(jnp.array(1)), 0.0)
    assert policy.log_probability(jnp.array(2)) == -2000.0
    slope = jax.grad(lambda logits: Categorical(logits).log_probability(jnp.array(0)))(policy.logits)
    np.testing.assert_array_equal(slope, [1.0, -1.0, 0.0])


def test_gaussian_against_scipy() -> None:
    generator = np.random.default_rng(0)
    mean, log_std, action = generator.normal(size=(3, 5, 2)).astype(np.float32)
    policy = DiagonalGaussian(jnp.asarray(mean), jnp.asarray(log_std))
    expected = scipy.stats.norm.logpdf(action, mean, np.exp(log_std)).sum(axis=-1)
    np.testing.assert_allclose(policy.log_probability(jnp.asarray(action)), expected, rtol=1e-4, atol=1e-5)
    expected = scipy.stats.norm(mean, np.exp(log_std)).entropy().sum(axis=-1)
    np.testing.assert_allclose(policy.entropy(), expected, rtol=1e-5)
    np.testing.assert_array_equal(policy.mode(), mean)


def test_gaussian_divergence_against_integration() -> None:
    means, log_stds = np.array([[0.3, -1.0], [1.1, -0.4]]), np.array([[0.2, -0.5], [-0.3, 0.4]])
    expected = 0.0
    for d in range(2):
        p, q = (scipy.stats.norm(means[k, d], np.exp(log_stds[k, d])) for k in range(2))

        def integrand(x: float, p=p, q=q) -> float:
            return p.pdf(x) * (p.logpdf(x) - q.logpdf(x))

        expected += scipy.integrate.quad(integrand, -12, 12)[0]
    one, other = (DiagonalGaussian(jnp.asarray(means[k]), jnp.asarray(log_stds[k])) for k in range(2))
    np.testing.assert_allclose(one.divergence(other), expected, rtol=1e-5)
    np.testing.assert_allclose(one.divergence(one), 0.0, atol=1e-6)


@pytest.mark.parametrize(
    "policy",
    [
        Categorical(jnp.asarray(LOGITS[0])),
        DiagonalGaussian(jnp.array([0.3, -1.0, 2.0]), jnp.array([0.2, -0.5, 1.0])),
    ],
)
def test_curvature_is_the_hessian_of_the_divergence_at_itself(policy: distributions.Distribution) -> None:
    flat, unravel = ravel_pytree(policy)
    hessian = jax.hessian(lambda other: jnp.sum(policy.divergence(unravel(other))))(flat)
    tangent = jnp.asarray(np.random.default_rng(0).normal(size=flat.shape).astype(np.float32))
    found, _ = ravel_pytree(policy.curvature(unravel(tangent)))
    np.testing.assert_allclose(found, hessian @ tangent, rtol=1e-4, atol=1e-5)
    assert np.abs(found).max() > 0.1


@pytest.mark.parametrize("row", [0, 1])
def test_categorical_samples_have_their_probabilities(row: int) -> None:
    count = 20_000
    policy = Categorical(jnp.broadcast_to(jnp.asarray(LOGITS[row]), (count, 4)))
    actions = policy.sample(jax.random.key(row))
    assert actions.dtype == jnp.int32 and actions.shape == (count,)
    seen = np.bincount(np.asarray(actions), minlength=4)
    expected = count * scipy.special.softmax(LOGITS[row].astype(np.float64))
    assert scipy.stats.chisquare(seen, expected * count / expected.sum()).pvalue > 1e-3


def test_impossible_actions_are_never_sampled() -> None:
    """The first and the last alternative too, where an inverse CDF is off by one most easily."""
    logits = jnp.array([-jnp.inf, 0.0, -jnp.inf, 0.0, -jnp.inf])
    actions = np.asarray(Categorical(jnp.broadcast_to(logits, (5000, 5))).sample(jax.random.key(0)))
    assert set(actions.tolist()) == {1, 3}
    assert abs(np.mean(actions == 1) - 0.5) < 4 * 0.5 / 5000**0.5


# --- some actions forbidden ---

ALLOWED = np.array([[True, False, True, False], [False, True, True, False]])


def masked(logits: jax.Array, allowed: np.ndarray = ALLOWED) -> Categorical:
    policy = distributions.action_distribution(DISCRETE, logits, jnp.zeros(0), jnp.asarray(allowed))
    assert isinstance(policy, Categorical)
    return policy


def test_allowed_actions_share_the_probability() -> None:
    policy = masked(jnp.asarray(LOGITS))
    weights = np.where(ALLOWED, np.exp(LOGITS), 0.0)
    due = weights / weights.sum(axis=-1, keepdims=True)
    found = np.stack([np.exp(policy.log_probability(jnp.full((2,), a))) for a in range(4)], axis=-1)
    np.testing.assert_allclose(found, due, rtol=1e-5)
    assert (found[~ALLOWED] == 0).all()
    np.testing.assert_array_equal(policy.mode(), [2, 1])
    # By hand: two alternatives with probabilities p and 1 − p, p = 1 / (1 + e^gap).
    p = 1 / (1 + np.exp([1.7, -8.0]))
    np.testing.assert_allclose(policy.entropy(), -p * np.log(p) - (1 - p) * np.log(1 - p), rtol=1e-5)
    others = masked(jnp.asarray(OTHERS))
    q = 1 / (1 + np.exp([-2.0, 0.0]))
    np.testing.assert_allclose(
        policy.divergence(others), p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)), rtol=1e-4
    )


def test_forbidden_actions_are_never_sampled() -> None:
    """Among many, too, where rounded sums need not grow with the number of their terms."""
    for row in range(2):
        policy = masked(jnp.broadcast_to(jnp.asarray(LOGITS[row]), (2000, 4)), ALLOWED[row])
        assert ALLOWED[row][np.asarray(policy.sample(jax.random.key(row)))].all()
    logits, allowed = jax.random.normal(jax.random.key(2), (2000, 100)), np.arange(100) % 7 == 3
    actions = Categorical(distributions.only_allowed(logits, jnp.asarray(allowed))).sample(jax.random.key(3))
    assert allowed[np.asarray(actions)].all() and len(set(np.asarray(actions).tolist())) == allowed.sum()


def test_no_slope_reaches_forbidden_logits() -> None:
    actions = jnp.array([0, 2])

    def all_of_it(logits: jax.Array) -> jax.Array:
        policy, other = masked(logits), masked(jnp.asarray(OTHERS))
        return jnp.sum(policy.log_probability(actions) + policy.entropy() + policy.divergence(other))

    slope = np.asarray(jax.grad(all_of_it)(jnp.asarray(LOGITS)))
    assert np.isfinite(slope).all() and (slope[~ALLOWED] == 0).all() and (slope[ALLOWED] != 0).all()
    curved = masked(jnp.asarray(LOGITS)).curvature(Categorical(jnp.asarray(OTHERS)))
    assert np.isfinite(curved.logits).all() and (np.asarray(curved.logits)[~ALLOWED] == 0).all()


def test_where_nothing_is_allowed_everything_is() -> None:
    policy = masked(jnp.asarray(LOGITS), np.zeros((2, 4), bool))
    np.testing.assert_array_equal(policy.logits, LOGITS)
    assert len(set(np.asarray(distributions.uniform_action(4, k, jnp.zeros(4, bool))).item() for k in KEYS)) == 4


def test_any_allowed_action_is_as_likely_as_another() -> None:
    draw = jax.vmap(lambda key: distributions.uniform_action(4, key, jnp.asarray(ALLOWED[0])))
    actions = np.asarray(draw(jax.random.split(jax.random.key(0), 2000)))
    assert set(actions.tolist()) == {0, 2}
    assert abs(np.mean(actions == 0) - 0.5) < 4 * 0.5 / 2000**0.5


def test_gaussian_samples_are_normal() -> None:
    mean, log_std = jnp.array([1.0, -2.0]), jnp.array([0.5, -1.0])
    shape = (4000, 2)
    policy = DiagonalGaussian(jnp.broadcast_to(mean, shape), jnp.broadcast_to(log_std, shape))
    standard = (np.asarray(policy.sample(jax.random.key(0))) - np.asarray(mean)) / np.exp(np.asarray(log_std))
    for d in range(2):
        assert scipy.stats.kstest(standard[:, d], "norm").pvalue > 1e-3
    assert abs(np.corrcoef(standard.T)[0, 1]) < 4 / 4000**0.5


def test_spaces() -> None:
    assert [distributions.outputs_needed(space) for space in (DISCRETE, BOX)] == [4, 3]
    square = gymnasium.spaces.Box(0, 1, (2, 5), np.float32)
    assert [distributions.flat_size(space) for space in (DISCRETE, BOX, square)] == [4, 3, 10]
    assert distributions.initial_log_std(DISCRETE, 0.7).shape == (0,)
    np.testing.assert_array_equal(distributions.initial_log_std(BOX, 0.5), np.full(3, 0.5, np.float32))
    assert distributions.zero_action(DISCRETE).dtype == jnp.int32
    assert distributions.zero_action(BOX).shape == (3,)
    for space in (square, gymnasium.spaces.MultiDiscrete([2, 3])):
        with pytest.raises(UserError, match="action space"):
            distributions.outputs_needed(space)
    with pytest.raises(UserError, match="the space"):
        distributions.flat_size(gymnasium.spaces.MultiBinary(3))


def test_flatten_keeps_leading_axes() -> None:
    hot = distributions.flatten(DISCRETE, jnp.array([[1], [3]]))
    np.testing.assert_array_equal(hot, [[[0, 1, 0, 0]], [[0, 0, 0, 1]]])
    square = gymnasium.spaces.Box(0, 1, (2, 2), np.float32)
    values = jnp.arange(12).reshape(3, 2, 2)
    flat = distributions.flatten(square, values)
    assert flat.dtype == jnp.float32
    np.testing.assert_array_equal(flat, np.arange(12).reshape(3, 4))


def test_action_distribution_of_a_space() -> None:
    outputs = jnp.ones((2, 3))
    assert isinstance(distributions.action_distribution(DISCRETE, outputs, jnp.zeros(0)), Categorical)
    policy = distributions.action_distribution(BOX, outputs, jnp.array([0.0, 1.0, 2.0]))
    assert isinstance(policy, DiagonalGaussian)
    np.testing.assert_array_equal(policy.log_std, [[0, 1, 2], [0, 1, 2]])
