"""RL² with a transformer, and E-RL²: the numbers of an update, and what is refused."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from adaptax import api
from adaptax.algorithms.rl2 import RL2
from adaptax.names import registry
from adaptax.run.collect import collect, streams_of
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.types import Trial, UserError

BENCHMARK = registry.make_benchmark("bandit", {"arms": 2, "pulls": 5})


def made(**hyperparameters: Any) -> RL2:
    return api.algorithm("rl2", BENCHMARK, tasks=3, minibatches=1, hidden=4, **hyperparameters)  # type: ignore[return-value]


def trials_of(algorithm: RL2) -> tuple[Any, Trial]:
    params = algorithm.init(jax.random.key(0)).params
    streams = streams_of(BENCHMARK.environment)
    run = jax.jit(lambda p, key: collect(algorithm, streams, BENCHMARK.train, algorithm.plan, p, None, key)[0])
    return params, run(params, jax.random.key(1))


@pytest.mark.parametrize("exploration", [0, 2])
def test_rewards_of_the_exploration_episodes_count_for_nothing_but_are_perceived(exploration: int) -> None:
    """Advantages by a backward loop over rewards of which the first k episodes (one pull each) are 0."""
    discount, trace = 0.9, 0.7
    algorithm = made(exploration_episodes=exploration, discount=discount, trace=trace)
    params, trials = trials_of(algorithm)
    rewards = np.array(trials.rollouts.reward[:, 0, 0], np.float64).T  # [T, N]
    assert rewards[:2].any()
    values = np.asarray(trials.rollouts.decision.extras.value[:, 0, 0], np.float64).T
    batch = algorithm._prepare(params, trials)
    np.testing.assert_array_equal(batch.inputs[1:, :, -2], rewards[:-1])  # r_{t−1} as it was paid
    rewards[:exploration] = 0
    advantage, expected = np.zeros(3), []
    for t in reversed(range(5)):
        following = values[t + 1] if t < 4 else 0.0
        advantage = rewards[t] + discount * following - values[t] + discount * trace * advantage
        expected.append(advantage)
    np.testing.assert_allclose(batch.target, np.array(expected[::-1]) + values, rtol=1e-5, atol=1e-6)


def test_exploration_leaves_an_episode_to_be_paid() -> None:
    with pytest.raises(UserError, match="exploration-episodes is 5.*≤ 4"):
        made(exploration_episodes=5)


def test_a_trial_longer_than_the_context_is_refused_before_compilation() -> None:
    """The context is the trial that was trained on; a recurrent state has none."""
    algorithm = made(network="transformer")
    assert algorithm.plan.context == 5 and made(network="gru").plan.context is None
    message = "8 episodes of 1 steps are a trial of 8 steps, but the agent's memory holds 5: evaluate it on at most 5"
    for rounds, episodes in ((1, 8), (2, 4)):
        with pytest.raises(UserError, match=message):
            evaluate(algorithm, BENCHMARK, BENCHMARK.test, None, Protocol(2, rounds, episodes=episodes))


def test_a_shorter_trial_is_the_beginning_of_a_long_one() -> None:
    algorithm = made(network="transformer")
    params = algorithm.init(jax.random.key(0)).params
    whole = evaluate(algorithm, BENCHMARK, BENCHMARK.test, params, Protocol(4, episodes=5))
    assert whole.returns.shape == (4, 1, 1, 5) and np.isfinite(whole.entropy).all()
    assert evaluate(algorithm, BENCHMARK, BENCHMARK.test, params, Protocol(4, episodes=3)).returns.shape[-1] == 3


def test_the_entropy_bonus_falls_to_what_is_left_at_last() -> None:
    agent = made(entropy=0.3, final_entropy=0.06, decay=60)
    found = [float(agent._entropy_weight(np.int32(k))) for k in (0, 20, 32, 40, 59)]  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [0.3, 0.15, 0.06, 0.06, 0.06], rtol=1e-6)
    with pytest.raises(UserError, match="final-entropy is 0.5"):
        made(entropy=0.3, final_entropy=0.5)
