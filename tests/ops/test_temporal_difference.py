"""Targets and losses of off-policy learning, against values computed by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops.epsilon_greedy import epsilon_greedy
from adaptax.ops.temporal_difference import dueling, q_learning_target, smoothed_action, soft_target, temperature_loss

REWARD, TERMINATED = jnp.array([1.0, -2.0, 0.5]), jnp.array([False, True, False])


@pytest.mark.parametrize(
    ("double", "expected"),
    [
        (False, [1 + 0.9 * 3, -2, 0.5 + 0.9 * 1]),
        (True, [1 + 0.9 * -1, -2, 0.5 + 0.9 * 1]),  # in the last row both networks prefer the same action
    ],
)
def test_q_learning_targets(double: bool, expected: list[float]) -> None:
    online = jnp.array([[5.0, 0.0, 1.0], [1.0, 2.0, 3.0], [0.0, 4.0, 0.0]])
    target = jnp.array([[-1.0, 3.0, 2.0], [9.0, 9.0, 9.0], [0.0, 1.0, -1.0]])
    np.testing.assert_allclose(q_learning_target(REWARD, TERMINATED, 0.9, online, target, double), expected, rtol=1e-6)
    as_numbers = q_learning_target(REWARD, TERMINATED.astype(jnp.float32), 0.9, online, target, double)
    np.testing.assert_allclose(as_numbers, expected, rtol=1e-6)

    def total(online: jax.Array, target: jax.Array) -> jax.Array:
        return q_learning_target(REWARD, TERMINATED, 0.9, online, target, double).sum()

    for slope in jax.grad(total, argnums=(0, 1))(online, target):
        np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize(
    ("double", "expected"),
    [
        (False, [1 + 0.9 * 2, -2, 0.5 + 0.9 * 1]),  # the target network's best of the first row is forbidden
        (True, [1 + 0.9 * -1, -2, 0.5 + 0.9 * 1]),  # and so is the online network's, whose second best counts
    ],
)
def test_q_learning_targets_of_allowed_successors(double: bool, expected: list[float]) -> None:
    online = jnp.array([[5.0, 9.0, 1.0], [1.0, 2.0, 3.0], [0.0, 4.0, 0.0]])
    target = jnp.array([[-1.0, 3.0, 2.0], [9.0, 9.0, 9.0], [0.0, 1.0, -1.0]])
    allowed = jnp.array([[True, False, True], [False, True, False], [False, False, False]])  # none in the last: all
    found = q_learning_target(REWARD, TERMINATED, 0.9, online, target, double, allowed)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_greedy_and_random_actions_are_allowed_ones() -> None:
    values, allowed = jnp.array([0.1, 0.9, 0.3, 0.2]), jnp.array([True, False, True, True])
    assert epsilon_greedy(values, jnp.float32(1.0), None, allowed) == 2
    draw = jax.vmap(lambda key: epsilon_greedy(values, jnp.float32(0.6), key, allowed))
    found = np.bincount(draw(jax.random.split(jax.random.key(0), 6000)), minlength=4) / 6000
    np.testing.assert_allclose(found, [0.2, 0.0, 0.6, 0.2], atol=4 * 0.5 / 6000**0.5)
    assert found[1] == 0


def test_soft_targets() -> None:
    critics = jnp.array([2.0, 7.0, -1.0]), jnp.array([3.0, 6.0, -4.0])
    logs = jnp.array([-0.5, 0.3, 2.0])
    found = soft_target(REWARD, TERMINATED, 0.9, critics, logs, 0.2)
    np.testing.assert_allclose(found, [1 + 0.9 * (2 + 0.1), -2, 0.5 + 0.9 * (-4 - 0.4)], rtol=1e-6)
    np.testing.assert_allclose(  # DDPG: one critic, no entropy
        soft_target(REWARD, TERMINATED, 0.9, critics[:1], 0.0, 0.0), [2.8, -2, -0.4], rtol=1e-6
    )
    slope = jax.grad(lambda c: soft_target(REWARD, TERMINATED, 0.9, (c, critics[1]), logs, 0.2).sum())(critics[0])
    np.testing.assert_array_equal(slope, 0)


def test_the_temperature_falls_where_there_is_more_entropy_than_asked_for() -> None:
    logs = jnp.array([-1.0, -4.0])  # entropy 2.5
    loss = jax.value_and_grad(temperature_loss)
    value, slope = loss(jnp.log(0.3), logs, -2.0)
    np.testing.assert_allclose((value, slope), 0.3 * 4.5, rtol=1e-6)  # descent lowers log α
    value, slope = loss(jnp.log(0.3), logs, 3.0)
    np.testing.assert_allclose((value, slope), -0.3 * 0.5, rtol=1e-5)
    np.testing.assert_array_equal(jax.grad(temperature_loss, argnums=1)(jnp.log(0.3), logs, 3.0), 0)


def test_dueling_values_have_the_mean_v() -> None:
    value, advantage = jnp.array([[2.0], [-1.0]]), jnp.array([[1.0, 3.0, 5.0], [0.0, 0.0, 6.0]])
    found = dueling(value, advantage)
    np.testing.assert_allclose(found, [[0, 2, 4], [-3, -3, 3]])
    np.testing.assert_allclose(found.mean(axis=-1, keepdims=True), value)
    np.testing.assert_allclose(dueling(value, advantage + 7.0), found)  # a constant is not an advantage


def test_smoothing_is_cut_off_twice() -> None:
    action = jnp.broadcast_to(jnp.array([0.0, 0.95]), (5000, 2))
    found = smoothed_action(action, jax.random.key(0), 0.2, 0.3)
    np.testing.assert_allclose(np.abs(found[:, 0]).max(), 0.3, rtol=1e-6)
    np.testing.assert_allclose([found[:, 1].min(), found[:, 1].max()], [0.65, 1.0], rtol=1e-6)
    inside = np.abs(found[:, 0]) < 0.3
    np.testing.assert_allclose(inside.mean(), 0.8664, atol=0.02)  # 1.5 standard deviations
    noise = 0.2 * jax.random.normal(jax.random.key(0), (5000, 2))
    np.testing.assert_allclose(found[inside, 0], noise[inside, 0], rtol=1e-6)
    np.testing.assert_array_equal(smoothed_action(action, jax.random.key(0), 0.0, 0.3), action)
