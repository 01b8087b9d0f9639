"""A trial ends with its last episode: what is stepped after it belongs to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.live.agent import LiveAgent
from adaptax.names import registry
from adaptax.ops import returns, weighted
from adaptax.run.collect import collect, streams_of
from adaptax.run.episodes import round_returns
from adaptax.run.evaluate import Protocol
from adaptax.run.scores import scores_of
from adaptax.tasks import TaskDistribution
from adaptax.types import Benchmark, Outcome, Spec

HORIZON, EPISODES = 6, 2
SMALL = {
    "rl2": {"minibatches": 2, "hidden": 4},
    "rl2-dqn": {"hidden": 4, "capacity": 8, "batch": 8, "gradient_steps": 2},
    "rl2-sac": {"hidden": 4, "capacity": 8, "batch": 8, "gradient_steps": 2},
    "varibad": {"hidden": 4, "capacity": 8, "model_batch": 8, "normalize": True, "state_weight": 0.1},
    "hyperx": {"hidden": 4, "capacity": 8, "model_batch": 8},
}


class Length(NamedTuple):
    """How long an episode lasts: up to the horizon."""

    steps: Any


@dataclass(frozen=True)
class Walk:
    """Each step pays, and is seen; after some steps the episode is over."""

    continuous: bool

    @property
    def spec(self) -> Spec:
        actions = gymnasium.spaces.Box(-1, 1, (2,)) if self.continuous else gymnasium.spaces.Discrete(3)
        return Spec(gymnasium.spaces.Box(-9, 9, (2,)), actions, HORIZON, EPISODES)

    def reset(self, task: Length, key: Any) -> Any:
        return jnp.int32(0), jax.random.normal(key, (2,))

    def step(self, task: Length, clock: Any, action: Any, key: Any) -> Any:
        pays = 1.0 + 0.1 * jnp.sum(action) + 0.1 * clock
        return clock + 1, Outcome(jax.random.normal(key, (2,)), pays, clock + 1 >= task.steps)


@cache
def trials_of(name: str) -> Any:
    """The algorithm, its state, and trials in which every stream is through before its steps are used up."""
    tasks = TaskDistribution(lambda key: Length(jax.random.randint(key, (), 2, HORIZON)))
    on = Benchmark(Walk(name == "rl2-sac"), tasks, tasks, tasks)
    algorithm = registry.make_algorithm(name, None, on.spec, {"tasks": 8, **SMALL[name]})
    state = jax.jit(algorithm.init)(jax.random.key(0))
    gather = jax.jit(
        lambda params, key: collect(algorithm, streams_of(on.environment), on.train, algorithm.plan, params, None, key)[
            0
        ]
    )
    return algorithm, state, gather(state.params, jax.random.key(1)), jax.jit(algorithm.update)


def within(trials: Any) -> np.ndarray:
    """Which steps [N, R, B, T] are of the first two episodes, counted by hand."""
    over = np.asarray(trials.rollouts.terminated | trials.rollouts.truncated)
    before = np.cumsum(over, axis=-1) - over
    return before < EPISODES


@pytest.mark.parametrize("name", SMALL)
def test_what_is_stepped_after_the_last_episode_changes_nothing(name: str) -> None:
    """Rewards, actions, what was stored and where things led are other numbers there: state and metrics stay."""
    algorithm, state, trials, update = trials_of(name)
    assert algorithm.plan.episodes == EPISODES and algorithm.plan.steps == EPISODES * HORIZON
    inside = within(trials)
    assert not inside[..., -1].any() and inside[..., :4].all()
    rng = np.random.default_rng(0)

    def scrambled(leaf: Any) -> Any:
        leaf = np.asarray(leaf)
        other = leaf.copy()
        if leaf.dtype.kind == "f":
            other = (other + rng.uniform(-0.5, 0.5, leaf.shape)).astype(leaf.dtype)
            if leaf.ndim > 4:
                other = np.clip(other, -0.9, 0.9)
        elif leaf.dtype.kind == "i":
            other = rng.integers(0, 3, leaf.shape).astype(leaf.dtype)
        chosen = inside.reshape(*inside.shape, *(1,) * (leaf.ndim - inside.ndim))
        return jnp.asarray(np.where(chosen, leaf, other))

    rollouts = trials.rollouts
    parts = (rollouts.decision, rollouts.reward, rollouts.shaped, rollouts.next_observation)
    decision, reward, shaped, following = jax.tree.map(scrambled, parts)
    # What is perceived at the first step after the end is what the last one within it led to, and stays.
    after = np.concatenate([np.ones_like(inside[..., :1]), inside[..., :-1]], axis=-1)
    inside = after.astype(bool)
    timestep = rollouts.timestep._replace(
        observation=scrambled(rollouts.timestep.observation), reward=scrambled(rollouts.timestep.reward)
    )
    other = trials._replace(
        rollouts=rollouts._replace(
            decision=decision, reward=reward, shaped=shaped, next_observation=following, timestep=timestep
        )
    )
    assert not np.array_equal(other.rollouts.reward, rollouts.reward)
    (was, said), (now, says) = (update(state, some, jax.random.key(2)) for some in (trials, other))
    close = dict(rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), was.params, now.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), said, says)
    # And what is within changes something.
    louder = trials._replace(rollouts=rollouts._replace(reward=rollouts.reward.at[:, :, :, 0].add(3.0)))
    different, _ = update(state, louder, jax.random.key(2))
    gaps = jax.tree.map(
        lambda a, b: float(np.max(np.abs(np.subtract(a, b)), initial=0.0)), was.params, different.params
    )
    assert max(jax.tree.leaves(gaps)) > 1e-4


def test_update_sees_the_return_that_the_evaluator_counts() -> None:
    _, _, trials, _ = trials_of("rl2")
    counted = np.asarray(scores_of(trials, EPISODES).returns).sum(axis=-1)
    first = np.moveaxis(np.asarray(trials.rollouts.timestep.first), -1, 0)
    weight = np.moveaxis(np.asarray(returns.within_episodes(first, EPISODES)), 0, -1)
    np.testing.assert_array_equal(weight, within(trials))
    np.testing.assert_allclose((trials.rollouts.reward * weight).sum(axis=-1), counted, rtol=1e-6)
    np.testing.assert_allclose(round_returns(trials.rollouts, EPISODES)["return"], counted.mean(), rtol=1e-6)


def test_which_steps_belong_to_the_first_episodes() -> None:
    first = np.array([[1, 1], [0, 0], [1, 0], [0, 1], [1, 1], [0, 1]], bool)
    expected = np.array([[1, 1], [1, 1], [1, 1], [1, 1], [0, 0], [0, 0]], bool)
    np.testing.assert_array_equal(returns.within_episodes(first, 2), expected)
    np.testing.assert_array_equal(returns.within_episodes(first, 4), np.ones((6, 2), bool))


def test_means_in_which_some_entries_do_not_count() -> None:
    values, weight = jnp.array([1.0, 2.0, 6.0, 100.0]), jnp.array([1.0, 1.0, 1.0, 0.0])
    assert float(weighted.mean(values, weight)) == 3.0
    np.testing.assert_allclose(weighted.variance(values, weight), (4 + 1 + 9) / 3, rtol=1e-6)
    assert float(weighted.mean(values, jnp.zeros(4))) == 0.0
    np.testing.assert_allclose(weighted.mean(values), 27.25)
    standard = np.asarray(returns.standardize(values, weight=weight))[:3]
    np.testing.assert_allclose((standard.mean(), standard.std()), (0, 1), atol=1e-6)


def test_advantages_end_with_the_trial() -> None:
    """By hand: of three steps the last is after the end, so the second is worth its reward alone."""
    reward, value = jnp.array([1.0, 2.0, 50.0]), jnp.array([0.5, 0.25, 70.0])
    weight = jnp.array([1.0, 1.0, 0.0])
    found = returns.trial_advantages(reward * weight, value * weight, 0.9, 0.5)
    second = 2.0 - 0.25
    np.testing.assert_allclose(found, [1.0 + 0.9 * 0.25 - 0.5 + 0.45 * second, second, 0.0], rtol=1e-6)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_live_agent_is_through_with_its_last_episode(interrupted: bool) -> None:
    """No step is lived for nothing on a real robot: after two episodes the round is over, however short they were."""

    class Real:
        observation_space, action_space = Walk(False).spec.observation_space, Walk(False).spec.action_space

        def reset(self, **_: Any) -> Any:
            self.clock = 0
            return np.zeros(2, np.float32), {}

        def step(self, action: Any) -> Any:
            self.clock += 1
            return np.zeros(2, np.float32), 1.0, self.clock >= 2, False, {}

    algorithm, state, *_ = trials_of("rl2")
    protocol = Protocol(1, streams=2, episodes=EPISODES)
    live = LiveAgent(algorithm, state.params, algorithm.spec, protocol, Real())
    assert [(one.steps, one.adapted) for one in live.round()] == [(2, False), (2, False), (2, False), (2, True)]
    if interrupted:  # an episode that cannot go on was one of the two
        live.act(np.zeros(2, np.float32))
        live.observe(1.0, False, False, np.zeros(2, np.float32))
        live.interrupt()
        assert not live.full and [one.adapted for one in live.round()] == [False, False, True]
    assert live.rounds == 1 + interrupted
