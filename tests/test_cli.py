"""The command line as a user meets it: what it prints, what it writes, its exit codes and its complaints."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
import safetensors.numpy

from adaptax import Benchmark, Spec, TaskSet, api, cli
from adaptax.cli import main
from adaptax.cli.options import field_texts, parse
from adaptax.cli.train import TrainOptions
from adaptax.names import evaluation, registry
from adaptax.strategies.random_actions import RandomActions

BANDIT = ["train", "rl2", "bandit", "--benchmark.arms", "5", "--benchmark.pulls", "10"]
TINY_RL2 = ["--tasks", "4", "--hidden", "4", "--epochs", "1", "--minibatches", "1"]
NAVIGATION = ["train", "maml", "navigation", "--benchmark.horizon", "10"]
TINY_MAML = ["--hidden", "8", "--tasks", "2", "--streams", "2"]
KEEP_COMPILED = cli._keep_compiled
ADAPTAX = [sys.executable, "-m", "adaptax"]
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """A note of each time that a command would keep its compiled programs: in this process the tests keep theirs."""
    asked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPTAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(cli, "_keep_compiled", lambda: asked.append(1))
        # The eight strategies would take longer to compile than all else here.
        patch.setattr(
            evaluation, "strategies_of", lambda on: {"random": RandomActions, on.best: on.references[on.best]}
        )
        yield asked


@pytest.fixture(scope="module")
def bandit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four iterations, with its evaluation. Copy it before changing it."""
    directory = tmp_path_factory.mktemp("runs") / "bandit"
    assert main([*BANDIT, *TINY_RL2, "--iterations", "4", "--out", str(directory), "--quiet"]) == 0
    return directory


@pytest.fixture
def copy(bandit: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bandit, tmp_path / "copy"))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line with which a command is refused."""
    capsys.readouterr()
    assert main(words) == 2
    printed = capsys.readouterr()
    line = printed.err.splitlines()[-1]
    assert line.startswith("adaptax: ")
    assert "Traceback" not in printed.err
    return line


def final_state(directory: Path) -> dict[str, np.ndarray]:
    newest = max((directory / "checkpoints").glob("checkpoint-*.safetensors"))
    return {"file": np.asarray(newest.name), **safetensors.numpy.load_file(newest)}


def rows_of(directory: Path) -> list[dict[str, Any]]:
    """The whole rows of a log, also of one that is being written."""
    path = directory / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def assert_same(one: Path, other: Path) -> None:
    expected, found = final_state(one), final_state(other)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True, err_msg=name)


# --- what it shows ---


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(
        f"adaptax {name}" in text for name in ("list", "train", "evaluate", "report", "adapt", "render", "bench")
    )
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("adaptax ")
    assert main([]) == 2


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert set(names) == {"algorithms", "benchmarks", "networks"}
    assert {"rl2", "maml", "fomaml"} <= set(names["algorithms"])
    assert all(line for lines in names.values() for line in lines.values())
    assert main(["list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    for name in ("rl2", "bandit", "gru"):
        assert len([line for line in printed if line.split()[:1] == [name]]) == 1


def test_list_what_is_known_of_a_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "gridnavi", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert set(known["splits"]) == {"train", "validation", "test", "paper"} and known["splits"]["paper"] == "21 tasks"
    assert set(known["references"]) >= {"random", "bayes-optimal", "known-goal"}
    assert [name for name, line in known["references"].items() if "[best reference]" in line] == ["known-goal"]
    assert main(["list", "gridnavy"]) == 2


@pytest.mark.parametrize("command", ["list", "train", "evaluate", "report", "adapt", "render", "bench"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: adaptax {command}" in capsys.readouterr().out


def test_help_of_a_pair(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["train", "rl2", "bandit", "--help"]) == 0
    text = capsys.readouterr().out
    for part in ("--learning-rate FLOAT", "Adam's step size. (default: 0.003)", "--benchmark.arms INT", "--resume"):
        assert part in text
    assert "--spec" not in text
    assert main(["train", "fomaml", "gridnavi", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--benchmark.goals {held-out,paper}" in text
    assert "--first-order" not in text, "the name fixes it"
    assert "--algorithm.steps {None}|INT" in text, "--steps is the command's"


def test_none_leaves_a_setting_out() -> None:
    def decay(*words: str) -> int | None:
        return parse("train", ("rl2", "bandit"), words, TrainOptions()).hyperparameters["decay"]

    assert (decay(), decay("--decay", "7"), decay("--decay", "None")) == (600, 7, None)


def test_texts_of_fields() -> None:
    texts = field_texts(registry.algorithm_entry("rl2").load())
    assert texts["discount"] == "γ, over the whole trial."
    assert field_texts(int) == {}


# --- a run from its training to its report ---


def test_bandit_from_training_to_report(bandit: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((bandit / "config.json").read_text())
    assert config["benchmark_settings"] == {"arms": 5, "pulls": 10}
    assert (config["hyperparameters"]["hidden"], config["iterations"]) == (4, 4)
    assert (config["schema"], config["hyperparameters"]["episodes"]) == (2, None)
    assert (bandit / "evaluation-test.json").exists()

    assert main(["evaluate", str(copy), "--split", "validation", "--no-references"]) == 0
    printed = capsys.readouterr().out
    assert "1000 validation tasks of bandit (arms 5, pulls 10)" in printed and "total per trial" in printed
    result = json.loads((copy / "evaluation-validation.json").read_text())
    assert (result["tasks"], result["references"]) == (1000, [])

    assert main(["report", str(copy)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert paths[0].name == "report.md" and all(path.is_file() for path in paths)

    task = json.dumps({"probabilities": [0.1, 0.2, 0.3, 0.4, 0.5]})
    assert main(["adapt", str(copy), "--task", task, "--lifetimes", "1000"]) == 0
    printed = capsys.readouterr()
    assert "episode 10" in printed.out and "total per trial" in printed.out
    assert printed.err == ""


def test_navigation_from_training_to_adaptation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*NAVIGATION, *TINY_MAML, "--steps", "81"]) == 0
    printed = capsys.readouterr()
    run = Path("runs/maml-navigation-horizon10-seed0")
    assert json.loads((run / "config.json").read_text())["iterations"] == 2, "80 steps each, rounded up"
    assert "iteration 2/2" in printed.err
    for split in ("test", "published"):
        assert f"40 {split} tasks of navigation" in printed.out
        assert (run / f"evaluation-{split}.json").exists()
    assert "after 3" in printed.out and "MAML paper" not in printed.out, "published for 100 steps, not for 10"

    goal = ["--task", '{"goal": [3, -0.2]}', "--lifetimes", "40"]
    assert main(["adapt", str(run), *goal]) == 0
    printed = capsys.readouterr()
    assert "before adaptation" in printed.out and "after 3" in printed.out
    assert "goal is outside what training tasks have, about -0.5 to 0.5" in printed.err


def test_several_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    words = ["--seeds", "2", "--seed", "3", "--iterations", "1", "--no-evaluation", "--out", out]
    assert main([*BANDIT, *TINY_RL2, *words]) == 0
    assert "2 seeds" in capsys.readouterr().err
    assert main(["evaluate", out, "--no-references", "--deterministic"]) == 0
    assert "episode return, most likely actions on 1000 test tasks" in capsys.readouterr().out
    result = json.loads((tmp_path / "run" / "evaluation-test.json").read_text())
    assert result["seeds"] == [3, 4] and result["deterministic"]
    assert "seed is 2" in refused(capsys, "adapt", out, "--task", "{}", "--run-seed", "2")


def test_bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    names = ("iteration", "collection", "update", "floor")
    numbers = {f"{name}_{unit}": 0.25 for name in names for unit in ("seconds", "steps_per_second")}
    numbers |= dict(compile_seconds=1, product_rate_gflops=90, times_floor=2.5, environment_steps=40, devices=1)

    def bench(algorithm: Any, benchmark: Any, repetitions: int, devices: int) -> dict[str, float]:
        measured.append((algorithm.plan.tasks, benchmark.spec.episodes, repetitions, devices))
        return numbers

    monkeypatch.setattr("adaptax.cli.measure.bench", bench)
    assert main(["bench", *BANDIT[1:], *TINY_RL2, "--repetitions", "2", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["iteration_seconds"] == 0.25
    assert (result["settings"], result["hyperparameters"]["hidden"]) == ({"arms": 5, "pulls": 10}, 4)
    assert main(["bench", *BANDIT[1:]]) == 0
    assert "2.50 times the floor" in capsys.readouterr().out
    assert measured == [(4, 10, 2, 1), (1024, 10, 9, 1)]


# --- stopping and going on ---


def test_resumed_equals_uninterrupted(bandit: Path, tmp_path: Path) -> None:
    words = [*BANDIT, *TINY_RL2, "--no-evaluation", "--quiet", "--out", str(tmp_path / "run")]
    assert main([*words, "--iterations", "2"]) == 0
    assert main([*words, "--iterations", "4", "--resume"]) == 0
    assert_same(bandit, tmp_path / "run")
    assert [row["iteration"] for row in rows_of(tmp_path / "run")] == [1, 2, 3, 4]


def test_config_supplies_what_is_left_out(bandit: Path, copy: Path) -> None:
    """Also when the run was killed before its first checkpoint."""
    shutil.rmtree(copy / "checkpoints")
    assert main(["train", "--resume", f"--out={copy}", "--no-evaluation", "--quiet"]) == 0
    assert_same(bandit, copy)


def test_interrupt(bandit: Path, tmp_path: Path) -> None:
    """Ctrl-C in a process of its own: exit code 130, and the command to go on with works."""
    run, complaints = tmp_path / "a run", tmp_path / "stderr"
    words = [*BANDIT, *TINY_RL2, "--iterations", "1000000", "--log-every", "1", "--no-evaluation", "--out", str(run)]
    with complaints.open("w") as file:
        process = subprocess.Popen([*ADAPTAX, *words], env={**os.environ, **ENVIRONMENT}, stderr=file)
    try:
        until = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < until and not rows_of(run):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130, complaints.read_text()
    finally:
        process.kill()
    stopped, again = complaints.read_text().splitlines()[-2:]
    done = rows_of(run)[-1]["iteration"]
    assert f"stopped at iteration {done};" in stopped
    assert shlex.split(again.removeprefix("go on with: ")) == ["adaptax", *words, "--resume"]
    more = ["--iterations", str(done + 1), "--no-evaluation", "--quiet"]
    assert main(["train", "--resume", "--out", str(run), *more]) == 0
    assert int(final_state(run)[".state.iteration"]) == done + 1


def test_devices_are_made(tmp_path: Path) -> None:
    """As many as asked for, in a process of its own, since JAX makes them when it starts."""
    words = [*BANDIT, *TINY_RL2, "--devices", "3", "--out", str(tmp_path / "run"), "--quiet"]
    found = subprocess.run(
        [*ADAPTAX, *words], env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "adaptax: tasks is 4, which 3 devices cannot share equally; use a multiple\n"


# --- bad input ---


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("trian rl2 bandit", ["'trian'", "did you mean train?"]),
        ("train", ["ALGORITHM BENCHMARK"]),
        ("train --seed 3 rl2 bandit", ["ALGORITHM BENCHMARK"]),
        ("train rl2", ["BENCHMARK"]),
        ("train rl3 bandit", ["algorithm 'rl3'", "rl2"]),
        ("train rl2 bandits", ["benchmark 'bandits'", "bandit"]),
        ("bench rl2 navigatoin", ["benchmark 'navigatoin'", "navigation"]),
        ("train rl2 bandit --network grru", ["network", "'grru'", "gru"]),
        ("train rl2 bandit --learning-rate -1", ["learning-rate is -1.0", "0 < learning-rate"]),
        ("train rl2 bandit --discount 1.5", ["discount is 1.5", "0 ≤ discount ≤ 1"]),
        ("train rl2 bandit --decay 0", ["decay is 0", "1 ≤ decay"]),
        ("train maml bandit --algorithm.steps 0", ["steps is 0", "1 ≤ steps"]),
        ("train rl2 bandit --benchmark.arms 1", ["arms is 1", "2 ≤ arms"]),
        ("train rl2 bandit --iterations 0", ["iterations is 0", "1 ≤ iterations"]),
        ("train rl2 bandit --steps 0", ["steps is 0", "1 ≤ steps"]),
        ("train rl2 bandit --steps 10 --iterations 7", ["--steps", "--iterations"]),
        ("train rl2 bandit --resume --out nowhere", ["nowhere", "config.json"]),
        ("train --resume --out nowhere", ["nowhere", "config.json"]),
        ("bench rl2 bandit --repetitions 0", ["repetitions is 0", "1 ≤ repetitions"]),
        ("evaluate nowhere", ["nowhere", "config.json"]),
        ("adapt nowhere --task {}", ["nowhere", "config.json"]),
        ("report nowhere", ["nowhere"]),
        ("report", ["at least one"]),
    ],
)
def test_bad_words(
    words: str, parts: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, *words.split())
    assert all(part in line for part in parts), line
    assert not list(tmp_path.iterdir()), "nothing was begun"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("train rl2 bandit --lerning-rate 1", "--learning-rate"),
        ("train rl2 bandit --benchmark.arns 3", "--benchmark.arms"),
        ("train rl2 bandit --tasks many", "--tasks"),
        ("train rl2 gridnavi --benchmark.goals all", "held-out"),
        ("adapt somewhere", "--task"),
        ("evaluate somewhere --taks 3", "--tasks"),
    ],
)
def test_bad_flags(words: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert part in capsys.readouterr().err


def test_an_action_space_that_is_not_served(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
    spec = Spec(space, gymnasium.spaces.MultiBinary(3), horizon=1)
    tasks = TaskSet(np.zeros(1, np.float32))
    entry = SimpleNamespace(load=lambda: lambda: Benchmark(SimpleNamespace(spec=spec), tasks, tasks, tasks))
    monkeypatch.setattr(registry, "benchmark_entry", lambda name: entry)
    for algorithm in ("rl2", "maml"):
        assert "MultiBinary" in refused(capsys, "train", algorithm, "switches")


def test_what_the_evaluation_would_refuse_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "train multitask-sac navigation --fine-tuning-capacity 100 --streams 1 --iterations 1 --out"
    assert main([*words.split(), str(tmp_path / "run")]) == 2
    assert "fine-tuning-capacity is 100, and a round of this task has 2000 transitions" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    words = [*BANDIT, *TINY_RL2, "--out", str(copy)]
    assert "give --resume" in refused(capsys, *words)
    assert "hidden 4, not 5" in refused(capsys, *words, "--resume", "--hidden", "5")
    assert "'pulls': 10" in refused(capsys, *words, "--resume", "--benchmark.pulls", "11")
    assert "begun with seed 0, not 1" in refused(capsys, *words, "--resume", "--seed", "1")
    other = ["train", "maml", "bandit", "--resume", "--out", str(copy)]
    assert "begun with algorithm 'rl2', not 'maml'" in refused(capsys, *other)
    assert "4 iterations behind it" in refused(capsys, *words, "--resume", "--iterations", "3")
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def test_a_file_where_the_run_should_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert "file" in refused(capsys, *BANDIT, *TINY_RL2, "--out", str(tmp_path / "file"))


def test_a_damaged_checkpoint(tmp_path: Path, bandit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(bandit, tmp_path / "run"))
    (newest,) = (run / "checkpoints").glob("*.safetensors")
    blob = newest.read_bytes()
    newest.with_name("checkpoint-000005.safetensors").write_bytes(blob[:-3] + b"abc")
    for words in (["train", "--resume", "--iterations", "9", "--out"], ["evaluate"]):
        line = refused(capsys, *words, str(run))
        assert "checkpoint-000005.safetensors is damaged" in line
        assert "go on from checkpoint-000004.safetensors" in line


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        ("{goal: 1}", ["not valid JSON"]),
        ("[1, 2]", ["JSON object"]),
        ('{"goal": [0.1, 0.2]}', ["no field 'goal'", "probabilities [5]"]),
        ("{}", ["lacks the field 'probabilities'", "probabilities [5]"]),
        ('{"probabilities": [0.1, 0.2]}', ["shape [2]", "[5]"]),
        ('{"probabilities": [0.1, [0.2]]}', ["numbers"]),
        ('{"probabilities": ["a", 0, 0, 0, 0]}', ["numbers"]),
        ('{"probabilities": [NaN, 0, 0, 0, 0]}', ["finite"]),
    ],
)
def test_bad_tasks(bandit: Path, task: str, parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "adapt", str(bandit), "--task", task)
    assert all(part in line for part in parts), line


def test_bad_protocols(bandit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no split 'tset'" in refused(capsys, "evaluate", str(bandit), "--split", "tset")
    assert "tasks is -1" in refused(capsys, "evaluate", str(bandit), "--tasks", "-1")
    task = '{"probabilities": [0, 0, 0, 0, 1]}'
    assert "lifetimes is 0" in refused(capsys, "adapt", str(bandit), "--task", task, "--lifetimes", "0")


@pytest.mark.parametrize("place", ["somewhere", ""])
def test_compiled_programs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: list[int], bandit: Path, place: str
) -> None:
    assert kept  # by the command that made the run
    where = str(tmp_path / place) if place else ""
    monkeypatch.setenv("ADAPTAX_CACHE", where)
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in settings]
    KEEP_COMPILED()
    after = jax.config.jax_compilation_cache_dir
    for name, value in zip(settings, before, strict=True):
        jax.config.update(name, value)
    assert after == (where or before[0])


def test_a_task_field_with_a_default_may_be_left_out() -> None:
    for settings, expected in (({}, False), ({"dense": True}, True)):
        task = api.make_task(api.benchmark("sparse-navigation", **settings), {"goal": [0.0, 1.0]})
        assert bool(task.dense) == expected and task.dense.dtype == bool
    given = api.make_task(api.benchmark("sparse-navigation"), {"goal": [0.0, 1.0], "dense": True})
    assert bool(given.dense)


def test_an_interrupted_training_in_a_program_does_not_pass_for_a_whole_one(tmp_path: Path) -> None:
    """`adaptax.train` writes a checkpoint and raises; the same call with `resume` goes on."""
    small: dict[str, Any] = {
        "hyperparameters": {"tasks": 4, "hidden": 4, "minibatches": 1},
        "out": tmp_path / "run",
        "log_every": 10,
    }

    def interrupt() -> None:
        """As soon as something was learned, however long that takes to compile."""
        metrics = tmp_path / "run" / "metrics.jsonl"
        for _ in range(600):
            time.sleep(0.1)
            if metrics.exists() and metrics.stat().st_size:
                break
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        api.train("rl2", "bandit", iterations=10**7, **small)
    stopped = api.load(tmp_path / "run").iteration
    assert 0 < stopped < 10**7
    assert api.train("rl2", "bandit", iterations=stopped + 1, resume=True, **small).iteration == stopped + 1
    del small["log_every"]  # left open, it stays what it was
    assert api.train("rl2", "bandit", iterations=stopped + 2, resume=True, **small).iteration == stopped + 2
