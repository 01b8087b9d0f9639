"""Meta-World's families through our streams: its goals, its numbers, and no simulator more than is needed."""

from __future__ import annotations

import json
import pickle
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import metaworld
import numpy as np
import pytest
from metaworld.evaluation import metalearning_evaluation
from metaworld.policies import ENV_POLICY_MAP
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

import adaptax
from adaptax.envs.host import metaworld as ours
from adaptax.envs.host.sawyer import quaternion, quick, tolerance
from adaptax.names import registry
from adaptax.names.config import Config
from adaptax.names.evaluation import reference_evaluators, reference_results
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.types import Benchmark, UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Constant"),  # of a policy of Meta-World: its actions are clipped
]


@cache
def reach() -> Benchmark:
    return registry.make_benchmark("metaworld-ml1", {"seed": 3, "horizon": 8})


@cache
def theirs() -> Any:
    return metaworld.ML1("reach-v3", seed=3)


def drawn(goals: Any) -> np.ndarray:
    return np.stack([pickle.loads(goal.data)["rand_vec"] for goal in goals])


def played(robot: Any, goal: Any, seed: int, steps: int = 40) -> np.ndarray:
    """All that an episode shows: of what the family's expert would do if it saw the goal, with noise."""
    robot.set_task(goal)
    policy, rng, seen = ENV_POLICY_MAP[goal.env_name](), np.random.default_rng(seed), [robot.reset()[0]]
    for _ in range(steps):
        wanted = policy.get_action(np.concatenate([seen[-1][:36], robot._target_pos]))
        action = np.clip(wanted + rng.normal(size=4), -1, 1).astype(np.float32)
        observation, reward, terminated, truncated, info = robot.step(action)
        assert not (terminated or truncated)
        seen.append(np.concatenate([observation, [reward, *(info[name] for name in sorted(info))]]))
    return np.concatenate(seen)


# --- the goals ---


def test_goals_are_meta_worlds_and_validation_has_others() -> None:
    """Drawn without the arm's way to its start, which has no part in them."""
    on = reach()
    assert (on.train.size, on.validation.size, on.test.size) == (50, 50, 50)
    train, validation, test = (split.enumerate(jax.random.key(0), 50)[1] for split in on[1:4])
    np.testing.assert_allclose(train.drawn, drawn(theirs().train_tasks), rtol=1e-6)
    np.testing.assert_allclose(test.drawn, drawn(theirs().test_tasks), rtol=1e-6)
    everything = np.concatenate([train.drawn, validation.drawn, test.drawn])
    assert len(np.unique(everything, axis=0)) == 150
    assert sorted([*train.goal, *validation.goal, *test.goal]) == list(range(150))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ML10", "ML45"])
def test_goals_of_all_families_are_meta_worlds(kind: str) -> None:
    found, wanted = ours._draw(getattr(metaworld, kind), 5), getattr(metaworld, kind)(seed=5)
    for mine, own in ((found.train_tasks, wanted.train_tasks), (found.test_tasks, wanted.test_tasks)):
        assert [(t.env_name, t.data) for t in mine] == [(t.env_name, t.data) for t in own]


def test_the_first_few_tasks_are_of_all_families() -> None:
    tasks = [ours.MetaWorldTask(k, family, np.zeros(6)) for k, family in enumerate([4, 4, 4, 2, 2, 2, 7, 7, 7])]
    assert [t.goal for t in ours._in_turn(tasks)] == [0, 3, 6, 1, 4, 7, 2, 5, 8]


# --- the simulation ---


def test_steps_are_meta_worlds_and_the_goal_is_hidden() -> None:
    """Observations, rewards and success of two goals, from the beginning and after a new one."""
    streams: Any = reach().environment
    _, tasks = reach().train.enumerate(jax.random.key(0), 2)
    keys = jax.random.split(jax.random.key(1), (2, 1))
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 2, 1, 4)).astype(np.float32)
    state, seen = streams.first_streams(tasks, keys)
    bare = [theirs().train_classes["reach-v3"]() for _ in range(2)]
    for k in range(2):
        bare[k].set_task(theirs().train_tasks[k])
        np.testing.assert_array_equal(seen[k, 0], bare[k].reset()[0].astype(np.float32))
    for t in range(12):
        state, outcome = streams.step_streams(tasks, state, jnp.asarray(actions[t]), keys)
        for k in range(2):
            observation, reward, _, _, info = bare[k].step(actions[t, k, 0])
            np.testing.assert_array_equal(outcome.observation[k, 0], observation.astype(np.float32))
            assert float(outcome.reward[k, 0]) == pytest.approx(reward, rel=1e-6)
            assert bool(outcome.success[k, 0]) == bool(info["success"])
    assert not np.asarray(outcome.observation[..., -3:]).any()
    assert not np.array_equal(outcome.reward[0], outcome.reward[1])
    ended = jnp.asarray([[True], [False]])
    _, begun = streams.reset_streams(tasks, state, outcome.observation, ended, keys)
    np.testing.assert_array_equal(begun[0], seen[0])
    np.testing.assert_array_equal(begun[1], outcome.observation[1])


FAMILIES = [
    pytest.param(name, marks=[] if name == "push-v3" else [pytest.mark.slow]) for name in metaworld.ML1.ENV_NAMES
]


@pytest.mark.parametrize("family", FAMILIES)
def test_our_robots_do_what_meta_worlds_do_to_the_bit(family: str) -> None:
    """Observations, rewards and everything in `info`, by both reward functions, of a robot that was used and of a new
    one: an episode depends on nothing before it. Meta-World's own policy acts, so that things are touched."""
    found = ours._draw(lambda seed: metaworld.ML1(family, seed=seed), 0)
    first, second = found.train_tasks[:2]
    make = found.train_classes[family]
    for rewards in ("v2", "v1"):
        own, used, fresh = (kind(reward_function_version=rewards) for kind in (make, quick(make), quick(make)))
        once = played(own, first, 1)
        np.testing.assert_array_equal(played(used, first, 1), once)
        other = played(used, second, 2)
        assert np.isfinite(once).all() and not np.array_equal(once, other)
        np.testing.assert_array_equal(played(own, second, 2), other)
        for robot in (own, used, fresh):
            np.testing.assert_array_equal(played(robot, first, 1), once)


def test_a_touch_is_meta_worlds() -> None:
    """A puck between the fingers, which random actions seldom bring about."""
    found = ours._draw(lambda seed: metaworld.ML1("pick-place-v3", seed=seed), 0)
    make, goal = found.train_classes["pick-place-v3"], found.train_tasks[0]
    pair = make(), quick(make)()
    touched = []
    for robot in pair:
        policy = ENV_POLICY_MAP["pick-place-v3"]()
        robot.set_task(goal)
        seen, touches = robot.reset()[0], []
        for _ in range(60):
            seen[-3:] = robot._target_pos
            seen, *_ = robot.step(np.clip(policy.get_action(seen), -1, 1).astype(np.float32))
            touches.append(robot.touching_main_object)
        touched.append(touches)
    assert touched[0] == touched[1] and len(set(touched[0])) == 2


def test_quick_arithmetic_is_that_of_scipy_and_meta_world() -> None:
    rng = np.random.default_rng(0)
    for turn in Rotation.random(200, random_state=1):
        np.testing.assert_array_equal(quaternion(turn.as_matrix()), Rotation.from_matrix(turn.as_matrix()).as_quat())
    for _ in range(500):
        x, upper, margin = rng.uniform(-1, 1), rng.uniform(0, 0.5), rng.uniform(0, 1)
        for sigmoid in ("long_tail", "gaussian"):
            given = {"bounds": (0, upper), "margin": margin, "sigmoid": sigmoid}
            assert tolerance(x, **given) == reward_utils.tolerance(x, **given)
    for wrong in ({"bounds": (1, 0)}, {"margin": -1}):
        with pytest.raises(ValueError):
            tolerance(0.5, **wrong, sigmoid="long_tail")


class Family:
    """Counts how often it was made."""

    made = 0

    def __init__(self, reward_function_version: str) -> None:
        type(self).made += 1
        self.rewards, self.task = reward_function_version, None

    def set_task(self, task: Any) -> None:
        self.task = task


def test_a_simulator_is_handed_on_to_the_next_stream_of_its_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adaptax.envs.host.sawyer.quick", lambda family: family)
    kinds = {name: type(name, (Family,), {}) for name in ("a", "b")}
    goals = [SimpleNamespace(env_name=name) for name in "aabb"]
    robots = ours.Robots(kinds, goals, "v1")
    streams = [ours.RobotStream(robots) for _ in range(2)]

    def go_to(*numbers: int) -> None:
        for stream, number in zip(streams, numbers, strict=True):
            stream.set_task(ours.MetaWorldTask(number, 0, np.zeros(6)))
            assert stream._robot.task is goals[number] and type(stream._robot).__name__ == goals[number].env_name
        assert streams[0]._robot is not streams[1]._robot

    go_to(0, 1)
    go_to(2, 1)
    go_to(1, 3)
    go_to(3, 0)
    go_to(2, 1)
    assert [kind.made for kind in kinds.values()] == [2, 2]
    assert streams[0]._robot.rewards == "v1"
    copy = pickle.loads(pickle.dumps(ours.Robots({"reach-v3": theirs().train_classes["reach-v3"]}, [], "v2")))
    assert copy._idle == {"reach-v3": []}


# --- training ---


@pytest.mark.slow
def test_ml10_trains_evaluates_and_resumes(tmp_path: Path) -> None:
    """Two iterations and two more are four; evaluation meets all five families that training does not know."""
    given: dict[str, Any] = {"settings": {"horizon": 10}, "hyperparameters": {"tasks": 4, "streams": 1, "hidden": (8,)}}
    whole = adaptax.train("maml", "metaworld-ml10", out=tmp_path / "whole", iterations=4, quiet=True, **given)
    adaptax.train("maml", "metaworld-ml10", out=tmp_path / "halves", iterations=2, quiet=True, **given)
    halves = adaptax.train(
        "maml", "metaworld-ml10", out=tmp_path / "halves", iterations=4, resume=True, quiet=True, **given
    )
    jax.tree.map(np.testing.assert_array_equal, whole.params, halves.params)
    assert json.loads((tmp_path / "halves" / "metrics.jsonl").read_text().splitlines()[-1])["iteration"] == 4
    judged = whole.evaluate(5)
    assert len(set(judged.tasks.family.tolist())) == 5 and np.isfinite(judged.returns).all()
    trained = whole.benchmark.train.enumerate(jax.random.key(0), 500)[1].family
    assert not set(judged.tasks.family.tolist()) & set(np.asarray(trained).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maml", "rl2"])
def test_meta_worlds_own_evaluation_takes_our_agents(name: str) -> None:
    on = registry.make_benchmark("metaworld-ml1", {"horizon": 20, "episodes": 2})
    small: dict[str, Any] = {"hidden": (8,)} if name == "maml" else {"hidden": 8, "tasks": 4}
    algorithm = adaptax.algorithm(name, on, **small)
    params = algorithm.init(jax.random.key(0)).params
    config = Config(algorithm=name, benchmark="metaworld-ml1")
    trained = adaptax.Trained(algorithm, on, params, jax.tree.map(lambda x: x[None], params), config, 1)
    agent = trained.meta_world_agent(2, adaptation_episodes=2)
    memory = {"recurrent_info_in_obs": True} if name == "rl2" else {}
    envs: Any = gymnasium.make_vec(
        "Meta-World/ML1-test", env_name="reach-v3", seed=1, meta_batch_size=2, max_episode_steps=20, **memory
    )
    success, total, by_task = metalearning_evaluation(
        agent, envs, num_evals=1, adaptation_episodes=2, evaluation_episodes=1
    )
    assert 0 <= success <= 1 and total > 1 and set(by_task) == {"reach-v3"}
    assert [live.rounds for live in agent._agents] == [1, 1]  # both adapted
    envs.close()


# --- what is refused ---


def test_bad_input_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(message: str, **settings: Any) -> None:
        with pytest.raises(UserError, match=message):
            registry.make_benchmark("metaworld-ml1", settings)

    refused("family is 'reech', which Meta-World has not; it has reach-v3", family="reech")
    refused("horizon is 501", horizon=501)
    refused("episodes is 0", episodes=0)
    refused("rewards is 'v3'; it must be 'v1' or 'v2'", rewards="v3")
    refused("seed is -1", seed=-1)
    on = registry.make_benchmark("metaworld-ml1", {})
    assert on.judged_by_success
    task = jax.tree.map(lambda x: np.asarray(x)[0], on.test.enumerate(jax.random.key(0), 1)[1])
    stream = on.environment.make()
    for place in (-1, 9999):
        with pytest.raises(UserError, match=f"goal is {place}; it is the place of one of 150 goals, 0 to 149"):
            stream.unwrapped.set_task(task._replace(goal=place))
    monkeypatch.setitem(sys.modules, "metaworld", None)
    refused(r'pip install "adaptax\[metaworld\]"')


def test_scripts_that_are_told_the_goal_always_reach_it() -> None:
    on = registry.make_benchmark("metaworld-ml1", {"horizon": 120})
    found = evaluate(on.references["scripts"](on.spec), on, on.test, (), Protocol(tasks=8))
    assert on.best == "scripts"
    np.testing.assert_array_equal(found.final_success, 1.0)
    bare = on._replace(references={})
    rows = reference_results(bare, "test", reference_evaluators(bare, Protocol(tasks=8)))
    assert [row["name"] for row in rows] == ["random"] and rows[0]["success"][0] < 0.3
