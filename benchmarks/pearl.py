"""PEARL on the sparse point robot: `python benchmarks/pearl.py`.

Meta-trained on the 80 published training goals and judged on the 20 others, ten lives on each: 20 episodes, sparse
reward. Two ways to search are judged, of the same agent: z from the prior and actions drawn in the first 19 episodes,
then one with z from the belief and mean actions, which is what serves the last episode best (and the same with 39 and
one, twice the published trial); and z from the prior until an episode was rewarded. Beside it PEARL with
`deterministic` z (the paper's ablation), trained alike. Networks, batches and gradient steps are smaller than the
published ones (`defaults.DEFAULTS`), so that a seed takes minutes. The figure has the sparse return in training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import common
import numpy as np
from common import RUNS, arguments, document, known_goal, row, seeds_of, strategy_returns, write

from adaptax.names import registry
from adaptax.run.evaluate import Protocol, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME, ON, SETTINGS = "pearl", "sparse-navigation", {"goals": "paper"}
TRAINED: Mapping[str, dict[str, Any]] = {"PEARL": {}, "PEARL, deterministic z": {"deterministic": True}}


class Search(NamedTuple):
    """How a new task is searched, in how many episodes, and which of them are tabled."""

    fields: dict[str, Any]
    episodes: int
    shown: tuple[int, ...]

    @property
    def protocol(self) -> Protocol:
        return Protocol(tasks=200, rounds=self.episodes, streams=1, seed=1)


def _until_the_last(episodes: int, shown: tuple[int, ...]) -> Search:
    fields = {"judged_exploration": episodes - 1, "explore_until_rewarded": False}
    return Search({**fields, "judged_by_mean": True, "explore_by_mean": False}, episodes, shown)


SEARCHES: Mapping[str, Search] = {
    "19 episodes from the prior": _until_the_last(20, (1, 19, 20)),
    "39 episodes from the prior": _until_the_last(40, (40,)),
    "the prior until a reward": Search(
        {"judged_exploration": 1, "explore_until_rewarded": True}, 20, (1, 5, 10, 15, 20)
    ),
}
HEADLINE, GOALS = "19 episodes from the prior", 20
TARGET = 12.06  # nine tenths of what an agent collects that knows the goal
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "pearl.png"
BLOCK = 5  # meta-iterations in a point of the figure: 50 trials


class Seeds(NamedTuple):
    """What was trained under one label: returns [seeds, lives, episodes] by way of searching, seconds by seed,
    environment steps; and the sparse return of a training trial's last episodes [seeds, points] by environment steps
    [points]."""

    returns: dict[str, np.ndarray]
    seconds: list[float]
    steps: int
    curves: np.ndarray
    at: np.ndarray


def trained(label: str, options: Any) -> Seeds:
    iterations = options.iterations or registry.defaults("pearl", ON).iterations
    returns: dict[str, list[np.ndarray]] = {search: [] for search in SEARCHES}
    seconds, steps, curves, at = [], 0, [], np.empty(0)
    for seed in seeds_of(options):
        out = RUNS / f"{NAME}-{list(TRAINED).index(label)}-seed{seed}"
        given = {"settings": SETTINGS, "hyperparameters": TRAINED[label]}
        agent, last = common.trained(out, "pearl", ON, options, iterations, seed, **given)
        for name, search in SEARCHES.items():
            judged: Any = replace(agent.algorithm, **search.fields)  # type: ignore[type-var]
            result = evaluate(judged, agent.benchmark, agent.benchmark.test, agent.params, search.protocol)
            found = result.returns.astype(np.float64)[:, :, 0, 0]
            returns[name].append(found)
            print(f"{label}, seed {seed}, {name}: {np.round(found.mean(axis=0), 2)}", flush=True)
        steps = last["environment_steps"]
        seconds.append(last["seconds"])
        metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        blocks = [metrics[i : i + BLOCK] for i in range(0, len(metrics) - BLOCK + 1, BLOCK)]
        curves.append([np.mean([line["return"] for line in block]) for block in blocks])
        at = np.array([block[-1]["environment_steps"] for block in blocks])
    stacked = {search: np.stack(found) for search, found in returns.items()}
    return Seeds(stacked, seconds, steps, np.array(curves), at)


def rows_of(found: Mapping[str, Seeds]) -> list[dict[str, Any]]:
    rows = [
        row(f"{label}, {name}: episode {e}", by_goal(seeds.returns[name])[:, :, e - 1])
        for label, seeds in found.items()
        for name, search in SEARCHES.items()
        for e in search.shown
    ]
    # Goal by goal, on the seeds that both have: they were judged on the same lives.
    ours, ablated = (by_goal(seeds.returns[HEADLINE])[:, :, -1] for seeds in found.values())
    gain = row(f"PEARL − deterministic z, {len(ablated)} seeds: episode 20", ours[: len(ablated)] - ablated)
    return [*rows, {**gain, "target": "> 0", "met": gain["value"] - gain["ci95"] > 0}]


def by_goal(returns: np.ndarray) -> np.ndarray:
    """[seeds, lives, E] -> [seeds, goals, E]: the lives on one goal are no further goals. Lives go round the goals."""
    seeds, lives, episodes = returns.shape
    return returns.reshape(seeds, lives // GOALS, GOALS, episodes).mean(axis=1)


def figure(curves: Mapping[str, Any], known: float) -> Figure:
    """`curves` as the result file has them: seeds thin, their mean bold; and what knowing the goal is worth."""
    from adaptax.report.style import (
        DASHES,
        PALE,
        PALETTE,
        SOFT,
        Label,
        count_ticks,
        label_lines,
        new_figure,
        plot_axes,
        styled,
    )

    with styled():
        drawn = new_figure()
        x = "environment steps of training (thin lines: seeds, bold: their mean)"
        axes = plot_axes(drawn, "Sparse point robot, training goals: last episodes of a trial", x, "sparse return")
        labels = [Label("known goal", known, SOFT)]
        axes.axhline(known, color=PALE, linewidth=1.0, linestyle=DASHES[0])
        for (name, found), colour in zip(curves.items(), PALETTE, strict=False):
            steps, values = found["environment_steps"], np.array(found["return"])
            axes.plot(steps, values.T, color=colour, linewidth=0.7, alpha=0.35)
            axes.plot(steps, values.mean(axis=0), color=colour, linewidth=2.0)
            labels.append(Label(name.removeprefix("PEARL, "), float(values[:, -1].mean()), colour, bold=True))
        axes.set_xlim(left=0)
        count_ticks(axes.xaxis)
        label_lines(axes, labels)
    return drawn


def main() -> None:
    from adaptax.report.style import save

    parser = arguments(__doc__ or "")
    parser.add_argument("--ablation-seeds", type=int, default=3, help="how many seeds of deterministic z, at most")
    options = parser.parse_args()
    fewer = argparse.Namespace(**{**vars(options), "seeds": min(options.seeds, options.ablation_seeds)})
    found = {label: trained(label, options if label == "PEARL" else fewer) for label in TRAINED}
    ours, exact = found["PEARL"], strategy_returns("posterior-sampling", ON, SETTINGS, SEARCHES[HEADLINE].protocol)
    known = known_goal(ON, SETTINGS, SEARCHES[HEADLINE].protocol)
    result = document(
        NAME,
        "PEARL, sparse point robot",
        "sparse return in episode 20",
        by_goal(ours.returns[HEADLINE])[:, :, -1],
        seeds=seeds_of(options),
        tasks=GOALS,
        steps=ours.steps,
        seconds=float(np.mean(ours.seconds)),
        note=NOTE,
        target=f">= {TARGET:.2f}",
        bounds=[known, ("exact belief", float(exact[:, -1].mean()))],
    )
    details = {
        label: {search: by_goal(returns).mean(axis=1).round(3).tolist() for search, returns in seeds.returns.items()}
        for label, seeds in found.items()
    }
    curves = {
        label: {"environment_steps": seeds.at.tolist(), "return": seeds.curves.round(2).tolist()}
        for label, seeds in found.items()
    }
    write({**result, "rows": rows_of(found), "details": details, "curves": curves})
    save(figure(curves, known[1]), FIGURE)


NOTE = (
    "20 held-out goals of the half circle, ten lives on each, z of two numbers; from the prior in the first 19 "
    "episodes, with drawn actions, then from the belief, with mean ones; the paper has curves only. 100 000 gradient "
    "steps on 16 × 32 transitions and contexts of 100, two layers of 128 units (published: z of 5, 16 × 256, 1 024, "
    "three layers of 300)"
)


if __name__ == "__main__":
    main()
