"""HyperX and VariBAD on the multi-stage rooms: `python benchmarks/hyperx.py`.

Both have the same settings and train on all 48 tasks for as many environment steps; HyperX learns from bonuses too.
They are judged without bonuses: the return, and which of the three goals an episode reaches.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from common import RUNS, arguments, document, known_goal, row, seeds_of, write

from adaptax.run.evaluate import Evaluation, Protocol, evaluate

NAME, ON = "hyperx", "rooms"
AGENTS = {"HyperX": "hyperx", "VariBAD": "varibad"}
ITERATIONS = 2000  # of 32 trials of 50 steps: 3.2 M steps, where the paper has 100 M
SETTINGS = {"goals": "paper"}
PROTOCOL = Protocol(tasks=480, seed=1, shown_tasks=480, shown_streams=1)


def measured(name: str, seed: int, options: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Returns [tasks], how many goals each episode reaches in their order [tasks], and the metrics' last row."""
    iterations = options.iterations or ITERATIONS
    own = {"anneal": iterations} if name == "HyperX" else {}
    out = RUNS / f"{NAME}-{AGENTS[name]}-seed{seed}"
    given = {"settings": SETTINGS, "hyperparameters": own, "log_every": 10}
    agent, last = common.trained(out, AGENTS[name], ON, options, iterations, seed, **given)
    found = evaluate(agent.algorithm, agent.benchmark, agent.benchmark.test, agent.params, PROTOCOL)
    returns = found.returns[:, 0, 0, 0].astype(np.float64)
    print(f"{name}, seed {seed}: {returns.mean():.1f} in {last['seconds']:.0f} s", flush=True)
    return returns, goals_reached(found), last


def goals_reached(found: Evaluation) -> np.ndarray:
    """0 to 3 for each task, from the positions before each of the 50 steps, and from success for the third goal."""
    places, goals = found.observations[:, 0, 0], np.asarray(found.tasks.goals)
    assert len(places) == len(goals), "the positions of all tasks are needed"
    first, second = (np.all(places == goals[:, None, k], axis=-1) for k in range(2))
    since_first = np.cumsum(first, axis=1) > 0
    reached = since_first[:, -1].astype(int) + np.any(second & since_first, axis=1)
    return np.where(found.success[:, 0, 0, 0] > 0, 3, reached)


def main() -> None:
    options = arguments(__doc__ or "", seeds=1).parse_args()
    seeds = seeds_of(options)
    found = {name: [measured(name, seed, options) for seed in seeds] for name in AGENTS}
    returns = {name: np.stack([returns for returns, _, _ in each]) for name, each in found.items()}
    rows = [row("VariBAD", returns["VariBAD"])]
    for name, each in found.items():
        reached = np.stack([reached for _, reached, _ in each])
        for goal in (1, 2, 3):
            rows.append(row(f"{name}, share of episodes that reach goal {goal}", (reached >= goal).astype(float)))
    lasts = {name: [last for _, _, last in each] for name, each in found.items()}
    result = document(
        NAME,
        "HyperX, multi-stage rooms, one episode",
        "return per episode",
        returns["HyperX"],
        seeds=seeds,
        tasks=PROTOCOL.tasks,
        steps=lasts["HyperX"][0]["environment_steps"],
        seconds=float(np.mean([last["seconds"] for last in lasts["HyperX"]])),
        note=NOTE,
        bounds=[known_goal(ON, SETTINGS, PROTOCOL)],
    )
    seconds = {name: [last["seconds"] for last in each] for name, each in lasts.items()}
    details = {"seconds": seconds, "per_seed": {name: values.mean(axis=1).tolist() for name, values in returns.items()}}
    write({**result, "rows": rows, "details": details})


NOTE = (
    "training and judgement are on the same 48 tasks, as in the paper: this measures exploration, not generalisation. "
    "Agents act by chance, as in training. A thirtieth of the published 100 M steps; the paper shows curves only"
)


if __name__ == "__main__":
    main()
