"""Write a report: `report.md` with its tables, and the figures it shows, from run directories alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .beliefs import beliefs
from .episodes import HOW_TO_READ, episodes
from .exploration import exploration_curves, exploration_table, exploration_text
from .figures import adaptation_curve, described, learning_curve, series
from .read import read_run
from .records import Evaluation, ReportError, Run
from .statistics import bootstrap, bootstrap_mean, interquartile_mean
from .style import save
from .tables import MISSING, Table, amount, duration, evaluation_table, markdown, number, sources, success_table
from .trajectories import trajectories

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def report(run_dirs: Sequence[Path | str], out: Path | None = None) -> list[Path]:
    """Write the report of these runs into `out` and return what was written, `report.md` first.

    Without `out` one run's report goes to its own `report` directory and that of several runs to `report`
    beside the first of them. Runs of one benchmark share tables and figures.
    """
    if not run_dirs:
        raise ReportError("a report needs at least one run directory")
    runs = [read_run(path) for path in run_dirs]
    out = Path(out) if out else (runs[0].path if len(runs) == 1 else runs[0].path.parent) / "report"
    out.mkdir(parents=True, exist_ok=True)
    names = dict(zip((id(run) for run in runs), run_labels(runs), strict=True))
    groups = list(_grouped(runs).values())
    pages, figures = ["# " + _title(runs)], []
    for group in groups:
        stem = "" if len(groups) == 1 else f"{_slug(_name(group[0]))}-"
        text, paths = _group_pages(group, [names[id(run)] for run in group], out, stem)
        pages += text
        figures += paths
    pages += ["## Settings", *(_settings(run, names[id(run)]) for run in runs)]
    page = out / "report.md"
    page.write_text("\n\n".join(pages) + "\n", "utf-8")
    return [page, *figures]


def run_labels(runs: Sequence[Run]) -> list[str]:
    """The algorithm's name, and the directory's too where two runs of one benchmark share an algorithm."""
    kinds = [(run.algorithm, _name(run)) for run in runs]
    return [
        run.algorithm if kinds.count(kind) == 1 else f"{run.algorithm} ({run.path.resolve().name})"
        for run, kind in zip(runs, kinds, strict=True)
    ]


def _name(run: Run) -> str:
    return described(run.benchmark, run.benchmark_settings)


def _grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_name(run), []).append(run)
    return groups


def _title(runs: Sequence[Run]) -> str:
    pairs = dict.fromkeys(f"{run.algorithm} on {_name(run)}" for run in runs)
    return "; ".join(pairs)


def _group_pages(group: list[Run], labels: list[str], out: Path, stem: str) -> tuple[list[str], list[Path]]:
    """The Markdown blocks and the figures of the runs of one benchmark."""
    paths: list[Path] = []

    def show(figure: Figure | None, name: str, text: str) -> list[str]:
        if figure is None:
            return []
        paths.append(save(figure, out / f"{stem}{name}.png"))
        return [f"![{text}]({paths[-1].name})"]

    pages = [f"## {_name(group[0])}", markdown(training_table(group, labels))]
    pages += show(learning_curve(group, labels), "learning-curve", "Return against environment steps")
    for split, pairs in _splits(group, labels).items():
        evaluations, names = [e for e, _ in pairs], [name for _, name in pairs]
        pages += _evaluation_pages(evaluations, names)
        pages += show(adaptation_curve(evaluations, names), f"adaptation-{split}", "Return by adaptation")
        table = exploration_table(evaluations, names)
        if table:
            pages += [f"#### Exploration on {split} tasks", markdown(table), exploration_text(evaluations)]
            curves = exploration_curves(evaluations, names)
            pages += show(curves, f"exploration-{split}", "Exploration by adaptation")
        lives: list[str] = []
        for evaluation, name in pairs:
            suffix = f"-{_slug(name)}" if len(group) > 1 else ""
            pages += show(trajectories(evaluation, name), f"trajectories-{split}{suffix}", f"Paths of {name}")
            pages += show(beliefs(evaluation, name), f"beliefs-{split}{suffix}", f"What {name} expects by step")
            lives += show(episodes(evaluation, name), f"episodes-{split}{suffix}", f"Every episode of {name}")
        pages += [HOW_TO_READ, *lives] if lives else []
    return pages, paths


def _splits(group: Sequence[Run], labels: Sequence[str]) -> dict[str, list[tuple[Evaluation, str]]]:
    splits: dict[str, list[tuple[Evaluation, str]]] = {}
    for run, label in zip(group, labels, strict=True):
        for evaluation in run.evaluations:
            splits.setdefault(evaluation.split, []).append((evaluation, label))
    return splits


def training_table(runs: Sequence[Run], labels: Sequence[str]) -> Table:
    """What each run cost and where its training ended."""
    rows = []
    for run, label in zip(runs, labels, strict=True):
        steps = run.environment_steps
        seconds, rate = run.metrics.get("seconds"), run.metrics.get("steps_per_second")
        known = np.isfinite(rate) if rate is not None else np.zeros(0, bool)  # the first line may have no speed
        curves = list(series(run).values())
        rows.append(
            (
                label,
                str(run.config.get("seeds", MISSING)),
                amount(float(steps[-1])) if steps.size else MISSING,
                duration(_last(seconds)) if seconds is not None else MISSING,
                amount(float(np.median(rate[known]))) if rate is not None and known.any() else MISSING,
                number(_last(curves[0])) if curves else MISSING,
            )
        )
    costs = ("seeds", "environment steps per seed", "wall time", "steps/s")
    return Table(("training", *costs, "last training return"), tuple(rows))


def _last(values: NDArray[np.float64]) -> float:
    """The mean over seeds at the last line that has every seed's value."""
    known = values[np.isfinite(values).all(1)]
    return float(known[-1].mean()) if len(known) else float("nan")


def summary_table(evaluations: Sequence[Evaluation], labels: Sequence[str]) -> Table:
    """Of the total per trial, or of the last point: mean and interquartile mean with bootstrap intervals."""
    rows = []
    for evaluation, label in zip(evaluations, labels, strict=True):
        totals = evaluation.totals()
        values = evaluation.curve()[..., -1] if totals is None else totals
        what = evaluation.point_labels()[-1] if totals is None else "total per trial"
        mean, middle = bootstrap_mean(values), bootstrap(values, interquartile_mean)
        cells = ["{} [{}, {}]".format(*(number(float(part)) for part in interval)) for interval in (mean, middle)]
        seeds, tasks = values.shape
        rows.append((label, what, *cells, str(seeds), str(tasks)))
    return Table(("", "of", "mean", "interquartile mean", "seeds", "tasks"), tuple(rows))


def _evaluation_pages(evaluations: Sequence[Evaluation], labels: Sequence[str]) -> Iterator[str]:
    first = evaluations[0]
    yield f"### Evaluation on {first.split} tasks"
    yield (
        f"{first.unit.capitalize()}. ± is the 95 % interval over seeds (over tasks when there is one seed); "
        "brackets and bands are bootstrap 95 % intervals over seeds and tasks."
    )
    yield markdown(evaluation_table(evaluations, labels))
    if sources(evaluations):
        yield sources(evaluations)
    success = success_table(evaluations, labels)
    if success:
        yield "Success rate in %:"
        yield markdown(success)
    yield markdown(summary_table(evaluations, labels))


def _settings(run: Run, label: str) -> str:
    """How to repeat a run: command, versions, hyper-parameters."""
    config = run.config
    facts: dict[str, Any] = {
        "command": config.get("command"),
        "run directory": run.path,
        "seed": config.get("seed"),
        "git revision": config.get("git"),
        "versions": ", ".join(f"{k} {v}" for k, v in _mapping(config.get("versions")).items()),
    }
    rows = [(name, f"`{value}`") for name, value in facts.items() if value not in (None, "")]
    rows += [(name, f"`{json.dumps(v, ensure_ascii=False)}`") for name, v in run.hyperparameters.items()]
    lines = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in rows]
    return "\n".join([f"### {label} on {run.benchmark}", "", "| setting | value |", "| :-- | :-- |", *lines])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _slug(text: str) -> str:
    kept = "".join(c if c.isalnum() else "-" for c in text.lower())
    return "-".join(part for part in kept.split("-") if part)
