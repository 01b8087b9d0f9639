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

import common
import numpy as np
from common import RESULTS, RUNS, arguments, document, row, seeds_of, steps_of, write

from adaptax import api
from adaptax.names import provenance
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
    iterations = options.iterations or plan.iterations
    agent, last = common.trained(out, name, ON, options, iterations, seed, hyperparameters=plan.hyperparameters)
    return agent, last["seconds"], last["environment_steps"]


def judged(name: str, options: Any) -> dict[str, Any]:
    """One agent's numbers: returns [seeds, tasks, rounds] summed up, and what they cost."""
    returns, seconds, steps = [], [], 0
    for seed in seeds_of(options):
        agent, took, steps = train(name, seed, options)
        tasks = agent.benchmark.split(SPLIT)
        found = evaluate(agent.algorithm, agent.benchmark, tasks, agent.params, PROTOCOL).returns
        returns.append(found.astype(np.float64).sum(axis=-1).mean(axis=-1))
        seconds.append(took)
        print(f"{name}, seed {seed}: {np.round(returns[-1].mean(axis=0), 2)} in {took:.0f} s", flush=True)
    by_round = np.stack(returns, axis=-1).transpose(1, 2, 0)  # [rounds, seeds, tasks]
    rows = [row(f"{name}, after {steps_of(r)}", values) for r, values in enumerate(by_round)]
    return {"rows": rows, "seconds": float(np.mean(seconds)), "environment_steps": steps}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=2)
    parser.add_argument("--only", nargs="+", choices=list(PLANS), default=list(PLANS), help="some of the agents")
    options = parser.parse_args()
    details = json.loads(PATH.read_text())["details"] if PATH.exists() else {}
    for name in options.only:
        made_by = {"command": shlex.join(["python", *sys.argv]), "git": provenance.git_revision()}
        details[name] = judged(name, options) | made_by
    best = details["promp"]
    result = document(
        NAME,
        "2-D navigation, MAML's descendants, ProMP",
        "return after one gradient step",
        None,
        seeds=seeds_of(options),
        tasks=PROTOCOL.tasks,
        steps=best["environment_steps"],
        seconds=best["seconds"],
        note=NOTE,
    )
    result |= {key: best["rows"][1][key] for key in ("value", "ci95")}
    rows = [line for name in PLANS if name in details for line in details[name]["rows"]]
    write({**result, "rows": rows, "details": details})


NOTE = (
    "one setting an algorithm, not tuned one by one; the same goals and judgement as MAML's own row. Published numbers "
    "for these are of variants with other step sizes and action ranges and do not compare"
)

if __name__ == "__main__":
    main()
