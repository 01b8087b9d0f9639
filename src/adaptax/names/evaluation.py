"""Judging a run beside the reference strategies and the published figures, and the result files of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from gymnasium.spaces import Box

from ..run import evaluate as evaluator
from ..run.evaluate import Protocol
from ..types import Algorithm, Benchmark, UserError
from . import registry
from .config import SCHEMA
from .provenance import command, git_revision, versions, write_whole
from .published import published

if TYPE_CHECKING:
    from ..api import Trained


def protocol_for(
    config: Mapping[str, Any],
    algorithm: Algorithm,
    on: Benchmark,
    *,
    tasks: int = 0,
    rounds: int = 0,
    episodes: int = 0,
    seed: int = 0,
    deterministic: bool = False,
) -> Protocol:
    """How a run is judged: the pair's protocol, with what is given here in its place."""
    start = asdict(evaluator.protocol_of(algorithm.plan, on, tasks=100))
    given = {"tasks": tasks, "rounds": rounds, "episodes": episodes, "deterministic": deterministic}
    pair = registry.defaults(config["algorithm"], config["benchmark"]).evaluation
    return Protocol(**{**start, **pair, **{k: v for k, v in given.items() if v}, "seed": seed})


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
        "final_success": np.stack([e.final_success for e in judged]),
        "entropy": np.stack([e.entropy for e in judged]),
        "trajectories_first": np.stack([e.first for e in judged]),
        **{f"task_{name}": value for name, value in task_fields(judged[0].tasks).items()},
    }
    if isinstance(judged[0].observations, np.ndarray) and judged[0].observations.ndim in (4, 5):
        seen = np.stack([e.observations for e in judged])
        arrays["trajectories"] = seen if seen.ndim == 6 else seen[..., None]  # a number is a vector of one
    beliefs = [e.beliefs for e in judged if e.beliefs is not None]
    if beliefs:
        arrays["beliefs"] = np.stack(beliefs)
        if isinstance(on.spec.observation_space, Box):
            arrays["beliefs_lowest"] = np.ravel(on.spec.observation_space.low)
    name = f"evaluation-{split}"
    result = {
        "schema": SCHEMA,
        **{key: config[key] for key in ("algorithm", "benchmark", "benchmark_settings")},
        "split": split,
        "seeds": [config["seed"] + k for k in range(config["seeds"])],
        "evaluation_seed": protocol.seed,
        "deterministic": protocol.deterministic,
        "judged_by_success": on.judged_by_success,
        "tasks": protocol.tasks,
        "rounds": protocol.rounds,
        "streams": protocol.streams,
        "episodes": protocol.episodes,
        "environment_steps": trained.iteration * config["environment_steps_per_iteration"],
        "unit": f"episode return{', most likely actions' * protocol.deterministic}",
        "references": reference_results(config["benchmark"], on, split, protocol) if references else [],
        "published": published(config["benchmark"], config["benchmark_settings"], split, protocol),
        "command": command(),
        "versions": versions(),
        "git": git_revision(),
        "arrays": f"{name}.npz",
    }
    write_whole(directory / f"{name}.npz", lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    write_whole(directory / f"{name}.json", lambda file: file.write(text.encode()))
    return directory / f"{name}.json"


def task_fields(task: Any) -> dict[str, np.ndarray]:
    """A task's fields by name, where it is a NamedTuple."""
    names = getattr(task, "_fields", ())
    return {name: np.asarray(getattr(task, name)) for name in names}


def make_task(on: Benchmark, given: Mapping[str, Any]) -> Any:
    """A task of `on` from its fields by name, checked against the names and shapes that its tasks have. A field that
    has a default may be left out: it is then as in the test tasks."""
    like = jax.tree.map(lambda x: np.asarray(x)[0], on.test.enumerate(jax.random.key(0), 1)[1])
    shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in task_fields(like).items())
    given = {name: getattr(like, name) for name in like._field_defaults} | dict(given)
    for name in sorted(set(like._fields) ^ set(given)):
        raise UserError(
            f"the task {'has no' if name in given else 'lacks the'} field {name!r}; its fields are {shapes}"
        )
    values = {}
    for name, wanted in task_fields(like).items():
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


def reference_results(benchmark: str, on: Benchmark, split: str, protocol: Protocol) -> list[dict[str, Any]]:
    """The reference strategies on the same tasks: mean and standard error of every episode and of their sum."""
    alone = replace(protocol, streams=1)
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
