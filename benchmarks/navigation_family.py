"""MAML and its descendants on the 40 published goals of 2-D navigation: `python benchmarks/navigation_family.py`.

Agents that adapt by gradient steps, each with the outer step that is its own, judged on the same goals after 0 to 3
gradient steps (`maml`, `maml-trpo` and its first-order variant have recipes of their own, with more seeds).
`--only NAME …` trains and judges some of them anew and keeps the others' rows.
"""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from common import RESULTS, RUNS, arguments, interval, machine

from adaptax import api, provenance
from adaptax.run.evaluate import Protocol, evaluate

NAME, ON, SPLIT = "navigation_family", "navigation", "published"
PROTOCOL = Protocol(tasks=40, rounds=4, streams=40, seed=1)
PATH = RESULTS / f"{NAME}.json"


class Plan(NamedTuple):
    """What differs from the pair's defaults, and for how many meta-iterations it trains."""

    iterations: int
    hyperparameters: dict[str, Any] = {}


_TRUST = {"tasks": 20}
PLANS = {
    "e-maml": Plan(100, _TRUST),
    "boil": Plan(100, _TRUST),
    "cavia": Plan(100, _TRUST),
    "promp": Plan(150),
    "fomaml": Plan(500),
    "anil": Plan(500),
    "meta-sgd": Plan(500),
    "reptile": Plan(300),
    "multitask-ppo": Plan(100),
}


def train(name: str, seed: int, options: Any) -> tuple[api.Trained, float, int]:
    """The trained agent, the seconds and the environment steps that it took."""
    plan, out = PLANS[name], RUNS / f"{NAME}-{name}-seed{seed}"
    if not options.evaluate_only:
        api.train(
            name,
            ON,
            out=out,
            iterations=options.iterations or plan.iterations,
            seed=seed,
            devices=options.devices,
            resume=(out / "checkpoints").exists(),
            hyperparameters=plan.hyperparameters,
        )
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    return api.load(out), last["seconds"], last["environment_steps"]


def judged(name: str, options: Any) -> dict[str, Any]:
    """One agent's numbers: returns [seeds, tasks, rounds] summed up, and what they cost."""
    returns, seconds, steps = [], [], 0
    for seed in range(options.seed, options.seed + options.seeds):
        agent, took, steps = train(name, seed, options)
        tasks = agent.benchmark.split(SPLIT)
        found = evaluate(agent.algorithm, agent.benchmark, tasks, agent.params, PROTOCOL).returns
        returns.append(found.astype(np.float64).sum(axis=-1).mean(axis=-1))
        seconds.append(took)
        print(f"{name}, seed {seed}: {np.round(returns[-1].mean(axis=0), 2)} in {took:.0f} s", flush=True)
    by_round = [interval(np.stack(returns)[:, :, r]) for r in range(PROTOCOL.rounds)]
    rows = [
        {"label": f"{name}, after {r} gradient step{'' if r == 1 else 's'}", "value": value, "ci95": half,
         "published": None}
        for r, (value, half) in enumerate(by_round)
    ]  # fmt: skip
    return {"rows": rows, "seconds": float(np.mean(seconds)), "environment_steps": steps}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=list(PLANS), default=list(PLANS), help="some of the agents")
    options = parser.parse_args()
    if "--seeds" not in sys.argv:
        options.seeds = 2
    if options.devices > 1:  # before JAX starts
        jax.config.update("jax_num_cpu_devices", options.devices)
    details = json.loads(PATH.read_text())["details"] if PATH.exists() else {}
    for name in options.only:
        made_by = {"command": shlex.join(["python", *sys.argv]), "git": provenance.git_revision()}
        details[name] = judged(name, options) | made_by
    best = details["promp"]
    result = {
        "schema": 1,
        "recipe": NAME,
        "title": "2-D navigation, MAML's descendants, ProMP",
        "metric": "return after one gradient step",
        "seeds": list(range(options.seed, options.seed + options.seeds)),
        "tasks": PROTOCOL.tasks,
        "environment_steps": best["environment_steps"],
        "seconds": best["seconds"],
        "value": best["rows"][1]["value"],
        "ci95": best["rows"][1]["ci95"],
        "published": None,
        "published_source": "",
        "bounds": [],
        "target": None,
        "met": None,
        "command": shlex.join(["python", *sys.argv]),
        "versions": provenance.versions(),
        "git": provenance.git_revision(),
        "machine": machine(),
        "note": NOTE,
        "rows": [row for name in PLANS if name in details for row in details[name]["rows"]],
        "details": details,
    }
    RESULTS.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


NOTE = (
    "one setting an algorithm, not tuned one by one; the same goals and judgement as MAML's own row. Published numbers "
    "for these are of variants with other step sizes and action ranges and do not compare"
)

if __name__ == "__main__":
    main()
