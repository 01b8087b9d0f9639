"""Hoppers with bodies of their own, two episodes on each: does a memory help? `python benchmarks/hopper_params.py`.

Surviving pays, and a hopper falls early, so trials differ in length and end with their second episode. RL² (GRU) and
VariBAD remember the first episode; multi-task PPO is feed-forward, and judged before any fine-tuning. Needs `[mujoco]`.
`--only NAME …` runs some of the agents; the others' lines stay.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from common import RESULTS, arguments, document, returns_by_episode, row, seeds_of, strategy_returns, write

from adaptax.run.evaluate import Protocol

NAME, ON, SETTINGS = "hopper_params", "hopper-params", {"episodes": 2}
PROTOCOL = Protocol(tasks=10, streams=20, episodes=2, seed=1)
ITERATIONS = 300  # × 40 bodies × 400 steps
PPO = {"tasks": 40, "minibatches": 8, "epochs": 10}  # 4 learn less from as many steps
BELIEF = {
    **{"state_weight": 1.0, "decoded_beliefs": 10, "decoded_steps": 50, "decoder_hidden": (64, 64)},
    **{"model_updates": 5, "policy_hidden": (64, 64), "normalize": True},
    **{"discount": 0.999, "clip": 0.2, "entropy": 0.0, "learning_rate": 1e-3},
}
FEED_FORWARD = {"tasks": 40, "streams": 1, "epochs": 20, "hidden": (64, 64), "discount": 0.999, "trace": 0.95}
AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "multi-task PPO": ("multitask-ppo", FEED_FORWARD),
    "RL² (GRU)": ("rl2", {**PPO, "hidden": 64, "head_hidden": 64, "discount": 0.999, "learning_rate": 1e-3}),
    "VariBAD": ("varibad", {**PPO, **BELIEF}),
}
BASELINE = "multi-task PPO"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=list(AGENTS), default=list(AGENTS), metavar="NAME")
    options = parser.parse_args()
    path = RESULTS / f"{NAME}.json"
    for label in options.only:
        algorithm, hyperparameters = AGENTS[label]
        given = {"settings": SETTINGS, "hyperparameters": hyperparameters, "log_every": 2}
        name = f"{NAME}-{label.split()[0].lower()}"
        values, cost = returns_by_episode(name, algorithm, ON, options, ITERATIONS, PROTOCOL, **given)
        known: dict[str, Any] = json.loads(path.read_text())["agents"] if path.exists() else {}
        known[label] = {"returns": values.round(2).tolist(), "seeds": list(seeds_of(options)), **cost}
        write(summary(known, options))


def summary(known: dict[str, Any], options: Any) -> dict[str, Any]:
    """The result: both episodes of every agent, and its gain over multi-task PPO, body by body and seed by seed, where
    both have the same seeds and as many steps."""
    each = {label: np.asarray(known[label]["returns"]) for label in AGENTS if label in known}
    rows = []
    for label, values in each.items():
        rows += [row(f"{label}, {nth} episode", values[:, :, k]) for k, nth in enumerate(("first", "second"))]
        if label != BASELINE and paired(known, label):
            rows.append(
                row(f"{label}, second episode above that of the {BASELINE}", (values - each[BASELINE])[:, :, 1])
            )
    random = strategy_returns("random", ON, SETTINGS, PROTOCOL)[:, 0, :, 1].mean(axis=1)
    rows.append(row("random play, second episode", random[None]))
    result = document(
        NAME,
        "Hoppers with bodies of their own",
        "return in the second episode",
        None,
        seeds=seeds_of(options),
        tasks=PROTOCOL.tasks,
        steps=max(one["steps"] for one in known.values()),
        seconds=float(np.mean([one["seconds"] for one in known.values()])),
        note="10 unseen bodies, 20 trials of two episodes on each; agents draw their actions. A gain is paired: the "
        "same seeds and bodies, and as many environment steps",
    )
    return {**result, "rows": rows, "agents": known}


def paired(known: dict[str, Any], label: str) -> bool:
    """Whether an agent can be held against the baseline."""
    return BASELINE in known and all(known[label][name] == known[BASELINE][name] for name in ("seeds", "steps"))


if __name__ == "__main__":
    main()
