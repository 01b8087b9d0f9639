"""VariBAD and RL² on GridNavi with all 21 goals, as published: `python benchmarks/varibad_gridnavi.py`.

Both train on trials of 4 episodes for as many environment steps, and are judged on the same trials of 6 episodes: by
episode, beside the Bayes-optimal agent. A figure shows what the first seed's belief expects of every cell while it
explores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import numpy as np
from common import RUNS, arguments, document, row, seeds_of, write

from adaptax import api, judging, registry
from adaptax.run.evaluate import Protocol, evaluate

NAME, ON = "varibad_gridnavi", "gridnavi"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "varibad-belief.png"

AGENTS: dict[str, tuple[str, int, dict[str, Any]]] = {  # both for the published 20 M steps
    "VariBAD": ("varibad", 20_833, {"decay": 20_833}),
    "RL²": ("rl2", 1302, {"decay": 1302}),
}
TRAINED, JUDGED = 4, 6  # episodes per trial
OPTIMUM = (4.0, *[11.0714] * (JUDGED - 1))
TARGET = 0.95 * sum(OPTIMUM[:TRAINED])
PROTOCOL = Protocol(tasks=420, episodes=JUDGED, seed=1)


def measured(name: str, seed: int, options: Any) -> tuple[api.Trained, np.ndarray, dict[str, Any]]:
    """The trained agent, its returns [tasks, episodes], and the last row of its metrics."""
    algorithm, iterations, own = AGENTS[name]
    out = RUNS / f"{NAME}-{algorithm}-seed{seed}"
    given = {"settings": {"goals": "paper", "episodes": TRAINED}, "hyperparameters": own}
    agent, last = common.trained(out, algorithm, ON, options, options.iterations or iterations, seed, **given)
    longer = registry.make_benchmark(ON, {"goals": "paper", "episodes": JUDGED})
    found = evaluate(agent.algorithm, longer, longer.test, agent.params, PROTOCOL)
    returns = found.returns[:, 0, 0].astype(np.float64)
    print(f"{name}, seed {seed}: {returns.mean(axis=0).round(2)} in {last['seconds']:.0f} s", flush=True)
    return agent, returns, last


def rows_of(name: str, returns: np.ndarray) -> list[dict[str, Any]]:
    """By episode, of returns [seeds, tasks, episodes]."""
    values = {f"{name}, episode {e + 1}": (returns[:, :, e], OPTIMUM[e]) for e in range(JUDGED)}
    values[f"{name}, episodes 1 to {TRAINED}"] = (returns[:, :, :TRAINED].sum(axis=2), sum(OPTIMUM[:TRAINED]))
    return [
        row(label, each, bounds=[{"name": "Bayes-optimal", "value": best}]) for label, (each, best) in values.items()
    ]


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    seeds = seeds_of(options)
    found = {name: [measured(name, seed, options) for seed in seeds] for name in AGENTS}
    returns = {name: np.stack([returns for _, returns, _ in each]) for name, each in found.items()}
    rows = [row for name in AGENTS for row in rows_of(name, returns[name])]
    later = returns["VariBAD"][:, :, 4:].mean(axis=2) - returns["VariBAD"][:, :, 3]
    rows.append(row("VariBAD, mean of episodes 5 and 6 − episode 4", later))
    lasts = [last for _, _, last in found["VariBAD"]]
    result = document(
        NAME,
        "VariBAD, GridNavi, all 21 goals, 4 episodes",
        "total return per trial",
        returns["VariBAD"][:, :, :TRAINED].sum(axis=2),
        seeds=seeds,
        tasks=PROTOCOL.tasks,
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
    "generalisation. Agents act by chance as they do in training, and trained on 4 episodes, for as many environment "
    "steps"
)


def draw(agent: api.Trained, tasks: tuple[int, ...] = (2, 7)) -> None:
    """What the belief expects of every cell, by step of a trial."""
    from adaptax.report.beliefs import beliefs
    from adaptax.report.read import read_evaluation
    from adaptax.report.style import save

    protocol = judging.protocol_for(agent.config, agent.algorithm, agent.benchmark, tasks=21, seed=1)
    path = judging.evaluate_run(agent, RUNS / f"{NAME}-varibad-seed{agent.config['seed']}", "test", protocol)
    figure = beliefs(read_evaluation(path), "VariBAD", tasks)
    assert figure is not None
    save(figure, FIGURE)


if __name__ == "__main__":
    main()
