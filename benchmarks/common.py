"""What every recipe does: train through the library's own front door (resuming if it was stopped), judge every seed on
held-out tasks, and write one result file that says how to get it again."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from adaptax.api import Trained
    from adaptax.run.evaluate import Protocol

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUNS = HERE / "runs"


class Recipe(NamedTuple):
    """One row of the results' table: what to train, how to judge it, and what to hold it against."""

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


def arguments(description: str, seeds: int = 3) -> argparse.ArgumentParser:
    """The options that all recipes share; `seeds` is how many a recipe has unless told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=seeds, help="how many seeds, trained one after another")
    parser.add_argument("--iterations", type=int, default=0, help="meta-iterations (0: the recipe's own)")
    parser.add_argument("--devices", type=int, default=1, help="devices over which the tasks are spread")
    parser.add_argument("--evaluate-only", action="store_true", help="judge what has been trained so far")
    return parser


def train_and_evaluate(recipe: Recipe, options: argparse.Namespace, command: str) -> dict[str, Any]:
    """Train each seed in a run directory of its own, evaluate all, and write `results/<name>.json`."""
    from adaptax.names.results import RunEvaluator

    totals: list[np.ndarray] = []
    seconds: list[float] = []
    steps = 0
    for seed in seeds_of(options):
        directory = RUNS / f"{recipe.name}-seed{seed}"
        agent, last = trained(
            directory,
            recipe.algorithm,
            recipe.benchmark,
            options,
            options.iterations or recipe.iterations,
            seed,
            settings=recipe.settings,
            hyperparameters=recipe.hyperparameters,
            log_every=max(1, recipe.iterations // 200),
        )
        protocol = agent.protocol(**recipe.evaluation)
        evaluator = RunEvaluator(agent.algorithm, agent.benchmark, protocol, references=False)
        path = evaluator.write(agent, directory, recipe.split)
        totals.append(np.load(path.with_suffix(".npz"))["returns"][0])
        seconds.append(last["seconds"])
        steps = last["environment_steps"]
    result = _result(recipe, options, command, np.stack(totals), seconds, steps)
    write(result)
    print(f"{recipe.title}: {result['value']:.3f} ± {result['ci95']:.3f} ({recipe.target}, met: {result['met']})")
    return result


def trained(
    out: Path, algorithm: str, on: str, options: argparse.Namespace, iterations: int, seed: int, **given: Any
) -> tuple[Trained, dict[str, Any]]:
    """The agent of the run directory `out` and the last row of its metrics, trained first (or trained on) unless only
    judging is asked for. `given` goes to `adaptax.train`: settings, hyperparameters, log_every."""
    import jax

    from adaptax import api

    if options.devices > 1:  # on a CPU, before JAX starts
        jax.config.update("jax_num_cpu_devices", options.devices)
    if not options.evaluate_only:
        given |= {"resume": (out / "config.json").exists(), "devices": options.devices}
        api.train(algorithm, on, out=out, iterations=iterations, seed=seed, **given)
    rows = (out / "metrics.jsonl").read_text().splitlines()
    return api.load(out), json.loads(rows[-1])


def returns_by_episode(
    name: str, algorithm: str, on: str, options: argparse.Namespace, iterations: int, protocol: Protocol, **given: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns [seeds, tasks, episodes] of the first round on test tasks, the mean over streams, and what they cost: the
    steps of a seed, and seconds in the mean. Seeds are trained first, in `RUNS`/<name>-seed<seed> (`trained`)."""
    from adaptax.run.evaluate import evaluate

    returns, seconds, steps = [], [], 0
    for seed in seeds_of(options):
        out = RUNS / f"{name}-seed{seed}"
        agent, last = trained(out, algorithm, on, options, options.iterations or iterations, seed, **given)
        found = evaluate(agent.algorithm, agent.benchmark, agent.benchmark.test, agent.params, protocol)
        returns.append(found.returns[:, 0].mean(axis=1, dtype=np.float64))
        seconds.append(last["seconds"])
        steps = last["environment_steps"]
    return np.stack(returns), {"steps": steps, "seconds": float(np.mean(seconds))}


def known_goal(on: str, settings: Mapping[str, Any], protocol: Protocol, split: str = "test") -> tuple[str, float]:
    """The bound that an agent reaches which knows the goal."""
    return "known goal", float(strategy_returns("known-goal", on, settings, replace(protocol, rounds=1), split).mean())


def strategy_returns(
    name: str, on: str, settings: Mapping[str, Any], protocol: Protocol, split: str = "test"
) -> np.ndarray:
    """The returns [tasks, rounds, streams, episodes] of a reference strategy of the benchmark `on`."""
    from adaptax.names import registry
    from adaptax.names.evaluation import strategies_of
    from adaptax.run.evaluate import evaluate

    benchmark = registry.make_benchmark(on, settings)
    strategy = strategies_of(benchmark)[name](benchmark.spec)
    return evaluate(strategy, benchmark, benchmark.split(split), (), protocol).returns


def steps_of(count: int) -> str:
    """1 gradient step, 2 gradient steps."""
    return f"{count} gradient step{'' if count == 1 else 's'}"


def row(label: str, values: np.ndarray, target: float | None = None, **more: Any) -> dict[str, Any]:
    """A further line of a result, from values [S, N]; it is printed, too."""
    value, half = interval(values)
    found: dict[str, Any] = {"label": label, "value": value, "ci95": half, "published": None, **more}
    if target is not None:
        found |= {"target": f">= {target:g}", "met": value >= target}
    print(f"{label}: {value:.2f} ± {half:.2f}", flush=True)
    return found


def document(
    recipe: str,
    title: str,
    metric: str,
    values: np.ndarray | None,
    *,
    seeds: Sequence[int],
    tasks: int | None,
    steps: int,
    seconds: float,
    note: str,
    command: str = "",
    target: str | None = None,
    published: float | None = None,
    source: str = "",
    bounds: Sequence[tuple[str, float]] = (),
) -> dict[str, Any]:
    """What every result file says; `values` [S, N] are those of its headline, None where there is none. Rows and
    details may be added."""
    from adaptax.names import provenance

    value, half = (None, None) if values is None else interval(values)
    each = {} if values is None else {"per_seed": values.mean(axis=1).tolist()}
    return {
        "schema": 1,
        "recipe": recipe,
        "title": title,
        "metric": metric,
        "seeds": list(seeds),
        "tasks": tasks,
        "environment_steps": steps,
        "seconds": seconds,
        "value": value,
        **each,
        "ci95": half,
        "published": published,
        "published_source": source,
        "bounds": [{"name": name, "value": bound} for name, bound in bounds],
        "target": target,
        "met": None if target is None or value is None else value >= float(target.split()[-1]),
        "command": command or shlex.join(["python", *sys.argv]),
        "versions": provenance.versions(),
        "git": provenance.git_revision(),
        "machine": machine(),
        "note": note,
    }


def write(result: dict[str, Any]) -> None:
    """Write `results/<recipe>.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result['recipe']}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def _result(
    recipe: Recipe,
    options: argparse.Namespace,
    command: str,
    returns: np.ndarray,
    seconds: list[float],
    steps: int,
) -> dict[str, Any]:
    """`returns` [S, N, R, B, E]: the total of an RL² trial, or the return by round of a gradient-based agent."""
    rounds = returns.shape[2]
    by_task = returns.astype(np.float64).sum(axis=4).mean(axis=3)  # [S, N, R]
    result = document(
        recipe.name,
        recipe.title,
        recipe.metric,
        by_task[:, :, 0 if rounds == 1 else 1],
        seeds=seeds_of(options),
        tasks=returns.shape[1],
        steps=steps,
        seconds=float(np.mean(seconds)),
        note=recipe.note,
        command=command,
        target=recipe.target,
        published=recipe.published,
        source=recipe.source,
        bounds=recipe.bounds,
    )
    if rounds > 1:
        result["rows"] = []
        for r, published in zip(range(rounds), recipe.by_round, strict=True):
            mean, width = interval(by_task[:, :, r])
            label = f"after {steps_of(r)}"
            result["rows"].append({"label": label, "value": mean, "ci95": width, "published": published})
    return result


def seeds_of(options: argparse.Namespace) -> range:
    return range(options.seed, options.seed + options.seeds)


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
