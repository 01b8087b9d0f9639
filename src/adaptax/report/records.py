"""What a run left behind, as plain values: the result types that readers, tables and figures share.

Axes as everywhere, with the seeds before: seeds S, tasks N, rounds R, streams B, episodes E.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class ReportError(ValueError):
    """A result file that is missing or cannot be read: one clear sentence that names it."""


@dataclass(frozen=True)
class Reference:
    """A reference strategy in the same evaluation, or a number: the mean at each of K points, and per trial."""

    name: str
    mean: Floats  # [K]; empty when only the total is known
    total: float | None = None
    sem: Floats | None = None  # [K], or [1] when it belongs to the total
    success: Floats | None = None  # [K], where agents are compared by success
    best: bool = False  # what an agent's share of the way from random play is counted to
    source: str = ""  # of a number: why it is a bound, or how it was reached


@dataclass(frozen=True)
class Published:
    """A figure from the literature: a total per trial, or one value by round."""

    name: str
    total: float | None = None
    by_round: tuple[float, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Evaluation:
    """What the evaluator wrote for one split. The adaptation curve has K = R·E points."""

    algorithm: str
    benchmark: str
    benchmark_settings: Mapping[str, Any]
    split: str
    seeds: tuple[int, ...]
    environment_steps: int | None
    unit: str
    round_labels: tuple[str, ...]
    references: tuple[Reference, ...]
    published: tuple[Published, ...]
    command: str
    returns: Floats  # [S, N, R, B, E]
    success: Floats | None  # [S, N, R, B, E]: in any step of the episode
    task: Mapping[str, NDArray[Any]]  # field → [N, …]
    trajectories: Floats | None = None  # [S, n, R, b, T, D]
    trajectories_first: NDArray[np.bool_] | None = None  # [S, n, R, b, T]
    entropy: Floats | None = None  # [S, N, R, B, E], NaN where the agent stores no log-probabilities
    beliefs: Floats | None = None  # [S, n, R, b, T, X, Y]: what the agent expected of every place of a grid
    beliefs_lowest: Floats | None = None  # [2]: the first of these places; None where it is not known
    final_success: Floats | None = None  # [S, N, R, B, E]: in the episode's last step
    diverged: NDArray[np.bool_] | None = None  # [S, N, R, B, E]: stopped being made of numbers; counted as random play
    judged_by_success: bool = False  # success rates are shown even where they are 0, or the same

    @property
    def rounds(self) -> int:
        return self.returns.shape[2]

    @property
    def episodes(self) -> int:
        return self.returns.shape[4]

    @property
    def points(self) -> int:  # K
        return self.rounds * self.episodes

    @property
    def has_total(self) -> bool:
        """A trial of several episodes without rounds between them is summed, as its papers do."""
        return self.rounds == 1 and self.episodes > 1

    @property
    def lives_that_diverged(self) -> str:
        """How many of the lives did, of all seeds; empty: none."""
        if self.diverged is None or not self.diverged.any():
            return ""
        lives = self.diverged.any(axis=(2, 3, 4))
        return f"{lives.sum()} of {lives.size} lives diverged"

    def curve(self) -> Floats:
        """The adaptation curve of every seed on every task, averaged over streams: [S, N, K]."""
        return _by_point(self.returns)

    def success_curve(self) -> Floats | None:
        """The success rate along the adaptation curve [S, N, K]; None when nothing ever succeeded, unless the benchmark
        is measured by that."""
        if self.success is None or not (self.judged_by_success or np.nansum(self.success) > 0):
            return None
        return _by_point(self.success)

    def final_success_curve(self) -> Floats | None:
        """The share of episodes whose last step was a success [S, N, K]; None where it is not known, or where every
        episode with a success also ends with one and the benchmark is not measured by that."""
        final, curve = self.final_success, self.success_curve()
        if final is None or curve is None:
            return None
        found = _by_point(final)
        same = np.array_equal(found, curve, equal_nan=True)
        return None if same and not self.judged_by_success else found

    def entropy_curve(self) -> Floats | None:
        """The policy's entropy in nats along the adaptation curve [S, N, K]; None where it is not known."""
        if self.entropy is None or not np.isfinite(self.entropy).any():
            return None
        return _by_point(self.entropy)

    def totals(self) -> Floats | None:
        """The return summed over a trial's episodes [S, N]; None where a sum means nothing."""
        return self.curve().sum(-1) if self.has_total else None

    def best(self) -> Reference | None:
        """The reference that is marked as the best."""
        return next((reference for reference in self.references if reference.best), None)

    def share(self) -> Floats | None:
        """How much of the way from random play (0) to the best reference (1) the agent is [S, N], by what `reached`
        says; None where that is not defined. Less 1 it is the optimality gap."""
        curve = self.success_curve() if self.judged_by_success else self.curve()
        totals = None if self.judged_by_success else self.totals()
        if curve is None or self.share_of(0.0) is None:
            return None
        return self.share_of(curve[..., -1] if totals is None else totals)

    def share_of(self, value: Any) -> Any:
        """The share of the way at which somebody stands who reached `value`, a number or an array; None where that is
        not defined."""
        random = next((reference for reference in self.references if reference.name == "random"), None)
        low, high = (None if one is None else self.reached(one) for one in (random, self.best()))
        if value is None or low is None or high is None or not high > low:
            return None
        return (value - low) / (high - low)

    def reached(self, reference: Reference) -> float | None:
        """What a reference is compared by: the total of a trial, or the last point of the curve; its success, not its
        return, where the benchmark is measured by that. None where it is not known."""
        by_success = self.judged_by_success
        if self.has_total and not by_success:
            return reference.total
        values = reference.success if by_success else reference.mean
        return float(values[self.points - 1]) if values is not None and values.size >= self.points else None

    def point_labels(self) -> tuple[str, ...]:
        """One label for each of the K points of the adaptation curve."""
        if self.has_total:
            return tuple(f"episode {k + 1}" for k in range(self.episodes))
        after = ["before adaptation", *(f"after {k}" for k in range(1, self.rounds))]
        rounds = self.round_labels if len(self.round_labels) == self.rounds else after
        names = ("",) if self.episodes == 1 else [f", episode {e + 1}" for e in range(self.episodes)]
        return tuple(label + name for label in rounds for name in names)


@dataclass(frozen=True)
class Run:
    """A run directory. `metrics` maps a name to [L, S]: L log lines, S seeds (1 where a mean was logged)."""

    path: Path
    algorithm: str
    benchmark: str
    benchmark_settings: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, Floats]
    evaluations: tuple[Evaluation, ...]

    @property
    def environment_steps(self) -> Floats:
        """Environment steps of one seed at every log line [L]."""
        return self.metrics.get("environment_steps", np.zeros((0, 1))).mean(1)

    def evaluation(self) -> Evaluation | None:
        """The evaluation that stands for the run: the test split, or else the first there is."""
        test = [e for e in self.evaluations if e.split == "test"]
        return (test or [*self.evaluations, None])[0]


def _by_point(values: Floats) -> Floats:
    """[S, N, R, B, E] → [S, N, R·E], the mean over the streams that finished the episode."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN where no stream finished: that is what it should be
        mean = np.where(finite, values, 0.0).sum(3) / finite.sum(3)
    return mean.reshape(*mean.shape[:2], -1)
