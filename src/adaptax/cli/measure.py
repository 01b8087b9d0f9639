"""`adaptax bench`: how fast the parts of a meta-iteration run here."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import tyro

from ..names import config as runs
from ..names import provenance
from ..report.tables import Table, amount, number, plain
from ..run.bench import bench
from .options import leading_names, parse
from .train import use_devices


class Job(NamedTuple):
    """A named measurement of `adaptax bench` without arguments."""

    title: str
    algorithm: str
    benchmark: str
    settings: dict[str, Any]
    hyperparameters: dict[str, Any]
    devices: int


JOBS = [
    Job(
        "MAML, policy-gradient outer step, 2-D navigation, 20 tasks × 20 trajectories × 100 steps × 2 rounds, 2×100",
        "maml",
        "navigation",
        {},
        {"tasks": 20, "streams": 20, "hidden": (100, 100)},
        2,
    ),
    Job(
        "MAML, TRPO outer step, 2-D navigation, 20 tasks × 20 trajectories × 100 steps × 2 rounds, 2×100",
        "maml-trpo",
        "navigation",
        {},
        {"tasks": 20, "streams": 20, "hidden": (100, 100), "step_size": 0.5},
        2,
    ),
    Job(
        "RL² with PPO, GRU 128, 10 arms, 100 pulls, 256 streams, 4 epochs × 4 minibatches",
        "rl2",
        "bandit",
        {"arms": 10, "pulls": 100},
        {"tasks": 256, "hidden": 128, "epochs": 4, "minibatches": 4},
        2,
    ),
    Job(
        "VariBAD, GridNavi, 16 trials × 60 steps, PPO 2 × 4, 3 model updates on 25 trials with all 61 × 60 terms",
        "varibad",
        "gridnavi",
        {"goals": "paper"},
        {"tasks": 16, "policy_hidden": (32,), "normalize": False},
        1,
    ),
    Job(
        "PEARL, sparse point robot, 10 gradient steps on 16 × 256 transitions and contexts of 16 × 1 000, 3×300",
        "pearl",
        "sparse-navigation",
        {"goals": "paper"},
        {
            "gradient_steps": 10,
            "batch": 256,
            "context": 1000,
            "context_rounds": None,
            "latent": 5,
            "hidden": (300, 300, 300),
            "encoder_hidden": (200, 200, 200),
        },
        2,
    ),
]


@dataclass(frozen=True)
class BenchOptions:
    """Environment steps per second of collection, update and both: medians without compilation.

    Beside them stands the floor set by this machine's matrix-product rate.

    `adaptax bench rl2 bandit` measures one pair and takes its settings; without names, the standard jobs run.
    """

    json: bool = False
    """Print JSON, for programs."""
    repetitions: int = 9
    """Repetitions of each measurement."""
    devices: int = 1
    """Spread the tasks over this many devices (the standard jobs have their own number)."""


def bench_command(words: list[str]) -> int:
    names, rest = leading_names(words, "bench")
    if names is None:
        options = tyro.cli(
            BenchOptions,
            args=rest,
            prog="adaptax bench",
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        jobs = JOBS
    else:
        options, hyperparameters, settings = parse("bench", names, rest, BenchOptions())
        jobs = [Job(f"{names[0]} on {names[1]}", *names, settings, hyperparameters, options.devices)]
    use_devices(max(job.devices for job in jobs))
    results = [_measure(job, options) for job in jobs]
    if options.json:
        print(json.dumps({"results": results, "versions": provenance.versions()}, indent=2, ensure_ascii=False))
    return 0


def _measure(job: Job, options: BenchOptions) -> dict[str, Any]:
    """Run one job; unless JSON is wanted at the end, print its table as soon as it is there."""
    on = runs.name_benchmark(job.benchmark, job.settings)
    algorithm = runs.name_algorithm(job.algorithm, on, job.hyperparameters)
    if not options.json:
        print(f"{job.title}: measuring …", file=sys.stderr, flush=True)
    numbers = bench(algorithm, on.value, options.repetitions, job.devices)
    if not options.json:
        print(f"\n{_table(numbers)}\n")
    return {**job._asdict(), **numbers}


def _table(numbers: dict[str, float]) -> str:
    rows = [
        (name, amount(numbers[f"{key}_steps_per_second"]), number(1e3 * numbers[f"{key}_seconds"], digits=3))
        for name, key in (
            ("collection", "collection"),
            ("update", "update"),
            ("whole meta-iteration", "iteration"),
            ("floor: its matrix products alone", "floor"),
        )
    ]
    ratio, rate, seconds = (
        number(numbers[name], digits=3) for name in ("times_floor", "product_rate_gflops", "compile_seconds")
    )
    steps, devices = amount(numbers["environment_steps"]), numbers["devices"]
    facts = [
        f"{ratio} times the floor, with matrix products at {rate} Gflop/s",
        f"{steps} environment steps per meta-iteration on {devices} device{'s' if devices > 1 else ''}",
        f"compiled in {seconds} s",
    ]
    return "\n".join([plain(Table(("", "environment steps/s", "ms"), tuple(rows))), "", *facts])
