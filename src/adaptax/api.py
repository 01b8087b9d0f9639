"""The library's front door: benchmarks and algorithms by name or as values, training, loading, adapting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from .names import registry
from .names.config import name_algorithm, name_benchmark, read_config, restore, run
from .names.evaluation import make_task
from .names.results import RunEvaluator
from .names.trained import Trained
from .ranges import check_range
from .run import checkpoint
from .run import evaluate as evaluator
from .run.evaluate import Evaluation
from .run.iterate import begin
from .run.source import living
from .run.train import Settings, root_keys
from .tasks import TaskSet
from .types import Algorithm, Benchmark, UserError


def benchmark(name: str, **settings: Any) -> Benchmark:
    """The benchmark called `name` (see `adaptax list`), for example `benchmark("bandit", arms=5, pulls=10)`."""
    return registry.make_benchmark(name, settings)


def algorithm(name: str, on: Benchmark | str, **hyperparameters: Any) -> Algorithm:
    """The algorithm called `name` for the benchmark `on`; given by name, `on` also brings the pair's defaults."""
    chosen, spec = (on, benchmark(on).spec) if isinstance(on, str) else (None, on.spec)
    return registry.make_algorithm(name, chosen, spec, hyperparameters)


def train(
    algorithm: str | Algorithm,
    benchmark: str | Benchmark,
    *,
    out: str | Path,
    iterations: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    devices: int = 1,
    workers: int | None = None,
    ray: str = "",
    resume: bool = False,
    quiet: bool = True,
    log_every: int | None = None,
    settings: Mapping[str, Any] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
) -> Trained:
    """Meta-train and return the trained agent; everything is also written to the run directory `out`.

    `algorithm` and `benchmark` are names (then `hyperparameters` and `settings` are theirs) or values of your own.
    `iterations` left out takes the pair's default. `workers` processes, or actors of the Ray cluster at the address
    `ray`, each collect their share of the tasks (docs/host.md); a run that is resumed has as many as before. Ctrl-C (or
    SIGTERM) writes a checkpoint and raises `KeyboardInterrupt`, so that nothing goes on with half a training; the same
    call with `resume=True` does.
    """
    named = name_benchmark(benchmark, settings or {})
    chosen = name_algorithm(algorithm, named, hyperparameters or {})
    name = algorithm if isinstance(algorithm, str) else None
    if iterations is None:
        iterations = registry.defaults(name or "", named.name or "").iterations
    plan = Settings(iterations, seed, seeds, devices, workers=workers, ray=ray, log_every=log_every, quiet=quiet)
    if run(chosen, name, named, plan, Path(out), resume=resume).stopped:
        raise KeyboardInterrupt
    return load(out, algorithm=chosen, benchmark=named.value)


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
    if not 0 <= seed < config.seeds:
        raise UserError(f"seed is {seed}, but {directory} has the seeds 0 to {config.seeds - 1}")
    algorithm, benchmark = restore(directory, config, algorithm, benchmark)
    source = living(algorithm, benchmark)
    template = jax.eval_shape(
        jax.vmap(lambda root: begin(algorithm, source, root)),
        jax.numpy.stack([root_keys(0, 1)] * config.seeds),
    )
    if config.seeds == 1:
        template = jax.eval_shape(lambda root: begin(algorithm, source, root), root_keys(0, 1))
    progress, iteration, _ = checkpoint.restore(Path(directory) / "checkpoints", template)
    params = progress.state.params
    every = jax.tree.map(lambda x: x[None], params) if config.seeds == 1 else params
    return Trained(algorithm, benchmark, jax.tree.map(lambda x: x[seed], every), every, config, iteration)


def adapt_to(
    trained: Trained,
    task: Mapping[str, Any],
    *,
    rounds: int | None = None,
    episodes: int | None = None,
    lifetimes: int = 20,
    seed: int = 0,
) -> Evaluation:
    """Let the agent adapt to the task with these fields, such as `{"goal": [0.3, -0.2]}`, `lifetimes` times anew: the
    tasks axis of the result counts lifetimes. Rounds and episodes left out are those of the pair's protocol."""
    check_range("lifetimes", lifetimes, 1)
    alone = TaskSet(jax.tree.map(lambda x: x[None], make_task(trained.benchmark, task)))
    protocol = trained.protocol(tasks=lifetimes, rounds=rounds, episodes=episodes, seed=seed)
    return evaluator.evaluate(trained.algorithm, trained.benchmark, alone, trained.params, protocol)


def write_evaluation(
    trained: Trained,
    out: str | Path,
    *,
    tasks: int = 100,
    split: str = "test",
    rounds: int | None = None,
    seed: int = 0,
    deterministic: bool = False,
) -> Path:
    """Write `evaluation-<split>.json` and `.npz` into the run directory `out`, as `adaptax evaluate` does, and return
    the first: all seeds on held-out tasks, beside the references and the published figures of the benchmark."""
    protocol = trained.protocol(tasks=tasks, rounds=rounds, seed=seed, deterministic=deterministic)
    return RunEvaluator(trained.algorithm, trained.benchmark, protocol).write(trained, Path(out), split)
