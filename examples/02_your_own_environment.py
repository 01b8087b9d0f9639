"""Your own environment, as values: nothing is registered, nothing in the library is touched.

A cart has to reach position 1, and nobody tells it which way its motor pulls, nor how hard. RL² and MAML learn to find
out. The trained RL² agent then drives a real `gymnasium.Env`, one step at a time, as it would any other.

python examples/02_your_own_environment.py [--iterations 60] [--out DIR]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import adaptax
from adaptax import Benchmark, Outcome, Spec, TaskSet

HORIZON = 20
OBSERVATIONS = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)  # position, speed
ACTIONS = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)


class Motor(NamedTuple):
    """A task: a NamedTuple of arrays."""

    gain: jax.Array  # float32 []; its sign says which way the motor pulls


class Cart:
    """One instance, as pure functions: no batching, no reset at the end of an episode, no time limit."""

    spec = Spec(OBSERVATIONS, ACTIONS, horizon=HORIZON, episodes=2)  # RL² remembers over two episodes

    def reset(self, task: Motor, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jnp.zeros((2,), jnp.float32)
        return state, state

    def step(self, task: Motor, state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, Outcome]:
        position, speed = state
        speed = 0.7 * speed + 0.1 * task.gain * jnp.clip(action[0], -1.0, 1.0)
        position = jnp.clip(position + speed, -2.0, 2.0)
        state = jnp.stack([position, speed])
        return state, Outcome(state, reward=-jnp.abs(position - 1.0), success=jnp.abs(position - 1.0) < 0.1)


def benchmark() -> Benchmark:
    """200 motors, dealt out once: 160 to train on, 20 for validation, 20 for the test."""
    random = np.random.default_rng(0)
    gains = random.uniform(0.5, 1.5, 200) * random.choice([-1.0, 1.0], 200)
    train, validation, test = np.split(gains.astype(np.float32), [160, 180])
    return Benchmark(
        Cart(), *(TaskSet(Motor(jnp.asarray(part))) for part in (train, validation, test)), describe="unseen motors"
    )


class CartGym(gymnasium.Env):
    """A Gymnasium environment with one hidden motor: it stands for your simulator or your robot."""

    observation_space, action_space = OBSERVATIONS, ACTIONS

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = np.zeros(2, np.float32)
        return self.state, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        speed = 0.7 * self.state[1] + 0.1 * self.gain * float(np.clip(action[0], -1, 1))
        position = float(np.clip(self.state[0] + speed, -2, 2))
        self.state = np.asarray([position, speed], np.float32)
        return self.state, -abs(position - 1.0), False, False, {}


def drive(agent: adaptax.Trained, environment: gymnasium.Env, episodes: int) -> list[float]:
    """Let the agent act in a Gymnasium environment; the return of each episode. Memory outlives the episodes."""
    live = agent.agent(environment)
    return [live.episode().total for _ in range(episodes)]


def main(iterations: int, out: Path) -> dict[str, list[float]]:
    on = benchmark()
    rl2 = adaptax.algorithm("rl2", on, tasks=64, hidden=32, learning_rate=3e-3)
    maml = adaptax.algorithm("maml", on, tasks=16, streams=10, steps=HORIZON, hidden=(32,), learning_rate=1e-2)
    results = {}

    agent = adaptax.train(rl2, on, out=out / "rl2", iterations=iterations)
    results["rl2"] = agent.evaluate(tasks=20).returns.mean(axis=(0, 1, 2)).tolist()
    print("RL² on unseen motors, return by episode:          ", *(f"{x:7.2f}" for x in results["rl2"]))

    adapting = adaptax.train(maml, on, out=out / "maml", iterations=iterations)
    results["maml"] = adapting.evaluate(tasks=20).returns.mean(axis=(0, 2, 3)).tolist()
    print("MAML on unseen motors, before and after one step: ", *(f"{x:7.2f}" for x in results["maml"]))

    for gain in (1.2, -0.8):
        results[f"gain {gain}"] = drive(agent, CartGym(gain), episodes=2)
        print(f"RL² in a Gymnasium environment, motor {gain:+.1f}:       ", end=" ")
        print(*(f"{x:7.2f}" for x in results[f"gain {gain}"]))
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=60, help="meta-iterations of each algorithm")
    parser.add_argument("--out", type=Path, help="where the two run directories go (default: a temporary place)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        main(options.iterations, options.out or Path(place))
