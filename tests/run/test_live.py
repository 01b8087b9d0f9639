"""An agent on one real environment lives the life that the evaluator judges; and what it says when it is misused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run.hosted import Hosted, HostedGrid, HostedNavigation, HostedSparse

import adaptax
from adaptax import Decision, Outcome, Spec, TaskSet, Trained, UserError
from adaptax.live.agent import LiveAgent
from adaptax.names.config import Config
from adaptax.run import evaluate as evaluator
from adaptax.run.collect import collect, streams_of
from adaptax.run.evaluate import Protocol

SETTINGS: dict[str, dict[str, Any]] = {"navigation": {"horizon": 6}, "sparse-navigation": {"horizon": 5}}
SETTINGS["gridnavi"] = {"episodes": 2, "goals": "paper"}
SMALL: dict[str, dict[str, Any]] = {
    "maml": {"hidden": (8,), "streams": 3, "step_size": 0.5},
    "rl2": {"hidden": 8, "tasks": 4},
    "multitask-ppo": {"hidden": (8,), "tasks": 4},
    "pearl": {"hidden": (8,), "encoder_hidden": (8,), "streams": 1, "rounds": 4, "context": 5, "context_rounds": None},
    "varibad": {"hidden": 8, "policy_hidden": (8,), "tasks": 4},
}
HOSTED = {"navigation": HostedNavigation, "sparse-navigation": HostedSparse, "gridnavi": HostedGrid}


def trained(name: str, on: str) -> Trained:
    """An agent as `load` returns it, with the parameters with which training begins."""
    benchmark = adaptax.benchmark(on, **SETTINGS[on])
    algorithm = adaptax.algorithm(name, benchmark, **SMALL[name])
    params = algorithm.init(jax.random.key(1)).params
    config = Config(algorithm=name, benchmark=on)
    return Trained(algorithm, benchmark, params, jax.tree.map(lambda x: x[None], params), config, 7)


MAML = trained("maml", "navigation")


def task_of(agent: Trained) -> np.ndarray:
    """The goal of the first task on which the agent is judged with seed 3."""
    protocol = Protocol(100, seed=3)
    return np.asarray(evaluator.evaluated_task(agent.benchmark.test, 1, protocol).goal)


# --- the life that the evaluator judges ---


@pytest.mark.parametrize(
    ("name", "on"),
    [
        ("maml", "navigation"),
        ("rl2", "gridnavi"),
        pytest.param("pearl", "sparse-navigation", marks=pytest.mark.slow),
        pytest.param("varibad", "gridnavi", marks=pytest.mark.slow),
    ],
)
def test_it_lives_as_the_evaluator_has_it(name: str, on: str) -> None:
    """The same returns, for all rounds, streams and episodes, from the same seed."""
    agent = MAML if name == "maml" else trained(name, on)
    protocol = agent.protocol(tasks=1, seed=3)
    protocol = replace(protocol, rounds=4 if name in ("maml", "pearl") else 1, streams=SMALL[name].get("streams", 1))
    judged = evaluator.evaluate(agent.algorithm, agent.benchmark, agent.benchmark.test, agent.params, protocol)
    environment = HOSTED[on](judged.tasks.goal[0])
    live = agent.agent(environment, streams=protocol.streams, seed=3)
    rounds = [live.round() for _ in range(protocol.rounds)]
    found = np.asarray([[e.total for e in episodes] for episodes in rounds])
    wanted = judged.returns[0].reshape(protocol.rounds, -1)
    np.testing.assert_allclose(found, wanted, rtol=2e-5)
    if name == "maml":
        assert np.ptp(wanted) > 0.1  # of the noise and of the adaptation
    assert [[e.success for e in episodes] for episodes in rounds] == (
        judged.success[0].reshape(protocol.rounds, -1) > 0
    ).tolist()
    assert [e.round for episodes in rounds for e in episodes] == np.repeat(
        range(protocol.rounds), len(wanted[0])
    ).tolist()
    assert all([e.adapted for e in episodes] == [False] * (len(episodes) - 1) + [True] for episodes in rounds)
    assert len(set(environment.seeds)) == wanted.size  # every episode has a seed of its own
    assert (live._act._cache_size(), live._adapt._cache_size()) == (1, 1)  # compiled once


class Fuse(NamedTuple):
    length: Any


class Burning:
    """Every step burns 1 or 2 of a fuse; pays what it burns, and terminates with the fuse."""

    spec = Spec(gymnasium.spaces.Box(0, 99, (1,), np.float32), gymnasium.spaces.Discrete(2, dtype=np.int32), horizon=5)

    def reset(self, task: Fuse, key: Any) -> Any:
        return jnp.zeros((), jnp.float32), jnp.zeros((1,), jnp.float32)

    def step(self, task: Fuse, state: Any, action: Any, key: Any) -> Any:
        burnt = state + 1.0 + action
        over = burnt >= task.length
        return burnt, Outcome(burnt[None], 1.0 + action.astype(jnp.float32), terminated=over, success=over)


class HostedFuse(Hosted):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.burnt = np.float32(0)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:
        self.burnt += 1 + action
        over = bool(self.burnt >= self.goal)
        return np.asarray([self.burnt]), 1.0 + action, over, False, {"success": over}


@dataclass(frozen=True)
class Recalls:
    """Acts at random, counts its steps, and takes the last rollout for what it has adapted to."""

    def begin(self, params: Any, key: Any, birth: Any) -> Any:
        return jax.random.key_data(key), birth

    def start(self, params: Any) -> Any:
        return jnp.zeros((), jnp.int32)

    def act(self, params: Any, adapted: Any, memory: Any, timestep: Any, key: Any) -> Any:
        return Decision(jax.random.randint(key, (), 0, 2, jnp.int32), {"memory": memory}), memory + 1

    def adapt(self, params: Any, adapted: Any, rollout: Any, key: Any) -> Any:
        return adapted[0] + jax.random.key_data(key), adapted[1]


def test_all_that_an_agent_adapts_to_is_as_the_collector_has_it() -> None:
    """Episodes end early, at the horizon and with the round; actions, rewards and memories go on as they should."""
    protocol = Protocol(tasks=1, rounds=3, streams=4, episodes=2, seed=5)
    tasks = TaskSet(Fuse(np.asarray([7.0], np.float32)))
    plan = protocol.plan(Burning.spec.horizon)
    key = evaluator.life_key(5)
    trials, _, _ = collect(Recalls(), streams_of(Burning()), evaluator.Given(tasks.tasks), plan, (), None, key)
    live, ends, rollouts = LiveAgent(Recalls(), (), Burning.spec, protocol, HostedFuse(7.0)), [], []
    for _ in range(3):
        while not live.full:
            live._next_seed()
            observation, _ = live.environment.reset()
            over = ""
            while not over:
                step = live.environment.step(live.act(observation))
                observation = step[0]
                over = live._observe(*(step[1], step[2], step[3], observation, step[4]["success"]))
            ends.append(over)
        rollouts.append(live._rollout())
        np.testing.assert_array_equal(
            jax.random.key_data(live._adapt_key), jax.random.key_data(trials.keys[0, len(rollouts) - 1])
        )
        live.adapt()
    assert set(ends) == {"terminated", "truncated", "cut"}
    found = jax.tree.map(lambda *x: np.stack(x), *rollouts)
    over = found.last.first
    wanted = jax.tree.map(lambda x: x[0], trials.rollouts)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert over.any() and not over.all()
    np.testing.assert_array_equal(live._adapted[0].dtype, np.uint32)


def test_a_life_may_outlast_the_protocol_and_another_may_begin() -> None:
    live = MAML.agent(HostedNavigation(task_of(MAML)), streams=1)
    noise = [[e.total for e in live.round()] for _ in range(live.protocol.rounds + 2)]
    assert live.rounds == live.protocol.rounds + 2 and len(set(map(tuple, noise))) == len(noise)
    live.begin()
    assert live.rounds == 0
    assert not np.isclose(live.episode().total, noise[0][0]), "another life draws from other keys"


def test_owning_the_loop_is_the_same() -> None:
    goal = task_of(MAML)
    whole, own, environment = MAML.agent(HostedNavigation(goal)), MAML.agent(), HostedNavigation(goal)
    expected = [e.total for _ in range(2) for e in whole.round()]
    found = []
    while own.rounds < 2:
        observation, _ = environment.reset()
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = environment.step(own.act(observation))
            over = own.observe(reward, terminated, truncated, observation)
            total += reward
        found.append(total)
        if own.full:
            own.adapt()
    assert found == expected


def test_an_interrupted_episode_counts_as_truncated() -> None:
    live = MAML.agent(streams=1)
    for _ in range(2):
        live.act(np.zeros(2))
        live.observe(0.0, False, False, np.zeros(2))
    live.act(np.zeros(2))  # of which nobody will say what came of it
    live.interrupt()
    live.act(np.ones(2))
    live.observe(0.0, False, False, np.ones(2))
    assert live._seen.truncated[0].tolist() == [False, True, False, False, False, False]
    assert live._seen.timestep.first[0, :4].tolist() == [True, False, True, False]


# --- predict ---


@pytest.mark.parametrize(("name", "on"), [("maml", "navigation"), ("rl2", "gridnavi")])
def test_predict_many_is_predict_one_by_one(name: str, on: str) -> None:
    live = (MAML if name == "maml" else trained(name, on)).agent()
    seen = np.asarray([[1.0, 2.0], [0.0, 3.0], [4.0, 0.0]], np.float32)
    many, states = None, [None] * 3
    for step in range(3):
        reward, starts = None if step == 0 else np.asarray([0.5, -0.1, 1.0]), np.asarray([step == 2, False, step == 2])
        actions, many = live.predict(seen, many, starts, deterministic=True, reward=reward)
        for k in range(3):
            pay = None if reward is None else reward[k]
            action, states[k] = live.predict(seen[k], states[k], starts[k], deterministic=True, reward=pay)
            np.testing.assert_allclose(action, actions[k], rtol=1e-5)
            assert live.spec.action_space.contains(action)
        seen = seen[::-1]
    assert actions.shape == (3, *(live.spec.action_space.shape or ()))


def test_predict_is_by_chance_unless_deterministic() -> None:
    live = MAML.agent()
    drawn = [live.predict(np.zeros(2))[0].tolist() for _ in range(3)]
    assert len(set(map(tuple, drawn))) == 3
    fixed = [live.predict(np.zeros(2), deterministic=True)[0].tolist() for _ in range(3)]
    assert len(set(map(tuple, fixed))) == 1
    policy = MAML.algorithm._policy.distribution(live._adapted.policy, jnp.zeros(2))
    np.testing.assert_allclose(fixed[0], np.clip(policy.mean, -1, 1), rtol=1e-5)


def test_predict_uses_what_was_adapted_and_changes_nothing() -> None:
    live = MAML.agent(HostedNavigation(task_of(MAML)), streams=3)
    before, _ = live.predict(np.zeros(2), deterministic=True)
    live.round()
    after, _ = live.predict(np.zeros(2), deterministic=True)
    assert not np.allclose(before, after)
    again = MAML.agent(HostedNavigation(task_of(MAML)), streams=3)
    again.round()
    assert [e.total for e in again.round()] == [e.total for e in live.round()]


def test_an_agent_that_reads_rewards_must_be_told_them() -> None:
    live = trained("rl2", "gridnavi").agent()
    _, state = live.predict(np.zeros(2))
    with pytest.raises(UserError, match="give predict the reward of the step before"):
        live.predict(np.zeros(2), state)
    _, one = live.predict(np.zeros(2), state, reward=1.0, deterministic=True)
    _, other = live.predict(np.zeros(2), state, reward=-1.0, deterministic=True)
    assert not np.allclose(jax.tree.leaves(one.memory)[0], jax.tree.leaves(other.memory)[0])
    _, state = MAML.agent().predict(np.zeros(2))
    MAML.agent().predict(np.zeros(2), state)  # reads none


# --- files ---


@pytest.mark.parametrize(
    ("name", "on"), [("maml", "navigation"), pytest.param("rl2", "gridnavi", marks=pytest.mark.slow)]
)
def test_an_agent_from_a_file_goes_on(name: str, on: str, tmp_path: Path) -> None:
    """In the middle of a round, after an adaptation: the same returns as if it had never stopped."""
    agent = MAML if name == "maml" else trained(name, on)
    live = agent.agent(HOSTED[on](task_of(agent)), streams=2, episodes=2, seed=9)
    for _ in range(5):
        live.episode()
    live.save(tmp_path / "adapted.safetensors")
    expected = [live.episode() for _ in range(5)]
    fresh = agent.agent(HOSTED[on](task_of(agent)), adapted=tmp_path / "adapted.safetensors")
    assert fresh.rounds == 1
    assert [fresh.episode() for _ in range(5)] == expected


def test_what_a_file_cannot_be_used_for(tmp_path: Path) -> None:
    path = tmp_path / "adapted.safetensors"
    live = MAML.agent(streams=1)
    live.act(np.zeros(2))
    live.observe(0.0, False, False, np.zeros(2))
    live.save(path)
    assert MAML.agent(adapted=path)._seen.truncated[0, 0], "an episode that was under way"
    other = MAML._replace(params=jax.tree.map(lambda x: x + 1, MAML.params))
    with pytest.raises(UserError, match="saved by an agent with parameters '.*', not"):
        other.agent(adapted=path)
    with pytest.raises(UserError, match="saved by an agent with streams 1, not 2"):
        MAML.agent(adapted=path, streams=2)
    with pytest.raises(UserError, match="nowhere is damaged or none: it cannot be read"):
        MAML.agent(adapted=tmp_path / "nowhere")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="damaged or none: its content does not match"):
        MAML.agent(adapted=path)


# --- complaints ---


def box(low: float, high: float, size: int) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(low, high, (size,), np.float32)


@pytest.mark.parametrize(
    ("kind", "space"),
    [("observation", box(-1, 1, 3)), ("action", box(-2, 2, 2)), ("action", gymnasium.spaces.Discrete(2))],
)
def test_other_spaces_are_refused_with_both(kind: str, space: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = HostedNavigation([0, 0])
    setattr(environment, f"{kind}_space", space)
    monkeypatch.setattr(jax, "jit", None)  # nothing may be compiled before
    with pytest.raises(UserError) as error:
        MAML.agent(environment)
    wanted = getattr(MAML.benchmark.spec, f"{kind}_space")
    assert str(error.value) == f"the environment's {kind} space is {space}, but the agent was trained on {wanted}"


class Converted(gymnasium.Env):
    """Spaces that agents do not know, and what was done in them."""

    def __init__(self, observations: gymnasium.Space, actions: gymnasium.Space) -> None:
        self.observation_space, self.action_space, self.done = observations, actions, []
        observations.seed(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.done.append(action)
        return self.observation_space.sample(), 0.0, False, False, {}


PIXELS = gymnasium.spaces.Box(0, 255, (5, 5, 1), np.uint8)
COMPOSITE = gymnasium.spaces.Dict({"arm": box(-1, 1, 2), "eye": PIXELS, "said": gymnasium.spaces.MultiDiscrete([4, 4])})


@pytest.mark.parametrize(
    ("spec", "environment"),
    [
        ((COMPOSITE, gymnasium.spaces.Discrete(6)), (COMPOSITE, gymnasium.spaces.MultiDiscrete([2, 3]))),
        pytest.param(
            (gymnasium.spaces.Discrete(4), box(-1, 1, 2)),
            (gymnasium.spaces.Discrete(4, start=5), box(-1, 1, 2)),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_forms_of_the_same_spaces_are_converted(spec: Any, environment: Any) -> None:
    """As in the benchmarks on the host (`spaces`)."""
    tasks = TaskSet(Fuse(np.zeros(2)))
    where: Any = type("Where", (), {"spec": Spec(*spec, horizon=4)})()
    on = adaptax.Benchmark(where, tasks, tasks, tasks)
    algorithm = adaptax.algorithm("rl2", on, hidden=4, tasks=4)
    params = algorithm.init(jax.random.key(0)).params
    agent = Trained(algorithm, on, params, (), Config(algorithm="rl2", benchmark="Where"), 0)
    one = Converted(*environment)
    live = agent.agent(one)
    live.episode()
    assert len(one.done) == 4
    assert one.action_space.contains(live.predict(one.observation_space.sample())[0])
    many = jax.tree.map(lambda *x: np.stack(x), *(spec[0].sample() for _ in range(3)))
    assert all(map(one.action_space.contains, live.predict(many)[0]))
    with pytest.raises(
        UserError, match="was trained on Discrete" if "Dict" in str(environment[0]) else "trained on Box"
    ):
        agent.agent(Converted(environment[0], gymnasium.spaces.MultiDiscrete([2, 2])))


def test_what_is_no_environment_for_one_agent() -> None:
    with pytest.raises(UserError, match="has no step; it must have Gymnasium's"):
        MAML.agent(type("Robot", (), {"reset": print})())
    with pytest.raises(UserError, match="steps 4 at once, but an agent lives on one"):
        MAML.agent(type("Many", (), {"reset": print, "step": print, "num_envs": 4})())
    with pytest.raises(UserError, match="was given no environment"):
        MAML.agent().episode()


def test_what_an_environment_may_not_say() -> None:
    live = MAML.agent(streams=1)
    with pytest.raises(UserError, match=r"has the shape \[3\]; the agent was trained on \[2\]"):
        live.act(np.zeros(3))
    with pytest.raises(UserError, match="an observation is not finite"):
        live.act([np.nan, 0])
    live.act(np.zeros(2))
    with pytest.raises(UserError, match="the reward is inf; it must be finite"):
        live.observe(np.inf, False, False, np.zeros(2))


def test_calls_in_the_wrong_order() -> None:
    live = MAML.agent(streams=1)
    with pytest.raises(UserError, match="observe was called without an act"):
        live.observe(0.0, False, False, np.zeros(2))
    live.act(np.zeros(2))
    with pytest.raises(UserError, match="act was called twice"):
        live.act(np.zeros(2))
    live.observe(0.0, False, False, np.zeros(2))
    with pytest.raises(UserError, match="the round has 1 of its 6 steps"):
        live.adapt()
    for _ in range(5):
        live.act(np.zeros(2))
        live.observe(0.0, False, False, np.zeros(2))
    with pytest.raises(UserError, match="the round's 1 × 6 steps are used up: call adapt"):
        live.act(np.zeros(2))
    with pytest.raises(UserError, match="streams is 0"):
        MAML.agent(streams=0)


@pytest.mark.slow
def test_a_memory_that_is_used_up(tmp_path: Path) -> None:
    benchmark = adaptax.benchmark("gridnavi", episodes=1)
    algorithm = adaptax.algorithm("rl2", benchmark, network="transformer", hidden=8, tasks=4)
    params = algorithm.init(jax.random.key(0)).params
    agent = Trained(algorithm, benchmark, params, (), Config(algorithm="rl2", benchmark="gridnavi"), 0)
    live = agent.agent(HostedGrid([3, 3]))
    live.episode()
    with pytest.raises(UserError, match="memory holds 15 steps, which are used up: begin starts a new life"):
        live.episode()
    live.begin()
    live.episode()
    with pytest.raises(UserError, match="2 episodes of 15 steps are a trial of 30 steps"):
        agent.agent(episodes=2)
    where, state = np.zeros(2, np.int32), None
    for _ in range(15):
        _, state = live.predict(where, state, reward=0.0)
    with pytest.raises(UserError, match="memory holds 15 steps, which are used up: leave out the state to begin anew"):
        live.predict(where, state, reward=0.0)
    live.predict(where, reward=0.0)
    with pytest.raises(UserError, match="memory holds 15 steps"):  # the episode that was lived counts
        live.predict(where, live.as_it_stands(), reward=0.0)
    with pytest.raises(UserError, match="2 episodes of 15 steps are a trial of 30 steps"):
        agent.render(tmp_path / "none.webp", episodes=2)
    assert not (tmp_path / "none.webp").exists()
