"""Agents with a memory on carts whose pole and motor they do not know: `python benchmarks/cart_pole.py`.

Surviving pays 1 a step, so only an agent that is trained on the return of its episodes learns to survive: a trial ends
with its last episode (docs/design.md). `--only NAME …` runs some of the algorithms; each has a result file of its own.
"""

from __future__ import annotations

from typing import Any

from common import arguments, document, returns_by_episode, row, seeds_of, strategy_returns, write

from adaptax.names import registry
from adaptax.run.evaluate import Protocol

ON = "cart-pole"
PROTOCOL = Protocol(tasks=100, episodes=2, seed=1)
TARGET = ">= 180"  # of 200 steps, in the second episode
TITLES = {"rl2": "RL² (GRU), cart-pole", "varibad": "VariBAD, cart-pole", "rl2-dqn": "RL²-DQN, cart-pole"}


def measure(name: str, options: Any) -> None:
    """Train every seed with the pair's defaults, evaluate it on unseen carts, and write the result file."""
    iterations = registry.defaults(name, ON).iterations
    each, cost = returns_by_episode(f"cart-pole-{name}", name, ON, options, iterations, PROTOCOL)
    known = {who: strategy_returns(who, ON, {}, PROTOCOL)[None, :, 0, 0, 1] for who in ("random", "known-cart")}
    result = document(
        f"cart_pole_{name.replace('-', '_')}",
        TITLES[name],
        "return in the second episode",
        each[:, :, 1],
        seeds=seeds_of(options),
        tasks=PROTOCOL.tasks,
        **cost,
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
