"""MMAML against MAML on clustered navigation: `python benchmarks/mmaml.py`.

Tasks, protocol and MAML are those of `task_model.py`: the same network, tasks × streams, iterations and epochs, the
same held-out tasks, return by number of gradient steps. MMAML takes its first step on the round that it encodes, so
that equal numbers of gradient steps are equal data, in training too. What is due to the modulation is measured on the
same agents with the modulation left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, document, known_goal, row, seeds_of, steps_of, write
from task_model import ON, PROTOCOL, TRAINED, judged, train

from adaptax import api

NAME = "mmaml"
# One gradient step in training, as MAML takes one: the step on the round that is encoded.
OWN: dict[str, Any] = {"inner_steps": 0, "probing_step_size": 0.02, "step_size": 0.02}


def unmodulated(agent: api.Trained) -> api.Trained:
    """The agent whose modulation stays neutral: what its gradient steps alone reach."""
    still = jax.tree.map(jnp.zeros_like, agent.params.modulators)
    return agent._replace(params=agent.params._replace(modulators=still))


def rows_of(mmaml: np.ndarray, maml: np.ndarray, alone: np.ndarray) -> list[dict[str, Any]]:
    """By gradient steps, which are rounds of data; returns [seeds, tasks, rounds]."""
    rows = []
    for steps in range(PROTOCOL.rounds):
        label = f"{steps_of(steps)} and rounds of data"
        rows += [row(f"MMAML, {label}", mmaml[:, :, steps]), row(f"MAML, {label}", maml[:, :, steps])]
    # Differences task by task: both were judged on the same tasks.
    for steps in range(1, PROTOCOL.rounds):
        gain = mmaml[:, :, steps] - maml[:, :, steps]
        rows.append(row(f"MMAML − MAML, gradient steps and rounds of data: {steps}", gain, 0.0))
    rows.append(row("MMAML with its modulation left out, 1 gradient step", alone[:, :, 1]))
    return rows


def main() -> None:
    options = arguments(__doc__ or "", seeds=2).parse_args()
    trained = train(NAME, "mmaml", "mmaml", OWN, options)
    other = train(NAME, "maml", *TRAINED["maml"], options)
    agents = trained.agents
    mmaml, maml = judged(agents), judged(other.agents)
    rows = rows_of(mmaml, maml, judged([unmodulated(agent) for agent in agents], 2))
    result = document(
        NAME,
        "MMAML, clustered navigation",
        "return after one gradient step",
        mmaml[:, :, 1],
        seeds=seeds_of(options),
        tasks=PROTOCOL.tasks,
        steps=agents[0].iteration * agents[0].config.environment_steps_per_iteration,
        seconds=float(np.mean(trained.seconds)),
        note=NOTE,
        target=f">= {maml[:, :, 1].mean():.2f}",
        bounds=[known_goal(ON, {}, replace(PROTOCOL, streams=1))],
    )
    write({**result, "rows": rows})


NOTE = (
    "the target is what MAML, trained for as many iterations on as many environment steps and judged alike, reaches "
    "after one step. The first step is on the round that is encoded, so that equal steps are equal data. No "
    "published figure is of this environment"
)


if __name__ == "__main__":
    main()
