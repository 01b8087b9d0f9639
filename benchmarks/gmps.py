"""GMPS against MAML on the point robot with dense reward: `python benchmarks/gmps.py`.

Both train with the same network, α, tasks × streams, and are judged on the 20 held-out goals, by number of gradient
steps. MAML is trained twice: for as many meta-iterations as GMPS imitates, and for as many environment steps as GMPS
takes in all, those of its experts included. GMPS is also trained without DAgger (`relabel` off). The numbers of
iterations are those of the recipe; `--iterations` is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import common
import numpy as np
from common import RUNS, arguments, document, known_goal, row, seeds_of, steps_of, write

from adaptax.run.evaluate import Protocol, evaluate

NAME = "gmps"
ON, SETTINGS = "sparse-navigation", {"dense": True}
EXPERTS, IMITATION = 40, 20
SHARED = {"hidden": (100, 100), "tasks": 40, "streams": 5, "step_size": 0.5}
GUIDED = {**SHARED, "expert_iterations": EXPERTS}
TOTAL = EXPERTS + IMITATION
# label: algorithm, meta-iterations, hyper-parameters
TRAINED: Mapping[str, tuple[str, int, Mapping[str, Any]]] = {
    "GMPS": ("gmps", TOTAL, GUIDED),
    "GMPS without DAgger": ("gmps", TOTAL, {**GUIDED, "relabel": False}),
    "MAML, as many meta-iterations as GMPS imitates": ("maml", IMITATION, SHARED),
    "MAML, as many environment steps as GMPS": ("maml", TOTAL, SHARED),
}
PROTOCOL = Protocol(tasks=20, rounds=3, streams=20, seed=1)


class Seeds(NamedTuple):
    """What was trained under one label: returns [seeds, tasks, rounds], seconds by seed, environment steps."""

    returns: np.ndarray
    seconds: list[float]
    steps: int


def trained(label: str, options: Any) -> Seeds:
    name, iterations, given = TRAINED[label]
    returns, seconds, steps = [], [], 0
    for seed in seeds_of(options):
        out = RUNS / f"{NAME}-{list(TRAINED).index(label)}-seed{seed}"
        agent, last = common.trained(out, name, ON, options, iterations, seed, settings=SETTINGS, hyperparameters=given)
        result = evaluate(agent.algorithm, agent.benchmark, agent.benchmark.test, agent.params, PROTOCOL)
        returns.append(result.returns.astype(np.float64).sum(axis=-1).mean(axis=-1))
        steps = last["environment_steps"]
        seconds.append(last["seconds"])
        print(f"{label}, seed {seed}: {np.round(returns[-1].mean(axis=0), 2)} after {steps} steps", flush=True)
    return Seeds(np.stack(returns), seconds, steps)


def rows_of(found: Mapping[str, Seeds]) -> list[dict[str, Any]]:
    rows = []
    for label, seeds in found.items():
        for steps in range(PROTOCOL.rounds):
            rows.append(row(f"{label} ({seeds.steps / 1e6:g} M): {steps_of(steps)}", seeds.returns[:, :, steps]))
    # Differences task by task: all were judged on the same tasks.
    ours = found["GMPS"].returns[:, :, 1]
    rows += [row(f"GMPS − {label}: 1 gradient step", ours - found[label].returns[:, :, 1]) for label in list(found)[1:]]
    return rows


def main() -> None:
    options = arguments(__doc__ or "", seeds=2).parse_args()
    found = {label: trained(label, options) for label in TRAINED}
    guided, rival = found["GMPS"], found["MAML, as many environment steps as GMPS"]
    result = document(
        NAME,
        "GMPS, point robot, dense reward",
        "return after one gradient step",
        guided.returns[:, :, 1],
        seeds=seeds_of(options),
        tasks=PROTOCOL.tasks,
        steps=guided.steps,
        seconds=float(np.mean(guided.seconds)),
        note=NOTE,
        target=f">= {rival.returns[:, :, 1].mean():.2f}",
        bounds=[known_goal(ON, SETTINGS, PROTOCOL)],
    )
    write({**result, "rows": rows_of(found)})


NOTE = (
    "the target is what MAML reaches with as many environment steps, of which GMPS spends two thirds on its experts; "
    "in brackets the environment steps of one seed's training"
)


if __name__ == "__main__":
    main()
