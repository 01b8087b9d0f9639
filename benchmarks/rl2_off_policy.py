"""Off-policy RL² from few environment steps: `python benchmarks/rl2_off_policy.py`.

`rl2-dqn` on bandits of 10 pulls and 5 arms and on GridNavi with all 21 goals, `rl2-sac` on 2-D navigation, each with
the defaults of its pair (`defaults.DEFAULTS`), judged at a few points of its training. `--only NAME …` runs some of the
three; each has a result file of its own. Agents are judged while they train, so there is no `--evaluate-only`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import common
import numpy as np
from common import RUNS, arguments, document, known_goal, row, seeds_of, write

from adaptax import api
from adaptax.names import registry
from adaptax.run.evaluate import Protocol, evaluate


class Cell(NamedTuple):
    """One pair of algorithm and benchmark: how it is judged, after which parts of its iterations, and beside what."""

    algorithm: str
    benchmark: str
    settings: Mapping[str, Any]
    title: str
    metric: str
    protocol: Protocol
    parts: Sequence[float]
    bounds: tuple[tuple[str, float], ...]
    note: str
    split: str = "test"
    target: str | None = None
    published: float | None = None
    source: str = ""
    best: tuple[float, ...] = ()  # what is possible in each episode, where those are tabled
    by_mean: bool = False  # whether agents are judged by their mean action, too


THIRDS = (1 / 3, 2 / 3, 1.0)
OPTIMUM = (4.0, 11.0714, 11.0714, 11.0714)  # of GridNavi
CELLS = {
    "rl2_dqn_bandit_10_5": Cell(
        "rl2-dqn",
        "bandit",
        {"arms": 5, "pulls": 10},
        "RL²-DQN, bandit, 10 pulls × 5 arms",
        "total reward per trial",
        Protocol(tasks=4000, episodes=10, seed=1),
        (1 / 2, 1.0),
        (("Bayes optimum", 6.660), ("Gittins", 6.6)),
        "off-policy, with a thirtieth of the steps that RL² with PPO takes here",
        target=">= 6.6",
        published=6.7,
        source="RL², Duan et al. 2016",
    ),
    "rl2_dqn_gridnavi": Cell(
        "rl2-dqn",
        "gridnavi",
        {"goals": "paper"},
        "RL²-DQN, GridNavi, all 21 goals, 4 episodes",
        "total return per trial",
        Protocol(tasks=420, episodes=4, seed=1),
        THIRDS,
        (("Bayes-optimal", sum(OPTIMUM)), ("posterior sampling", 11.52)),
        "training and judgement are on the same 21 goals, as published: this measures exploration, not generalisation",
        best=OPTIMUM,
    ),
    "rl2_sac_navigation": Cell(
        "rl2-sac",
        "navigation",
        {},
        "RL²-SAC, 2-D navigation, one episode",
        "return per episode",
        Protocol(tasks=40, streams=10, seed=1),
        THIRDS,
        (("oracle in the paper", -2.29), ("staying at the origin", -40.08)),
        "the 40 published goals, ten trials of one episode on each. A judged agent draws its actions, as in training; "
        "MAML's published gradient step is on 20 episodes",
        split="published",
        published=-11.68,
        source="MAML after one step, Finn et al. 2017",
        by_mean=True,
    ),
}


class Point(NamedTuple):
    """All seeds after as many meta-iterations."""

    returns: np.ndarray  # [seeds, tasks, episodes]
    by_mean: np.ndarray | None  # the same with the policy's mean action; None where that is not asked for
    steps: int
    seconds: list[float]


def judged(agent: api.Trained, cell: Cell, **fields: Any) -> np.ndarray:
    """Returns [tasks, episodes] of the agent with other values of some `fields`."""
    tasks, algorithm = agent.benchmark.split(cell.split), replace(agent.algorithm, **fields)  # type: ignore[type-var]
    found = evaluate(algorithm, agent.benchmark, tasks, agent.params, cell.protocol)
    return found.returns[:, 0].astype(np.float64).mean(axis=1)


def point_of(name: str, iterations: int, options: Any) -> Point:
    """Every seed trained on until it has had as many meta-iterations, and judged."""
    cell = CELLS[name]
    returns, by_mean, seconds, steps = [], [], [], 0
    for seed in seeds_of(options):
        out = RUNS / f"{name}-seed{seed}"
        agent, last = common.trained(
            out, cell.algorithm, cell.benchmark, options, iterations, seed, settings=cell.settings
        )
        if last["iteration"] != iterations:
            done = last["iteration"]
            raise SystemExit(f"{out} has had {done} meta-iterations and is to be judged after {iterations}: delete it")
        returns.append(judged(agent, cell))
        if cell.by_mean:
            by_mean.append(judged(agent, cell, judged_by_mean=True))
        steps, each = last["environment_steps"], returns[-1].mean(axis=0).round(2)
        seconds.append(last["seconds"])
        print(f"{cell.title}, seed {seed}: {each} after {steps} steps, {seconds[-1]:.0f} s", flush=True)
    return Point(np.stack(returns), np.stack(by_mean) if by_mean else None, steps, seconds)


def rows_of(cell: Cell, points: Sequence[Point]) -> list[dict[str, Any]]:
    """What the earlier points, single episodes and the mean action give."""
    last = points[-1]
    rows = [row(f"after {point.steps / 1e6:.2f} M steps", point.returns.sum(axis=2)) for point in points[:-1]]
    for episode, best in enumerate(cell.best):
        bounds = [{"name": "Bayes-optimal", "value": best}]
        rows.append(row(f"episode {episode + 1}", last.returns[:, :, episode], bounds=bounds))
    if last.by_mean is not None:
        rows.append(row("by the mean action", last.by_mean.sum(axis=2)))
    return rows


def measured(name: str, options: Any) -> None:
    """Train and judge one cell, and write its result file."""
    cell = CELLS[name]
    iterations = options.iterations or registry.defaults(cell.algorithm, cell.benchmark).iterations
    points = [point_of(name, max(1, round(part * iterations)), options) for part in cell.parts]
    bounds = list(cell.bounds)
    if cell.benchmark == "navigation":
        bounds.insert(0, known_goal(cell.benchmark, cell.settings, cell.protocol, cell.split))
    result = document(
        name,
        cell.title,
        cell.metric,
        points[-1].returns.sum(axis=2),
        seeds=seeds_of(options),
        tasks=cell.protocol.tasks,
        steps=points[-1].steps,
        seconds=float(np.mean(points[-1].seconds)),
        note=cell.note,
        target=cell.target,
        published=cell.published,
        source=cell.source,
        bounds=bounds,
    )
    by_seed = {str(point.steps): point.returns.sum(axis=2).mean(axis=1).round(3).tolist() for point in points}
    write({**result, "rows": rows_of(cell, points), "details": {"return by steps and seed": by_seed}})


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument(
        "--only", nargs="+", choices=list(CELLS), default=list(CELLS), metavar="NAME", help="some cells"
    )
    options = parser.parse_args()
    if options.evaluate_only:
        parser.error("agents are judged while they are trained")
    for name in options.only:
        measured(name, options)


if __name__ == "__main__":
    main()
