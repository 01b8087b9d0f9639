"""A half-cheetah that is told by its rewards alone how fast to run adapts, live, to the velocity of your choice.

The agent is trained on the benchmark, which steps hundreds of cheetahs at once, and then acts in one environment of
Gymnasium that pays for your velocity: it tries five episodes, adapts to what it was paid, tries five more, and so on.

Without --run a small agent is trained first, for about two minutes of one core; fewer --iterations are quicker and
teach less: on 30 held-out velocities its return was −105 ± 27 before adaptation and −77 ± 22 after (`adaptax
evaluate` on --out, MuJoCo 3.3.0), and asked for 1.5 m/s it ran 0.53, then 0.95. Any run of half-cheetah-velocity can
be given.

python examples/07_half_cheetah_velocity.py [--velocity 1.5] [--run DIR] [--iterations 40] [--out DIR]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import adaptax

TORSO = 0.7  # its height at the start


class Running(gymnasium.Wrapper):
    """HalfCheetah-v5 paid as the benchmark pays: −|v − velocity| − 0.05 |action|² a step. `velocities` holds v.

    Most variants of the benchmark also observe where the torso is, (x, 0, z); `place` says whether this one does.
    """

    def __init__(self, velocity: float, place: bool) -> None:
        super().__init__(gymnasium.make("HalfCheetah-v5"))
        self.velocity, self.place = velocity, place
        self.velocities: list[float] = []
        count = self.env.observation_space.shape[0] + 3 * place
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (count,), np.float64)

    def reset(self, **how: Any) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.env.reset(**how)
        return self._seen(observation), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = self.env.step(action)
        self.velocities.append(info["x_velocity"])
        reward = -abs(info["x_velocity"] - self.velocity) - 0.05 * float(np.square(action).sum())
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: np.ndarray) -> np.ndarray:
        x, z = self.unwrapped.data.qpos[:2]
        return np.concatenate([observation, [x, 0.0, TORSO + z] if self.place else []])


# PEARL, with networks and a budget that are small, on the variant that observes what HalfCheetah-v5 shows.
BENCHMARK = {"variant": "promp", "training_tasks": 100}
COLLECTION = {"tasks": 5, "rounds": 2, "streams": 2, "context": 100}
LEARNING = {"gradient_steps": 400, "meta_batch": 8, "batch": 64, "learning_rate": 1e-3}
NETWORKS = {"hidden": (128, 128), "encoder_hidden": (64, 64)}


def train(iterations: int, out: Path) -> Path:
    given = {**COLLECTION, **LEARNING, **NETWORKS}
    how: dict[str, Any] = {"settings": BENCHMARK, "hyperparameters": given, "log_every": 2, "quiet": False}
    adaptax.train("pearl", "half-cheetah-velocity", out=out, iterations=iterations, **how)
    return out


def main(run: Path, velocity: float) -> None:
    trained = adaptax.load(run)
    cheetah = Running(velocity, place=trained.benchmark.spec.observation_space.shape != (17,))
    agent = trained.agent(cheetah, streams=5)  # a round is five episodes
    print(f"to be found out: {velocity:.2f} m/s")
    for number in range(3):
        cheetah.velocities.clear()
        totals = [episode.total for episode in agent.round()]  # acts in the environment, then adapts
        mean = np.mean(cheetah.velocities)
        print(f"adapted {number} times: return {np.mean(totals):8.2f}, mean velocity {mean:6.3f} m/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--velocity", type=float, default=1.5, help="m/s")
    parser.add_argument("--run", type=Path, help="a run directory of half-cheetah-velocity (default: train one)")
    parser.add_argument("--iterations", type=int, default=40, help="meta-iterations of the training")
    parser.add_argument("--out", type=Path, help="where the run goes (default: a temporary place)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        main(options.run or train(options.iterations, options.out or Path(place) / "run"), options.velocity)
