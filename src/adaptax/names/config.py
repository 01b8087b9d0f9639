"""Run directories: what is trained, its `config.json`, and training into it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_origin, get_type_hints

from ..run import train as trainer
from ..run.train import Settings
from ..run.workers.processes import in_worker
from ..types import Algorithm, Benchmark, UserError
from . import registry
from .provenance import command, git_revision, versions, write_whole

SCHEMA = 2  # 1: a hyper-parameter that is left out was 0, and now is None


@dataclass(frozen=True, kw_only=True)
class Config:
    """The configuration of a run: what its `config.json` holds, which is enough to make the run again."""

    algorithm: str
    """The registered name, or the type of a user's own value."""
    algorithm_is_named: bool = True
    benchmark: str
    """The registered name, or the type of the environment of a user's own value."""
    benchmark_is_named: bool = True
    benchmark_settings: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    """The first seed."""
    seeds: int = 1
    iterations: int = 0
    """Meta-iterations in all."""
    log_every: int = 1
    """Meta-iterations per row of metrics."""
    devices: int = 1
    workers: int = 0
    """Processes that collect; 0: the one that learns."""
    ray: str = ""
    """The address of the Ray cluster that runs the workers; empty: none."""
    environment_steps_per_iteration: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of what computed the numbers, by package."""
    git: str = ""
    command: str = ""


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
        return Named(registry.checked(benchmark), None, {})
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
    before = read_config(directory) if resume else None
    if before and settings.log_every is None:
        # A two-hundredth of more iterations would be another number.
        settings = replace(settings, log_every=before.log_every)
    if before and settings.workers is None:
        # Another number of workers would draw other tasks.
        settings = replace(settings, workers=before.workers, ray=settings.ray or before.ray)
    config = make_config(algorithm, name, on, settings)
    if before:
        check_same(before, config, directory, algorithm)
    elif directory.exists() and any(directory.iterdir()):
        raise UserError(f"{directory} exists already; give --resume to go on with it, or another --out")
    trainer.check(algorithm, on.value, settings)
    directory.mkdir(parents=True, exist_ok=True)
    write_config(directory, config)
    make = partial(_make, algorithm, on if on.name is None else on._replace(value=None))
    return trainer.train(algorithm, on.value, settings, directory, resume=resume, make=make)


def _make(algorithm: Algorithm, on: Named) -> tuple[Algorithm, Benchmark]:
    """The algorithm and the benchmark in a worker: a benchmark with a name is made anew, one of the user's a copy."""
    return algorithm, on.value if on.name is None else registry.make_benchmark(on.name, on.settings)


def make_config(algorithm: Algorithm, name: str | None, on: Named, settings: Settings) -> Config:
    """The configuration of a run that is about to begin."""
    hyperparameters = {f.name: getattr(algorithm, f.name) for f in fields(algorithm) if f.name != "spec"}  # type: ignore[arg-type]
    return Config(
        algorithm=name or type(algorithm).__name__,
        algorithm_is_named=name is not None,
        benchmark=on.name or type(on.value.environment).__name__,
        benchmark_is_named=on.name is not None,
        benchmark_settings=_as_read(on.settings),
        hyperparameters=_as_read(hyperparameters),
        seed=settings.seed,
        seeds=settings.seeds,
        iterations=settings.iterations,
        log_every=settings.row,
        devices=settings.devices,
        workers=settings.workers or 0,
        ray=settings.ray,
        environment_steps_per_iteration=algorithm.plan.environment_steps,
        versions=versions(),
        git=git_revision(),
        command=command(),
    )


def _as_read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a file gives them back, so that those of two runs can be compared."""
    return {name: _tuples(value) for name, value in json.loads(json.dumps(dict(values), default=str)).items()}


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def check_same(before: Config, now: Config, directory: Path, algorithm: Algorithm) -> None:
    """Raise a `UserError` unless a run may go on as `now` says. A field that came later had its default before."""
    for name in ("algorithm", "benchmark", "benchmark_settings", "seed", "seeds", "log_every", "workers"):
        was, value = getattr(before, name), getattr(now, name)
        if was != value:
            raise UserError(f"{directory} was begun with {name} {was!r}, not {value!r}; use another --out")
    defaults = {f.name: f.default for f in fields(algorithm) if f.default is not MISSING}  # type: ignore[arg-type]
    for name, value in now.hyperparameters.items():
        was = before.hyperparameters.get(name, defaults.get(name))
        if was != value:
            raise UserError(f"{directory} was begun with {name} {was!r}, not {value!r}; use another --out")


def write_config(directory: Path, config: Config) -> None:
    """Write `config.json` into a run directory."""
    text = json.dumps({"schema": SCHEMA, **asdict(config)}, indent=2, ensure_ascii=False) + "\n"
    write_whole(directory / "config.json", lambda file: file.write(text.encode()))


def read_config(directory: str | Path) -> Config:
    """The configuration of a run directory, from its `config.json`. Raises a `UserError` that names what is wrong with
    the file, or the version that reads it."""
    path = Path(directory) / "config.json"
    if not path.exists():
        raise UserError(f"{directory} is not a run directory: it has no config.json")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    schema = values.pop("schema", None)
    if schema not in (1, SCHEMA):
        raise UserError(
            f"{path} has schema {schema!r}, which this version of adaptax does not read; {_written_by(values)}"
        )
    values = _of_older_versions(values, schema)
    kinds = get_type_hints(Config)
    for name in [*kinds, *values]:
        if name not in values:
            raise UserError(f"{path} is damaged: it lacks {name!r}")
        if name not in kinds:
            raise UserError(f"{path} has {name!r}, which this version of adaptax does not know; {_written_by(values)}")
        kind = get_origin(kinds[name]) or kinds[name]
        if not isinstance(values[name], kind) or (kind is int and isinstance(values[name], bool)):
            raise UserError(f"{path} is damaged: {name} is {values[name]!r}; it must be {_KINDS[kind]}")
    listed = {name: _as_read(values[name]) for name in ("benchmark_settings", "hyperparameters")}
    return Config(**{**values, **listed})


_KINDS = {str: "a string", bool: "true or false", int: "a whole number", Mapping: "an object"}


def _of_older_versions(values: Mapping[str, Any], schema: int) -> dict[str, Any]:
    """What an older version wrote into a file, in the words of today."""
    values = {"workers": 0, "ray": "", **values}  # the first runs had no workers
    written = values.get("hyperparameters")
    if schema == 1 and isinstance(written, Mapping) and values.get("algorithm") in _ours():
        written = {name: None if name in _ZERO and value == 0 else value for name, value in written.items()}
        values["hyperparameters"] = written
    if values.get("algorithm_is_named") and isinstance(written, Mapping) and not _FLAGS.keys().isdisjoint(written):
        said = next((words for flag, words in _FLAGS.items() if written.get(flag)), {"adapts": "all"})
        kept = {name: value for name, value in written.items() if name not in _FLAGS}
        values["hyperparameters"] = {**kept, **said}
    return values


# Flags that hyper-parameters had once, and what says the same now.
_FLAGS = {
    "adapt_only_head": {"adapts": "head"},
    "adapt_only_body": {"adapts": "body"},
    "adapt_only_context": {"adapts": "context"},
}
# Hyper-parameters whose 0 said once what None says now.
_ZERO = frozenset({"steps", "episodes", "decay", "anneal", "decoded_beliefs", "decoded_steps"})
_ZERO |= {"context_rounds", "judged_exploration", "head_hidden"}


def _ours() -> list[str]:
    """The algorithms of this package, by their names and their types: what a 0 says in another is its author's."""
    return [*registry.ALGORITHMS, *(entry.target.partition(":")[2] for entry in registry.ALGORITHMS.values())]


def _written_by(values: Mapping[str, Any]) -> str:
    """The version that reads a file, as the file itself tells."""
    found = values.get("versions")
    version = found.get("adaptax", "of another version") if isinstance(found, Mapping) else "of another version"
    revision = f" at revision {values['git']}" if values.get("git") else ""
    return f"adaptax {version}{revision} wrote it and reads it"


def restore(
    directory: str | Path, config: Config, algorithm: Algorithm | None, benchmark: Benchmark | None
) -> tuple[Algorithm, Benchmark]:
    """The algorithm and the benchmark of a run directory; those that are given stand for a user's own values, which a
    file cannot hold."""
    for kind, value, named in (
        ("algorithm", algorithm, config.algorithm_is_named),
        ("benchmark", benchmark, config.benchmark_is_named),
    ):
        if value is None and not named:
            raise UserError(f"{directory} was trained with your own {getattr(config, kind)}: pass it as {kind}=…")
    try:
        benchmark = benchmark or registry.make_benchmark(config.benchmark, config.benchmark_settings)
        return algorithm or _restore_algorithm(config, benchmark), benchmark
    except registry.UnknownName as error:
        raise UserError(f"{Path(directory) / 'config.json'}: {error}; {_written_by(asdict(config))}") from error


def _restore_algorithm(config: Config, on: Benchmark) -> Algorithm:
    fixed = registry.algorithm_entry(config.algorithm).fixed
    hyperparameters = {name: value for name, value in config.hyperparameters.items() if name not in fixed}
    return registry.make_algorithm(config.algorithm, None, on.spec, hyperparameters)
