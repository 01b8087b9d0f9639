"""Meta-World's ML1-reach: `python benchmarks/meta_world.py` (needs `[metaworld]`).

MAML-TRPO, which adapts by gradients between rounds of ten episodes, and RL², whose memory goes through five episodes,
trained on the 50 goals and judged on the 50 others: the share of episodes with a success in any step, which is the
published measure, and in the last step, by the episodes that were lived on the goal before. Episodes have 150 steps, as
in older code. MAML has 2.4 M steps and RL² 4.5 M.
"""

from __future__ import annotations

import shlex
import sys
from typing import Any, NamedTuple

import common
import numpy as np
from common import RUNS, arguments, document, row, seeds_of, write

from adaptax.run.evaluate import Protocol, evaluate

ON, SETTINGS = "metaworld-ml1", {"family": "reach-v3", "horizon": 150}
GOALS = 50  # for testing


class Agent(NamedTuple):
    """What is trained, on how many episodes a trial, for how many meta-iterations, and how it is judged. `after` are
    the rounds or the episodes that are tabled."""

    algorithm: str
    episodes: int
    iterations: int
    judged: dict[str, int]
    hyperparameters: dict[str, Any]
    after: tuple[int, ...]


AGENTS = {
    "MAML-TRPO": Agent(
        "maml-trpo",
        1,
        80,
        {"tasks": GOALS, "rounds": 3, "streams": 10},
        {"tasks": 10, "streams": 10, "hidden": (64, 64), "step_size": 0.1},
        (0, 1, 2),
    ),
    "RL²": Agent(
        "rl2",
        5,
        300,
        {"tasks": 4 * GOALS, "episodes": 5},
        {"tasks": 20, "minibatches": 5, "epochs": 5, "learning_rate": 5e-4, "decay": 300, "discount": 0.95},
        (0, 1, 2, 4),
    ),
}


class Judged(NamedTuple):
    """[seeds, goals, points]: by round, or by episode of a trial."""

    returns: np.ndarray
    success: np.ndarray
    final: np.ndarray
    seconds: list[float]
    steps: int


def judged(label: str, options: Any) -> Judged:
    agent = AGENTS[label]
    found, seconds, steps = [], [], 0
    for seed in seeds_of(options):
        given = {"settings": {**SETTINGS, "episodes": agent.episodes}, "hyperparameters": agent.hyperparameters}
        out, iterations = RUNS / f"meta-world-{agent.algorithm}-seed{seed}", options.iterations or agent.iterations
        trained, last = common.trained(out, agent.algorithm, ON, options, iterations, seed, **given)
        protocol = Protocol(seed=1, **agent.judged)
        result = evaluate(trained.algorithm, trained.benchmark, trained.benchmark.test, trained.params, protocol)
        found.append([by_goal(x) for x in result[:3]])
        seconds.append(last["seconds"])
        steps = last["environment_steps"]
    return Judged(*(np.stack(each) for each in zip(*found, strict=True)), seconds, steps)


def by_goal(values: np.ndarray) -> np.ndarray:
    """Means [goals, points] of [N, R, B, E] over streams, and over the lives on a goal: goals come round again. Rounds
    or episodes are the points."""
    each = values.astype(np.float64).mean(axis=2).reshape(len(values), -1)
    return each.reshape(-1, GOALS, each.shape[1]).mean(axis=0)


def rows_of(label: str, found: Judged) -> list[dict[str, Any]]:
    agent, rows = AGENTS[label], []
    each = agent.judged.get("streams", 1)  # episodes before one point and the next
    for k in agent.after:
        after = f"{label}, {k * each} episodes before"
        rows.append(row(f"{after}: success in any step, %", 100 * found.success[:, :, k]))
        rows.append(row(f"{after}: success in the last step, %", 100 * found.final[:, :, k]))
        rows.append(row(f"{after}: return", found.returns[:, :, k]))
    last = agent.after[-1]
    gain = row(f"{label}: gain in success in any step, %", 100 * (found.success[:, :, last] - found.success[:, :, 0]))
    return [*rows, {**gain, "target": "> 0", "met": gain["value"] - gain["ci95"] > 0}]


def main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--only", nargs="+", choices=list(AGENTS), default=list(AGENTS), metavar="NAME")
    options = parser.parse_args()
    command = shlex.join(["python", *sys.argv])
    for label in options.only:
        found = judged(label, options)
        result = document(
            f"meta_world_{AGENTS[label].algorithm.replace('-', '_')}",
            f"{label}, Meta-World ML1-reach, 50 unseen goals",
            "success in any step, %",
            100 * found.success[:, :, AGENTS[label].after[-1]],
            seeds=seeds_of(options),
            tasks=GOALS,
            steps=found.steps,
            seconds=float(np.mean(found.seconds)),
            note="episodes of 150 steps; a policy that does not adapt reaches some goals, too",
        )
        curves = {name: getattr(found, name).mean(axis=1).round(4).tolist() for name in ("returns", "success", "final")}
        write({**result, "command": command, "rows": rows_of(label, found), "details": curves})


if __name__ == "__main__":
    main()
