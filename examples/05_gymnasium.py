"""Any Gymnasium environment, with tasks of your own: an id, how to draw a task, and how to apply one.

CartPole, whose motor may pull either way, with a pole of any length. Nobody tells the agent which: RL² learns to find
out in the first moments of a trial, and balances from then on, in the next episode too.

python examples/05_gymnasium.py [--iterations 60] [--out DIR]
"""

import argparse
import tempfile
from pathlib import Path

import gymnasium
import numpy as np

import adaptax


def sample(generator: np.random.Generator) -> dict[str, float]:
    """A task: a dictionary of numbers. Training, validation and test draw with generators of their own."""
    return {"length": generator.uniform(0.25, 1.0), "force": generator.choice([-10.0, 10.0])}


def set_task(environment: gymnasium.Env, task: dict[str, float]) -> None:
    pole = environment.unwrapped
    pole.length, pole.force_mag = task["length"], task["force"]
    pole.polemass_length = pole.masspole * pole.length


def main(iterations: int, out: Path) -> np.ndarray:
    poles = adaptax.from_gymnasium("CartPole-v1", sample=sample, set_task=set_task, horizon=100, episodes=2)
    rl2 = adaptax.algorithm("rl2", poles, tasks=32, hidden=32, learning_rate=3e-3, discount=0.98, epochs=4)
    untrained = adaptax.train(rl2, poles, out=out / "untrained", iterations=1)
    agent = adaptax.train(rl2, poles, out=out / "rl2", iterations=iterations)
    for name, who in (("one iteration:", untrained), (f"{iterations} iterations:", agent)):
        returns = who.evaluate(tasks=40).returns.mean(axis=(0, 1, 2))
        print(f"steps balanced on unseen poles, of 100, after {name:15}", *(f"{x:6.1f}" for x in returns))
    return returns


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=60, help="meta-iterations")
    parser.add_argument("--out", type=Path, help="where the run directories go (default: a temporary place)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        main(options.iterations, options.out or Path(place))
