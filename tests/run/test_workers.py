"""Workers collect what this process would, whatever happens to them on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run.fragile import Fragile, fragile, learner, make

import adaptax
from adaptax import UserError
from adaptax.cli import main
from adaptax.names import config as runs
from adaptax.run import checkpoint
from adaptax.run.iterate import begin
from adaptax.run.source import living
from adaptax.run.train import Settings, root_keys, train
from adaptax.run.workers.processes import Processes, in_worker
from adaptax.run.workers.slices import Collected, Ended, Failed, Worker, gather, pack, slice_collector

COUNT = 2


class Request:
    """What two workers are asked for, and what this process collects of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, []
        algorithm, on = make(folder)
        params, key = algorithm.init(jax.random.key(7)).params, jax.random.key(3)
        self.bytes = pickle.dumps(jax.device_get((jax.tree.leaves(params), jax.random.key_data(key))))
        run = jax.jit(slice_collector(algorithm, on, COUNT))
        self.slices = [jax.device_get(bare(run(params, key, jnp.int32(number)))) for number in range(COUNT)]

    def check(self, leaves: list[np.ndarray]) -> None:
        for found, *parts in zip(leaves, *self.slices, strict=True):
            np.testing.assert_array_equal(found, np.concatenate(parts))


def bare(trials: Any) -> list[Any]:
    typed = jax.dtypes.prng_key
    return [
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, typed) else leaf for leaf in jax.tree.leaves(trials)
    ]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Request:
    return Request(tmp_path_factory.mktemp("fragile"))


@pytest.fixture(scope="module")
def processes(asked: Request) -> Iterator[Processes]:
    begun = Processes(pack(partial(make, asked.folder), COUNT), COUNT)
    yield begun
    pids = [one.process.pid for one in begun._begun.values()]
    begun.close()
    assert not [one for one in multiprocessing.active_children() if one.name.startswith("adaptax")]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_two_workers_collect_the_two_slices(asked: Request, processes: Processes) -> None:
    before = {name: os.environ.get(name) for name in ("JAX_PLATFORMS", "OMP_NUM_THREADS")}
    for _ in range(2):
        leaves = gather(processes, asked.bytes, asked.said.append)
        asked.check(leaves)
    assert not asked.said and not in_worker()
    assert before == {name: os.environ.get(name) for name in before}
    assert all((a != b).any() for a, b in zip(*asked.slices, strict=True) if a.dtype == np.uint32)  # no common key


def test_a_slice_of_a_worker_that_is_killed_is_collected_again(asked: Request, processes: Processes) -> None:
    (asked.folder / "kill").touch()
    asked.check(gather(processes, asked.bytes, asked.said.append))
    assert not (asked.folder / "kill").exists()
    (said,) = asked.said
    assert "of 2 was killed by signal 9 (SIGKILL): its slice is collected again" in said
    asked.said.clear()
    (asked.folder / "exit").touch()
    asked.check(gather(processes, asked.bytes, asked.said.append))
    (said,) = asked.said
    assert "of 2 ended with exit code 7: its slice is collected again" in said
    asked.said.clear()


def test_a_failure_in_a_worker_arrives_as_a_sentence(asked: Request, processes: Processes) -> None:
    (asked.folder / "fail").touch()
    expected = r"counter failed in step 3 of an episode on task {} of the batch .*RuntimeError: the gearbox is gone"
    try:
        with pytest.raises(UserError, match=expected.format(0)):
            gather(processes, asked.bytes, asked.said.append)
        processes.ask(1, asked.bytes)
        _, reply = processes.answer([1])
        assert isinstance(reply, Failed)
        assert re.match(expected.format(2), reply.sentence)  # the first one of the second slice, of two tasks each
    finally:
        (asked.folder / "fail").unlink()


class Scripted:
    """Workers whose deaths are written down: of slice 0, and of slice 1."""

    def __init__(self, *deaths: int) -> None:
        self.count, self.deaths, self.asked = len(deaths), list(deaths), [0] * len(deaths)

    def ask(self, number: int, request: bytes) -> None:
        self.asked[number] += 1

    def answer(self, waiting: Collection[int]) -> tuple[int, Any]:
        number = max(waiting)
        if self.asked[number] <= self.deaths[number]:
            return number, Ended("was killed by signal 9 (SIGKILL)")
        return number, Collected([np.full((2, 3), number)])

    def close(self) -> None: ...


def test_the_third_death_in_a_row_is_the_last() -> None:
    said: list[str] = []
    (leaf,) = gather(Scripted(2, 1), b"", said.append)
    np.testing.assert_array_equal(leaf[:, 0], [0, 0, 1, 1])
    assert len(said) == 3
    with pytest.raises(UserError, match=r"^worker 1 of 2 was killed by signal 9 \(SIGKILL\), 3 times in a row$"):
        gather(Scripted(3, 0), b"", said.append)


def test_a_worker_says_what_it_cannot_make() -> None:
    def unable() -> Any:
        raise ModuleNotFoundError("No module named 'robots'")

    reply = Worker(pack(unable, 1), 0).answer(b"")
    assert reply == Failed("a worker failed: ModuleNotFoundError: No module named 'robots'")
    lock = threading.Lock()
    with pytest.raises(UserError, match="cannot be pickled"):
        pack(lambda: lock, 1)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"workers": 3}, "tasks is 4, which 3 workers cannot share equally; use a multiple"),
        ({"workers": 2, "seeds": 2}, "leave out seeds and devices, or workers"),
        ({"ray": "local"}, "say with workers how many slices the Ray cluster at local shall collect"),
        ({"workers": -1}, "workers is -1"),
    ],
)
def test_what_workers_cannot_do_is_refused(tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    on = adaptax.benchmark("bandit", arms=3, pulls=4)
    algorithm = adaptax.algorithm("rl2", on, tasks=4, minibatches=2)
    with pytest.raises(UserError, match=sentence):
        train(algorithm, on, Settings(1, quiet=True, **settings), tmp_path, resume=False)


def test_a_resumed_run_has_as_many_workers_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Settings] = []

    def stopped(algorithm: Any, benchmark: Any, settings: Settings, *_: Any, **__: Any) -> Any:
        trained.append(settings)
        return runs.trainer.Result(None, 0, stopped=True)

    monkeypatch.setattr(runs.trainer, "train", stopped)
    monkeypatch.setattr(runs.trainer, "import_ray", lambda: None)

    def train_named(name: str, **settings: Any) -> tuple[int | None, str]:
        with pytest.raises(KeyboardInterrupt):
            adaptax.train("rl2", "bandit", out=tmp_path / name, iterations=2, **settings)
        recorded = runs.read_config(tmp_path / name)
        assert recorded.workers == trained[-1].workers or trained[-1].workers is None
        return trained[-1].workers, trained[-1].ray

    assert train_named("two", workers=2, ray="local") == (2, "local")
    assert train_named("two", resume=True) == (2, "local")
    assert train_named("two", resume=True, ray="auto") == (2, "auto")
    assert train_named("two", resume=True, workers=2) == (2, "")
    with pytest.raises(UserError, match="two was begun with workers 2, not 4; use another --out"):
        adaptax.train("rl2", "bandit", out=tmp_path / "two", resume=True, workers=4)
    train_named("none")
    assert train_named("none", resume=True) == (0, "")
    with pytest.raises(UserError, match="none was begun with workers 0, not 2"):
        adaptax.train("rl2", "bandit", out=tmp_path / "none", resume=True, workers=2)

    again = ["train", "--resume", "--quiet", "--out", str(tmp_path / "two")]
    assert main(again) == 130 and trained[-1].workers == 2
    assert main([*again, "--workers", "0"]) == 2
    assert "two was begun with workers 2, not 0" in capsys.readouterr().err


def test_lives_that_go_on_are_refused(tmp_path: Path) -> None:
    class Lasting:
        def __init__(self, algorithm: Any) -> None:
            self.plan = algorithm.plan._replace(lifetime=2 * algorithm.plan.rounds)

    on = adaptax.benchmark("bandit", arms=3, pulls=4)
    lasting: Any = Lasting(adaptax.algorithm("rl2", on, tasks=4, minibatches=2))
    with pytest.raises(UserError, match="a lifetime of 2 rounds outlasts the 1 of an iteration, and workers keep"):
        train(lasting, on, Settings(1, quiet=True, workers=2), tmp_path, resume=False)


def test_a_program_without_a_guard_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTAX_WORKER", "1")
    with pytest.raises(UserError, match='under `if __name__ == "__main__":`'):
        adaptax.train("rl2", "bandit", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_copies_of_environments_are_new(tmp_path: Path) -> None:
    """A benchmark of the user's own can be sent to workers, also after it was used."""
    on = fragile(tmp_path)
    on.environment._pools[(1, 1)] = object()
    copy = pickle.loads(pack(lambda: on, 1))[0]()  # type: ignore[arg-type, return-value]
    assert copy.environment._pools == {} and copy.spec == on.spec
    assert isinstance(copy.environment.make().unwrapped, Fragile)


def finish(folder: Path, out: Path, iterations: int, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Train with two workers; the last progress, and the rows of metrics without times."""
    on = fragile(folder)
    algorithm = learner(on)
    chosen = Settings(iterations, seed=1, log_every=1, workers=COUNT, quiet=True)
    train(algorithm, on, replace(chosen, **settings), out, resume=out.exists(), make=partial(make, folder))
    template = jax.eval_shape(lambda root: begin(algorithm, living(algorithm, on), root), root_keys(1, 1))
    rows = [json.loads(row) for row in (out / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds", "steps_per_second")
    kept = [{name: value for name, value in row.items() if name not in timed} for row in rows]
    return checkpoint.restore(out / "checkpoints", template)[0], kept


@pytest.mark.slow
def test_a_resumed_run_and_a_disturbed_one_equal_a_quiet_one(tmp_path: Path) -> None:
    whole, rows = finish(tmp_path, tmp_path / "whole", 6)
    finish(tmp_path, tmp_path / "pieces", 3)
    (tmp_path / "kill").touch()
    pieces, same = finish(tmp_path, tmp_path / "pieces", 6)
    assert not (tmp_path / "kill").exists()
    assert len(rows) == 6 and rows == same
    jax.tree.map(np.testing.assert_array_equal, whole, pieces)
    (tmp_path / "poison").touch()
    sentence = r"worker \d of 2 was killed .*, 3 times in a row: training stopped, and the checkpoint of iteration 6"
    with pytest.raises(UserError, match=sentence):
        finish(tmp_path, tmp_path / "pieces", 7)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_benchmark_of_ones_own_goes_to_the_workers(tmp_path: Path) -> None:
    on = fragile(tmp_path)
    found = adaptax.train(learner(on), on, out=tmp_path / "run", iterations=2, workers=2)
    assert found.iteration == 2 and runs.read_config(tmp_path / "run").workers == 2


@pytest.mark.slow
def test_workers_stop_with_the_learner(tmp_path: Path) -> None:
    """Ctrl-C to all processes ends in a checkpoint; a learner that is killed leaves nobody behind."""
    words = ["train", "rl2", "cart-pole", "--tasks", "4", "--hidden", "4", "--minibatches", "2", "--workers", "2"]
    words += ["--log-every", "1", "--iterations", "1000000", "--out"]
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ADAPTAX_CACHE": ""}
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        run = tmp_path / number.name
        process = subprocess.Popen(
            [sys.executable, "-m", "adaptax", *words, str(run), "--quiet"], env=surroundings, start_new_session=True
        )
        try:
            wait_until(lambda p=process, r=run: p.poll() is not None or (r / "metrics.jsonl").exists() and rows(r) > 1)
            children = [int(pid) for pid in children_of(process.pid)]
            assert len([pid for pid in children if b"spawn_main" in command_of(pid)]) == 2
            send = os.killpg if number == signal.SIGINT else os.kill
            send(process.pid, number)
            assert process.wait(timeout=100) == code
        finally:
            process.kill()
        wait_until(lambda c=children: not any(b"spawn_main" in command_of(pid) for pid in c))


def rows(run: Path) -> int:
    return len((run / "metrics.jsonl").read_text().splitlines())


def wait_until(true: Any) -> None:
    until = time.monotonic() + 300
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def command_of(pid: int) -> bytes:
    """The command line of a process; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
def test_actors_of_a_cluster_collect_the_same(asked: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when one is killed in the middle of its slice."""
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # where the actors find run.fragile
    from adaptax.run.workers.actors import Actors

    actors = Actors("local", pack(partial(make, asked.folder), COUNT), COUNT)
    try:
        asked.check(gather(actors, asked.bytes, asked.said.append))
        (asked.folder / "kill").touch()
        asked.check(gather(actors, asked.bytes, asked.said.append))
        (said,) = asked.said
        assert "died (ActorDiedError" in said
    finally:
        asked.said.clear()
        actors.close()


def test_a_cluster_without_ray_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    on = adaptax.benchmark("bandit", arms=3, pulls=4)
    algorithm = adaptax.algorithm("rl2", on, tasks=4, minibatches=2)
    with pytest.raises(UserError, match=r"pip install 'adaptax\[ray\]'$"):
        adaptax.train(algorithm, on, out=tmp_path / "run", iterations=1, workers=2, ray="local")
    assert not (tmp_path / "run").exists()
