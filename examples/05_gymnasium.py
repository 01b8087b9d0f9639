"""Any Gymnasium environment, with tasks of your own: an id, how to draw a task, and how to apply one.

CartPole, with a pole of any length on a cart whose motor may pull either way. Nobody tells the agent which. MAML learns
parameters that know it after a gradient step or two on a few episodes; before, no policy can do well on both kinds.

python examples/05_gymnasium.py [--iterations 50] [--out DIR]
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
    poles = adaptax.from_gymnasium("CartPole-v1", sample=sample, set_task=set_task, horizon=100)
    maml = adaptax.algorithm("maml-trpo", poles, tasks=10, streams=10, steps=100, step_size=0.5, hidden=(32,))
    agent = adaptax.train(maml, poles, out=out / "poles", iterations=iterations)
    returns = agent.evaluate(tasks=20, rounds=3).returns.mean(axis=(0, 2, 3))
    print(
        "steps balanced on unseen poles, of 100, after 0, 1, 2 gradient steps: ",
        *(f"{steps:5.1f}" for steps in returns),
    )
    return returns


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=50, help="meta-iterations")
    parser.add_argument("--out", type=Path, help="where the run directory goes (default: a temporary place)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        main(options.iterations, options.out or Path(place))
