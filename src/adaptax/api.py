"""The library's front door: benchmarks and algorithms by name or as values, training, loading, adapting."""

from __future__ import annotations

import inspect
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from . import registry
from .published import published
from .run import checkpoint
from .run import evaluate as evaluator
from .run import train as trainer
from .run.evaluate import Evaluation, Protocol
from .run.iterate import begin
from .run.train import Settings, root_keys
from .types import Algorithm, Benchmark, Key, Rollout, TaskSet, Timestep, UserError, check_range

SCHEMA = 1


class Named(NamedTuple):
    """A benchmark and the name and settings that make it again; `name` is None for a user's own value."""

    value: Benchmark
    name: str | None
    settings: Mapping[str, Any]


def benchmark(name: str, **settings: Any) -> Benchmark:
    """The benchmark called `name` (see `adaptax list`), for example `benchmark("bandit", arms=5, pulls=10)`."""
    return registry.make_benchmark(name, settings)


def algorithm(name: str, on: Benchmark | str, **hyperparameters: Any) -> Algorithm:
    """The algorithm called `name` for the benchmark `on`; given by name, `on` also brings the pair's defaults."""
    chosen, spec = (on, benchmark(on).spec) if isinstance(on, str) else (None, on.spec)
    return registry.make_algorithm(name, chosen, spec, hyperparameters)


class Trained(NamedTuple):
    """A trained agent: its algorithm, benchmark, and the meta-parameters of each seed.

    `begin`, `start`, `act` and `adapt` are those of the protocol with the parameters of one seed filled in.
    """

    algorithm: Algorithm
    benchmark: Benchmark
    params: Any
    """Meta-parameters of the chosen seed."""
    all_params: Any
    """Meta-parameters of all seeds, leading axis [seeds]."""
    config: Mapping[str, Any]
    iteration: int

    def begin(self, key: Key) -> Any:
        return self.algorithm.begin(self.params, key)

    def start(self) -> Any:
        return self.algorithm.start(self.params)

    def act(self, adapted: Any, memory: Any, timestep: Timestep, key: Key) -> tuple[Any, Any]:
        return self.algorithm.act(self.params, adapted, memory, timestep, key)

    def adapt(self, adapted: Any, rollout: Rollout, key: Key) -> Any:
        return self.algorithm.adapt(self.params, adapted, rollout, key)

    def evaluate(self, tasks: int = 100, *, split: str = "test", rounds: int = 0, seed: int = 0) -> Evaluation:
        """Returns of this agent on held-out tasks, by round and episode (`run.evaluate.Evaluation`)."""
        protocol = protocol_for(self.config, self.algorithm, self.benchmark, tasks=tasks, rounds=rounds, seed=seed)
        return evaluator.evaluate(self.algorithm, self.benchmark, self.benchmark.split(split), self.params, protocol)


def train(
    algorithm: str | Algorithm,
    benchmark: str | Benchmark,
    *,
    out: str | Path,
    iterations: int = 0,
    seed: int = 0,
    seeds: int = 1,
    devices: int = 1,
    resume: bool = False,
    quiet: bool = True,
    log_every: int = 0,
    settings: Mapping[str, Any] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
) -> Trained:
    """Meta-train and return the trained agent; everything is also written to the run directory `out`.

    `algorithm` and `benchmark` are names (then `hyperparameters` and `settings` are theirs) or values of your own.
    `iterations` 0 takes the pair's default.
    """
    named = name_benchmark(benchmark, settings or {})
    chosen = name_algorithm(algorithm, named, hyperparameters or {})
    name = algorithm if isinstance(algorithm, str) else None
    iterations = iterations or registry.defaults(name or "", named.name or "").iterations
    plan = Settings(iterations, seed, seeds, devices, log_every=log_every, quiet=quiet)
    run(chosen, name, named, plan, Path(out), resume=resume)
    return load(out, algorithm=chosen, benchmark=named.value)


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
    path = directory / "config.json"
    config = make_config(algorithm, name, on, settings)
    if resume:
        _check_same(read_config(directory), config, directory)
    elif directory.exists() and any(directory.iterdir()):
        raise UserError(f"{directory} exists already; give --resume to go on with it, or another --out")
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
    return trainer.train(algorithm, on.value, settings, directory, resume=resume)


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
        "environment_steps_per_iteration": algorithm.plan.environment_steps,
        "versions": versions(),
        "git": git_revision(),
        "command": command(),
    }


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], directory: Path) -> None:
    for name in ("algorithm", "benchmark", "benchmark_settings", "seed", "seeds", "log_every"):
        if before[name] != now[name]:
            raise UserError(f"{directory} was begun with {name} {before[name]!r}, not {now[name]!r}; use another --out")
    for name, value in now["hyperparameters"].items():
        if before["hyperparameters"].get(name) != value:
            was = before["hyperparameters"].get(name)
            raise UserError(f"{directory} was begun with {name} {was!r}, not {value!r}; use another --out")


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    names = ("adaptax", "jax", "jaxlib", "numpy", "optax")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def git_revision() -> str:
    """The source's git revision, "+changes" when files differ from it; empty outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = git("rev-parse", "--short=12", "HEAD")
        return revision + ("+changes" if revision and git("status", "--porcelain", "--", str(here)) else "")
    except OSError:
        return ""


def command() -> str:
    """The command line of this process, as one would type it again."""
    program = Path(sys.argv[0])
    first = "adaptax" if program.name in ("adaptax", "__main__.py") else program.name
    return shlex.join([first, *sys.argv[1:]])


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


def load(
    directory: str | Path,
    *,
    seed: int = 0,
    algorithm: Algorithm | None = None,
    benchmark: Benchmark | None = None,
) -> Trained:
    """The trained agent of a run directory; `seed` counts the seeds that it trained, from 0.

    A run of your own algorithm or benchmark needs that value again, since a file cannot hold it.
    """
    config = read_config(directory)
    if not 0 <= seed < config["seeds"]:
        raise UserError(f"seed is {seed}, but {directory} has the seeds 0 to {config['seeds'] - 1}")
    for kind, value in (("algorithm", algorithm), ("benchmark", benchmark)):
        if value is None and not config[f"{kind}_is_named"]:
            raise UserError(f"{directory} was trained with your own {config[kind]}: pass it as {kind}=…")
    benchmark = benchmark or registry.make_benchmark(config["benchmark"], config["benchmark_settings"])
    algorithm = algorithm or restore_algorithm(config, benchmark)
    template = jax.eval_shape(
        jax.vmap(lambda root: begin(algorithm, benchmark, root)),
        jax.numpy.stack([root_keys(0, 1)] * config["seeds"]),
    )
    if config["seeds"] == 1:
        template = jax.eval_shape(lambda root: begin(algorithm, benchmark, root), root_keys(0, 1))
    progress, iteration, _ = checkpoint.restore(Path(directory) / "checkpoints", template)
    params = progress.state.params
    every = jax.tree.map(lambda x: x[None], params) if config["seeds"] == 1 else params
    return Trained(algorithm, benchmark, jax.tree.map(lambda x: x[seed], every), every, config, iteration)


def restore_algorithm(config: Mapping[str, Any], on: Benchmark) -> Algorithm:
    entry = registry.algorithm_entry(config["algorithm"])
    listed = {k: tuple(v) if isinstance(v, list) else v for k, v in config["hyperparameters"].items()}
    hyperparameters = {k: v for k, v in listed.items() if k not in entry.fixed}
    return registry.make_algorithm(config["algorithm"], None, on.spec, hyperparameters)


def protocol_for(
    config: Mapping[str, Any],
    algorithm: Algorithm,
    on: Benchmark,
    *,
    tasks: int = 0,
    rounds: int = 0,
    episodes: int = 0,
    seed: int = 0,
) -> Protocol:
    """How a run is judged: the pair's protocol, with what is given here in its place."""
    start = asdict(evaluator.protocol_of(algorithm.plan, on, tasks=100))
    given = {"tasks": tasks, "rounds": rounds, "episodes": episodes}
    pair = registry.defaults(config["algorithm"], config["benchmark"]).evaluation
    return Protocol(**{**start, **pair, **{k: v for k, v in given.items() if v}, "seed": seed})


def make_task(on: Benchmark, given: Mapping[str, Any]) -> Any:
    """A task of `on` from its fields by name, checked against the names and shapes that its tasks have."""
    like = jax.tree.map(lambda x: np.asarray(x)[0], on.test.enumerate(jax.random.key(0), 1)[1])
    shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in _task_fields(like).items())
    for name in sorted(set(like._fields) ^ set(given)):
        raise UserError(
            f"the task {'has no' if name in given else 'lacks the'} field {name!r}; its fields are {shapes}"
        )
    values = {}
    for name, wanted in _task_fields(like).items():
        try:
            value = np.asarray(given[name], np.float64)
        except (TypeError, ValueError):
            raise UserError(f"{name} is not made of numbers, all rows of one length; the fields are {shapes}") from None
        if value.shape != wanted.shape:
            raise UserError(f"{name} has the shape {list(value.shape)}; it must be {list(wanted.shape)}")
        if not np.isfinite(value).all():
            raise UserError(f"{name} is {given[name]}; it must be finite")
        values[name] = value.astype(wanted.dtype)
        if not np.issubdtype(wanted.dtype, np.floating) and (values[name] != value).any():
            raise UserError(f"{name} is {given[name]}; it must be made of whole numbers")
    return type(like)(**values)


def adapt_to(
    trained: Trained,
    task: Mapping[str, Any],
    *,
    rounds: int = 0,
    episodes: int = 0,
    lifetimes: int = 20,
    seed: int = 0,
) -> Evaluation:
    """Let the agent adapt to the task with these fields, such as `{"goal": [0.3, -0.2]}`, `lifetimes` times anew: the
    tasks axis of the result counts lifetimes. Rounds and episodes left at 0 are those of the pair's protocol."""
    check_range("lifetimes", lifetimes, 1)
    alone = TaskSet(jax.tree.map(lambda x: x[None], make_task(trained.benchmark, task)))
    protocol = protocol_for(
        trained.config,
        trained.algorithm,
        trained.benchmark,
        tasks=lifetimes,
        rounds=rounds,
        episodes=episodes,
        seed=seed,
    )
    return evaluator.evaluate(trained.algorithm, trained.benchmark, alone, trained.params, protocol)


def evaluate_run(trained: Trained, directory: Path, split: str, protocol: Protocol, references: bool = True) -> Path:
    """Judge every seed of a run and the reference strategies; write `evaluation-<split>.json` and `.npz`."""
    on, config = trained.benchmark, trained.config
    tasks = on.split(split)
    judged = [
        evaluator.evaluate(
            trained.algorithm, on, tasks, jax.tree.map(lambda x, k=k: x[k], trained.all_params), protocol
        )
        for k in range(config["seeds"])
    ]
    arrays: dict[str, np.ndarray] = {
        "returns": np.stack([e.returns for e in judged]),
        "success": np.stack([e.success for e in judged]),
        "trajectories_first": np.stack([e.first for e in judged]),
        **{f"task_{name}": value for name, value in _task_fields(judged[0].tasks).items()},
    }
    if isinstance(judged[0].observations, np.ndarray) and judged[0].observations.ndim == 5:
        arrays["trajectories"] = np.stack([e.observations for e in judged])
    name = f"evaluation-{split}"
    result = {
        "schema": SCHEMA,
        **{key: config[key] for key in ("algorithm", "benchmark", "benchmark_settings")},
        "split": split,
        "seeds": [config["seed"] + k for k in range(config["seeds"])],
        "evaluation_seed": protocol.seed,
        "tasks": protocol.tasks,
        "rounds": protocol.rounds,
        "streams": protocol.streams,
        "episodes": protocol.episodes,
        "environment_steps": trained.iteration * config["environment_steps_per_iteration"],
        "unit": "episode return",
        "references": reference_results(config["benchmark"], on, split, protocol) if references else [],
        "published": published(config["benchmark"], config["benchmark_settings"], split),
        "command": command(),
        "versions": versions(),
        "git": git_revision(),
        "arrays": f"{name}.npz",
    }
    write_whole(directory / f"{name}.npz", lambda file: np.savez_compressed(file, **arrays))
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    write_whole(directory / f"{name}.json", lambda file: file.write(text.encode()))
    return directory / f"{name}.json"


def write_whole(path: Path, write: Any) -> None:
    """Write a file beside its place, then put it there: a reader never sees half of it."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as file:
        write(file)
    beside.replace(path)


def _task_fields(task: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in task._asdict().items()} if isinstance(task, tuple) else {}


def reference_results(benchmark: str, on: Benchmark, split: str, protocol: Protocol) -> list[dict[str, Any]]:
    """The reference strategies on the same tasks: mean and standard error of every episode and of their sum."""
    alone = (
        protocol._replace(streams=1) if isinstance(protocol, tuple) else Protocol(**{**asdict(protocol), "streams": 1})
    )
    results = []
    for name, make in registry.make_strategies(benchmark, on.spec).items():
        returns = evaluator.evaluate(make(), on, on.split(split), (), alone).returns.mean(axis=2)
        flat = returns.reshape(returns.shape[0], -1).astype(np.float64)
        totals = flat.sum(axis=1)
        results.append(
            {
                "name": name,
                "mean": flat.mean(axis=0).tolist(),
                "total": float(totals.mean()),
                "sem": float(totals.std(ddof=1) / np.sqrt(len(totals))) if len(totals) > 1 else 0.0,
            }
        )
    return results
