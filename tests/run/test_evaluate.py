"""The evaluator on agents and an environment whose returns are known beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.names import registry
from adaptax.run import evaluate as module
from adaptax.run.evaluate import Evaluation, Protocol, evaluate, protocol_of
from adaptax.tasks import TaskDistribution, TaskSet
from adaptax.types import Benchmark, Decision, Outcome, Plan, Spec, UserError

HORIZON = 6


class Pay(NamedTuple):
    """Each step pays `value` plus the action; the episode terminates after `length` steps."""

    value: Any
    length: Any


@dataclass(frozen=True)
class Till:
    @property
    def spec(self) -> Spec:
        return Spec(gymnasium.spaces.Discrete(10), gymnasium.spaces.Discrete(1000), HORIZON)

    def reset(self, task: Pay, key: Any) -> Any:
        return jnp.int32(0), jnp.int32(0)

    def step(self, task: Pay, state: Any, action: Any, key: Any) -> Any:
        clock = state + 1
        success = (clock == 2) & (task.length > 2) | (clock == HORIZON)  # on the way, and at the end of the longest
        return clock, Outcome(clock, task.value + action, clock >= task.length, success=success)


@dataclass(frozen=True)
class Adapts:
    """Acts by the number of rounds it has lived, times ten; within a stream it changes nothing."""

    def begin(self, params: Any, key: Any, birth: Any) -> Any:
        return jnp.int32(0)

    def start(self, params: Any) -> Any:
        return ()

    def act(self, params: Any, adapted: Any, memory: Any, timestep: Any, key: Any) -> Any:
        return Decision(adapted), memory

    def adapt(self, params: Any, adapted: Any, rollout: Any, key: Any) -> Any:
        return adapted + params


@dataclass(frozen=True)
class Informed(Adapts):
    """Is given the task in place of params."""

    informed = True

    def act(self, params: Any, adapted: Any, memory: Any, timestep: Any, key: Any) -> Any:
        return Decision(params.length * 100), memory

    def adapt(self, params: Any, adapted: Any, rollout: Any, key: Any) -> Any:
        return adapted


def draw(key: Any) -> Pay:
    value_key, length_key = jax.random.split(key)
    value = jax.random.uniform(value_key, (), jnp.float32)
    return Pay(value, jax.random.randint(length_key, (), 1, 10, jnp.int32))


DRAWN = TaskDistribution(draw)
SET = TaskSet(Pay(np.array([1.0, 2.0, 5.0], np.float32), np.array([1, 4, 99], np.int32)))
ON = Benchmark(Till(), DRAWN, DRAWN, DRAWN, named={"set": SET})


def evaluated(agent: Any, split: Any, protocol: Protocol, params: Any = None) -> Evaluation:
    return evaluate(agent, ON, split, jnp.int32(10) if params is None else params, protocol)


def test_the_first_episodes_count_however_many_fit() -> None:
    """An episode that ends early is followed by others, in 3 × 6 steps by up to 17; three of them count, each in
    its own place, and a task with short episodes weighs no more than one with long ones."""
    result = evaluated(Adapts(), SET, Protocol(tasks=3, rounds=2, streams=2, episodes=3))
    assert result.returns.shape == (3, 2, 2, 3)
    steps = np.array([1, 4, HORIZON])
    for r in range(2):
        expected = (np.array([1.0, 2.0, 5.0]) + 10 * r) * steps
        np.testing.assert_allclose(result.returns[:, r], np.broadcast_to(expected[:, None, None], (3, 2, 3)))
    np.testing.assert_array_equal(result.success[:, 0, 0], [[0, 0, 0], [1, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(result.final_success[:, 0, 0], [[0, 0, 0], [0, 0, 0], [1, 1, 1]])


def test_random_streams_of_different_length_are_not_biased() -> None:
    """All episodes are one return each, whatever their lengths: the mean over 400 tasks is the tasks' own."""
    result = evaluated(Adapts(), DRAWN, Protocol(tasks=400, rounds=1, streams=1, episodes=2))
    expected = result.tasks.value * np.minimum(result.tasks.length, HORIZON)
    for e in range(2):
        np.testing.assert_allclose(result.returns[:, 0, 0, e], expected, rtol=1e-5)


def test_an_informed_strategy_is_given_each_task() -> None:
    result = evaluated(Informed(), SET, Protocol(tasks=3), params=())
    expected = (np.array([1.0, 2.0, 5.0]) + 100 * np.array([1, 4, 99])) * np.array([1, 4, HORIZON])
    np.testing.assert_allclose(result.returns[:, 0, 0, 0], expected)


@dataclass(frozen=True)
class ActsByBirth(Adapts):
    """Acts by what `begin` was told."""

    def begin(self, params: Any, key: Any, birth: Any) -> Any:
        return jnp.where(birth.judged, 100 + 10 * birth.rounds, 0) + birth.index


def test_a_judged_agent_is_told_so() -> None:
    """And of no place in a finite split, and how many rounds it will live."""
    for split in (SET, DRAWN):
        result = evaluated(ActsByBirth(), split, Protocol(tasks=3))
        steps = np.minimum(result.tasks.length, HORIZON)
        np.testing.assert_allclose(result.returns[:, 0, 0, 0], (result.tasks.value + 100 + 10 - 1) * steps, rtol=1e-5)


def test_a_finite_split_is_gone_through_in_its_order_and_again() -> None:
    result = evaluated(Adapts(), SET, Protocol(tasks=5))
    np.testing.assert_array_equal(result.tasks.value, [1, 2, 5, 1, 2])
    np.testing.assert_allclose(result.returns.ravel(), [1, 8, 30, 1, 8])


def test_chunks_have_the_same_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven tasks in chunks of three: the last chunk is filled up, and nothing of that shows."""
    protocol = Protocol(tasks=7, rounds=2, streams=1, episodes=2, seed=4)
    whole = evaluated(Adapts(), DRAWN, protocol)
    monkeypatch.setattr(module, "CHUNK_STEPS", 3 * 2 * 1 * 2 * HORIZON + 1)
    parts = evaluated(Adapts(), DRAWN, protocol)
    jax.tree.map(np.testing.assert_array_equal, whole.tasks, parts.tasks)
    assert parts.returns.shape == (7, 2, 1, 2)
    np.testing.assert_array_equal(whole.returns, parts.returns)  # the agent and the tasks know no chance
    np.testing.assert_array_equal(whole.success, parts.success)
    monkeypatch.setattr(module, "CHUNK_STEPS", 1)
    np.testing.assert_array_equal(evaluated(Adapts(), DRAWN, protocol).returns, whole.returns)


def test_the_seed_fixes_tasks_and_draws() -> None:
    first, again, other = (evaluated(Adapts(), DRAWN, Protocol(tasks=6, seed=s)) for s in (2, 2, 3))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.intersect1d(first.tasks.value, other.tasks.value).size


def test_a_few_trajectories_are_kept() -> None:
    protocol = Protocol(tasks=5, rounds=2, streams=3, episodes=2, shown_tasks=4, shown_streams=2)
    result = evaluated(Adapts(), SET, protocol)
    assert result.observations.shape == result.first.shape == (4, 2, 2, 2 * HORIZON)
    np.testing.assert_array_equal(result.observations[1, 0, 0], [0, 1, 2, 3] * 3)
    np.testing.assert_array_equal(result.first[1, 0, 0], [True, False, False, False] * 3)
    np.testing.assert_array_equal(result.observations[2, 1, 1], [0, 1, 2, 3, 4, 5] * 2)


class Extras(NamedTuple):
    log_probability: Any


@dataclass(frozen=True)
class Hesitates(Adapts):
    """Stores as −log π(a) the state, plus a hundred for every round lived."""

    def act(self, params: Any, adapted: Any, memory: Any, timestep: Any, key: Any) -> Any:
        surprise = timestep.observation + 10 * adapted
        return Decision(adapted, Extras(-surprise.astype(jnp.float32))), memory


def test_entropy_is_the_mean_over_the_steps_of_each_episode() -> None:
    """Episodes of 1, 4 and 6 steps see the states 0 … length − 1; the steps after the last episode do not count."""
    result = evaluated(Hesitates(), SET, Protocol(tasks=3, rounds=2, streams=2, episodes=3))
    expected = np.array([0.0, 1.5, 2.5])[:, None] + np.array([0.0, 100.0])
    assert result.entropy.dtype == np.float32
    np.testing.assert_allclose(result.entropy, np.broadcast_to(expected[..., None, None], (3, 2, 2, 3)), rtol=1e-6)


def test_the_stored_log_probabilities_estimate_the_entropy() -> None:
    """A uniform policy over four actions is certain of −log π(a) = log 4; of a skewed one only the mean is H."""

    @dataclass(frozen=True)
    class Draws(Adapts):
        def act(self, params: Any, adapted: Any, memory: Any, timestep: Any, key: Any) -> Any:
            action = jax.random.categorical(key, jnp.log(params))
            return Decision(action, Extras(jnp.log(params)[action])), memory

        def adapt(self, params: Any, adapted: Any, rollout: Any, key: Any) -> Any:
            return adapted

    for chances in ([0.25] * 4, [0.7, 0.2, 0.1]):
        p = np.array(chances)
        result = evaluated(Draws(), DRAWN, Protocol(tasks=400, streams=5), jnp.asarray(p, jnp.float32))
        tolerance = 5 * np.sqrt((p * np.log(p) ** 2).sum() - (p * np.log(p)).sum() ** 2 + 1e-12) / np.sqrt(2000) + 1e-6
        assert abs(result.entropy.mean() + (p * np.log(p)).sum()) < tolerance


def test_entropy_is_nan_where_no_log_probabilities_are_stored() -> None:
    result = evaluated(Adapts(), SET, Protocol(tasks=3, rounds=2))
    assert result.entropy.shape == result.returns.shape and np.isnan(result.entropy).all()


def test_the_protocol_of_a_plan() -> None:
    """A lifetime as long as in training, and as many episodes a round as fit."""
    assert protocol_of(Plan(20, 2, 5, 3 * HORIZON, lifetime=4), ON, 9) == Protocol(9, 4, 5, 3)
    assert protocol_of(Plan(20, 1, 5, 4, lifetime=1), ON, 9).episodes == 1
    with pytest.raises(UserError, match="rounds"):
        Protocol(tasks=1, rounds=0)


def test_nothing_is_left_to_chance_where_the_protocol_is_deterministic() -> None:
    """An algorithm's agent acts by the mode: on one task all lives are the same, and in each of them the arm is pulled
    that the bias prefers; nothing is said of entropies. A reference strategy draws as before."""
    benchmark = registry.make_benchmark("bandit", {"arms": 3, "pulls": 8})
    algorithm: Any = registry.make_algorithm("rl2", None, benchmark.spec, {"tasks": 3, "minibatches": 1, "hidden": 4})
    params = algorithm.init(jax.random.key(0)).params
    params = params._replace(bias=params.bias.at[1].add(0.5), heads=0.0 * params.heads)
    means = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]], np.float32)
    tasks = TaskSet(type(benchmark.test.sample(jax.random.key(0), 1)[1])(jnp.asarray(means)))
    drawn, certain = (
        evaluate(algorithm, benchmark, tasks, params, Protocol(40, episodes=8, deterministic=by_mode))
        for by_mode in (False, True)
    )
    np.testing.assert_array_equal(certain.returns[:, 0, 0].sum(axis=1), [8, 0] * 20)
    assert len(np.unique(drawn.returns[::2, 0, 0].sum(axis=1))) > 2
    assert np.isfinite(drawn.entropy).all() and np.isnan(certain.entropy).all()
    strategy = benchmark.references["random"](benchmark.spec)
    same = [
        evaluate(strategy, benchmark, tasks, (), Protocol(9, episodes=8, deterministic=by_mode)).returns
        for by_mode in (False, True)
    ]
    np.testing.assert_array_equal(*same)


def test_splits_and_seeds_share_what_was_traced() -> None:
    traced = []

    class Counted(Adapts):
        def act(self, params: Any, adapted: Any, memory: Any, timestep: Any, key: Any) -> Any:
            traced.append(1)
            return super().act(params, adapted, memory, timestep, key)

    protocol = Protocol(tasks=4, rounds=3)
    evaluator = module.Evaluator(Counted(), ON, protocol)
    found = evaluator(DRAWN, jnp.int32(10))
    once = len(traced)
    again, elsewhere = evaluator(DRAWN, jnp.int32(20)), evaluator(SET, jnp.int32(10))
    assert len(traced) == once > 0
    for result, split, params in ((found, DRAWN, 10), (again, DRAWN, 20), (elsewhere, SET, 10)):
        np.testing.assert_array_equal(result.returns, evaluated(Adapts(), split, protocol, jnp.int32(params)).returns)
    assert not np.array_equal(found.returns, again.returns)
