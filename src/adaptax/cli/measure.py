"""`adaptax bench`: how fast the parts of a meta-iteration run here."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import tyro

from ..names import config as runs
from ..names import provenance
from ..report.tables import Table, amount, number, plain
from ..run.bench import JOBS, Job, bench
from .options import leading_names, parse
from .train import use_devices


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
