"""Deploy: a meta-trained agent adapts, live, to one environment whose goal it is not told.

The environment below is Gymnasium's interface and NumPy, and stands for your simulator or your robot. The agent acts in
it, episode by episode, takes a gradient step after every ten, is saved, restarted from its file, and at last used
without learning any more.

python examples/06_deploy.py [--iterations 30] [--goal 0.3 -0.4] [--out DIR]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import adaptax

HORIZON = 50


class Robot(gymnasium.Env):
    """A point on a table that moves by at most 0.1 a step and is paid minus its distance to a place."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, goal: list[float]) -> None:
        self.goal = np.asarray(goal, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = np.zeros(2, np.float32)
        return self.place, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.place = self.place + 0.1 * action
        distance = float(np.linalg.norm(self.place - self.goal))
        return self.place, -distance, False, False, {}


def frozen(agent: adaptax.LiveAgent, robot: Robot) -> float:
    """The return of one episode in which the agent does what it finds best, and learns nothing."""
    (observation, _), state, total = robot.reset(), None, 0.0
    for _ in range(HORIZON):
        action, state = agent.predict(observation, state, deterministic=True)
        observation, reward, *_ = robot.step(action)
        total += reward
    return total


def main(iterations: int, goal: list[float], out: Path) -> None:
    adaptax.train("maml", "navigation", out=out / "run", iterations=iterations, settings={"horizon": HORIZON})
    robot = Robot(goal)

    agent = adaptax.load(out / "run").agent(robot, streams=10)  # a round is ten episodes
    print(f"before, without chance:          {frozen(agent, robot):7.2f}")
    for number in range(2):
        totals = [episode.total for episode in agent.round()]  # acts in the robot, then adapts
        print(f"after {number} gradient steps, a round: {np.mean(totals):7.2f}")

    agent.save(out / "adapted.safetensors")  # the power may go off now
    agent = adaptax.load(out / "run").agent(robot, adapted=out / "adapted.safetensors")
    print(f"restarted, after {agent.rounds} steps:        {agent.episode().total:7.2f}")
    print(f"after, without chance:           {frozen(agent, robot):7.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=30, help="meta-iterations")
    parser.add_argument("--goal", type=float, nargs=2, default=[0.3, -0.4], help="where the robot should go")
    parser.add_argument("--out", type=Path, help="where the run and the adapted agent go (default: a temporary place)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        main(options.iterations, options.goal, options.out or Path(place))
