"""`adaptax evaluate`, `report` and `adapt`: what a finished run is asked for."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from .. import api
from ..names.config import Config
from ..names.results import RunEvaluator
from ..report import Evaluation, report
from ..report.statistics import over_seeds
from ..report.tables import Table, chosen_points, number, plain
from ..types import Benchmark, Task, UserError
from .train import show_evaluation

_Run = Annotated[str, tyro.conf.arg(metavar="RUN")]
_Own = tyro.conf.arg(metavar="N", help_behavior_hint="(default: the pair's protocol)")


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate every seed of a run on held-out tasks, beside the reference strategies.

    Returns by round and episode go to evaluation-SPLIT.json and .npz in the run directory.
    """

    run: tyro.conf.Positional[_Run]
    """A run directory."""
    tasks: Annotated[int | None, _Own] = None
    """Tasks."""
    rounds: Annotated[int | None, _Own] = None
    """Rounds of a lifetime, with an adaptation after each."""
    episodes: Annotated[int | None, _Own] = None
    """Episodes per round."""
    split: str = "test"
    """test, validation, train, or one that the benchmark names."""
    seed: int = 0
    """Fixes the tasks and every draw."""
    deterministic: bool = False
    """Let the agent act by its most likely (or mean) actions; it draws them unless told, as in training."""
    no_references: bool = False
    """Leave out the reference strategies."""


def evaluate_command(words: list[str]) -> int:
    options = tyro.cli(
        EvaluateOptions,
        args=words,
        prog="adaptax evaluate",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    trained = api.load(options.run)
    protocol = trained.protocol(
        tasks=options.tasks,
        rounds=options.rounds,
        episodes=options.episodes,
        seed=options.seed,
        deterministic=options.deterministic,
    )
    references = not options.no_references
    evaluator = RunEvaluator(trained.algorithm, trained.benchmark, protocol, references=references)
    show_evaluation(evaluator.write(trained, Path(options.run), options.split))
    return 0


@dataclass(frozen=True)
class ReportOptions:
    """Tables and figures from the files of one or several runs. Runs of one benchmark are compared."""

    runs: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN...", help_behavior_hint="")]]
    """Run directories."""
    out: Annotated[str | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Where to write (default: `report` in the run, or beside several runs)."""


def report_command(words: list[str]) -> int:
    options = tyro.cli(ReportOptions, args=words, prog="adaptax report")
    for path in report(options.runs, Path(options.out) if options.out else None):
        print(path)
    return 0


@dataclass(frozen=True)
class AdaptOptions:
    """Let a trained agent adapt to one task that you name, and show its return as it does.

    It lives through the task several times, each from the beginning; ± is a 95 % interval over these lives.
    """

    run: tyro.conf.Positional[_Run]
    """A run directory."""
    task: Annotated[str, tyro.conf.arg(metavar="JSON")]
    """The task by its fields, such as '{"goal": [0.3, -0.2]}'."""
    rounds: Annotated[int | None, _Own] = None
    """Rounds of a lifetime, with an adaptation after each."""
    episodes: Annotated[int | None, _Own] = None
    """Episodes per round."""
    lifetimes: int = 20
    """How often the agent adapts anew."""
    run_seed: int = 0
    """Which of the run's seeds, from 0."""
    seed: int = 0
    """Fixes every draw."""


def adapt_command(words: list[str]) -> int:
    options = tyro.cli(AdaptOptions, args=words, prog="adaptax adapt")
    trained = api.load(options.run, seed=options.run_seed)
    task = api.make_task(trained.benchmark, task_given(options.task))
    note = unusual(trained.benchmark, task)
    if note:
        print(f"note: {note}", file=sys.stderr)
    found = api.adapt_to(
        trained,
        task._asdict(),
        rounds=options.rounds,
        episodes=options.episodes,
        lifetimes=options.lifetimes,
        seed=options.seed,
    )
    config = trained.config
    what = f"{config.algorithm} on {config.benchmark} {options.task}"
    print(f"{what}: mean of {options.lifetimes} lifetimes\n")
    print(plain(adaptation_table(found, config, trained.benchmark.judged_by_success)))
    lost = int(found.diverged.any(axis=(1, 2, 3)).sum())
    if lost:
        print(f"\n{lost} of {options.lifetimes} lives diverged, and count as random play from there on.")
    return 0


def task_given(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"--task is not valid JSON ({error}); for example --task '{{\"goal\": [0.3, -0.2]}}'") from None
    if not isinstance(value, dict):
        raise UserError("--task must be a JSON object of the task's fields, such as '{\"goal\": [0.3, -0.2]}'")
    return value


def unusual(on: Benchmark, task: Task, count: int = 1000) -> str:
    """Says which fields lie outside the range that they have in `count` training tasks; no more than a note,
    since to try an agent beyond its training tasks is a fair question."""
    _, drawn = on.train.sample(jax.random.key(0), count)
    for name, value in task._asdict().items():
        values, given = np.asarray(getattr(drawn, name)), np.asarray(value)
        low, high = float(values.min()), float(values.max())
        margin = 0.02 * (high - low)
        if given.size and (given.min() < low - margin or given.max() > high + margin):
            return f"{name} is outside what training tasks have, about {low:.2g} to {high:.2g}"
    return ""


def adaptation_table(found: Any, config: Config, judged_by_success: bool = False) -> Table:
    """One row per point of the adaptation curve; the total of a trial of several episodes below."""
    as_read = Evaluation(
        algorithm=config.algorithm,
        benchmark=config.benchmark,
        benchmark_settings=config.benchmark_settings,
        split="",
        seeds=(0,),
        environment_steps=None,
        unit="return",
        round_labels=(),
        references=(),
        published=(),
        command="",
        returns=found.returns[None].astype(np.float64),
        success=found.success[None].astype(np.float64),
        final_success=found.final_success[None].astype(np.float64),
        task={},
        judged_by_success=judged_by_success,
    )
    returns, final = over_seeds(as_read.curve()), as_read.final_success_curve()
    shares = {
        "success in %" if final is None else "success in %, any step": as_read.success_curve(),
        "last step": final,
    }
    reached = {name: over_seeds(100 * share) for name, share in shares.items() if share is not None}
    rows = []
    for k in chosen_points(as_read.points, 12):
        cells = [number(float(returns.mean[k]), float(returns.half[k]))]
        cells += [number(float(share.mean[k]), float(share.half[k])) for share in reached.values()]
        rows.append((as_read.point_labels()[k], *cells))
    total = as_read.totals()
    if total is not None:
        interval = over_seeds(total)
        blank = [""] * len(reached)
        rows.append(("total per trial", number(float(interval.mean), float(interval.half)), *blank))
    return Table(("", "return", *reached), tuple(rows))
