"""The robots on the host: the physics is Gymnasium's, rewards are what is published, and no state is hidden."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from adaptax.algorithms.rl2 import RL2
from adaptax.envs.host.mujoco import robots
from adaptax.envs.host.mujoco.rules import motion_sizes
from adaptax.envs.host.mujoco.simulator import PARAMETERS, Simulator
from adaptax.envs.host.mujoco.tasks import VelocityTask, multipliers
from adaptax.names import registry
from adaptax.run import checkpoint
from adaptax.run.collect import collect, streams_of
from adaptax.run.iterate import begin
from adaptax.run.source import living
from adaptax.run.train import Settings, root_keys, train
from adaptax.types import Benchmark, Decision, Plan, UserError

FAMILIES = ("half-cheetah-velocity", "half-cheetah-direction", "ant-velocity", "ant-direction", "ant-goal")
FAMILIES += ("humanoid-direction", "walker-params", "hopper-params")


@cache
def made(name: str, **settings: Any) -> Benchmark:
    return registry.make_benchmark(name, settings)


def motion_of(simulator: Simulator, words: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities, float64, of one state."""
    state = np.ascontiguousarray(words).view(np.float64).ravel()
    return np.split(state[1:], [simulator.model.nq])


def parts(simulator: Simulator, motion: Any) -> robots.Motion:
    """A motion of the first stream of the first task."""
    sizes = motion_sizes(simulator.robot, simulator.model)
    return robots.Motion(*np.split(jnp.asarray(motion[0, 0]), np.cumsum(sizes)[:-1]))


def test_a_step_is_gymnasiums() -> None:
    """HalfCheetah-v5 from the same states with the same actions: next state, observation and velocity."""
    environment = gymnasium.make("HalfCheetah-v5").unwrapped
    environment.reset(seed=0)
    on = made("half-cheetah-velocity", variant="promp").environment
    simulator, rng = on.simulator, np.random.default_rng(0)
    words, _ = simulator.begin(rng.uniform(-0.1, 0.1, (1, 1, 9)), 0.1 * rng.standard_normal((1, 1, 9)))
    for _ in range(60):
        action = rng.uniform(-1.0, 1.0, 6)
        position, speed = motion_of(simulator, words)
        environment.set_state(position, speed)
        expected, _, _, _, told = environment.step(action)
        words, motion = simulator.advance(words, action[None, None])
        one = parts(simulator, motion)
        np.testing.assert_allclose(on.rules.observe(one), expected, rtol=2e-6, atol=1e-6)
        np.testing.assert_allclose(np.concatenate(motion_of(simulator, words))[1:], expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(one.velocity, [told["x_velocity"], 0.0], rtol=1e-6, atol=1e-6)
        assert one.sound == 1.0


def stepped(name: str, steps: int, **settings: Any) -> tuple[Any, ...]:
    """One stream on one task: the environment, the task, the last two states, the last action and what it brought."""
    on = made(name, **settings)
    environment, rng = on.environment, np.random.default_rng(3)
    simulator, rules = environment.simulator, environment.rules
    task = on.train.sample(jax.random.key(0), 1)[1]
    width, model = rules.robot.noise, simulator.model
    words, _ = simulator.begin(*(rng.uniform(-width, width, (1, 1, size)) for size in (model.nq, model.nv)))
    for _ in range(steps):
        before, action = words, rng.uniform(-2.0, 2.0, model.nu).astype(np.float32)
        control = np.asarray(rules.control(action))
        words, motion = simulator.advance(before, control[None, None], *map(np.asarray, multipliers(task)))
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[0], task)
    outcome = rules.outcome(one, parts(simulator, motion), jnp.asarray(control))
    return environment, one, before, words, action, outcome


def paid(name: str, variant: str, task: Any, place: np.ndarray, velocity: np.ndarray, squares: float) -> float:
    """What is published for a step: `place` where the torso is after it, `squares` of the clipped actions."""
    if name == "half-cheetah-velocity":
        return -abs(velocity[0] - task.velocity) - 0.05 * squares
    if name == "half-cheetah-direction":
        return task.direction[0] * velocity[0] - 0.05 * squares
    if name == "ant-velocity":
        return 1.0 - abs(velocity[0] - task.velocity) - 0.005 * squares + 0.05
    if name == "ant-direction":
        alive, cost = (0.05, 0.005) if variant == "maml" else (1.0, 0.5)
        return task.direction @ velocity + alive - cost * squares
    if name == "ant-goal":
        alive, cost = (4.05, 0.005) if variant == "maml" else (0.0, 0.1)
        return alive - np.abs(place - task.goal).sum() - cost * squares
    if name == "humanoid-direction":
        return 0.25 * 0.015 * (task.direction @ velocity) / 0.003 + 5.0 - 0.1 * 0.16 * squares
    return velocity[0] + 1.0 - 1e-3 * squares


REWARDS = [("half-cheetah-velocity", "maml"), ("half-cheetah-direction", "promp"), ("ant-velocity", "maml")]
REWARDS += [("ant-direction", "maml"), ("ant-direction", "pearl"), ("ant-goal", "maml"), ("ant-goal", "pearl")]
REWARDS += [("humanoid-direction", "varibad"), ("walker-params", "pearl"), ("hopper-params", "gymnasium")]


@pytest.mark.parametrize(("name", "variant"), REWARDS)
def test_rewards_are_the_published_ones(name: str, variant: str) -> None:
    environment, task, before, after, action, outcome = stepped(name, 3, variant=variant)
    simulator = environment.simulator
    data = mujoco.MjData(simulator.model)

    def place(words: np.ndarray) -> np.ndarray:
        data.qpos[:], data.qvel[:] = motion_of(simulator, words)
        mujoco.mj_forward(simulator.model, data)
        return (data.subtree_com[0] if name == "humanoid-direction" else data.xpos[1])[:2].copy()

    was, now = place(before), place(after)
    squares = float(np.sum(np.clip(action.astype(np.float64), -1.0, 1.0) ** 2))
    expected = paid(name, variant, task, now, (now - was) / simulator.timestep, squares)
    np.testing.assert_allclose(outcome.reward, expected, rtol=1e-5, atol=1e-5)
    assert not outcome.terminated and not outcome.truncated


@pytest.mark.parametrize(
    ("stands", "position", "until"),
    [
        (robots.ant_stands, [0, 0, 0.5], ((2, 0.19), (2, 1.01))),
        (robots.ant_stands_low, [0, 0, 0.1], ((2, -0.01), (2, 1.01))),
        (robots.humanoid_stands, [0, 0, 1.4], ((2, 0.99), (2, 2.01))),
        (robots.walker_stands, [0, 1.2, 0], ((1, 0.79), (1, 2.01), (2, 1.01), (2, -1.01))),
        (robots.hopper_stands, [0, 1.2, 0], ((1, 0.69), (2, 0.21), (2, -0.21), (3, 101.0))),
    ],
)
def test_robots_stand_until_they_fall(stands: Any, position: list[float], until: Any) -> None:
    upright = np.asarray([*position, 0.0, 0.0], np.float32)
    nothing = jnp.zeros(0)

    def ask(position: np.ndarray) -> bool:
        return bool(stands(robots.Motion(jnp.asarray(position), jnp.zeros(5), nothing, nothing, jnp.ones(1))))

    assert ask(upright)
    for place, value in until:
        fallen = upright.copy()
        fallen[place] = value
        assert not ask(fallen)
    away = upright.copy()
    away[0] = 1e3
    assert ask(away)


TIMES = {"half-cheetah": 0.05, "ant": 0.05, "humanoid": 0.015, "walker": 0.008, "hopper": 0.008}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_lasts_as_long_as_gymnasiums(name: str) -> None:
    robot = name.rsplit("-", 1)[0]
    settings = {"variant": "gymnasium"} if robot in ("walker", "hopper") else {}
    assert made(name, **settings).environment.simulator.timestep == pytest.approx(TIMES[robot])
    if settings:  # rand_param_envs has longer ones
        longer = made(name).environment.simulator.timestep
        assert longer == pytest.approx(0.02 if robot == "walker" else 0.016)


def test_what_is_observed_of_a_robot() -> None:
    """Against MuJoCo's own figures at the same state."""
    sizes = {("half-cheetah-velocity", "maml"): 20, ("half-cheetah-velocity", "promp"): 17, ("ant-goal", "maml"): 41}
    sizes |= {("ant-goal", "pearl"): 29, ("ant-direction", "pearl"): 27, ("humanoid-direction", "pearl"): 270}
    sizes |= {("walker-params", "pearl"): 17, ("hopper-params", "pearl"): 11}
    for (name, variant), size in sizes.items():
        environment, _, _, words, action, outcome = stepped(name, 3, variant=variant)
        seen = np.asarray(outcome.observation)
        assert seen.shape == (size,) == environment.spec.observation_space.shape
        model = environment.simulator.model
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = motion_of(environment.simulator, words)
        data.ctrl[:] = environment.rules.control(action)
        mujoco.mj_forward(model, data)
        skipped = 0 if name == "ant-goal" else 2 if name in ("ant-direction", "humanoid-direction") else 1
        parts = [data.qpos[skipped:], data.qvel]
        if name.endswith("params"):
            parts[1] = np.clip(parts[1], -10.0, 10.0)
        if (name, variant) == ("half-cheetah-velocity", "maml"):
            parts.append(data.xpos[1])
        if (name, variant) == ("ant-goal", "maml"):
            parts += [data.xmat[1], data.xpos[1]]
        if name == "humanoid-direction":
            parts += [data.cinert[1:].ravel(), data.cvel[1:].ravel(), data.qfrc_actuator[6:]]
        np.testing.assert_allclose(seen, np.concatenate(parts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["half-cheetah-velocity", "ant-velocity", "humanoid-direction", "hopper-params"])
def test_episodes_begin_as_gymnasiums(name: str) -> None:
    on = made(name)
    environment, keys = on.environment, jax.random.split(jax.random.key(0), (2, 200))
    task = on.train.sample(jax.random.key(0), 2)[1]
    words, _ = environment.first_streams(task, keys)
    states = np.asarray(words).view(np.float64)
    robot, nq = environment.rules.robot, environment.simulator.model.nq
    assert (states[..., 0] == 0.0).all()
    noise = states[..., 1 : 1 + nq] - environment.simulator.model.qpos0
    assert 0.99 * robot.noise < np.abs(noise).max() <= robot.noise * (1 + 1e-6)
    spread = robot.noise if name.startswith(("half-cheetah", "ant")) else robot.noise / np.sqrt(3.0)
    assert states[..., 1 + nq :].std() == pytest.approx(spread, rel=0.05)
    ended = jnp.zeros((2, 200), bool).at[1, 3].set(True)
    zeros = jnp.zeros((2, 200, environment.spec.observation_space.shape[0]), jnp.float32)
    again, seen = environment.reset_streams(task, words, zeros, ended, jax.random.split(jax.random.key(1), (2, 200)))
    changed = (np.asarray(again) != np.asarray(words)).any(-1)
    np.testing.assert_array_equal(changed, np.asarray(ended))
    np.testing.assert_array_equal((np.asarray(seen) != 0.0).any(-1), np.asarray(ended))


def test_tasks_lie_in_their_published_ranges() -> None:
    def sample(name: str, **settings: Any) -> Any:
        train = made(name, **settings).train
        return jax.tree.map(np.asarray, jax.jit(lambda key: train.sample(key, 2000)[1])(jax.random.key(0)))

    for variant, most in (("maml", 2.0), ("promp", 3.0), ("varibad", 3.0), ("pearl", 3.0)):
        velocity = sample("half-cheetah-velocity", variant=variant).velocity
        assert 0.0 <= velocity.min() < 0.05 * most and 0.95 * most < velocity.max() <= most
    assert 2.9 < sample("ant-velocity").velocity.max() <= 3.0
    goal = np.linalg.norm(sample("ant-goal", training_tasks=0).goal, axis=1)
    assert 2.9 < goal.max() <= 3.0 + 1e-6 and np.mean(goal < 1.5) == pytest.approx(0.25, abs=0.04)
    assert 2.9 < np.abs(sample("ant-goal", variant="maml").goal).max() <= 3.0
    for name, variant in (("ant-direction", "promp-2d"), ("humanoid-direction", "varibad")):
        direction = sample(name, variant=variant).direction
        np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1.0, rtol=1e-5)
        assert np.abs(direction.mean(axis=0)).max() < 0.06
    for name in ("half-cheetah-direction", "ant-direction"):
        direction = sample(name).direction
        assert (direction[:, 1] == 0.0).all() and abs(np.sign(direction[:, 0]).mean()) < 0.06
        assert np.abs(direction[:, 0]).min() >= 0.5 and np.abs(direction[:, 0]).max() <= 1.5
        paper = made(name, goals="paper")
        np.testing.assert_array_equal(paper.train.tasks.direction, [[1.0, 0.0], [-1.0, 0.0]])
    for name in ("walker-params", "hopper-params"):
        for part, base in zip(sample(name, training_tasks=0), (1.5, 1.5, 1.3, 1.5), strict=True):
            power = np.log(part) / np.log(base)
            assert -3.0 <= power.min() < -2.9 and 2.9 < power.max() < 3.0001


def test_pearls_velocities_are_those_of_its_seed() -> None:
    on = made("half-cheetah-velocity", variant="pearl")
    assert (on.train.size, on.test.size, on.spec.training_tasks) == (100, 30, 100)
    velocities = np.concatenate([on.train.tasks.velocity, on.test.tasks.velocity])
    np.testing.assert_allclose(velocities, np.random.RandomState(1337).uniform(0.0, 3.0, 130), rtol=1e-6)
    assert made("half-cheetah-velocity", variant="pearl", training_tasks=7).train.size == 7
    assert made("half-cheetah-velocity", variant="pearl", training_tasks=0).train.size is None
    assert (made("ant-goal").train.size, made("ant-goal").test.size) == (150, 30)
    assert (made("hopper-params").train.size, made("hopper-params").test.size) == (40, 10)


@pytest.mark.parametrize("name", FAMILIES)
def test_splits_are_disjoint(name: str) -> None:
    on, found = made(name), []
    for split in (on.train, on.validation, on.test):
        tasks = split.sample(jax.random.key(0), 100)[1]
        flat = np.concatenate([np.reshape(leaf, (100, -1)) for leaf in jax.tree.leaves(tasks)], axis=1)
        found.append({row.tobytes() for row in flat})
    assert all(found) and not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]
    assert on.describe and "\n" not in on.describe


def test_a_task_changes_the_body() -> None:
    """The same state and action on two tasks of `hopper-params`, and on one that changes nothing."""
    on = made("hopper-params", training_tasks=0)
    simulator = on.environment.simulator
    tasks = on.train.sample(jax.random.key(0), 2)[1]
    plain = jax.tree.map(lambda leaf: jnp.ones_like(leaf[:1]), tasks)
    tasks = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), tasks, plain)
    keys = jnp.broadcast_to(jax.random.key(0), (3, 1))
    words, _ = on.environment.first_streams(tasks, keys)
    for _ in range(5):
        before = words
        words, _ = on.environment.step_streams(tasks, before, 0.75 * jnp.ones((3, 1, 3), jnp.float32), keys)
        if np.array_equal(before[0], before[1]):  # the first step: from one state
            assert len({np.asarray(words[n]).tobytes() for n in range(3)}) == 3
    unchanged, _ = simulator.advance(np.asarray(before[2:]), np.full((1, 1, 3), 0.75))
    np.testing.assert_array_equal(unchanged, words[2:])
    task = jax.tree.map(lambda leaf: np.asarray(leaf[0]), tasks)
    row = np.concatenate([np.ravel(leaf) for leaf in task])
    changed = simulator._changed(row.tobytes())
    for name, multiplier in zip(PARAMETERS, task, strict=True):
        was = getattr(simulator.model, name)
        np.testing.assert_allclose(getattr(changed, name), was * multiplier)
    assert simulator._changed(row.tobytes()) is changed  # kept


def test_a_simulation_that_diverges_ends_its_episode() -> None:
    on = made("half-cheetah-velocity")
    simulator = on.environment.simulator
    speed = np.zeros((1, 2, 9))
    speed[0, 1] = 1e30
    words, _ = simulator.begin(np.zeros((1, 2, 9)), speed)
    task = VelocityTask(jnp.asarray([1.0]))
    keys = jax.random.split(jax.random.key(0), (1, 2))
    _, outcome = on.environment.step_streams(task, jnp.asarray(words), jnp.zeros((1, 2, 6), jnp.float32), keys)
    np.testing.assert_array_equal(outcome.terminated, [[False, True]])
    assert outcome.reward[0, 1] == -1.0 and np.isfinite(outcome.observation).all()
    assert on.environment.failure() is None


class Random:
    """Acts at random, within and beyond the box."""

    def begin(self, params: Any, key: Any, birth: Any) -> Any:
        return ()

    def start(self, params: Any) -> Any:
        return ()

    def act(self, params: Any, adapted: Any, memory: Any, timestep: Any, key: Any) -> Any:
        return Decision(jax.random.uniform(key, (params,), jnp.float32, -1.5, 1.5)), ()

    def adapt(self, params: Any, adapted: Any, rollout: Any, key: Any) -> Any:
        return ()


@pytest.mark.parametrize(("name", "falls"), [("hopper-params", True), ("half-cheetah-velocity", False)])
def test_the_collector_steps_robots(name: str, falls: bool) -> None:
    """Falling terminates, the clock truncates; two runs with one key are equal bit for bit."""
    on = made(name, horizon=12)
    streams = streams_of(on.environment)
    assert streams is on.environment
    plan = Plan(tasks=2, rounds=1, streams=4, steps=36, lifetime=1)
    controls = on.spec.action_space.shape[0]
    run = jax.jit(lambda key: collect(Random(), streams, on.train, plan, controls, None, key))
    trials, _, _ = run(jax.random.key(0))
    terminated, truncated = (np.asarray(x) for x in (trials.rollouts.terminated, trials.rollouts.truncated))
    assert terminated.any() == falls and truncated.any() and not (terminated & truncated).any()
    if not falls:
        assert (np.argwhere(truncated)[:, -1] % 12 == 11).all() and truncated.sum() == 2 * 4 * 3
    again, _, _ = run(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, trials.rollouts, again.rollouts)


@pytest.mark.slow
def test_rl2_trains_on_a_robot_and_resumes(tmp_path: Path) -> None:
    """As it does on any host (`test_host.py`)."""
    on = made("half-cheetah-velocity", horizon=4)
    algorithm = RL2(on.spec, tasks=2, streams=2, hidden=8, epochs=1, minibatches=2)

    def go(name: str, iterations: int, resume: bool = False) -> None:
        settings = Settings(iterations, seed=1, log_every=1, quiet=True)
        train(algorithm, on, settings, tmp_path / name, resume=resume)

    go("whole", 2)
    go("pieces", 1)
    go("pieces", 2, resume=True)
    template = jax.eval_shape(lambda root: begin(algorithm, living(algorithm, on), root), root_keys(1, 1))
    whole, pieces = (checkpoint.restore(tmp_path / n / "checkpoints", template)[0] for n in ("whole", "pieces"))
    assert int(whole.state.iteration) == 2
    jax.tree.map(np.testing.assert_array_equal, whole, pieces)


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("ant-goal", {"variant": "maesn"}, "variant is 'maesn'; it must be one of maml, promp, pearl, varibad"),
        ("ant-goal", {"horizon": 0}, "horizon is 0; it must satisfy 1 ≤ horizon"),
        ("walker-params", {"training_tasks": -1}, "training-tasks is -1"),
        ("half-cheetah-velocity", {"backend": "gpu"}, "backend is 'gpu'; it must be 'host' or 'mjx'"),
        ("half-cheetah-direction", {"goals": "all"}, "goals is 'all'; it must be 'held-out' or 'paper'"),
        ("half-cheetah-direction", {"goals": "paper", "training_tasks": 3}, "training-tasks is 3"),
        ("ant-direction", {"variant": "promp-2d", "goals": "paper"}, "draws any direction"),
    ],
)
def test_bad_settings_are_named(name: str, settings: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        made(name, **settings)


@pytest.mark.parametrize(
    ("missing", "settings", "command"),
    [
        ("mujoco", {}, r"pip install 'adaptax\[mujoco\]'"),
        ("mujoco.mjx", {"backend": "mjx"}, r"pip install 'adaptax\[mjx\]'"),
    ],
)
def test_a_missing_extra_is_named(
    missing: str, settings: dict[str, Any], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delattr(mujoco, "mjx", raising=False)
    with pytest.raises(UserError, match=command):
        registry.make_benchmark("half-cheetah-velocity", settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps"),
    # The ant only until it lands: under a steep capsule MJX turns the pyramid of friction otherwise than MuJoCo does.
    [("half-cheetah-velocity", 5), ("hopper-params", 5), ("ant-velocity", 2), ("humanoid-direction", 5)],
)
def test_mjx_agrees_with_the_host(name: str, steps: int) -> None:
    """The first steps from one state; MJX is in float32."""
    pytest.importorskip("mujoco.mjx")
    host, jitted = (made(name, backend=backend) for backend in ("host", "mjx"))
    task = host.train.sample(jax.random.key(0), 1)[1]
    one = jax.tree.map(lambda leaf: leaf[0], task)
    key = jax.random.key(2)
    words, seen = host.environment.first_streams(task, key[None, None])
    state, observation = jitted.environment.reset(one, key)
    np.testing.assert_allclose(observation, seen[0, 0], rtol=1e-6, atol=1e-6)
    step = jax.jit(jitted.environment.step)
    for number in range(steps):
        action = jax.random.uniform(jax.random.key(number), host.spec.action_space.shape, jnp.float32, -1.0, 1.0)
        words, outcome = host.environment.step_streams(task, words, action[None, None], key[None, None])
        state, other = step(one, state, action, key)
        np.testing.assert_allclose(other.observation, outcome.observation[0, 0], rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(other.reward, outcome.reward[0, 0], rtol=2e-3, atol=2e-3)
        assert other.terminated == outcome.terminated[0, 0]
