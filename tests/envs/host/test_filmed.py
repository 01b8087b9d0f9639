"""Pictures of environments on the host: they belong to the states that they are of, and show the task."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces

import adaptax
from adaptax import UserError
from adaptax.envs.filmed import Filmed
from adaptax.envs.host import opengl
from adaptax.envs.host.mujoco import robots
from adaptax.envs.host.mujoco.camera import HEIGHT, WIDTH, Camera
from adaptax.envs.host.mujoco.tasks import BodyTask, DirectionTask, GoalTask, VelocityTask
from adaptax.names import registry
from adaptax.run.evaluate import Protocol
from adaptax.run.record import record


class Lamp(gymnasium.Env):
    """Observes how bright it is, which it also shows: `gain` more after every step, from a random start. It ends after
    three steps."""

    metadata = {"render_modes": ["rgb_array"]}
    drawn_in: ClassVar[set[int]] = set()  # the threads
    observation_space = spaces.Box(0, 255, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.count, self.gain = 0, (options or {}).get("gain", 0)
        self.bright = int(self.np_random.integers(100))
        return np.asarray([self.bright], np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        self.bright += self.gain
        return np.asarray([self.bright], np.float32), 1.0, self.count == 3, False, {}

    def render(self) -> Any:
        assert self.render_mode == "rgb_array"
        self.drawn_in.add(threading.get_ident())
        return np.full((6, 8, 3), self.bright, np.uint8)


class Dark(Lamp):
    metadata = {"render_modes": ["human"]}


class Broken(Lamp):
    def render(self) -> Any:
        raise OSError("no bulb")


def lamps(make: Any) -> Any:
    one = [{"gain": 7}]
    return adaptax.from_gymnasium(
        make, train=one, validation=one, test=one, options=True, horizon=5, episodes=2, name="lamp"
    )


def first_task(on: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x)[0], on.test.enumerate(jax.random.key(0), 1)[1])


def test_a_gymnasium_environment_draws_itself() -> None:
    on = lamps(Lamp)
    task = first_task(on)
    filmed: Filmed = on.environment.filmed(task)
    assert filmed.note == "gain=7"
    Lamp.drawn_in.clear()
    agent = adaptax.algorithm("rl2", on, hidden=4, tasks=4)
    params, protocol = agent.init(jax.random.key(0)).params, Protocol(tasks=1, rounds=2, streams=2, episodes=2, seed=3)
    plain = record(agent, on, task, params, protocol)
    lived = record(agent, on._replace(environment=filmed.environment), task, params, protocol, states=True)
    np.testing.assert_array_equal(lived.observation, plain.observation)  # being filmed changes nothing
    for seen, states in ((lived.observation, lived.states), (lived.next_observation, lived.next_states)):
        for k in np.ndindex(seen.shape[0], seen.shape[2]):
            frame = filmed.frame(jax.tree.map(lambda x, k=k: x[k[0], 0, k[1]], states))
            assert frame.shape == (6, 8, 3) and frame.dtype == np.uint8
            assert (frame == seen[k[0], 0, k[1], 0]).all()
    assert len(np.unique(lived.observation[:, 0])) > 4
    assert len(Lamp.drawn_in) == 1  # an OpenGL context draws black in any other thread


def test_what_a_gymnasium_environment_cannot_draw() -> None:
    def refused(make: Any) -> str:
        on = lamps(make)
        with pytest.raises(UserError) as error:
            on.environment.filmed(first_task(on))
        return str(error.value)

    assert refused(Dark) == "lamp cannot be drawn: of the render modes it has human, not rgb_array"
    assert "the function that makes it must take render_mode, as in lambda render_mode=None" in refused(lambda: Lamp())
    drawn = lamps(lambda: Lamp("rgb_array"))  # chooses by itself, also while it trains
    assert drawn.environment.filmed(first_task(drawn)).note == "gain=7"
    assert refused(Broken) == "lamp cannot be drawn: OSError: no bulb"


def test_the_first_library_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "works", lambda name: name == "osmesa")
    assert opengl._working("") == "osmesa"
    assert opengl._working("osmesa") == "osmesa"
    assert opengl._working(" OSMesa") == "osmesa"  # MuJoCo reads it so, Gymnasium does not
    with pytest.raises(UserError, match="MUJOCO_GL=egl here: it needs EGL, .*; unset it, and egl, osmesa, glfw are"):
        opengl._working("egl")
    with pytest.raises(UserError, match="MUJOCO_GL=glfw here: it needs a display; unset it"):
        opengl._working("glfw")


def test_mujoco_gl_is_not_blamed_for_a_broken_mujoco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mujoco.py").write_text("raise OSError('libmujoco.so: file too short')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(OSError, match="file too short"):
        opengl.load_mujoco()


# --- robots; these tests draw ---

draws = pytest.mark.skipif(not any(map(opengl.works, ("egl", "osmesa"))), reason="there is no OpenGL here")


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)


def colour_in(frame: np.ndarray, channel: int) -> np.ndarray:
    """Where [pixels, 2] (row, column) `channel` is twice as strong as the others."""
    others = np.delete(frame.astype(int), channel, axis=2).max(axis=2)
    return np.argwhere(frame[..., channel] > 2 * others)


@draws
@pytest.mark.parametrize("name", ["half-cheetah-direction", "ant-velocity", "humanoid-direction"])
def test_robots_are_drawn_and_move(name: str) -> None:
    on = registry.make_benchmark(name, {})
    filmed: Filmed = on.environment.filmed(first_task(on))
    simulator = on.environment.simulator
    model = simulator.model
    state, _ = simulator.begin(np.zeros((1, 1, model.nq)), np.zeros((1, 1, model.nv)))
    later = state
    for _ in range(5):
        later, _ = simulator.advance(later, np.ones((1, 1, model.nu)))
    before, again, after = filmed.frame(state[0, 0]), filmed.frame(state[0, 0]), filmed.frame(later[0, 0])
    assert before.shape == (HEIGHT, WIDTH, 3) and before.dtype == np.uint8
    assert before.std() > 10
    np.testing.assert_array_equal(before, again)
    assert (before != after).any(axis=2).mean() > 0.01
    assert "(green arrow)" in filmed.note and len(colour_in(before, 1)) > 50


@draws
def test_a_robot_on_mjx_is_drawn_alike() -> None:
    pytest.importorskip("mujoco.mjx")
    from adaptax.envs.host.mujoco.mjx import MJXState

    host, mjx = (registry.make_benchmark("ant-velocity", {"backend": backend}) for backend in ("host", "mjx"))
    model, task = host.environment.simulator.model, first_task(host)
    words, _ = host.environment.simulator.begin(np.zeros((1, 1, model.nq)), np.zeros((1, 1, model.nv)))
    same = MJXState(model.qpos0.astype(np.float32), np.zeros(model.nv, np.float32))
    ours, theirs = host.environment.filmed(task).frame(words[0, 0]), mjx.environment.filmed(task).frame(same)
    assert np.abs(ours.astype(int) - theirs).mean() < 0.5


@draws
def test_marks_show_the_task() -> None:
    pose = robots.load_model(robots.HALF_CHEETAH).qpos0, np.zeros(9)

    def arrow(velocity: float) -> np.ndarray:
        camera = Camera(robots.HALF_CHEETAH, VelocityTask(np.float32(velocity)))
        assert camera.note.startswith(f"to be run: {velocity:.2f} m/s")
        return colour_in(camera.frame(*pose), 1)

    slow, fast = arrow(1.0), arrow(3.0)
    middle = WIDTH / 2
    assert middle - 20 < slow[:, 1].min() and np.ptp(fast[:, 1]) == pytest.approx(3 * np.ptp(slow[:, 1]), rel=0.2)
    back = Camera(robots.HALF_CHEETAH, DirectionTask(np.asarray([-1.0, 0.0], np.float32)))
    assert back.note.startswith("a metre pays -1.00, 0.00 in x, y")
    assert colour_in(back.frame(*pose), 1)[:, 1].max() < middle + 20

    ant = robots.load_model(robots.ANT)
    places = []
    for goal in ([2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]):
        camera = Camera(robots.ANT, GoalTask(np.asarray(goal, np.float32)))
        places.append(colour_in(camera.frame(ant.qpos0, np.zeros(ant.nv)), 1).mean(axis=0))
    right, left, behind = places
    assert left[1] < middle - 50 < middle + 50 < right[1]
    assert behind[0] < right[0] - 20 and behind[1] == pytest.approx(middle, abs=20)


@draws
def test_heavy_bodies_are_dark() -> None:
    model = robots.load_model(robots.HOPPER)

    def brightness(factor: float) -> float:
        ones = {"inertia": (model.nbody, 3), "damping": (model.nv,), "friction": (model.ngeom, 3)}
        mass = np.full((model.nbody,), factor, np.float32)
        camera = Camera(robots.HOPPER, BodyTask(mass, **{name: np.ones(shape) for name, shape in ones.items()}))
        return float(camera.frame(model.qpos0, np.zeros(model.nv))[:, WIDTH // 2].mean())

    assert brightness(3.0) < brightness(0.3) - 5


@draws
@pytest.mark.slow
def test_meta_worlds_arm_is_drawn_in_every_episode() -> None:
    on = registry.make_benchmark("metaworld-ml1", {"horizon": 3, "episodes": 3})
    filmed: Filmed = on.environment.filmed(first_task(on))
    agent = adaptax.algorithm("rl2", on, hidden=4, tasks=4)
    params, protocol = agent.init(jax.random.key(0)).params, Protocol(tasks=1, episodes=3)
    on = on._replace(environment=filmed.environment)
    states = record(agent, on, first_task(on), params, protocol, states=True).states
    frames = np.stack([filmed.frame(jax.tree.map(lambda x, k=k: x[0, 0, k], states)) for k in range(9)])
    assert frames.shape[1:] == (480, 480, 3) and frames.std(axis=(1, 2, 3)).min() > 10
    assert (frames[0] != frames[2]).any(axis=2).mean() > 1e-4
    np.testing.assert_array_equal(frames[0], frames[3])  # every episode begins alike
    assert frames[0, :100].std() < 5 < frames[0, -100:].std()  # nothing above the table: it stands on its feet
