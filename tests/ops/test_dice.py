"""DiCE and Loaded DiCE: numbers by hand, and exact expectations over all trajectories of a small MDP."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops.dice import dice, loaded_dice, magic_box
from adaptax.ops.policy_losses import ratio_loss
from adaptax.ops.returns import discounted_returns, generalized_advantages

LOGS = jnp.log(jnp.array([0.5, 0.25, 0.8]))
REWARDS = jnp.array([1.0, 2.0, 4.0])
ADVANTAGES = jnp.array([3.0, -1.0, 2.0])
Loss = Callable[[jax.Array], jax.Array]


def test_the_box_is_one_and_its_derivatives_are_those_of_exp_at_zero() -> None:
    x = jnp.array([-1.3, 0.0, 7.0])
    np.testing.assert_array_equal(magic_box(x), np.ones(3))
    once = jax.grad(lambda x: jnp.sum(magic_box(3.0 * x)))
    np.testing.assert_array_equal(once(x), np.full(3, 3.0))
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(once(x)))(x), np.full(3, 9.0))


def test_dice_by_hand() -> None:
    """γ = ½: the three rewards count 1, 1 and 1, and depend on the first one, two and three actions."""
    np.testing.assert_allclose(dice(LOGS, REWARDS, 0.5), -3 / 3, rtol=1e-6)
    slope, curvature = jax.grad(dice)(LOGS, REWARDS, 0.5), jax.hessian(dice)(LOGS, REWARDS, 0.5)
    np.testing.assert_allclose(slope, -np.array([3, 2, 1]) / 3, rtol=1e-6)  # the discounted rewards from there on
    np.testing.assert_allclose(curvature, -np.array([[3, 2, 1], [2, 2, 1], [1, 1, 1]]) / 3, rtol=1e-6)


def test_a_baseline_by_hand() -> None:
    """γ^t b_t = 2, 1, 2 comes off the slopes and off the diagonal; the value stays."""
    baseline = jnp.array([2.0, 2.0, 8.0])
    np.testing.assert_allclose(dice(LOGS, REWARDS, 0.5, baseline), -3 / 3, rtol=1e-6)
    slope = jax.grad(dice)(LOGS, REWARDS, 0.5, baseline)
    np.testing.assert_allclose(slope, -np.array([1, 1, -1]) / 3, rtol=1e-6)
    curvature = jax.hessian(dice)(LOGS, REWARDS, 0.5, baseline)
    np.testing.assert_allclose(curvature, -np.array([[1, 2, 1], [2, 1, 1], [1, 1, -1]]) / 3, rtol=1e-6)


def test_loaded_dice_by_hand() -> None:
    """γ = λ = ½, γ^t Â = 3, −½, ½ at weights (1), (½, 1), (¼, ½, 1) of the log-probabilities."""
    value, slope = jax.value_and_grad(loaded_dice)(LOGS, ADVANTAGES, 0.5, 0.5)
    assert float(value) == 0.0
    np.testing.assert_allclose(slope, -np.array([3, -0.5, 0.5]) / 3, rtol=1e-6)  # the policy gradient, whatever λ
    now, before = np.array([[1, 0, 0], [0.5, 1, 0], [0.25, 0.5, 1]]), np.array([[0, 0, 0], [0.5, 0, 0], [0.25, 0.5, 0]])
    expected = sum(a * (np.outer(w, w) - np.outer(v, v)) for a, w, v in zip((3, -0.5, 0.5), now, before, strict=True))
    np.testing.assert_allclose(jax.hessian(loaded_dice)(LOGS, ADVANTAGES, 0.5, 0.5), -expected / 3, rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.3, 1.0])
def test_the_first_derivative_is_the_policy_gradient_whatever_the_decay(decay: float) -> None:
    slope = jax.grad(loaded_dice)(LOGS, ADVANTAGES, 1.0, decay)
    np.testing.assert_allclose(slope, -ADVANTAGES / 3, rtol=1e-6)


def test_episodes_and_streams_are_kept_apart() -> None:
    """A stream of two episodes is two streams, end to end; further axes are averaged."""
    first = jnp.array([True, False, True, False])
    logs, rewards = jnp.log(jnp.array([0.5, 0.25, 0.8, 0.4])), jnp.array([1.0, 2.0, 4.0, -1.0])
    for loss in (lambda x, r, f: dice(x, r, 0.5, r, f), lambda x, r, f: loaded_dice(x, r, 0.5, 0.7, f)):
        curvature = jax.jit(jax.hessian(loss))
        apart = curvature(logs.reshape(2, 2).T, rewards.reshape(2, 2).T, None)  # [T, B, T, B]
        together = np.asarray(curvature(logs, rewards, first))
        np.testing.assert_allclose(together, apart.transpose(1, 0, 3, 2).reshape(4, 4), rtol=1e-6)
        assert np.all(together[:2, 2:] == 0)
        assert np.any(np.asarray(curvature(logs, rewards, None))[:2, 2:] != 0)


def test_without_discount_or_decay_it_is_the_ratio_loss() -> None:
    """All derivatives; the value differs by the mean advantage."""

    def loaded(logs: jax.Array) -> jax.Array:
        return loaded_dice(logs, ADVANTAGES, 1.0, 0.0)

    def ratio(logs: jax.Array) -> jax.Array:
        return ratio_loss(logs, jax.lax.stop_gradient(logs), ADVANTAGES)

    for one, other in itertools.islice(zip(orders(loaded), orders(ratio), strict=True), 1, 4):
        np.testing.assert_allclose(one(LOGS), other(LOGS), rtol=1e-6)
    np.testing.assert_allclose(loaded(LOGS) - ratio(LOGS), jnp.mean(ADVANTAGES), rtol=1e-6)


def orders(function: Loss) -> list[Callable[[jax.Array], jax.Array]]:
    """The function and its first, second and third derivative."""
    first = jax.grad(function)
    return [jax.jit(f) for f in (function, first, jax.jacfwd(first), jax.jacfwd(jax.jacfwd(first)))]


# An MDP of two states, two actions and three steps.
STEPS, DISCOUNT = 3, 0.9
START = np.array([0.3, 0.7])
MOVES = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.35, 0.65]]])  # [s, a, s']
PAYS = np.array([[1.0, -2.0], [0.5, 3.0]])  # [s, a]
LOGITS = np.array([[0.4, -0.3], [-1.0, 0.2]])  # [s, a]


class Trajectories(NamedTuple):
    """All of them, [T, K], with the probability of each, [K], and what holds for its steps."""

    states: np.ndarray
    actions: np.ndarray
    successors: np.ndarray
    rewards: np.ndarray
    probability: np.ndarray


def policy() -> np.ndarray:
    return np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


def enumerated() -> Trajectories:
    paths = np.array(list(itertools.product(range(2), repeat=2 * STEPS + 1))).T  # s, a, s, a, s, a, s
    states, actions, successors = paths[:-1:2], paths[1::2], paths[2::2]
    chances = policy()[states, actions] * MOVES[states, actions, successors]
    return Trajectories(states, actions, successors, PAYS[states, actions], START[states[0]] * chances.prod(0))


def values() -> np.ndarray:
    """V(t, s) [T + 1, S] of the policy."""
    table = np.zeros((STEPS + 1, 2))
    for t in reversed(range(STEPS)):
        table[t] = (policy() * (PAYS + DISCOUNT * MOVES @ table[t + 1])).sum(1)
    return table


def expected_return(logits: jax.Array) -> jax.Array:
    """The exact objective as a function of the policy's parameters."""
    chosen = jax.nn.softmax(logits)
    occupied, total = jnp.asarray(START), jnp.zeros(())
    for t in range(STEPS):
        joint = occupied[:, None] * chosen
        total += DISCOUNT**t * jnp.sum(joint * PAYS)
        occupied = jnp.einsum("sa,sax->x", joint, MOVES)
    return total


def expectation(loss: Callable[[jax.Array, Trajectories], jax.Array]) -> Loss:
    """The objective (not its negative, not divided by T) of one trajectory, averaged over all with their chances."""
    every = enumerated()
    columns = jax.tree.map(lambda x: jnp.asarray(np.moveaxis(x, -1, 0)), every)

    def expected(logits: jax.Array) -> jax.Array:
        def one(trajectory: Trajectories) -> jax.Array:
            logs = jax.nn.log_softmax(logits)[trajectory.states, trajectory.actions]
            return -STEPS * loss(logs, trajectory)

        return jnp.sum(columns.probability * jax.vmap(one)(columns))

    return expected


def advantages(trajectory: Trajectories, trace: float) -> jax.Array:
    table, clock = jnp.asarray(values()), jnp.arange(STEPS)
    before, after = table[clock, trajectory.states], table[clock + 1, trajectory.successors]
    never, last = jnp.zeros(STEPS, bool), clock == STEPS - 1
    return generalized_advantages(jnp.asarray(trajectory.rewards), before, after, last, never, DISCOUNT, trace)


def loaded(trace: float, decay: float) -> Callable[[jax.Array, Trajectories], jax.Array]:
    return lambda logs, one: loaded_dice(logs, advantages(one, trace), DISCOUNT, decay)


def test_the_enumeration_is_complete(x64: None) -> None:
    every = enumerated()
    np.testing.assert_allclose(every.probability.sum(), 1.0, rtol=1e-12)
    discounted = (DISCOUNT ** np.arange(STEPS)[:, None] * every.rewards).sum(0)
    np.testing.assert_allclose(expected_return(jnp.asarray(LOGITS)), every.probability @ discounted, rtol=1e-12)
    np.testing.assert_allclose(START @ values()[0], every.probability @ discounted, rtol=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        lambda logs, one: dice(logs, one.rewards, DISCOUNT),
        lambda logs, one: dice(logs, one.rewards, DISCOUNT, jnp.asarray(values())[jnp.arange(STEPS), one.states]),
        loaded(1.0, 1.0),
        loaded(0.5, 1.0),
        loaded(0.0, 1.0),
    ],
    ids=["dice", "dice with a baseline", "loaded, τ = 1", "loaded, τ = 0.5", "loaded, τ = 0"],
)
def test_three_derivatives_are_unbiased(x64: None, loss: Callable[[jax.Array, Trajectories], jax.Array]) -> None:
    logits = jnp.asarray(LOGITS)
    for found, exact in zip(orders(expectation(loss))[1:], orders(expected_return)[1:], strict=True):
        np.testing.assert_allclose(found(logits), exact(logits), rtol=1e-8, atol=1e-12)


def test_low_variance_curvature_has_the_gradient_and_a_biased_hessian(x64: None) -> None:
    """Its Hessian is that of the return with the states' distribution held fixed."""
    logits = jnp.asarray(LOGITS)
    _, slope, curvature, _ = orders(expectation(loaded(1.0, 0.0)))
    _, exact_slope, exact_curvature, _ = orders(expected_return)
    np.testing.assert_allclose(slope(logits), exact_slope(logits), rtol=1e-8, atol=1e-12)
    bias = np.abs(np.asarray(curvature(logits) - exact_curvature(logits))).max()
    assert bias > 0.1 * np.abs(np.asarray(exact_curvature(logits))).max()

    def held(logits: jax.Array) -> jax.Array:
        chosen, occupied, total = jax.nn.softmax(logits), START, jnp.zeros(())
        for t in range(STEPS):
            total += DISCOUNT**t * jnp.sum(occupied[:, None] * chosen * (PAYS + DISCOUNT * MOVES @ values()[t + 1]))
            occupied = np.einsum("sa,sax->x", occupied[:, None] * policy(), MOVES)
        return total

    np.testing.assert_allclose(curvature(logits), jax.hessian(held)(logits), rtol=1e-8, atol=1e-12)


def test_no_decay_is_low_variance_curvature(x64: None) -> None:
    """λ = 0, discounted, on one trajectory: first and second derivative with respect to the policy's parameters."""
    random = np.random.default_rng(0)
    states, actions = jnp.asarray(random.integers(2, size=(5, 3))), jnp.asarray(random.integers(2, size=(5, 3)))
    given = jnp.asarray(random.normal(size=(5, 3)))
    weights = 0.9 ** np.arange(5)[:, None]

    def logs(logits: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(logits)[states, actions]

    def curved(logits: jax.Array) -> jax.Array:
        return ratio_loss(logs(logits), jax.lax.stop_gradient(logs(logits)), jnp.asarray(weights * given))

    unloaded = orders(lambda logits: loaded_dice(logs(logits), given, 0.9, 0.0))
    for one, other in zip(unloaded[1:3], orders(curved)[1:3], strict=True):
        np.testing.assert_allclose(one(jnp.asarray(LOGITS)), other(jnp.asarray(LOGITS)), rtol=1e-10, atol=1e-14)


def test_no_trace_decay_is_dice_with_the_baseline_of_any_order(x64: None) -> None:
    """λ = 1 and Â = G − b, on every trajectory: DiCE and Σ γ^t (□(Σ_{k<t}) − □(Σ_{k≤t})) b_t (Mao et al. 2019)."""
    random = np.random.default_rng(1)
    logs, rewards, baseline = (jnp.asarray(random.normal(size=(4, 2))) for _ in range(3))
    never, last = jnp.zeros((4, 2), bool), jnp.broadcast_to(jnp.arange(4)[:, None] == 3, (4, 2))
    successors = jnp.concatenate([baseline[1:], baseline[:1]])  # the last is not used: the episode ends
    lifted = generalized_advantages(rewards, baseline, successors, last, never, 0.9, 1.0)
    np.testing.assert_allclose(lifted, discounted_returns(rewards, last, 0.9) - baseline, rtol=1e-10)

    def mao(logs: jax.Array) -> jax.Array:
        through = jnp.cumsum(logs, axis=0)
        boxes = magic_box(through - logs) - magic_box(through)
        weights = jnp.asarray(np.broadcast_to(0.9 ** np.arange(4)[:, None], (4, 2)))
        return dice(logs, rewards, 0.9) - jnp.mean(weights * boxes * baseline)

    ours = orders(lambda logs: loaded_dice(logs, lifted, 0.9, 1.0))
    for one, other in zip(ours[1:], orders(mao)[1:], strict=True):
        np.testing.assert_allclose(one(logs), other(logs), rtol=1e-8, atol=1e-12)


def test_precision_is_that_of_the_arguments() -> None:
    for found in (dice(LOGS, REWARDS, 0.9, REWARDS), loaded_dice(LOGS, REWARDS, 0.9, 0.5)):
        assert found.dtype == jnp.float32 and found.shape == () and not found.weak_type
