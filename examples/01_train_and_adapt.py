"""Train MAML on 2-D navigation, then let it adapt to a goal that it has never seen.

python examples/01_train_and_adapt.py [--iterations 40] [--out DIR]
"""

import argparse
import tempfile

import adaptax
from adaptax import adapt_to


def main(iterations: int, out: str) -> list[float]:
    agent = adaptax.train("maml", "navigation", out=out, iterations=iterations)
    judged = adapt_to(agent, {"goal": [0.3, -0.2]}, rounds=4)  # 20 lifetimes, each adapting three times
    by_round = judged.returns.sum(axis=-1).mean(axis=(0, 2))  # [lifetimes, rounds, streams, episodes] -> [rounds]
    for steps, value in enumerate(by_round):
        print(f"return after {steps} gradient steps: {value:7.2f}")
    return by_round.tolist()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=40, help="meta-iterations")
    parser.add_argument("--out", help="run directory (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        main(options.iterations, options.out or f"{place}/run")
