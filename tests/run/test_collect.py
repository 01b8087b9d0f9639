"""The collector against a slow loop, one stream at a time, and lifetimes that outlast an iteration."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.run import checkpoint
from adaptax.run.collect import Life, collect, streams_of
from adaptax.run.hoist import scan_hoisted
from adaptax.run.iterate import Progress, begin, meta_iteration
from adaptax.run.source import living
from adaptax.run.train import Settings, root_keys, train
from adaptax.tasks import TaskDistribution, TaskSet
from adaptax.types import Benchmark, Decision, Outcome, Plan, Spec, Trial, UserError

HORIZON = 4


class CounterTask(NamedTuple):
    start: Any
    end: Any


class Seen(NamedTuple):
    """What is observed: the count, and the key it came from (its bits)."""

    count: Any
    bits: Any


@dataclass(frozen=True)
class Counter:
    """The count goes up by the action plus one; it terminates at `end`, and truncates itself at 13."""

    @property
    def spec(self) -> Spec:
        return Spec(gymnasium.spaces.Discrete(100), gymnasium.spaces.Discrete(3), HORIZON)

    def reset(self, task: CounterTask, key: Any) -> Any:
        return task.start, Seen(task.start, jax.random.bits(key))

    def step(self, task: CounterTask, state: Any, action: Any, key: Any) -> Any:
        count = state + action + 1
        reward = 10 * count + task.end  # an integer: the collector makes it a float
        over, limit = count >= task.end, count == 13
        return count, Outcome(Seen(count, jax.random.bits(key)), reward, over, limit, success=count == task.end)


def draw(key: Any) -> CounterTask:
    start_key, end_key = jax.random.split(key)
    start = jax.random.randint(start_key, (), 0, 10, jnp.int32)
    return CounterTask(start, start + jax.random.randint(end_key, (), 2, 12, jnp.int32))


BENCHMARK = Benchmark(Counter(), *[TaskDistribution(draw)] * 3)


class Adapted(NamedTuple):
    index: Any  # of the task
    bonus: Any
    bits: Any  # of the key that made it


class Extras(NamedTuple):
    memory: Any
    adapted: Adapted
    bits: Any


class State(NamedTuple):
    params: Any
    iteration: Any


@dataclass(frozen=True)
class Counting:
    """An agent without chance: it acts on its memory, on what it adapted to, and on the whole timestep."""

    plan: Plan = field(default=Plan(6, 3, 2, 7, lifetime=3))

    def begin(self, params: Any, key: Any, birth: Any) -> Adapted:
        return Adapted(birth.index, jnp.asarray(params, jnp.int32), jax.random.bits(key))

    def start(self, params: Any) -> Any:
        return jnp.int32(5)

    def act(self, params: Any, adapted: Adapted, memory: Any, timestep: Any, key: Any) -> Any:
        told = timestep.observation.count + 2 * timestep.action + timestep.reward.astype(jnp.int32)
        action = (told + memory + adapted.bonus + timestep.first) % 3
        return Decision(action, Extras(memory, adapted, jax.random.bits(key))), memory + 1

    def adapt(self, params: Any, adapted: Adapted, rollout: Any, key: Any) -> Adapted:
        return Adapted(adapted.index, adapted.bonus + jnp.sum(rollout.reward).astype(jnp.int32), jax.random.bits(key))

    def init(self, key: Any) -> State:
        return State(jnp.float32(1.0), jnp.int32(0))

    def update(self, state: State, trials: Trial, key: Any) -> Any:
        """Params take up everything that was collected, and the key."""
        seen = jnp.mean(trials.rollouts.reward) + jnp.mean(trials.start.bonus % 100) + jax.random.uniform(key)
        params = 0.5 * state.params + seen.astype(jnp.float32) / 100
        return State(params, state.iteration + 1), {"seen": seen}


class SlowStream:
    """One stream on one task in plain Python; `play` is one round."""

    def __init__(self, task: CounterTask) -> None:
        self.start, self.end = int(task.start), int(task.end)
        self.memory, self.action, self.reward = 5, 0, 0
        self.reset()

    def reset(self) -> None:
        self.count, self.first, self.elapsed = self.start, True, 0

    def play(self, bonus: int, steps: int, restart: bool) -> list[dict[str, Any]]:
        if restart:
            self.reset()
        rows = []
        for _ in range(steps):
            row = {"observation": self.count, "action": self.action, "reward_before": self.reward}
            row |= {"first": self.first, "memory": self.memory, "bonus": bonus}
            self.action = (self.count + 2 * self.action + self.reward + self.memory + bonus + self.first) % 3
            self.memory += 1
            self.count += self.action + 1
            self.elapsed += 1
            self.reward = 10 * self.count + self.end
            terminated = self.count >= self.end
            truncated = not terminated and (self.count == 13 or self.elapsed == HORIZON)
            row |= {"decision": self.action, "reward": self.reward, "next": self.count}
            row |= {"terminated": terminated, "truncated": truncated, "success": self.count == self.end}
            self.first = False
            if terminated or truncated:
                self.reset()
            rows.append(row)
        return rows


class SlowLife:
    def __init__(self, task: CounterTask, streams: int, bonus: int) -> None:
        self.streams = [SlowStream(task) for _ in range(streams)]
        self.bonus = bonus

    def round(self, plan: Plan) -> list[list[dict[str, Any]]]:
        rows = [stream.play(self.bonus, plan.steps, plan.restart) for stream in self.streams]
        self.bonus += sum(row["reward"] for stream in rows for row in stream)
        return rows


def table(rollouts: Any) -> dict[str, np.ndarray]:
    """The collected arrays [N, R, B, T] under the names of the slow loop."""
    step = rollouts.timestep
    return {
        "observation": step.observation.count,
        "action": step.action,
        "reward_before": step.reward,
        "first": step.first,
        "memory": rollouts.decision.extras.memory,
        "bonus": rollouts.decision.extras.adapted.bonus,
        "decision": rollouts.decision.action,
        "reward": rollouts.reward,
        "next": rollouts.next_observation.count,
        "terminated": rollouts.terminated,
        "truncated": rollouts.truncated,
        "success": rollouts.success,
    }


def assert_as_slow(rows: list, found: dict[str, np.ndarray]) -> None:
    """`rows` [N][R][B][T] of the slow loop are what was collected."""
    for name, values in found.items():
        expected = [[[[s[name] for s in stream] for stream in r] for r in task] for task in rows]
        np.testing.assert_array_equal(np.asarray(values), np.asarray(expected), err_msg=name)


def bits(keys: Any) -> np.ndarray:
    return np.asarray(jax.vmap(jax.random.bits)(keys.reshape(-1))).reshape(keys.shape)


def task_at(tasks: CounterTask, n: int) -> CounterTask:
    return jax.tree.map(lambda x: x[n], tasks)


@partial(jax.jit, static_argnums=0)
def run(plan: Plan, lives: Life | None, key: Any) -> Any:
    streams = streams_of(BENCHMARK.environment)
    return collect(Counting(plan), streams, BENCHMARK.train, plan, jnp.float32(1.0), lives, key)


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("rounds", [1, 3])
def test_against_a_slow_loop(rounds: int, restart: bool) -> None:
    plan = Plan(tasks=6, rounds=rounds, streams=2, steps=7, lifetime=rounds, restart=restart)
    trials, lives, tasks = run(plan, None, jax.random.key(0))
    assert lives is None
    slow = [SlowLife(task_at(tasks, n), 2, bonus=1) for n in range(6)]
    found = table(trials.rollouts)
    assert_as_slow([[life.round(plan) for _ in range(rounds)] for life in slow], found)
    # The example has in it what it is to show: both kinds of end, one inside a round and one by the clock.
    assert found["terminated"].any() and found["truncated"].any() and found["success"].any()
    assert found["terminated"].mean() < 0.5
    for r in range(rounds):  # what comes next, with the memory that the round began with
        ended = np.asarray(found["terminated"] | found["truncated"])[:, r, :, -1]
        last, each = trials.rollouts.last, range(6)
        np.testing.assert_array_equal(last.first[:, r], ended)
        np.testing.assert_array_equal(last.action[:, r], found["decision"][:, r, :, -1])
        np.testing.assert_array_equal(last.reward[:, r], found["reward"][:, r, :, -1])
        where = np.where(ended, np.asarray(tasks.start)[:, None], found["next"][:, r, :, -1])
        np.testing.assert_array_equal(last.observation.count[:, r], where)
        np.testing.assert_array_equal(trials.rollouts.memory[:, r], [[5 + 7 * r] * 2 for _ in each])


def test_types_of_what_is_collected() -> None:
    trials = run(Plan(6, 1, 2, 7, 1), None, jax.random.key(0))[0]
    assert trials.rollouts.reward.dtype == jnp.float32 and trials.rollouts.timestep.reward.dtype == jnp.float32
    for flag in ("terminated", "truncated", "success"):
        assert getattr(trials.rollouts, flag).dtype == bool
    np.testing.assert_array_equal(trials.birth.index, [-1] * 6)
    np.testing.assert_array_equal(trials.age, [0] * 6)
    np.testing.assert_array_equal(trials.rollouts.shaped, trials.rollouts.reward)  # there is no other one


def test_an_agent_is_told_which_training_task_it_begins() -> None:
    afresh = run(Plan(6, 2, 2, 7, lifetime=2), None, jax.random.key(0))[0]
    np.testing.assert_array_equal(afresh.start.index, [-1] * 6)
    tasks = TaskSet(CounterTask(jnp.arange(5, dtype=jnp.int32), jnp.full((5,), 100, jnp.int32)))
    plan, streams = Plan(6, 2, 2, 7, lifetime=2), streams_of(BENCHMARK.environment)
    trials = collect(Counting(), streams, tasks, plan, jnp.float32(1.0), None, jax.random.key(0))[0]
    # The environment starts from the task's `start`, here its index.
    np.testing.assert_array_equal(trials.start.index, trials.rollouts.timestep.observation.count[:, 0, 0, 0])
    np.testing.assert_array_equal(trials.start.index, trials.birth.index)
    assert len(set(trials.birth.index.tolist())) > 1


def test_the_trial_can_be_replayed() -> None:
    """`birth` is the key that `begin` got and `keys[r]` the one that `adapt` got after round r."""
    trials = run(Plan(6, 3, 2, 7, lifetime=3), None, jax.random.key(0))[0]
    agent = Counting()
    adapted = jax.vmap(agent.begin, (None, 0, 0))(jnp.float32(1.0), trials.birth_key, trials.birth)
    jax.tree.map(np.testing.assert_array_equal, adapted, trials.start)
    for r in range(3):
        rollout = jax.tree.map(lambda x, r=r: x[:, r], trials.rollouts)
        here = jax.tree.map(lambda x: x[:, 0, 0], rollout.decision.extras.adapted)
        jax.tree.map(np.testing.assert_array_equal, adapted, here)
        adapted = jax.vmap(agent.adapt, (None, 0, 0, 0))(None, adapted, rollout, trials.keys[:, r])
    assert len(set(bits(trials.keys).ravel()) | set(bits(trials.birth_key))) == 18 + 6


def test_every_draw_has_a_key_of_its_own() -> None:
    trials = run(Plan(6, 3, 2, 7, lifetime=3), None, jax.random.key(0))[0]
    rollouts = trials.rollouts
    acted, stepped = rollouts.decision.extras.bits, rollouts.next_observation.bits
    begun = rollouts.timestep.observation.bits[np.asarray(rollouts.timestep.first)]
    everything = np.concatenate([np.ravel(x) for x in (acted, stepped, begun, bits(trials.keys))])
    assert len(set(everything.tolist())) == everything.size
    again = run(Plan(6, 3, 2, 7, lifetime=3), None, jax.random.key(0))[0]
    jax.tree.map(np.testing.assert_array_equal, rollouts, again.rollouts)
    other = run(Plan(6, 3, 2, 7, lifetime=3), None, jax.random.key(1))[0]
    assert not np.intersect1d(other.rollouts.decision.extras.bits, acted).size


@pytest.mark.parametrize("random", [True, False])
def test_drawing_before_the_loop_changes_nothing(random: bool) -> None:
    """With noise that only keys decide, noise whose size the carry decides, and no noise at all."""

    def step(carry: Any, keys: Any) -> Any:
        one, two = keys
        noise = jax.random.normal(one) if random else 0.5
        jump = jax.random.uniform(two, maxval=jnp.abs(carry["x"])) if random else 1.0
        carry = {"x": 0.9 * carry["x"] + noise * jump, "n": carry["n"] + 1}
        return carry, (carry["x"], jax.random.bits(one) if random else carry["n"], 3)

    keys = (jax.random.split(jax.random.key(0), 9), jax.random.split(jax.random.key(1), 9))
    start = {"x": jnp.float32(1.0), "n": jnp.int32(0)}
    found = jax.jit(partial(scan_hoisted, step))(start, keys)
    expected = jax.jit(partial(jax.lax.scan, step))(start, keys)
    assert jax.tree.map(jax.typeof, found) == jax.tree.map(jax.typeof, expected)
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-6), found, expected)


# --- lifetimes of several windows ---


@pytest.mark.parametrize("restart", [True, False])
def test_lives_go_on_and_are_renewed_on_fresh_tasks(restart: bool) -> None:
    """Windows of two rounds, lives of three windows, six tasks whose ages are staggered."""
    plan = Plan(tasks=6, rounds=2, streams=2, steps=5, lifetime=6, restart=restart)
    agent = Counting(plan)
    progress = jax.jit(lambda root: begin(agent, living(agent, BENCHMARK), root))(root_keys(0, 1))
    lives = progress.carried
    assert lives is not None
    ages = np.array([0, 2, 4, 0, 2, 4])
    np.testing.assert_array_equal(lives.age, ages)
    slow = [SlowLife(task_at(lives.task, n), 2, bonus=1) for n in range(6)]
    births = bits(lives.birth_key)
    for window in range(5):
        trials, lives, tasks = run(plan, lives, jax.random.key(window))
        renewed = ages >= 6
        assert renewed.sum() == (0 if window == 0 else 2)
        ages = np.where(renewed, 0, ages)
        np.testing.assert_array_equal(trials.age, ages)
        for n in np.flatnonzero(renewed):
            slow[n] = SlowLife(task_at(tasks, n), 2, bonus=1)
        np.testing.assert_array_equal(trials.start.bonus, [life.bonus for life in slow])
        assert_as_slow([[life.round(plan) for _ in range(2)] for life in slow], table(trials.rollouts))
        # A life that goes on keeps its birth; after the last round too, it adapts.
        np.testing.assert_array_equal(bits(trials.birth_key) == births, ~renewed)
        births = bits(trials.birth_key)
        np.testing.assert_array_equal(lives.adapted.bonus, [life.bonus for life in slow])
        np.testing.assert_array_equal(lives.adapted.bits, bits(trials.keys[:, -1]))
        ages = ages + 2
        np.testing.assert_array_equal(lives.age, ages)


def test_fresh_tasks_differ_from_the_old_ones() -> None:
    plan = Plan(tasks=6, rounds=1, streams=1, steps=2, lifetime=2)
    _, lives, before = run(plan, None, jax.random.key(0))
    _, lives, during = run(plan, lives, jax.random.key(1))
    _, _, after = run(plan, lives, jax.random.key(2))
    jax.tree.map(np.testing.assert_array_equal, before, during)
    assert np.sum(np.asarray(after.start) != before.start) >= 3


def assert_same_progress(left: Progress, right: Progress) -> None:
    def data(x: Any) -> np.ndarray:
        return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)

    jax.tree.map(lambda a, b: np.testing.assert_array_equal(data(a), data(b)), left, right)


@pytest.mark.parametrize("lifetime", [2, 6])
def test_a_resumed_run_with_lives_equals_an_uninterrupted_one(tmp_path: Path, lifetime: int) -> None:
    agent = Counting(Plan(tasks=6, rounds=2, streams=2, steps=5, lifetime=lifetime, restart=False))

    def go(name: str, iterations: int, resume: bool = False) -> None:
        train(agent, BENCHMARK, Settings(iterations, seed=3, log_every=2, quiet=True), tmp_path / name, resume=resume)

    go("whole", 7)
    go("pieces", 3)
    go("pieces", 4, resume=True)
    go("pieces", 7, resume=True)
    template = jax.eval_shape(lambda root: begin(agent, living(agent, BENCHMARK), root), root_keys(0, 1))
    whole, pieces = (checkpoint.restore(tmp_path / n / "checkpoints", template)[0] for n in ("whole", "pieces"))
    assert (whole.carried is None) == (lifetime == 2) and int(whole.state.iteration) == 7
    assert_same_progress(whole, pieces)
    # And both equal seven meta-iterations one at a time: the loop adds nothing.
    iterate = jax.jit(meta_iteration(agent, living(agent, BENCHMARK)))
    progress = begin(agent, living(agent, BENCHMARK), root_keys(3, 1))
    for _ in range(7):
        progress, _ = iterate(progress, root_keys(3, 1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), progress.state, whole.state)


def test_a_lifetime_is_whole_windows(tmp_path: Path) -> None:
    agent = Counting(Plan(tasks=6, rounds=2, streams=2, steps=5, lifetime=5))
    with pytest.raises(UserError, match="lifetime of 5 rounds"):
        train(agent, BENCHMARK, Settings(1, quiet=True), tmp_path, resume=False)
