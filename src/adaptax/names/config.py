"""Run directories: what is trained, its `config.json`, and training into it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..run import train as trainer
from ..run.train import Settings
from ..run.workers.processes import in_worker
from ..types import Algorithm, Benchmark, UserError
from . import registry
from .provenance import command, git_revision, versions, write_whole

SCHEMA = 1


class Named(NamedTuple):
    """A benchmark and the name and settings that make it again; `name` is None for a user's own value."""

    value: Benchmark
    name: str | None
    settings: Mapping[str, Any]


def name_benchmark(benchmark: str | Benchmark, settings: Mapping[str, Any]) -> Named:
    """A benchmark with its name and all its settings, the defaults included."""
    if not isinstance(benchmark, str):
        if settings:
            raise UserError("settings go with a benchmark's name; this benchmark is a value already")
        return Named(benchmark, None, {})
    value = registry.make_benchmark(benchmark, settings)
    signature = inspect.signature(registry.benchmark_entry(benchmark).load())
    full = {name: settings.get(name, p.default) for name, p in signature.parameters.items()}
    return Named(value, benchmark, full)


def name_algorithm(algorithm: str | Algorithm, on: Named, hyperparameters: Mapping[str, Any]) -> Algorithm:
    if not isinstance(algorithm, str):
        if hyperparameters:
            raise UserError("hyperparameters go with an algorithm's name; this algorithm is a value already")
        return algorithm
    return registry.make_algorithm(algorithm, on.name, on.value.spec, hyperparameters)


def run(
    algorithm: Algorithm, name: str | None, on: Named, settings: Settings, directory: Path, *, resume: bool
) -> trainer.Result:
    """Train into a run directory: `config.json` first, then metrics and checkpoints."""
    if in_worker():
        raise UserError(
            "this program is being imported by a worker process of the training that it began: put what it does under "
            '`if __name__ == "__main__":`'
        )
    path = directory / "config.json"
    before = read_config(directory) if resume else None
    if before and not settings.log_every:
        # A two-hundredth of more iterations would be another number.
        settings = replace(settings, log_every=before["log_every"])
    if before and settings.workers is None:
        # Another number of workers would draw other tasks.
        settings = replace(settings, workers=before.get("workers", 0), ray=settings.ray or before.get("ray", ""))
    config = make_config(algorithm, name, on, settings)
    if before:
        _check_same(before, config, directory)
    elif directory.exists() and any(directory.iterdir()):
        raise UserError(f"{directory} exists already; give --resume to go on with it, or another --out")
    trainer.check(algorithm, on.value, settings)
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
    make = partial(_make, algorithm, on if on.name is None else on._replace(value=None))
    return trainer.train(algorithm, on.value, settings, directory, resume=resume, make=make)


def _make(algorithm: Algorithm, on: Named) -> tuple[Algorithm, Benchmark]:
    """The algorithm and the benchmark in a worker: a benchmark with a name is made anew, one of the user's a copy."""
    return algorithm, on.value if on.name is None else registry.make_benchmark(on.name, on.settings)


def make_config(algorithm: Algorithm, name: str | None, on: Named, settings: Settings) -> dict[str, Any]:
    """What `config.json` says: enough to make the run again."""
    hyperparameters = {f.name: getattr(algorithm, f.name) for f in fields(algorithm) if f.name != "spec"}  # type: ignore[arg-type]
    return {
        "schema": SCHEMA,
        "algorithm": name or type(algorithm).__name__,
        "algorithm_is_named": name is not None,
        "benchmark": on.name or type(on.value.environment).__name__,
        "benchmark_is_named": on.name is not None,
        "benchmark_settings": dict(on.settings),
        "hyperparameters": _plain(hyperparameters),
        "seed": settings.seed,
        "seeds": settings.seeds,
        "iterations": settings.iterations,
        "log_every": settings.row,
        "devices": settings.devices,
        "workers": settings.workers or 0,
        "ray": settings.ray,
        "environment_steps_per_iteration": algorithm.plan.environment_steps,
        "versions": versions(),
        "git": git_revision(),
        "command": command(),
    }


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], directory: Path) -> None:
    before = {"workers": 0, **before}
    for name in ("algorithm", "benchmark", "benchmark_settings", "seed", "seeds", "log_every", "workers"):
        if before[name] != now[name]:
            raise UserError(f"{directory} was begun with {name} {before[name]!r}, not {now[name]!r}; use another --out")
    for name, value in now["hyperparameters"].items():
        if before["hyperparameters"].get(name) != value:
            was = before["hyperparameters"].get(name)
            raise UserError(f"{directory} was begun with {name} {was!r}, not {value!r}; use another --out")


def read_config(directory: str | Path) -> dict[str, Any]:
    """A run directory's `config.json`."""
    path = Path(directory) / "config.json"
    if not path.exists():
        raise UserError(f"{directory} is not a run directory: it has no config.json")
    try:
        config = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if config.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {config.get('schema')}, which this version of adaptax does not read")
    return config


def restore_algorithm(config: Mapping[str, Any], on: Benchmark) -> Algorithm:
    entry = registry.algorithm_entry(config["algorithm"])
    listed = {k: tuple(v) if isinstance(v, list) else v for k, v in config["hyperparameters"].items()}
    hyperparameters = {k: v for k, v in listed.items() if k not in entry.fixed}
    return registry.make_algorithm(config["algorithm"], None, on.spec, hyperparameters)
