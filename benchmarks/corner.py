"""How MAML, E-MAML and ProMP explore the four corners: `python benchmarks/corner.py`.

The comparison of Rothfuss et al. 2019 (figure 5), in the environment without momentum, with its own tasks: all four
corners in training and in the judgement, three inner steps. All agents have the same policy layers, step size, tasks ×
streams and iterations; MAML and E-MAML step by TRPO, ProMP by its proximal steps. The result file holds returns and
success by number of steps, and towards how many of the four corners a task's trajectories go; two figures are drawn
from it and from the first seed's trajectories.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import common
import numpy as np
from common import RUNS, arguments, document, row, seeds_of, steps_of, write

from adaptax.envs.corner import CORNERS
from adaptax.run.evaluate import Evaluation, Protocol, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME, ON = "corner_exploration", "corner"
FIGURES = Path(__file__).parents[1] / "docs" / "figures"
ITERATIONS = 200
SHARED = {"hidden": (64, 64), "tasks": 12, "streams": 20, "inner_steps": 3, "step_size": 0.1}
AGENTS = {"MAML": "maml-trpo", "E-MAML": "e-maml", "ProMP": "promp"}
PROTOCOL = Protocol(tasks=40, rounds=4, streams=20, seed=1, shown_tasks=40, shown_streams=20)


class Seed(NamedTuple):
    """What was measured of one trained agent; the evaluation's tasks are the four corners, ten times over."""

    evaluation: Evaluation
    curves: np.ndarray  # environment steps, return before adaptation, return after it: [3, rows]
    seconds: float
    steps: int


def measured(algorithm: str, seed: int, options: Any) -> Seed:
    """Train (or go on training), and judge."""
    out = RUNS / f"{NAME}-{algorithm}-seed{seed}"
    given = {"settings": {"goals": "paper"}, "hyperparameters": SHARED, "log_every": 2}
    trained, last = common.trained(out, algorithm, ON, options, options.iterations or ITERATIONS, seed, **given)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    names = ("environment_steps", "return/round_0", f"return/round_{SHARED['inner_steps']}")
    curves = np.array([[row[name] for row in rows] for name in names])
    found = evaluate(trained.algorithm, trained.benchmark, trained.benchmark.test, trained.params, PROTOCOL)
    print(f"{algorithm}, seed {seed}: {last['seconds']:.0f} s", flush=True)
    return Seed(found, curves, last["seconds"], last["environment_steps"])


def tried(evaluation: Evaluation) -> np.ndarray:
    """Towards how many corners a task's trajectories go, all streams together: [N, R]. One goes towards a corner when
    it is in its quadrant with ‖s‖₁ ≥ 1, twice as far out as where the right one begins to pay."""
    place = evaluation.observations[..., None, :2]  # [N, R, B, T, 1, 2]
    there = (place * CORNERS > 0).all(axis=-1) & (np.abs(place).sum(axis=-1) >= 1.0)
    return there.any(axis=(2, 3)).sum(axis=-1).astype(np.float64)


def rows_of(name: str, seeds: list[Seed]) -> list[dict[str, Any]]:
    """The table's lines of one agent."""
    corners = np.stack([tried(s.evaluation) for s in seeds])
    returns = np.stack([s.evaluation.returns.mean(axis=(2, 3)) for s in seeds]).astype(np.float64)
    success = np.stack([s.evaluation.success.mean(axis=(2, 3)) for s in seeds]).astype(np.float64)
    lines = {f"{name}, corners tried before adaptation": corners[:, :, 0]}
    for r in range(PROTOCOL.rounds):
        lines[f"{name}, return after {steps_of(r)}"] = returns[:, :, r]
    lines[f"{name}, share of episodes at the goal after {PROTOCOL.rounds - 1} gradient steps"] = success[:, :, -1]
    return [row(label, values) for label, values in lines.items()]


def result_of(found: dict[str, list[Seed]], options: Any) -> dict[str, Any]:
    """The result file."""
    corners = np.stack([tried(s.evaluation)[:, 0] for s in found["ProMP"]])
    details = {}
    for name, seeds in found.items():
        curves = np.stack([s.curves for s in seeds])
        returns = np.stack([s.evaluation.returns.mean(axis=(0, 2, 3)) for s in seeds])
        details[name] = {
            "environment_steps": curves[0, 0].tolist(),
            "return_before": np.round(curves[:, 1], 4).tolist(),
            "return_after": np.round(curves[:, 2], 4).tolist(),
            "return_by_round": returns.round(4).tolist(),
        }
    result = document(
        NAME,
        "corner (published goals), exploration before adaptation, ProMP",
        "corners tried, of 4",
        corners,
        seeds=seeds_of(options),
        tasks=PROTOCOL.tasks,
        steps=found["ProMP"][0].steps,
        seconds=float(np.mean([s.seconds for s in found["ProMP"]])),
        note=NOTE,
        target=">= 3.5",
    )
    rows = [line for name, seeds in found.items() for line in rows_of(name, seeds)]
    return {**result, "rows": rows, "details": details}


NOTE = (
    "the paper shows curves only: MAML does not find the corner, ProMP's curvature term makes it visit all of them. A "
    "corner is tried when one of 20 trajectories is in its quadrant with ‖s‖₁ ≥ 1 (its reward shows at ½). 12 "
    "tasks per iteration in place of 40, 200 iterations in place of 501. Training and judgement are on the same four "
    "corners, as in the paper"
)


def curves_figure(result: dict[str, Any]) -> Figure:
    """Left the returns before and after adaptation by environment steps, right the return by number of steps."""
    from adaptax.report.style import DASHES, GRID, PALETTE, Label, count_ticks, label_lines, new_figure, styled

    with styled():
        figure = new_figure(9.6, 3.9)
        learning, adaptation = figure.subplots(1, 2)
        labels = []
        for k, (name, found) in enumerate(result["details"].items()):
            colour, steps = PALETTE[k], np.array(found["environment_steps"])
            for key, dashes in (("return_before", DASHES[0]), ("return_after", "-")):
                mean = np.array(found[key]).mean(axis=0)
                learning.plot(steps, mean, color=colour, linestyle=dashes, linewidth=1.3)
            by_round = np.array(found["return_by_round"])
            mean, points = by_round.mean(axis=0), range(by_round.shape[1])
            adaptation.fill_between(points, by_round.min(0), by_round.max(0), color=colour, alpha=0.18, linewidth=0)
            adaptation.plot(points, mean, color=colour, linewidth=1.6, marker="o", markersize=4, clip_on=False)
            labels.append(Label(name, float(mean[-1]), colour))
        learning.set_title("Training: dashed before, solid after adaptation")
        learning.set(xlabel="environment steps", ylabel="episode return")
        adaptation.set_title("Trained agents (band: least and greatest seed)")
        adaptation.set(xlabel="gradient steps", xticks=range(PROTOCOL.rounds))
        for axes in (learning, adaptation):
            axes.grid(axis="y", color=GRID, linewidth=0.8)
        count_ticks(learning.xaxis)
        label_lines(adaptation, labels)
    return figure


def trajectories_figure(found: dict[str, list[Seed]], task: int = 3) -> Figure:
    """The first seed's trajectories towards the corner (2, 2), by agent and number of steps."""
    from adaptax.report.style import INK, PALETTE, SOFT, new_figure, styled

    with styled():
        figure = new_figure(8.4, 6.6)
        grid = figure.subplots(len(found), PROTOCOL.rounds, sharex=True, sharey=True)
        for k, (name, seeds) in enumerate(found.items()):
            paths = seeds[0].evaluation.observations[task]  # [R, B, T, 2]
            for r in range(PROTOCOL.rounds):
                axes = grid[k, r]
                for path in paths[r]:
                    axes.plot(path[:, 0], path[:, 1], color=PALETTE[k], linewidth=0.7, alpha=0.55)
                axes.plot(*CORNERS.T, "s", color=SOFT, markersize=4, zorder=5)
                axes.plot(*CORNERS[task], "*", color=INK, markersize=11, zorder=6)
                axes.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
                if not k:
                    axes.set_title(f"{r} step{'' if r == 1 else 's'}", loc="center", weight="normal", fontsize=9)
            grid[k, 0].set_ylabel(name, fontweight="bold", color=PALETTE[k])
        figure.suptitle("20 trajectories by gradient steps (star: the goal)", x=0.01, ha="left", fontweight="bold")
    return figure


def main() -> None:
    from adaptax.report.style import save

    options = arguments(__doc__ or "").parse_args()
    found = {
        name: [measured(algorithm, seed, options) for seed in seeds_of(options)] for name, algorithm in AGENTS.items()
    }
    result = result_of(found, options)
    write(result)
    save(curves_figure(result), FIGURES / "corner-curves.png")
    save(trajectories_figure(found), FIGURES / "corner-trajectories.png")


if __name__ == "__main__":
    main()
