"""Learning curves and adaptation curves; each function returns a figure, or None without data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .records import Evaluation, Reference, Run
from .statistics import bootstrap_mean
from .style import (
    DASHES,
    INK,
    PALE,
    PALETTE,
    SOFT,
    Label,
    count_ticks,
    label_lines,
    new_figure,
    plot_axes,
    styled,
    value_ticks,
)
from .tables import quoted, settings, unique_published, unique_references

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]


def learning_curve(runs: Sequence[Run], labels: Sequence[str] = ()) -> Figure | None:
    """Return against environment steps, runs of one benchmark overlaid; seeds thin, their mean bold.

    Where a meta-iteration has several rounds the bold line is the last one (after adaptation) and the pale
    dashed line the first (before it). Reference strategies and published figures are horizontal lines.
    """
    named = list(zip(runs, labels or [run.algorithm for run in runs], strict=True))
    named = [(run, label) for run, label in named if run.environment_steps.size and series(run)]
    if not named:
        return None
    with styled():
        figure = new_figure()
        first = named[0][0]
        several = max(values.shape[1] for run, _ in named for values in series(run).values()) > 1
        x = "environment steps per seed" + (" (thin lines: seeds, bold: their mean)" if several else "")
        title = f"Meta-training on {described(first.benchmark, first.benchmark_settings)}"
        axes = plot_axes(figure, title, x, return_unit(first))
        lines: list[Label] = []
        for k, (run, name) in enumerate(named):
            lines += _run_lines(axes, run, name, PALETTE[k % 6])
        axes.set_xlim(left=0)
        count_ticks(axes.xaxis)
        value_ticks(axes.yaxis)
        lines += _levels(axes, [run for run, _ in named])
        label_lines(axes, lines)
    return figure


def adaptation_curve(evaluations: Sequence[Evaluation], labels: Sequence[str] = ()) -> Figure | None:
    """Return at each point of the adaptation curve, evaluations of one split overlaid, with 95 % bands.

    The bands are bootstrap intervals over seeds and tasks. None when there is but one point.
    """
    named = list(zip(evaluations, labels or [e.algorithm for e in evaluations], strict=True))
    named = [(evaluation, label) for evaluation, label in named if evaluation.points > 1]
    if not named:
        return None
    with styled():
        figure = new_figure()
        first = named[0][0]
        tasks = f"{first.split} tasks of {described(first.benchmark, first.benchmark_settings)}"
        by_episode = first.has_total
        x = "episode of the trial" if by_episode else "rounds of adaptation before acting"
        x += " (bands: 95 % over seeds and tasks)"
        axes = plot_axes(figure, f"Adaptation on the {tasks}", x, first.unit)
        origin = 1 if by_episode else 0
        lines = _other_curves(axes, [evaluation for evaluation, _ in named], origin)
        lines += [_band(axes, e, label, PALETTE[k % 6], origin) for k, (e, label) in enumerate(named)]
        _point_ticks(axes, max(e.points for e, _ in named), origin)
        value_ticks(axes.yaxis)
        label_lines(axes, lines)
    return figure


def described(benchmark: str, benchmark_settings: Any) -> str:
    """`bandit (arms 5, pulls 10)`."""
    text = settings(benchmark_settings or {})
    return f"{benchmark} ({text})" if text else benchmark


def series(run: Run) -> dict[str, Floats]:
    """The curves [L, S] that stand for a run's training: the return, or the last and the first round's."""
    rounds = training_rounds(run)
    if rounds > 1:
        return {
            "after adaptation": run.metrics[f"return/round_{rounds - 1}"],
            "before adaptation": run.metrics["return/round_0"],
        }
    name = "return" if "return" in run.metrics else "return/round_0"
    return {"": run.metrics[name]} if name in run.metrics else {}


def training_rounds(run: Run) -> int:
    """How many rounds a trial of the training has: the metrics `return/round_<k>` that are all there."""
    return next(k for k in range(10_000) if f"return/round_{k}" not in run.metrics)


def return_unit(run: Run) -> str:
    """What the metric `return` counts: a whole trial where trials of several episodes are summed.

    A run may say so itself in its configuration (`"return_unit": "trial"` or `"episode"`).
    """
    evaluation = run.evaluation()
    trial = evaluation is not None and evaluation.has_total
    return f"return per {run.config.get('return_unit', 'trial' if trial else 'episode')}"


def reference_level(run: Run, mean: Sequence[float] | Floats, total: float | None) -> float | None:
    """The height of a reference among the run's learning curve: the total, or the point the curve shows."""
    evaluation = run.evaluation()
    if evaluation is not None and evaluation.has_total:
        if total is None and len(mean):
            total = float(np.sum(mean))
        by_episode = return_unit(run) == "return per episode"
        return total / evaluation.episodes if by_episode and total is not None else total
    if len(mean) == 0:
        return total
    return float(mean[min(max(training_rounds(run), 1), len(mean)) - 1])


def _run_lines(axes: Axes, run: Run, name: str, colour: str) -> list[Label]:
    labels = []
    for k, (what, values) in enumerate(series(run).items()):
        known = np.isfinite(values).all(1)  # what was not logged at every line is drawn from where it was
        steps, values = run.environment_steps[known], values[known]
        if not steps.size:
            continue
        pale = (0, (4, 2)) if k else "-"
        if values.shape[1] > 1 and k == 0:
            for column in values.T:
                axes.plot(steps, column, color=colour, linewidth=0.7, alpha=0.35, label="_seed")
        text = f"{name}, {what}" if what else name
        alone = "o" if steps.size == 1 else ""  # one log line makes no line
        (line,) = axes.plot(steps, values.mean(1), color=colour, marker=alone, label=text)
        line.set(linestyle=pale, linewidth=1.2 if k else 2.0, alpha=0.65 if k else 1.0)
        labels.append(Label(text, float(values[-1].mean()), colour, bold=k == 0))
    return labels


def _levels(axes: Axes, runs: Sequence[Run]) -> list[Label]:
    """The horizontal lines: reference strategies dashed grey, published figures dotted black."""
    run = next((run for run in runs if run.evaluation()), runs[0])
    evaluations = [e for e in (run.evaluation() for run in runs) if e]
    labels = []
    for k, reference in enumerate(unique_references(evaluations)):
        level = reference_level(run, reference.mean, reference.total)
        if level is not None and np.isfinite(level):
            axes.axhline(level, color=PALE, linewidth=1.0, linestyle=DASHES[k % 5], label=reference.name)
            labels.append(Label(reference.name, level, SOFT))
    for published in unique_published(evaluations):
        level = reference_level(run, published.by_round, published.total)
        if level is not None and np.isfinite(level):
            axes.axhline(level, color=INK, linewidth=1.2, linestyle=(0, (1, 1.5)), label=published.name)
            labels.append(Label(f"{published.name}: {quoted(level)}", level, INK))
    return labels


def _other_curves(axes: Axes, evaluations: Sequence[Evaluation], origin: int) -> list[Label]:
    """Reference strategies as dashed grey curves and figures published by round as black diamonds."""
    labels = []
    for k, reference in enumerate(unique_references(evaluations)):
        if reference.mean.size:
            labels.append(_reference_curve(axes, reference, DASHES[k % 5], origin))
    for published in unique_published(evaluations):
        if published.by_round:
            x = origin + np.arange(len(published.by_round))
            axes.plot(
                x,
                published.by_round,
                color=INK,
                marker="D",
                markersize=5,
                markerfacecolor="white",
                linestyle=(0, (1, 1.5)),
                linewidth=1.0,
                zorder=4,
                label=published.name,
            )
            labels.append(Label(published.name, published.by_round[-1], INK))
    return labels


def _reference_curve(axes: Axes, reference: Reference, dashes: Any, origin: int) -> Label:
    x = origin + np.arange(reference.mean.size)
    axes.plot(x, reference.mean, color=PALE, linewidth=1.1, linestyle=dashes, label=reference.name)
    return Label(reference.name, float(reference.mean[-1]), SOFT)


def _band(axes: Axes, evaluation: Evaluation, name: str, colour: str, origin: int) -> Label:
    interval = bootstrap_mean(evaluation.curve())
    x = origin + np.arange(evaluation.points)
    axes.fill_between(x, interval.low, interval.high, color=colour, alpha=0.2, linewidth=0, label="_band")
    marker = {"marker": "o", "markersize": 5} if evaluation.points <= 12 else {}
    axes.plot(x, interval.mean, color=colour, linewidth=2.0, zorder=5, label=name, **marker)
    return Label(name, float(interval.mean[-1]), colour, bold=True)


def _point_ticks(axes: Axes, points: int, origin: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(origin - 0.03 * (points - 1), origin + 1.03 * (points - 1))
