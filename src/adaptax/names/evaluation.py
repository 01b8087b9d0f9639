"""How a run is evaluated: its protocol, tasks by their fields, and the reference strategies beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import jax
import numpy as np

from ..run import evaluate as evaluator
from ..run.evaluate import Evaluator, Protocol
from ..strategies.random_actions import RandomActions
from ..types import Agent, Algorithm, Benchmark, Spec, UserError
from . import registry
from .config import Config


def protocol_for(
    config: Config,
    algorithm: Algorithm,
    on: Benchmark,
    *,
    tasks: int | None = None,
    rounds: int | None = None,
    episodes: int | None = None,
    seed: int = 0,
    deterministic: bool = False,
) -> Protocol:
    """How a run is evaluated: the pair's protocol, with what is given here in its place."""
    start = asdict(evaluator.protocol_of(algorithm.plan, on, tasks=100))
    given = {"tasks": tasks, "rounds": rounds, "episodes": episodes}
    pair = registry.defaults(config.algorithm, config.benchmark).evaluation
    own = {name: value for name, value in given.items() if value is not None}
    return Protocol(**{**start, **pair, **own, "seed": seed, "deterministic": deterministic})


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


def strategies_of(on: Benchmark) -> dict[str, Callable[[Spec], Agent]]:
    """The reference strategies of a benchmark by name: its own, and in any case random play, which comes first."""
    return {"random": RandomActions, **on.references}


def reference_evaluators(on: Benchmark, protocol: Protocol) -> dict[str, Evaluator]:
    """How the reference strategies are evaluated beside an agent: on the same tasks, in one stream."""
    alone = replace(protocol, streams=1)
    return {name: Evaluator(make(on.spec), on, alone) for name, make in strategies_of(on).items()}


def reference_results(on: Benchmark, split: str, evaluators: Mapping[str, Evaluator]) -> list[dict[str, Any]]:
    """The reference strategies on the same tasks, mean and standard error of every episode and of their sum; then what
    else is known of these tasks. One of them is marked as the best."""
    results, points = [], 0
    for name, evaluate in evaluators.items():
        found = evaluate(on.split(split), ())
        returns, success = (
            x.mean(axis=2).reshape(len(x), -1).astype(np.float64) for x in (found.returns, found.success)
        )
        points, totals = returns.shape[1], returns.sum(axis=1)
        sem = float(totals.std(ddof=1) / np.sqrt(len(totals))) if len(totals) > 1 else 0.0
        mean = returns.mean(axis=0).tolist()
        row = {"name": name, "best": name == on.best, "mean": mean, "total": float(totals.mean()), "sem": sem}
        results.append(row | ({"success": success.mean(axis=0).tolist()} if on.judged_by_success else {}))
    for known in on.known:
        if known.bounds or split == "test":
            row = {"name": known.name, "best": known.name == on.best, "mean": [known.episode] * points}
            results.append(row | {"total": points * known.episode, "source": known.source})
    return results


def published_rows(on: Benchmark, split: str, protocol: Protocol) -> list[dict[str, Any]]:
    """What was published for just that split and protocol: name, source, and `total` or `by_round`."""
    figures = on.published(split, protocol) if on.published else ()
    return [{name: value for name, value in one._asdict().items() if value not in (None, ())} for one in figures]
