"""Exploration along the adaptation curve: policy entropy, state coverage, and which tasks were solved when.

The points are those of the adaptation curve, K = R·E: rounds, or the episodes of a round where it has several. So the
turn from exploring to exploiting can be seen both in agents that adapt between rounds and in those that adapt in
their memory within one.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .figures import described
from .records import Evaluation
from .statistics import bootstrap_mean, over_seeds
from .style import GRID, INK, PALETTE, new_figure, styled, value_ticks
from .tables import MISSING, Table, chosen_points, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

CELLS = 20  # along each axis of the rectangle that was visited

_CELL = {  # what a cell is: (whole numbers?, entries) → a sentence
    (True, 1): "A cell is one value of the observation.",
    (True, 2): "A cell is one value of the first two entries of the observation, which are whole numbers.",
    (False, 1): f"A cell is one of {CELLS} parts of the range that was visited in the observation.",
    (False, 2): (
        f"A cell is one of {CELLS} × {CELLS} parts of the rectangle that was visited in the first two entries of the "
        "observation."
    ),
}


class Coverage(NamedTuple):
    """How many cells were visited, in counts; `curves` has None for an evaluation that kept no trajectories."""

    curves: tuple[Floats | None, ...]  # each [S, tasks, K]
    tasks: int  # the first so many, whose trajectories were kept,
    streams: int  # and so many of their streams, the same for all evaluations
    entries: int  # of the observation that make a cell: 1 or 2
    whole: bool  # observations are whole numbers, and cells themselves


class _Panel(NamedTuple):
    """What one panel of the figure shows, and limits that let what hardly changes look so."""

    title: str
    curves: tuple[Floats | None, ...]  # each [S, N, K]
    low: float | None = None  # limits of the axis; None: as the data have it
    high: float | None = None
    span: float = 0.0  # the least difference between the limits


class _Seen(NamedTuple):
    """What one evaluation visited."""

    observations: Floats  # [S, n, R, b, T, 1 or 2]
    point: NDArray[np.intp]  # [S, n, R, b, T], of the adaptation curve; −1 for what does not count


def coverage(evaluations: Sequence[Evaluation]) -> Coverage | None:
    """The number of different cells that the streams of one task visit together at each point of the curve.

    Of the trajectories that were kept: at most so many tasks and streams as every evaluation kept. Visited are the
    observations on which the agent acted. Where all of them are whole numbers, each is a cell. Otherwise a cell is
    one of 20 along each axis of the smallest rectangle that holds the first two entries of all of them (of a single
    entry: one of 20 intervals), over all evaluations, seeds, tasks and points, so that numbers can be compared. None
    where no trajectories were kept, or all stayed in one cell.
    """
    known = [_seen(e) for e in evaluations]
    kept = [seen for seen in known if seen is not None]
    if not kept:
        return None
    tasks, streams = (min(seen.point.shape[axis] for seen in kept) for axis in (1, 3))
    part = np.s_[:, :tasks, :, :streams]
    known = [seen and _Seen(seen.observations[part], seen.point[part]) for seen in known]
    visited = np.concatenate([seen.observations[seen.point >= 0] for seen in known if seen is not None])
    if not len(visited):
        return None
    low, high = visited.min(0), visited.max(0)
    whole = bool((visited == np.round(visited)).all())
    if (low == high).all():
        return None
    curves = tuple(
        None if seen is None else _distinct(_cells(seen.observations, low, high, whole), seen.point, evaluation.points)
        for seen, evaluation in zip(known, evaluations, strict=True)
    )
    return Coverage(curves, tasks, streams, visited.shape[1], whole)


def first_success(evaluation: Evaluation) -> NDArray[np.intp] | None:
    """At which point of the curve, from 0, any stream first succeeded: [S, N], K where none did."""
    if evaluation.success is None:
        return None
    reached = (evaluation.success > 0).any(3)  # [S, N, R, E]
    flat = reached.reshape(*reached.shape[:2], -1)
    return np.where(flat.any(-1), flat.argmax(-1), flat.shape[-1])


def exploration_table(evaluations: Sequence[Evaluation], labels: Sequence[str] = (), limit: int = 6) -> Table | None:
    """Return, entropy, coverage and the share of tasks first solved, by point; None where there is but the return.

    ± as in the other tables. Where points are left out, a share counts the tasks first solved since the point shown
    before, so that the shares and "never" make 100.
    """
    longest = max(evaluations, key=lambda e: e.points)
    if longest.points == 1:
        return None
    shown = chosen_points(longest.points, limit)
    area, solved = coverage(evaluations), _solves(evaluations)
    names, rows, found = list(labels or [e.algorithm for e in evaluations]), [], False
    for k, evaluation in enumerate(evaluations):
        entropy, covered = evaluation.entropy_curve(), area and area.curves[k]
        first = first_success(evaluation) if solved else None
        lines = {"return": _row(evaluation.curve(), shown)}
        lines |= {} if entropy is None else {"entropy, nats": _row(entropy, shown)}
        lines |= {} if covered is None else {"coverage, cells": _row(covered, shown)}
        lines |= {} if first is None else {"first solved, % of tasks": _solved_row(first, evaluation.points, shown)}
        found |= len(lines) > 1
        start = f"{names[k]}: " if len(evaluations) > 1 else ""
        never = () if not solved else (MISSING,)
        rows += [(start + name, *cells, *never[: len(shown) + 1 - len(cells)]) for name, cells in lines.items()]
    header = ("", *(longest.point_labels()[k] for k in shown), *(("never",) if solved else ()))
    return Table(header, tuple(rows)) if found else None


def exploration_text(evaluations: Sequence[Evaluation], limit: int = 6) -> str:
    """What the rows of `exploration_table` mean: one line each, of those that are there."""
    return "\n".join(f"- {line}" for line in _explained(evaluations, limit))


def exploration_curves(evaluations: Sequence[Evaluation], labels: Sequence[str] = ()) -> Figure | None:
    """Return, entropy, coverage and tasks solved so far beside one another, with 95 % bands over seeds and tasks.

    None when there is but one point, or nothing but the return.
    """
    names = list(labels or [e.algorithm for e in evaluations])
    points = max(e.points for e in evaluations)
    panels = _panels(evaluations)
    if points == 1 or len(panels) == 1:
        return None
    first = evaluations[0]
    with styled():
        width = 0.4 + 2.35 * len(panels)
        figure = new_figure(width, 3.0)
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        by_episode = first.has_total
        for axes, panel in zip(row, panels, strict=True):
            _draw(axes, panel, 1 if by_episode else 0)
            axes.set_xlabel("episode of the trial" if by_episode else "rounds of adaptation", fontsize=8.5)
        agents = f"{names[0]} on " if len(names) == 1 else ""
        title = f"Exploration: {agents}{first.split} tasks of {described(first.benchmark, first.benchmark_settings)}"
        title = textwrap.fill(title, int(10.5 * width))
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        if len(names) > 1:
            _key(figure, names)
    return figure


def _seen(evaluation: Evaluation) -> _Seen | None:
    paths, first = evaluation.trajectories, evaluation.trajectories_first
    if paths is None or first is None or paths.ndim != 6 or not paths.size:
        return None
    begins = first.copy()
    begins[..., 0] = True  # also where a round goes on with the episode of the one before
    episode = np.cumsum(begins, axis=-1) - 1
    rounds = np.arange(evaluation.rounds)[:, None, None]
    observations = paths[..., :2]
    counts = (episode < evaluation.episodes) & np.isfinite(observations).all(-1)
    return _Seen(observations, np.where(counts, rounds * evaluation.episodes + episode, -1))


def _cells(observations: Floats, low: Floats, high: Floats, whole: bool) -> NDArray[np.int64]:
    """A number for the cell of each observation [..., D] between the corners `low` and `high` [D]."""
    offset = np.clip(np.nan_to_num(observations), low, high) - low  # what does not count may lie outside
    per_axis = high - low + 1 if whole else np.full_like(low, CELLS)
    if not whole:
        extent = np.where(high > low, high - low, 1.0)
        offset = np.minimum(np.floor(offset / extent * CELLS), CELLS - 1)
    place = offset.astype(np.int64)
    return place[..., 0] if place.shape[-1] == 1 else place[..., 0] * int(per_axis[1]) + place[..., 1]


def _distinct(cells: NDArray[np.int64], point: NDArray[np.intp], points: int) -> Floats:
    """How many different cells there are at each point, streams and steps together: [S, n, K]."""
    seeds, tasks = point.shape[:2]
    life = np.arange(seeds * tasks).reshape(seeds, tasks, 1, 1, 1) * points
    counts = point >= 0
    pairs = np.unique(np.stack([(life + point)[counts], cells[counts]]), axis=1)
    return np.bincount(pairs[0], minlength=seeds * tasks * points).reshape(seeds, tasks, points).astype(np.float64)


def _solves(evaluations: Sequence[Evaluation]) -> bool:
    """Whether success means something here: some agent had it."""
    return any(e.success_curve() is not None for e in evaluations)


def _row(curve: Floats, shown: Sequence[int]) -> tuple[str, ...]:
    interval = over_seeds(curve)
    return tuple(
        number(float(interval.mean[k]), float(interval.half[k])) if k < interval.mean.size else MISSING for k in shown
    )


def _solved_row(first: NDArray[np.intp], points: int, shown: Sequence[int]) -> tuple[str, ...]:
    """The share of tasks in % first solved at each point shown or since the one before it, and of those never."""
    mine = [k for k in shown if k < points - 1] + [points - 1]  # a shorter curve ends at its own last point
    ends = np.array([*mine, points])
    column = np.searchsorted(ends, first)
    cells = _row(100.0 * (column[..., None] == np.arange(len(ends))), range(len(ends)))
    return (*cells[:-1], *(MISSING,) * (len(shown) - len(mine)), cells[-1])


def _explained(evaluations: Sequence[Evaluation], limit: int) -> Iterator[str]:
    longest = max(evaluations, key=lambda e: e.points)
    unit = "episode" if longest.episodes > 1 else "round"
    if any(e.entropy_curve() is not None for e in evaluations):
        yield (
            "**Entropy**: how random the actions are, measured as the mean of −log π(a) over the steps of an episode, "
            "over all tasks and streams. With continuous actions it may be negative, and only differences mean "
            "something. An agent that explores by a plan, or by drawing a latent variable or parameters, does so with "
            "little entropy: look at coverage."
        )
    area = coverage(evaluations)
    if area is not None:
        who = f"{area.streams} streams of one task visit together" if area.streams > 1 else "one stream visits"
        yield (
            f"**Coverage**: how many different cells {who} in one {unit}, mean over the first {area.tasks} tasks. "
            f"{_CELL[area.whole, area.entries]} It falls when an agent that searched goes straight to its goal."
        )
    if _solves(evaluations):
        since = " or since the column before" if longest.points > limit else ""
        streams = " / ".join(dict.fromkeys(str(e.returns.shape[3]) for e in evaluations))
        yield (
            f"**First solved**: the share of tasks on which a stream (of {streams}) succeeded in this {unit}{since}, "
            "and none had before."
        )


def _panels(evaluations: Sequence[Evaluation]) -> list[_Panel]:
    """Those of which something is known; the return first."""
    panels = [_Panel(evaluations[0].unit, tuple(e.curve() for e in evaluations))]
    entropy, area = tuple(e.entropy_curve() for e in evaluations), coverage(evaluations)
    if any(curve is not None for curve in entropy):
        panels.append(_Panel("policy entropy, nats", entropy, span=0.5))
    if area is not None:
        panels.append(_Panel("coverage, cells visited", area.curves, low=0.0))
    if _solves(evaluations):
        panels.append(_Panel("tasks solved so far, %", tuple(map(_solved_so_far, evaluations)), low=0.0, high=103.0))
    return panels


def _solved_so_far(evaluation: Evaluation) -> Floats | None:
    first = first_success(evaluation)
    if first is None:
        return None
    return 100 * (first[..., None] <= np.arange(evaluation.points)).astype(np.float64)


def _draw(axes: Axes, panel: _Panel, origin: int) -> None:
    from matplotlib.ticker import MaxNLocator

    for k, curve in enumerate(panel.curves):
        if curve is None:
            continue
        interval, x = bootstrap_mean(curve), origin + np.arange(curve.shape[-1])
        style: dict[str, Any] = {"marker": "o", "markersize": 4} if x.size <= 12 else {}
        axes.fill_between(x, interval.low, interval.high, color=PALETTE[k % 6], alpha=0.2, linewidth=0, label="_band")
        axes.plot(x, interval.mean, color=PALETTE[k % 6], linewidth=1.8, label=f"agent {k}", **style)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
    value_ticks(axes.yaxis)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.tick_params(labelsize=8)
    axes.set_title(panel.title, fontsize=9, weight="normal")
    low, high = axes.get_ylim()
    low = low if panel.low is None else panel.low
    high = high if panel.high is None else panel.high
    more = max(0.0, panel.span - (high - low)) / 2
    floor = low - more if low < 0 else max(0.0, low - more)  # what is not negative shows no negative values
    axes.set_ylim(floor, max(high + more, floor + panel.span))


def _key(figure: Figure, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=PALETTE[k % 6], linewidth=1.8) for k in range(len(names))]
    figure.legend(marks, names, loc="outside lower left", ncols=4, frameon=False, fontsize=8, labelcolor=INK)
