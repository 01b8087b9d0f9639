"""GMPS against MAML on the point robot with dense reward: `python benchmarks/gmps.py`.

Both train with the same network, α, tasks × streams, and are judged on the 20 held-out goals, by number of gradient
steps. MAML is trained twice: for as many meta-iterations as GMPS imitates, and for as many environment steps as GMPS
takes in all, those of its experts included. GMPS is also trained without DAgger (`relabel` off). The numbers of
iterations are those of the recipe; `--iterations` is not used.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from common import RESULTS, RUNS, arguments, interval, machine

from adaptax import api, provenance, registry
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
    for seed in range(options.seed, options.seed + options.seeds):
        out = RUNS / f"{NAME}-{list(TRAINED).index(label)}-seed{seed}"
        if not options.evaluate_only:
            resume = (out / "checkpoints").exists()
            api.train(
                name,
                ON,
                out=out,
                iterations=iterations,
                seed=seed,
                resume=resume,
                settings=SETTINGS,
                hyperparameters=given,
            )
        agent = api.load(out)
        result = evaluate(agent.algorithm, agent.benchmark, agent.benchmark.test, agent.params, PROTOCOL)
        returns.append(result.returns.astype(np.float64).sum(axis=-1).mean(axis=-1))
        steps = agent.iteration * agent.config["environment_steps_per_iteration"]
        seconds.append(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["seconds"])
        print(f"{label}, seed {seed}: {np.round(returns[-1].mean(axis=0), 2)} after {steps} steps", flush=True)
    return Seeds(np.stack(returns), seconds, steps)


def row(label: str, values: np.ndarray) -> dict[str, Any]:
    """One line of the table from returns [seeds, tasks]."""
    value, half = interval(values)
    print(f"{label}: {value:.2f} ± {half:.2f}", flush=True)
    return {"label": label, "value": value, "ci95": half, "published": None}


def rows_of(found: Mapping[str, Seeds]) -> list[dict[str, Any]]:
    rows = []
    for label, seeds in found.items():
        for steps in range(PROTOCOL.rounds):
            text = f"{label} ({seeds.steps / 1e6:g} M): {steps} gradient step{'' if steps == 1 else 's'}"
            rows.append(row(text, seeds.returns[:, :, steps]))
    # Differences task by task: all were judged on the same tasks.
    ours = found["GMPS"].returns[:, :, 1]
    rows += [row(f"GMPS − {label}: 1 gradient step", ours - found[label].returns[:, :, 1]) for label in list(found)[1:]]
    return rows


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    if "--seeds" not in sys.argv:
        options.seeds = 2
    found = {label: trained(label, options) for label in TRAINED}
    guided, rival = found["GMPS"], found["MAML, as many environment steps as GMPS"]
    value, half = interval(guided.returns[:, :, 1])
    target = round(float(rival.returns[:, :, 1].mean()), 2)
    on = registry.make_benchmark(ON, SETTINGS)
    known = registry.make_strategies(ON, on.spec)["known-goal"]()
    bound = evaluate(known, on, on.test, (), Protocol(tasks=20)).returns.mean()
    result = {
        "schema": 1,
        "recipe": NAME,
        "title": "GMPS, point robot, dense reward",
        "metric": "return after one gradient step",
        "seeds": list(range(options.seed, options.seed + options.seeds)),
        "tasks": PROTOCOL.tasks,
        "environment_steps": guided.steps,
        "seconds": float(np.mean(guided.seconds)),
        "value": value,
        "per_seed": guided.returns[:, :, 1].mean(axis=1).tolist(),
        "ci95": half,
        "published": None,
        "published_source": "",
        "bounds": [{"name": "known goal", "value": float(bound)}],
        "target": f">= {target:.2f}",
        "met": value >= target,
        "command": shlex.join(["python", *sys.argv]),
        "versions": provenance.versions(),
        "git": provenance.git_revision(),
        "machine": machine(),
        "note": NOTE,
        "rows": rows_of(found),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{NAME}.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


NOTE = (
    "the target is what MAML reaches with as many environment steps, of which GMPS spends two thirds on its experts; "
    "in brackets the environment steps of one seed's training"
)


if __name__ == "__main__":
    main()
