"""What does not fit into memory is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

import adaptax
from adaptax.buffers import size_of
from adaptax.run import evaluate, room
from adaptax.types import UserError

PEARL = {"tasks": 2, "capacity": 1000, "context": 20}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 48 MiB, where one seed's rings and networks fit twice, and those of 40 do not."""
    monkeypatch.setattr(room, "machine_memory", lambda: 48 * 2**20)


@pytest.mark.usefixtures("small")
def test_every_seed_counts_and_no_directory_is_left(tmp_path: Path) -> None:
    given = {"hyperparameters": PEARL, "iterations": 1, "out": tmp_path / "run"}
    with pytest.raises(UserError, match=r"training keeps .* GiB for 40 seeds and needs .* train fewer seeds at once"):
        adaptax.train("pearl", "sparse-navigation", seeds=40, **given)
    with pytest.raises(UserError, match="the machine has 0.0: lower the capacity of the buffers"):
        adaptax.train("pearl", "sparse-navigation", **{**given, "hyperparameters": {**PEARL, "capacity": 20_000}})
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("small")
def test_what_an_agent_keeps_of_every_task_counts() -> None:
    benchmark = adaptax.benchmark("navigation")
    algorithm = adaptax.algorithm("multitask-sac", benchmark, fine_tuning_capacity=50_000, capacity=10_000)
    params = algorithm.init(adaptax.run.train.root_keys(0, 1)).params
    own = 4 * (2 + 2 + 1 + 1 + 2) * 50_000
    assert size_of(algorithm.begin(params, adaptax.run.train.root_keys(0, 1), 0).own) == own + 4
    protocol = evaluate.Protocol(tasks=40)
    with pytest.raises(UserError, match=r"of 40 tasks that are lived on at once needs 0.1 GiB and the machine has 0.0"):
        evaluate.evaluate(algorithm, benchmark, benchmark.test, params, protocol)
