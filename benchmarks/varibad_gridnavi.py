"""VariBAD and RL² on GridNavi with all 21 goals, as published: `python benchmarks/varibad_gridnavi.py`.

Both train on trials of 4 episodes for as many environment steps, and are judged on the same trials of 6 episodes: by
episode, beside the Bayes-optimal agent, once by their most likely actions, as the authors of VariBAD evaluate, and once
by actions that are drawn as in training. A figure shows what the first seed's belief expects of every cell while it
explores.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import RUNS, arguments, document, row, seeds_of, write

from adaptax import api
from adaptax.names import registry
from adaptax.names.results import RunEvaluator
from adaptax.run.evaluate import Protocol, evaluate

NAME, ON = "varibad_gridnavi", "gridnavi"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "varibad-belief.png"

AGENTS: dict[str, tuple[str, int, dict[str, Any]]] = {  # both for the published 20 M steps
    "VariBAD": ("varibad", 20_833, {}),
    "RL²": ("rl2", 1302, {"decay": 1302}),
}
TRAINED, JUDGED = 4, 6  # episodes per trial
GOALS = 21
OPTIMUM = (4.0, *[11.0714] * (JUDGED - 1))
TARGET = 0.95 * sum(OPTIMUM[:TRAINED])
PROTOCOL = Protocol(tasks=20 * GOALS, episodes=JUDGED, seed=1)
WAYS = {"": True, ", drawn actions": False}  # whether an agent is deterministic


def measured(name: str, seed: int, options: Any) -> tuple[api.Trained, dict[str, np.ndarray], dict[str, Any]]:
    """The trained agent, its returns [goals, episodes] by way of acting, and the last row of its metrics."""
    algorithm, iterations, own = AGENTS[name]
    out = RUNS / f"{NAME}-{algorithm}-seed{seed}"
    given = {"settings": {"goals": "paper", "episodes": TRAINED}, "hyperparameters": own}
    agent, last = common.trained(out, algorithm, ON, options, options.iterations or iterations, seed, **given)
    longer = registry.make_benchmark(ON, {"goals": "paper", "episodes": JUDGED})
    returns = {}
    for way, deterministic in WAYS.items():
        protocol = replace(PROTOCOL, deterministic=deterministic)
        found = evaluate(agent.algorithm, longer, longer.test, agent.params, protocol)
        # Lives go round the goals; the lives on one goal are no further goals.
        returns[way] = found.returns[:, 0, 0].astype(np.float64).reshape(-1, GOALS, JUDGED).mean(axis=0)
        print(f"{name}, seed {seed}{way}: {returns[way].mean(axis=0).round(2)} in {last['seconds']:.0f} s", flush=True)
    return agent, returns, last


def rows_of(name: str, returns: np.ndarray) -> list[dict[str, Any]]:
    """By episode, of returns [seeds, goals, episodes]."""
    values = {f"{name}, episode {e + 1}": (returns[:, :, e], OPTIMUM[e]) for e in range(JUDGED)}
    values[f"{name}, episodes 1 to {TRAINED}"] = (returns[:, :, :TRAINED].sum(axis=2), sum(OPTIMUM[:TRAINED]))
    later = row(f"{name}, mean of episodes 5 and 6 − episode 4", returns[:, :, 4:].mean(axis=2) - returns[:, :, 3])
    each = [
        row(label, each, bounds=[{"name": "Bayes-optimal", "value": best}]) for label, (each, best) in values.items()
    ]
    return [*each, later]


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    seeds = seeds_of(options)
    found = {name: [measured(name, seed, options) for seed in seeds] for name in AGENTS}
    returns = {
        name + way: np.stack([returns[way] for _, returns, _ in each]) for name, each in found.items() for way in WAYS
    }
    rows = [row for name, each in returns.items() for row in rows_of(name, each)]
    lasts = [last for _, _, last in found["VariBAD"]]
    result = document(
        NAME,
        "VariBAD, GridNavi, all 21 goals, 4 episodes",
        "total return per trial",
        returns["VariBAD"][:, :, :TRAINED].sum(axis=2),
        seeds=seeds,
        tasks=GOALS,
        steps=lasts[0]["environment_steps"],
        seconds=float(np.mean([last["seconds"] for last in lasts])),
        note=NOTE,
        target=f">= {TARGET:.2f}",
        bounds=[("Bayes-optimal", sum(OPTIMUM[:TRAINED]))],
    )
    details = {
        "steps_per_second_at_the_end": [last["steps_per_second"] for last in lasts],
        "per_episode": {k: v.mean(1).tolist() for k, v in returns.items()},
    }
    write({**result, "rows": rows, "details": details})
    draw(found["VariBAD"][0][0])


NOTE = (
    "the paper's protocol: training and judgement are on the same 21 goals, so this measures exploration, not "
    "generalisation. Agents act by their most likely action, or draw as in training where it says so, and trained on 4 "
    "episodes, for as many environment steps"
)


def draw(agent: api.Trained, tasks: tuple[int, ...] = (2, 7)) -> None:
    """What the belief expects of every cell, by step of a trial."""
    from adaptax.report.beliefs import beliefs
    from adaptax.report.read import read_evaluation
    from adaptax.report.style import save

    protocol = agent.protocol(tasks=21, seed=1)
    evaluator = RunEvaluator(agent.algorithm, agent.benchmark, protocol)
    path = evaluator.write(agent, RUNS / f"{NAME}-varibad-seed{agent.config.seed}", "test")
    figure = beliefs(read_evaluation(path), "VariBAD", tasks)
    assert figure is not None
    save(figure, FIGURE)


if __name__ == "__main__":
    main()
