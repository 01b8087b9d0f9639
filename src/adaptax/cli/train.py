"""`adaptax train`: from names and flags to a run directory, and on from where a run stopped."""

from __future__ import annotations

import contextlib
import inspect
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from .. import api
from ..names import config as runs
from ..names import registry
from ..names.evaluation import protocol_for
from ..names.results import RunEvaluator
from ..names.trained import Trained
from ..ranges import check_range
from ..report import read_evaluation
from ..report.tables import amount, evaluation_table, plain, sources, success_table
from ..report.tables import settings as settings_text
from ..run import checkpoint
from ..run.train import Settings
from ..types import Algorithm, UserError
from .options import Chosen, leading_names, parse


@dataclass(frozen=True)
class TrainOptions:
    """Meta-train, then evaluate on held-out tasks; everything is written to a run directory.

    Ctrl-C stops after the iteration at hand, writes a checkpoint and says how to go on.
    """

    seed: int = 0
    """Seed of the run."""
    seeds: int = 1
    """Train this many seeds at once: seed, seed + 1, …"""
    iterations: Annotated[int, tyro.conf.arg(metavar="N")] = 500
    """Meta-iterations in all; more of them extend a run that is resumed."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Environment steps in all, in place of --iterations; rounded up to whole meta-iterations."""
    out: Annotated[str | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """The run directory (default: runs/ALGORITHM-BENCHMARK-[changed settings]-seedS)."""
    resume: bool = False
    """Go on with the run in --out; its config.json supplies all that is left out."""
    devices: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Spread the tasks over this many devices, which a CPU makes of its own (default: one per core where
    that was measured to pay for this pair, else one)."""
    workers: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Let N processes each collect a slice of the tasks, for environments on the host; 0: collect in this process."""
    ray: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = ""
    """Let a Ray cluster run the workers: local, auto, HOST:PORT or ray://HOST:PORT."""
    log_every: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Meta-iterations per row of metrics (default: a two-hundredth of them all)."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints; there is always one at the end."""
    quiet: bool = False
    """Show no progress."""
    no_evaluation: bool = False
    """Leave out the evaluation at the end."""


@dataclass(frozen=True)
class _Unnamed:
    """What `adaptax train --help` shows before it knows whose settings to show."""

    algorithm: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="ALGORITHM")]]
    """See `adaptax list`."""
    benchmark: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="BENCHMARK")]]
    """See `adaptax list`. Name both to see their settings too: adaptax train rl2 bandit --help."""
    options: Annotated[TrainOptions, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="")]


def train_command(words: list[str]) -> int:
    names, rest = leading_names(words, "train")
    config: runs.Config | None = None
    if names is None:
        config, names = _run_to_resume(rest)
    chosen = _parse(names, rest, config)
    options: TrainOptions = chosen.options
    directory = Path(options.out or default_directory(names, chosen.settings, options))
    if options.resume and config is None:
        config = _config(directory, names)
        chosen = _parse(names, rest, config)
    options = replace(chosen.options, out=str(directory))
    options = replace(options, devices=use_devices(_wanted_devices(options, names, chosen)))
    on = runs.name_benchmark(names[1], chosen.settings)
    algorithm = runs.name_algorithm(names[0], on, chosen.hyperparameters)
    plan = _settings(options, algorithm, names, config)
    evaluator = None
    if not options.no_evaluation:  # what it refuses is better known before training than after it
        named = runs.Config(algorithm=names[0], benchmark=names[1])
        evaluator = RunEvaluator(algorithm, on.value, protocol_for(named, algorithm, on.value))
        evaluator.agent.check()
    if not options.quiet and (options.resume or not directory.exists()):
        print(_title(names, on, algorithm, plan, directory), file=sys.stderr, flush=True)
    result = runs.run(algorithm, names[0], on, plan, directory, resume=options.resume)
    if result.stopped:
        again = [*words, *([] if options.resume else ["--resume"])]
        print(f"go on with: {shlex.join(['adaptax', 'train', *again])}", file=sys.stderr)
        return 130
    if evaluator is None:
        print(directory)
        return 0
    trained = api.load(directory, algorithm=algorithm, benchmark=on.value)
    return _evaluate(trained, evaluator, directory, options.quiet)


def _parse(names: tuple[str, str], words: Sequence[str], config: runs.Config | None) -> Chosen:
    if config is None:
        return parse("train", names, words, TrainOptions(iterations=registry.defaults(*names).iterations))
    fixed = registry.algorithm_entry(names[0]).fixed
    begun = TrainOptions(
        seed=config.seed,
        seeds=config.seeds,
        iterations=config.iterations,
        devices=config.devices,
        workers=config.workers,
        ray=config.ray,
        log_every=config.log_every,
    )
    learned = {name: value for name, value in config.hyperparameters.items() if name not in fixed}
    return parse("train", names, words, begun, hyperparameters=learned, settings=config.benchmark_settings)


def _run_to_resume(words: Sequence[str]) -> tuple[runs.Config, tuple[str, str]]:
    """The config of the run that `--resume --out DIR` names, and its algorithm and benchmark."""
    if "-h" in words or "--help" in words:
        tyro.cli(_Unnamed, args=["--help"], prog="adaptax train", description=inspect.getdoc(TrainOptions))
    given = [after for word, after in zip(words, words[1:], strict=False) if word == "--out"]
    given += [word.removeprefix("--out=") for word in words if word.startswith("--out=")]
    if "--resume" not in words or not given:
        raise UserError(
            "name an algorithm and a benchmark first: adaptax train ALGORITHM BENCHMARK (adaptax list shows "
            "them), or a run to go on with: adaptax train --resume --out DIR"
        )
    config = _config(Path(given[-1]))
    return config, (config.algorithm, config.benchmark)


def _config(directory: Path, names: tuple[str, str] | None = None) -> runs.Config:
    """The config of a run that can be resumed here, and is one of `names`."""
    config = runs.read_config(directory)
    begun = (config.algorithm, config.algorithm_is_named), (config.benchmark, config.benchmark_is_named)
    kinds = "algorithm", "benchmark"
    for kind, (was, is_named), name in zip(kinds, begun, names or (None, None), strict=True):
        if not is_named:
            raise UserError(f"{directory} was trained with your own {was}: resume it with adaptax.train")
        if name not in (None, was):
            raise UserError(f"{directory} was begun with {kind} {was!r}, not {name!r}; use another --out")
    return config


def default_directory(names: tuple[str, str], settings: Mapping[str, Any], options: TrainOptions) -> Path:
    """runs/rl2-bandit-arms5-pulls10-seed0: settings that differ from the benchmark's own are in the name."""
    signature = inspect.signature(registry.benchmark_entry(names[1]).load()).parameters
    changed = [
        f"-{name.replace('_', '-')}{value}" for name, value in settings.items() if value != signature[name].default
    ]
    last = f"-{options.seed + options.seeds - 1}" if options.seeds > 1 else ""
    return Path("runs") / f"{names[0]}-{names[1]}{''.join(changed)}-seed{options.seed}{last}"


def use_devices(devices: int) -> int:
    """Make that many host devices of a CPU, unless JAX has started (`run.shard` then says what is wrong)."""
    if devices > 1:
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", devices)
    return devices


def _wanted_devices(options: TrainOptions, names: tuple[str, str], chosen: Chosen) -> int:
    """What `--devices` says; left open, one per core of a CPU where the pair gains from it and the tasks divide."""
    if options.devices is not None:
        return options.devices
    if options.seeds > 1 or options.workers or not registry.defaults(*names).spread:
        return 1
    if os.environ.get("JAX_PLATFORMS", "cpu") != "cpu" or _accelerator():
        return 1
    cores = os.cpu_count() or 1
    return cores if chosen.hyperparameters.get("tasks", 1) % cores == 0 else 1


def _accelerator() -> bool:
    """Whether a JAX plugin for an accelerator is installed; asking JAX itself would start it with one CPU device."""
    return bool(entry_points(group="jax_plugins"))


def _settings(
    options: TrainOptions, algorithm: Algorithm, names: tuple[str, str], config: runs.Config | None
) -> Settings:
    iterations = options.iterations
    if options.steps is not None:
        unsaid = config.iterations if config else registry.defaults(*names).iterations
        if iterations != unsaid:
            raise UserError("give either --steps or --iterations, not both")
        check_range("steps", options.steps, 1)
        iterations = -(-options.steps // algorithm.plan.environment_steps)
    newest = checkpoint.latest(Path(options.out or "") / "checkpoints") if config else None
    done = int(newest.stem.rpartition("-")[2]) if newest else 0
    if iterations < done:
        raise UserError(f"{options.out} has {done} iterations behind it already, more than {iterations}")
    same = ("seed", "seeds", "devices", "workers", "ray", "log_every", "checkpoint_seconds", "quiet")
    return Settings(iterations, **{name: getattr(options, name) for name in same})


def _title(names: tuple[str, str], on: runs.Named, algorithm: Algorithm, plan: Settings, directory: Path) -> str:
    described = f" ({settings_text(on.settings)})" if on.settings else ""
    many = f", {plan.seeds} seeds" if plan.seeds > 1 else ""
    each = amount(algorithm.plan.environment_steps)
    what = f"{names[0]} on {names[1]}{described}{many}: {plan.iterations} iterations of {each} environment steps"
    return f"{what} → {directory}"


def _evaluate(trained: Trained, evaluator: RunEvaluator, directory: Path, quiet: bool) -> int:
    """Evaluate the test split and every named one, and print their tables."""
    tasks = evaluator.agent.protocol.tasks
    try:
        for split in ("test", *trained.benchmark.named):
            if not quiet:
                print(f"evaluating on {tasks} {split} tasks …", file=sys.stderr, flush=True)
            show_evaluation(evaluator.write(trained, directory, split))
    except KeyboardInterrupt:
        print(f"training is complete; evaluate it with: adaptax evaluate {directory}", file=sys.stderr)
        return 130
    return 0


def show_evaluation(path: Path) -> None:
    """Print the tables of one result file, and where it is."""
    evaluation = read_evaluation(path)
    described = f" ({settings_text(evaluation.benchmark_settings)})" if evaluation.benchmark_settings else ""
    tasks = evaluation.returns.shape[1]
    print(f"\n{evaluation.unit} on {tasks} {evaluation.split} tasks of {evaluation.benchmark}{described}\n")
    print(plain(evaluation_table([evaluation])))
    if sources([evaluation]):
        print(f"\n{sources([evaluation])}")
    success = success_table([evaluation])
    if success:
        print(f"\nsuccess rate in %\n\n{plain(success)}")
    print(f"\n{path}")
