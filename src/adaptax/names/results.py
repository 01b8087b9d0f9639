"""The result files of a run's evaluation: every seed beside the reference strategies and the published figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from gymnasium.spaces import Box

from ..report.read import evaluation_of
from ..run.evaluate import Evaluation, Evaluator, Protocol
from ..types import Algorithm, Benchmark
from .evaluation import published_rows, reference_evaluators, reference_results, task_fields
from .provenance import command, git_revision, versions, write_whole
from .trained import Trained

SCHEMA = 1  # that of `config.json` is its own


class RunEvaluator:
    """The evaluation of a run's seeds and of the reference strategies, on one split after the other; what is compiled
    for the first split serves the others."""

    def __init__(self, algorithm: Algorithm, on: Benchmark, protocol: Protocol, *, references: bool = True):
        self.agent = Evaluator(algorithm, on, protocol)
        self.with_references = references

    @cached_property
    def references(self) -> dict[str, Evaluator]:
        """Made when they are asked for, after training: some strategies compute a table first."""
        return reference_evaluators(self.agent.benchmark, self.agent.protocol)

    def write(self, trained: Trained, directory: Path, split: str) -> Path:
        """Write `evaluation-<split>.json` and `.npz` into a run directory, and return the first."""
        on = trained.benchmark
        every = [jax.tree.map(lambda x, k=k: x[k], trained.all_params) for k in range(trained.config.seeds)]
        evaluations = [self.agent(on.split(split), params) for params in every]
        references = reference_results(on, split, self.references) if self.with_references else []
        return write_evaluations(trained, directory, split, self.agent.protocol, evaluations, references)


def write_evaluations(
    trained: Trained,
    directory: Path,
    split: str,
    protocol: Protocol,
    evaluations: Sequence[Evaluation],
    references: Sequence[Mapping[str, Any]],
) -> Path:
    """The result files of one evaluation for each seed of a run."""
    on, config = trained.benchmark, trained.config
    arrays: dict[str, np.ndarray] = {
        "returns": np.stack([e.returns for e in evaluations]),
        "success": np.stack([e.success for e in evaluations]),
        "final_success": np.stack([e.final_success for e in evaluations]),
        "entropy": np.stack([e.entropy for e in evaluations]),
        "diverged": np.stack([e.diverged for e in evaluations]),
        **{f"task_{name}": value for name, value in task_fields(evaluations[0].tasks).items()},
    }
    if evaluations[0].first is not None:
        arrays["trajectories_first"] = np.stack([e.first for e in evaluations])
    if isinstance(evaluations[0].observations, np.ndarray) and evaluations[0].observations.ndim in (4, 5):
        seen = np.stack([e.observations for e in evaluations])
        arrays["trajectories"] = seen if seen.ndim == 6 else seen[..., None]  # a number is a vector of one
    beliefs = [e.beliefs for e in evaluations if e.beliefs is not None]
    if beliefs:
        arrays["beliefs"] = np.stack(beliefs)
        if isinstance(on.spec.observation_space, Box):
            arrays["beliefs_lowest"] = np.ravel(on.spec.observation_space.low)
    name = f"evaluation-{split}"
    result = {
        "schema": SCHEMA,
        "algorithm": config.algorithm,
        "benchmark": config.benchmark,
        "benchmark_settings": config.benchmark_settings,
        "split": split,
        "seeds": [config.seed + k for k in range(config.seeds)],
        "evaluation_seed": protocol.seed,
        "deterministic": protocol.deterministic,
        "judged_by_success": on.judged_by_success,
        "tasks": protocol.tasks,
        "rounds": protocol.rounds,
        "steps": protocol.steps,
        "streams": protocol.streams,
        "episodes": protocol.episodes,
        "environment_steps": trained.iteration * config.environment_steps_per_iteration,
        "unit": f"episode return{', most likely actions' * protocol.deterministic}",
        "references": references,
        "published": published_rows(on, split, protocol),
        "command": command(),
        "versions": versions(),
        "git": git_revision(),
        "arrays": f"{name}.npz",
    }
    share = evaluation_of(result, arrays, directory / f"{name}.json").share()
    result["share"] = None if share is None else share.mean(axis=1).tolist()
    write_whole(directory / f"{name}.npz", lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    write_whole(directory / f"{name}.json", lambda file: file.write(text.encode()))
    return directory / f"{name}.json"
