"""What every recipe does: train through the library's own front door (resuming if it was stopped), judge every seed on
held-out tasks, and write one result file that says how to get it again."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUNS = HERE / "runs"


class Recipe(NamedTuple):
    """One row of the README's table: what to train, how to judge it, and what to hold it against."""

    name: str
    title: str
    algorithm: str
    benchmark: str
    settings: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    iterations: int
    metric: str
    target: str
    published: float | None
    source: str
    by_round: tuple[float, ...] = ()  # the published returns after 0, 1, … gradient steps
    bounds: tuple[tuple[str, float], ...] = ()
    split: str = "test"
    evaluation: Mapping[str, int] = {}
    note: str = ""


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all recipes share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, trained one after another")
    parser.add_argument("--iterations", type=int, default=0, help="meta-iterations (0: the recipe's own)")
    parser.add_argument("--devices", type=int, default=1, help="devices over which the tasks are spread")
    parser.add_argument("--evaluate-only", action="store_true", help="judge what has been trained so far")
    return parser


def train_and_judge(recipe: Recipe, options: argparse.Namespace, command: str) -> dict[str, Any]:
    """Train each seed in a run directory of its own, evaluate all, and write `results/<name>.json`."""
    import jax

    from adaptax import api, judging, runs
    from adaptax.run.train import Settings

    if options.devices > 1:  # on a CPU, before JAX starts
        jax.config.update("jax_num_cpu_devices", options.devices)
    iterations = options.iterations or recipe.iterations
    totals: list[np.ndarray] = []
    seconds: list[float] = []
    steps = 0
    for seed in range(options.seed, options.seed + options.seeds):
        directory = RUNS / f"{recipe.name}-seed{seed}"
        named = runs.name_benchmark(recipe.benchmark, recipe.settings)
        algorithm = runs.name_algorithm(recipe.algorithm, named, recipe.hyperparameters)
        row = max(1, recipe.iterations // 200)
        settings = Settings(iterations, seed, devices=options.devices, log_every=row)
        resume = (directory / "checkpoints").exists()
        if not options.evaluate_only:
            result = runs.run(algorithm, recipe.algorithm, named, settings, directory, resume=resume)
            if result.stopped:
                raise SystemExit(130)
        trained = api.load(directory)
        protocol = judging.protocol_for(trained.config, algorithm, named.value, **recipe.evaluation)
        path = judging.evaluate_run(trained, directory, recipe.split, protocol, references=False)
        totals.append(np.load(path.with_suffix(".npz"))["returns"][0])
        seconds.append(_last_row(directory)["seconds"])
        steps = trained.iteration * trained.config["environment_steps_per_iteration"]
    result = _result(recipe, options, command, np.stack(totals), seconds, steps)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{recipe.name}.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"{recipe.title}: {result['value']:.3f} ± {result['ci95']:.3f} ({recipe.target}, met: {result['met']})")
    return result


def _last_row(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "metrics.jsonl").read_text().splitlines()[-1])


def _result(
    recipe: Recipe,
    options: argparse.Namespace,
    command: str,
    returns: np.ndarray,
    seconds: list[float],
    steps: int,
) -> dict[str, Any]:
    """`returns` [S, N, R, B, E]: the total of an RL² trial, or the return by round of a gradient-based agent."""
    from adaptax import provenance

    rounds = returns.shape[2]
    by_task = returns.astype(np.float64).sum(axis=4).mean(axis=3)  # [S, N, R]
    chosen = by_task[:, :, 0 if rounds == 1 else 1]
    value, half = interval(chosen)
    result: dict[str, Any] = {
        "schema": 1,
        "recipe": recipe.name,
        "title": recipe.title,
        "metric": recipe.metric,
        "seeds": list(range(options.seed, options.seed + options.seeds)),
        "tasks": returns.shape[1],
        "environment_steps": steps,
        "seconds": float(np.mean(seconds)),
        "value": value,
        "per_seed": chosen.mean(axis=1).tolist(),
        "ci95": half,
        "published": recipe.published,
        "published_source": recipe.source,
        "bounds": [{"name": name, "value": bound} for name, bound in recipe.bounds],
        "target": recipe.target,
        "met": value >= float(recipe.target.split()[-1]),
        "command": command,
        "versions": provenance.versions(),
        "git": provenance.git_revision(),
        "machine": machine(),
        "note": recipe.note,
    }
    if rounds > 1:
        result["rows"] = []
        for r, published in zip(range(rounds), recipe.by_round, strict=True):
            mean, width = interval(by_task[:, :, r])
            label = f"after {r} gradient step{'' if r == 1 else 's'}"
            result["rows"].append({"label": label, "value": mean, "ci95": width, "published": published})
    return result


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean of [S, N] and the half width of its 95 % interval: over seeds and tasks together, since the tasks are the
    larger part of the spread and are shared by the seeds."""
    by_task = values.mean(axis=0)
    between_seeds = values.mean(axis=1).var(ddof=1) / values.shape[0] if values.shape[0] > 1 else 0.0
    between_tasks = by_task.var(ddof=1) / values.shape[1]
    return float(values.mean()), float(1.96 * np.sqrt(between_seeds + between_tasks))


def machine() -> str:
    """Cores and processor, as the operating system names them."""
    import os

    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{os.cpu_count()} × {model}"
