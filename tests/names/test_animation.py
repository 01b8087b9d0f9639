"""From a run to an animation: what is recorded, which episodes are shown, and what the command says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import adaptax
from adaptax import Benchmark, Outcome, Spec, TaskSet, Trained
from adaptax.cli import main
from adaptax.envs.host import opengl
from adaptax.names import animation, registry
from adaptax.names import config as runs
from adaptax.run import checkpoint
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.run.iterate import begin
from adaptax.run.record import Record, record
from adaptax.run.source import living
from adaptax.run.train import Settings, root_keys


class Height(NamedTuple):
    step: Any


class Stairs:
    """Every step climbs by the task's height; the state is the height, which the observation does not tell. After
    four steps an episode terminates. It draws itself."""

    spec = Spec(gymnasium.spaces.Box(0, 1, (1,), np.float32), gymnasium.spaces.Box(-1, 1, (1,), np.float32), 5)

    def reset(self, task: Height, key: Any) -> Any:
        return jnp.zeros((2,), jnp.float32), jax.random.uniform(key, (1,))

    def step(self, task: Height, state: Any, action: Any, key: Any) -> Any:
        state = state + jnp.stack([task.step, jnp.float32(1.0)])
        return state, Outcome(jax.random.uniform(key, (1,)), action[0], terminated=state[1] >= 4)

    def frame(self, task: Height, state: Any) -> np.ndarray:
        assert isinstance(state, np.ndarray) and isinstance(task.step, np.ndarray)
        return np.full((8, 8, 3), int(state[0]), np.uint8)


def stairs() -> Trained:
    tasks = TaskSet(Height(np.asarray([10.0, 20.0], np.float32)))
    on = Benchmark(Stairs(), tasks, tasks, tasks)
    algorithm = adaptax.algorithm("rl2", on, hidden=4, tasks=4)
    params = algorithm.init(jax.random.key(0)).params
    config = runs.Config(algorithm="rl2", benchmark="Stairs", benchmark_is_named=False)
    return Trained(algorithm, on, params, params, config, 0)


def test_a_record_is_the_life_that_is_judged() -> None:
    agent = stairs()
    protocol = Protocol(tasks=1, rounds=2, streams=3, episodes=2, seed=4)
    judged = evaluate(agent.algorithm, agent.benchmark, agent.benchmark.test, agent.params, protocol)
    task = jax.tree.map(lambda x: x[0], judged.tasks)
    lived = record(agent.algorithm, agent.benchmark, task, agent.params, protocol)
    shots = animation.shots_of(lived, 5, protocol, streams=2)
    returns = judged.returns[0].mean(axis=1).ravel()  # [R, B, E], over streams
    np.testing.assert_allclose([shot.returns[-1] for shot in shots], returns, rtol=1e-5)
    assert [shot.label for shot in shots][::2] == ["before adaptation, episode 1", "after 1 round, episode 1"]
    assert [len(shot.paths) for shot in shots] == [2] * 4
    seen = record(agent.algorithm, agent.benchmark, task, agent.params, protocol, states=True)
    np.testing.assert_array_equal(seen.reward, lived.reward)
    assert (lived.states, seen.states[0, 0, :3].tolist()) == (None, [[0, 0], [10, 1], [20, 2]])

    # It draws itself: an episode's frames are those of its states, the one after the last step included.
    host: Any = jax.tree.map(np.asarray, task)
    for shot in animation.shots_of(
        seen, 5, protocol, 1, animation._frames(animation._scene(agent.benchmark, host, agent.config), seen)
    ):
        (path,) = shot.paths
        assert path.frame is not None and shot.steps == 4
        assert [int(path.frame(step)[0, 0, 0]) for step in range(5)] == [0, 10, 20, 30, 40]


def test_which_episodes_are_shown() -> None:
    """Streams whose episodes end at different times, and a second episode that the round cuts."""
    ended = np.zeros((1, 2, 6), bool)
    ended[0, 0, [1, 3]] = ended[0, 1, 3] = True
    places, pay = np.arange(12.0).reshape(1, 2, 6), np.ones((1, 2, 6))
    lived = Record(places, places + 1, places, pay, ended, None, None, None)
    first, second = animation.shots_of(lived, 4, Protocol(tasks=1, rounds=1, streams=2, episodes=2), 2)
    assert [path.observations.tolist() for path in first.paths] == [[0, 1, 2], [6, 7, 8, 9, 10]]
    assert [path.observations.tolist() for path in second.paths] == [[2, 3, 4], [10, 11, 12]]
    np.testing.assert_array_equal(first.returns, [0, 1, 2, 2.5, 3])  # the first stream's stays at 2
    assert (first.label, second.label) == ("episode 1", "episode 2")
    (trial,) = animation.shots_of(lived, 1, Protocol(tasks=1, streams=2, episodes=6), 1)
    assert (trial.label, trial.steps) == ("one trial", 6)


# --- the command ---


@pytest.fixture(scope="module")
def navigation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose training has not begun."""
    return begun(tmp_path_factory.mktemp("runs") / "navigation", "navigation", {"horizon": 6})


def begun(run: Path, benchmark: str, settings: dict[str, Any]) -> Path:
    on = runs.name_benchmark(benchmark, settings)
    algorithm = runs.name_algorithm("rl2", on, {"hidden": 4, "tasks": 4})
    progress = jax.jit(lambda root: begin(algorithm, living(algorithm, on.value), root))(root_keys(0, 1))
    checkpoint.save(run / "checkpoints", progress, iteration=0, details={})
    runs.write_config(run, runs.make_config(algorithm, "rl2", on, Settings(1)))
    return run


def test_render(navigation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, task in (("number.webp", "2"), ("own.gif", '{"goal": [0.3, -0.2]}')):
        out = tmp_path / name
        assert main(["render", str(navigation), "--task", task, "--rounds", "2", "--out", str(out)]) == 0
        assert capsys.readouterr().out == f"{out}\n"
        with Image.open(out) as image:
            assert image.n_frames == 7  # type: ignore[attr-defined]
    far = ["render", str(navigation), "--task", '{"goal": [9, 9]}', "--rounds", "1", "--out", str(tmp_path / "far.gif")]
    assert main(far) == 0
    assert "note: goal is outside what training tasks have, about -0.5 to 0.5" in capsys.readouterr().err
    again = adaptax.load(navigation).render(tmp_path / "again.webp", task=2, rounds=2)
    assert again.read_bytes() == (tmp_path / "number.webp").read_bytes()


def test_what_cannot_be_rendered(
    navigation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation, "record", None)  # nothing gets that far

    def refused(*words: str, out: str = "film.webp", run: Path = navigation) -> str:
        assert main(["render", str(run), "--out", str(tmp_path / out), *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "film.avi does not end in .webp, .gif, .mp4" in refused(out="film.avi")
    for number in ("0", "101", "-1"):
        line = refused("--task", number)
        assert f"no task {number}: the run is evaluated on the tasks 1 to 100 of the split 'test'" in line
    assert "tasks 1 to 40 of the split 'published'" in refused("--task", "41", "--split", "published")
    assert "--task is not valid JSON" in refused("--task", "first")
    assert "lacks the field 'goal'" in refused("--task", "{}")
    assert "no split 'tset'" in refused("--split", "tset")
    assert "seconds is 0" in refused("--seconds", "0")
    assert "rounds is 0" in refused("--rounds", "0")
    assert "is not a run directory" in refused(run=tmp_path)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.json").write_bytes((navigation / "config.json").read_bytes())
    assert "there is no checkpoint in" in refused(run=unfinished)
    monkeypatch.setattr(registry, "checked", lambda benchmark: benchmark._replace(picture=None))
    assert "there is no picture of navigation" in refused()
    assert not (tmp_path / "film.webp").exists()


@pytest.fixture(scope="module")
def cheetah(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on MuJoCo whose training has not begun."""
    run = tmp_path_factory.mktemp("runs") / "cheetah"
    return begun(run, "half-cheetah-velocity", {"horizon": 3})


@pytest.mark.skipif(not any(map(opengl.works, ("egl", "osmesa"))), reason="there is no OpenGL here")
def test_robots_are_filmed(cheetah: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    out = tmp_path / "film.webp"
    assert main(["render", str(cheetah), "--task", '{"velocity": 1.5}', "--out", str(out)]) == 0
    with Image.open(out) as image:
        assert image.n_frames == 4  # type: ignore[attr-defined]


def test_where_nothing_can_be_drawn_nothing_is_lived(
    cheetah: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation, "record", None)
    monkeypatch.setattr(opengl, "works", lambda name: False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    command = ["render", str(cheetah), "--out", str(tmp_path / "film.webp")]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "neither EGL nor OSMesa" in line and "apt-get install libegl1 libgl1" in line and "libosmesa6" in line
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot work with MUJOCO_GL=osmesa here: it needs OSMesa, on Debian and Ubuntu apt-get install" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("said", "why"), [("bogus", "it may be egl, osmesa or glfw"), ("osmesa", "it needs OSMesa, ")])
def test_what_mujoco_is_told_to_draw_with_is_named(said: str, why: str, cheetah: Path, tmp_path: Path) -> None:
    """MuJoCo looks at MUJOCO_GL where it is imported, so also where nothing is drawn."""
    if opengl.works(said):
        pytest.skip(f"{said} works here")
    out = str(tmp_path / "out")
    commands = [
        ["train", "promp", "ant-goal", "--iterations", "1", "--out", out],
        ["train", "promp", "metaworld-ml1", "--iterations", "1", "--out", out],
        ["render", str(cheetah), "--out", f"{out}.webp"],
    ]
    code = f"from adaptax.cli import main; print([main(command) for command in {commands!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "MUJOCO_GL": said}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[2, 2, 2]"
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and all(f"MUJOCO_GL={said} here: {why}" in line for line in lines)
    assert not list(tmp_path.iterdir())


def test_the_help_says_what_a_task_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "--help"]) == 0
    assert json.dumps({"goal": [0.3, -0.2]}) in " ".join(capsys.readouterr().out.split())
