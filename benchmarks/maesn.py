"""MAESN and MAML on the sparse point robot: `python benchmarks/maesn.py`.

Both are meta-trained on the 80 published training goals with dense rewards and judged on the 20 others with sparse
ones, which are zero outside a disc of radius 0.2 around the goal: the agent has to find it first. MAML has the same
network, tasks × streams, iterations and outer step. Judged are 16 rounds of 20 episodes, with a gradient step after
each; MAML also with its step size halved after the first step, as published.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import common
import numpy as np
from common import RUNS, arguments, document, known_goal, row, seeds_of, steps_of, write

from adaptax import api
from adaptax.run.evaluate import Protocol, evaluate

NAME, ON = "maesn", "sparse-navigation"
SETTINGS = {"dense_training": True, "goals": "paper"}
ITERATIONS = 300
SHARED = {"tasks": 20, "streams": 20, "hidden": (100, 100)}
TRAINED = {
    "MAESN": ("maesn", {"learn_step_sizes": False, "step_size": 0.5, "later_step_scale": 0.9}),
    "MAESN, learned step sizes": ("maesn", {"learn_step_sizes": True, "step_size": 0.5, "later_step_scale": 0.9}),
    "MAML": ("maml-trpo", {"step_size": 0.5}),
}
PROTOCOL = Protocol(tasks=20, rounds=16, streams=20, seed=1)
SHOWN = (0, 1, 3, 7, 15)  # gradient steps whose numbers are tabled


def trained(name: str, options: Any) -> tuple[list[api.Trained], float]:
    """The agents of all seeds, and the mean of their training times."""
    algorithm, own = TRAINED[name]
    agents, seconds = [], []
    for seed in seeds_of(options):
        out = RUNS / f"{NAME}-{name.lower().replace(', ', '-').replace(' ', '-')}-seed{seed}"
        given = {"settings": SETTINGS, "hyperparameters": {**SHARED, **own}}
        agent, last = common.trained(out, algorithm, ON, options, options.iterations or ITERATIONS, seed, **given)
        agents.append(agent)
        seconds.append(last["seconds"])
        print(f"{name}, seed {seed}: trained in {seconds[-1]:.0f} s", flush=True)
    return agents, float(np.mean(seconds))


def judged(agents: list[api.Trained]) -> tuple[np.ndarray, np.ndarray]:
    """Sparse returns and shares of episodes that reach the goal [seeds, tasks, rounds]."""
    found = [evaluate(a.algorithm, a.benchmark, a.benchmark.test, a.params, PROTOCOL) for a in agents]
    returns = np.stack([e.returns.astype(np.float64).mean(axis=(2, 3)) for e in found])
    return returns, np.stack([e.success.astype(np.float64).mean(axis=(2, 3)) for e in found])


def rows_of(name: str, returns: np.ndarray, success: np.ndarray) -> list[dict[str, Any]]:
    return [
        row(f"{name}, {what} after {steps_of(steps)}", values[:, :, steps])
        for values, what in ((returns, "return"), (success, "share of episodes at the goal"))
        for steps in SHOWN
    ]


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    found, rows, curves, seconds, steps = {}, [], {}, 0.0, 0
    for name in TRAINED:
        agents, took = trained(name, options)
        found[name] = judged(agents)
        rows += rows_of(name, *found[name])
        curves[name] = {"return": found[name][0].mean(axis=1).round(3).tolist()}
        if name == "MAESN":
            seconds, steps = took, agents[0].iteration * agents[0].config.environment_steps_per_iteration
        if name == "MAML":  # all steps of one size, as MAESN's first ones are
            same = [a._replace(algorithm=replace(a.algorithm, later_step_scale=1.0)) for a in agents]  # type: ignore[type-var]
            rows += rows_of("MAML, no step halved", *judged(same))
    last, best = found["MAESN"][0][:, :, -1], found["MAML"][0][:, :, -1]
    gain = row("MAESN − MAML, return after 15 gradient steps", last - best)
    rows.append({**gain, "target": "> 0", "met": gain["value"] - gain["ci95"] > 0})
    result = document(
        NAME,
        "MAESN, sparse point robot, trained on dense rewards",
        "sparse return after 15 gradient steps",
        last,
        seeds=seeds_of(options),
        tasks=PROTOCOL.tasks,
        steps=steps,
        seconds=seconds,
        note=NOTE,
        bounds=[known_goal(ON, SETTINGS, PROTOCOL)],
    )
    write({**result, "rows": rows, "details": curves})


NOTE = (
    "judged on 20 held-out goals of the half circle, 20 episodes of 20 steps before each gradient step (published: "
    "10 000 steps before each of 100). PEARL's paper has MAESN on this robot as a curve only"
)

if __name__ == "__main__":
    main()
