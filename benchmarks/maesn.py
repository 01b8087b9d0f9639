"""MAESN and MAML on the sparse point robot: `python benchmarks/maesn.py`.

Both are meta-trained on the 80 published training goals with dense rewards and judged on the 20 others with sparse
ones, which are zero outside a disc of radius 0.2 around the goal: the agent has to find it first. MAML has the same
network, tasks × streams, iterations and outer step. Judged are 16 rounds of 20 episodes, with a gradient step after
each; MAML also with its step size halved after the first step, as published.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from common import RESULTS, RUNS, arguments, interval, machine

from adaptax import api, provenance, registry
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
    for seed in range(options.seed, options.seed + options.seeds):
        out = RUNS / f"{NAME}-{name.lower().replace(', ', '-').replace(' ', '-')}-seed{seed}"
        if not options.evaluate_only:
            api.train(
                algorithm,
                ON,
                out=out,
                iterations=options.iterations or ITERATIONS,
                seed=seed,
                devices=options.devices,
                resume=(out / "checkpoints").exists(),
                settings=SETTINGS,
                hyperparameters={**SHARED, **own},
            )
        agents.append(api.load(out))
        seconds.append(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["seconds"])
        print(f"{name}, seed {seed}: trained in {seconds[-1]:.0f} s", flush=True)
    return agents, float(np.mean(seconds))


def judged(agents: list[api.Trained]) -> tuple[np.ndarray, np.ndarray]:
    """Sparse returns and shares of episodes that reach the goal [seeds, tasks, rounds]."""
    found = [evaluate(a.algorithm, a.benchmark, a.benchmark.test, a.params, PROTOCOL) for a in agents]
    returns = np.stack([e.returns.astype(np.float64).mean(axis=(2, 3)) for e in found])
    return returns, np.stack([e.success.astype(np.float64).mean(axis=(2, 3)) for e in found])


def rows_of(name: str, returns: np.ndarray, success: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for values, what in ((returns, "return"), (success, "share of episodes at the goal")):
        for steps in SHOWN:
            value, half = interval(values[:, :, steps])
            label = f"{name}, {what} after {steps} gradient step{'' if steps == 1 else 's'}"
            rows.append({"label": label, "value": value, "ci95": half, "published": None})
            print(f"{label}: {value:.2f} ± {half:.2f}", flush=True)
    return rows


def main() -> None:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    found, rows, curves, seconds, steps = {}, [], {}, 0.0, 0
    for name in TRAINED:
        agents, took = trained(name, options)
        found[name] = judged(agents)
        rows += rows_of(name, *found[name])
        curves[name] = {"return": found[name][0].mean(axis=1).round(3).tolist()}
        if name == "MAESN":
            seconds, steps = took, agents[0].iteration * agents[0].config["environment_steps_per_iteration"]
        if name == "MAML":  # all steps of one size, as MAESN's first ones are
            same = [a._replace(algorithm=replace(a.algorithm, later_step_scale=1.0)) for a in agents]  # type: ignore[type-var]
            rows += rows_of("MAML, no step halved", *judged(same))
    last, best = found["MAESN"][0][:, :, -1], found["MAML"][0][:, :, -1]
    value, half = interval(last)
    gain, gain_half = interval(last - best)
    line: dict[str, Any] = {"label": "MAESN − MAML, return after 15 gradient steps", "value": gain, "ci95": gain_half}
    rows.append({**line, "published": None, "target": "> 0", "met": gain - gain_half > 0})
    on = registry.make_benchmark(ON, SETTINGS)
    known = registry.make_strategies(ON, on.spec)["known-goal"]()
    bound = float(evaluate(known, on, on.test, (), replace(PROTOCOL, rounds=1)).returns.mean())
    result = {
        "schema": 1,
        "recipe": NAME,
        "title": "MAESN, sparse point robot, trained on dense rewards",
        "metric": "sparse return after 15 gradient steps",
        "seeds": list(range(options.seed, options.seed + options.seeds)),
        "tasks": PROTOCOL.tasks,
        "environment_steps": steps,
        "seconds": seconds,
        "value": value,
        "per_seed": last.mean(axis=1).tolist(),
        "ci95": half,
        "published": None,
        "published_source": "",
        "bounds": [{"name": "known goal", "value": bound}],
        "target": None,
        "met": None,
        "command": shlex.join(["python", *sys.argv]),
        "versions": provenance.versions(),
        "git": provenance.git_revision(),
        "machine": machine(),
        "note": NOTE,
        "rows": rows,
        "details": curves,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{NAME}.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


NOTE = (
    "judged on 20 held-out goals of the half circle, 20 episodes of 20 steps before each gradient step (published: "
    "10 000 steps before each of 100). PEARL's paper has MAESN on this robot as a curve only"
)

if __name__ == "__main__":
    main()
