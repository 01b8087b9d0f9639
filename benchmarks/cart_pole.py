"""Agents with a memory on carts whose pole and motor they do not know: `python benchmarks/cart_pole.py`.

Surviving pays 1 a step, so only an agent that is trained on the return of its episodes learns to survive: a trial ends
with its last episode (docs/design.md). `--only NAME …` runs some of the algorithms; each has a result file of its own.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from common import RUNS, arguments, document, row, seeds_of, strategy_returns, write

from adaptax.names import registry
from adaptax.run.evaluate import Protocol, evaluate

ON = "cart-pole"
PROTOCOL = Protocol(tasks=100, episodes=2, seed=1)
TARGET = ">= 180"  # of 200 steps, in the second episode
TITLES = {"rl2": "RL² (GRU), cart-pole", "varibad": "VariBAD, cart-pole", "rl2-dqn": "RL²-DQN, cart-pole"}


def measure(name: str, options: Any) -> None:
    """Train every seed with the pair's defaults, evaluate it on unseen carts, and write the result file."""
    iterations = options.iterations or registry.defaults(name, ON).iterations
    returns, seconds, steps = [], [], 0
    for seed in seeds_of(options):
        agent, last = common.trained(RUNS / f"cart-pole-{name}-seed{seed}", name, ON, options, iterations, seed)
        found = evaluate(agent.algorithm, agent.benchmark, agent.benchmark.test, agent.params, PROTOCOL)
        returns.append(found.returns[:, 0, 0].astype(np.float64))
        seconds.append(last["seconds"])
        steps = last["environment_steps"]
    each = np.stack(returns)  # [seeds, carts, episodes]
    known = {who: strategy_returns(who, ON, {}, PROTOCOL)[None, :, 0, 0, 1] for who in ("random", "known-cart")}
    result = document(
        f"cart_pole_{name.replace('-', '_')}",
        TITLES[name],
        "return in the second episode",
        each[:, :, 1],
        seeds=seeds_of(options),
        tasks=PROTOCOL.tasks,
        steps=steps,
        seconds=float(np.mean(seconds)),
        note="200 steps are the most there is. What is stepped after a trial's second episode counts as stepped",
        target=TARGET,
        bounds=[("known cart", float(known["known-cart"].mean()))],
    )
    rows = [row("first episode", each[:, :, 0]), row("random play, second episode", known["random"])]
    write({**result, "rows": rows})


def main() -> None:
    parser = arguments(__doc__ or "")
    names = list(TITLES)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help="some algorithms")
    options = parser.parse_args()
    for name in options.only:
        measure(name, options)


if __name__ == "__main__":
    main()
