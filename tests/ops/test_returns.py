"""Returns and advantages: by hand, and against sums written out."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops.returns import (
    discounted_returns,
    generalized_advantages,
    longest,
    of_the_next_step,
    standardize,
    steps_since,
    trial_advantages,
    without_first_episodes,
)


def test_discounted_returns_by_hand() -> None:
    rewards, ended = jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([False, True, False, False])
    # From the back: 4 + 8/2, 3 + 8/2, 2 (an episode ends), 1 + 2/2.
    np.testing.assert_array_equal(discounted_returns(rewards, ended, 0.5, after=8.0), [2.0, 2.0, 7.0, 8.0])
    np.testing.assert_array_equal(discounted_returns(rewards, ended, 0.5), [2.0, 2.0, 5.0, 4.0])


def test_a_terminal_state_is_worth_nothing_and_a_time_limit_is_not() -> None:
    rewards, values, following = jnp.ones(2), jnp.array([0.5, 0.25]), jnp.array([0.25, 10.0])
    here, nowhere = jnp.array([False, True]), jnp.zeros(2, bool)
    terminated = generalized_advantages(rewards, values, following, here, nowhere, 0.5, 0.5)
    truncated = generalized_advantages(rewards, values, following, nowhere, here, 0.5, 0.5)
    running = generalized_advantages(rewards, values, following, nowhere, nowhere, 0.5, 0.5)
    # δ_0 = 1 + 0.125 − 0.5; δ_1 = 1 − 0.25, or 1 + 5 − 0.25 with the bootstrap; Â_0 = δ_0 + δ_1 / 4.
    np.testing.assert_array_equal(terminated, [0.625 + 0.75 / 4, 0.75])
    np.testing.assert_array_equal(truncated, [0.625 + 5.75 / 4, 5.75])
    np.testing.assert_array_equal(running, truncated)


def test_a_trial_is_over_with_its_last_step() -> None:
    rewards, values = jnp.array([1.0, 2.0, 4.0]), jnp.array([0.5, 1.0, 2.0])
    # δ = 1 + 0.5 − 0.5, 2 + 1 − 1, 4 − 2: nothing after the last; Â_t = δ_t + Â_{t+1} / 4.
    np.testing.assert_array_equal(trial_advantages(rewards, values, 0.5, 0.5), [1.0 + 2.5 / 4, 2.0 + 2.0 / 4, 2.0])


@pytest.mark.parametrize("kind", ["terminated", "truncated"])
def test_nothing_flows_back_over_the_end_of_an_episode(kind: str) -> None:
    ends = {name: jnp.array([name == kind, False]) for name in ("terminated", "truncated")}
    rewards, values, following = jnp.array([1.0, 100.0]), jnp.array([3.0, 7.0]), jnp.array([5.0, 9.0])
    found = generalized_advantages(rewards, values, following, discount=0.5, trace=1.0, **ends)
    assert found[0] == {"terminated": 1.0 - 3.0, "truncated": 1.0 + 0.5 * 5.0 - 3.0}[kind]
    assert found[1] == 100.0 + 0.5 * 9.0 - 7.0


@pytest.mark.parametrize(("discount", "trace"), [(0.9, 0.8), (1.0, 1.0), (0.97, 0.0)])
def test_against_sums_written_out(discount: float, trace: float) -> None:
    """Further axes are independent, and each step's sum is written out instead of folded from the back."""
    steps, streams = 12, 3
    generator = np.random.default_rng(0)
    rewards, values, following = generator.normal(size=(3, steps, streams)).astype(np.float32)
    terminated, truncated = generator.random((2, steps, streams)) < 0.2
    truncated &= ~terminated
    ended = terminated | truncated
    after = generator.normal(size=streams).astype(np.float32)
    advantages, reached = np.zeros((2, steps, streams))
    for b in range(streams):
        for t in range(steps):
            length = next((i for i in range(t, steps) if ended[i, b]), steps - 1) - t + 1
            for i in range(length):
                step = t + i
                bootstrap = 0.0 if terminated[step, b] else following[step, b]
                delta = rewards[step, b] + discount * bootstrap - values[step, b]
                advantages[t, b] += (discount * trace) ** i * delta
                reached[t, b] += discount**i * rewards[step, b]
            if not ended[t + length - 1, b]:
                reached[t, b] += discount**length * after[b]
    found = generalized_advantages(rewards, values, following, terminated, truncated, discount, trace)
    np.testing.assert_allclose(found, advantages, rtol=1e-5, atol=1e-5)
    found = discounted_returns(jnp.asarray(rewards), jnp.asarray(ended), discount, jnp.asarray(after))
    np.testing.assert_allclose(found, reached, rtol=1e-5, atol=1e-5)


def test_full_trace_telescopes_to_return_minus_value() -> None:
    generator = np.random.default_rng(1)
    rewards, values = jnp.asarray(generator.normal(size=(2, 9)), jnp.float32)
    over = jnp.zeros(9, bool).at[-1].set(True)
    following = jnp.concatenate([values[1:], jnp.zeros(1)])
    found = generalized_advantages(rewards, values, following, over, over, 0.9, 1.0)
    np.testing.assert_allclose(found, discounted_returns(rewards, over, 0.9) - values, rtol=1e-5, atol=1e-6)


def test_standardize() -> None:
    values = jnp.array([[1.0, 2.0], [3.0, 6.0]])  # mean 3, population variance (4 + 1 + 0 + 9) / 4
    np.testing.assert_allclose(standardize(values), (np.asarray(values) - 3) / np.sqrt(3.5), rtol=1e-6)
    np.testing.assert_array_equal(standardize(jnp.full(5, 7.0)), np.zeros(5))


def test_steps_since() -> None:
    first = jnp.array([[False, True], [True, False], [False, False], [False, True], [True, False]])
    np.testing.assert_array_equal(steps_since(first), [[0, 0], [0, 1], [1, 2], [2, 0], [0, 1]])
    assert steps_since(first).dtype == jnp.int32


def test_episodes_are_counted_where_they_begin() -> None:
    rewards = jnp.arange(1.0, 7.0)
    first = jnp.array([1, 0, 1, 0, 0, 1], bool)
    for count, expected in ((0, [1, 2, 3, 4, 5, 6]), (1, [0, 0, 3, 4, 5, 6]), (2, [0, 0, 0, 0, 0, 6])):
        np.testing.assert_array_equal(without_first_episodes(rewards, first, count), expected)


def test_the_value_of_the_next_step_is_none_at_the_last() -> None:
    values = jnp.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    np.testing.assert_array_equal(of_the_next_step(values), [[2, 20], [3, 30], [0, 0]])


def test_the_longest_return_is_that_of_ones() -> None:
    assert longest(1.0, 7) == 7.0
    np.testing.assert_allclose(longest(0.9, 3), 1 + 0.9 + 0.81, rtol=1e-12)
