"""How long a deployed agent takes for one step, in microseconds: act, observe and predict, after compilation.

python benchmarks/latency.py [--steps 20000]

MAML's policy of two layers of 100 units on 2-D navigation, and RL²'s GRU of 128 units on GridNavi, with parameters as
they are before training, which costs the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import adaptax
from adaptax import LiveAgent, Trained
from adaptax.names.config import Config


def untrained(name: str, on: str) -> Trained:
    benchmark = adaptax.benchmark(on)
    algorithm = adaptax.algorithm(name, benchmark)
    params = algorithm.init(jax.random.key(0)).params
    every = jax.tree.map(lambda x: x[None], params)
    return Trained(algorithm, benchmark, params, every, Config(algorithm=name, benchmark=on), 0)


def timed(call: Callable[[], Any], into: list[float]) -> Any:
    begin = time.perf_counter()
    result = call()
    into.append(1e6 * (time.perf_counter() - begin))
    return result


def measure(agent: LiveAgent, steps: int) -> dict[str, list[float]]:
    """The times of each call; rounds are adapted on between them."""
    times: dict[str, list[float]] = {"act": [], "observe": [], "predict": []}
    nowhere = np.zeros(2, np.float32)
    agent.compile()
    state = agent.predict(nowhere)[1]
    agent.predict(nowhere, state, reward=0.0)
    for _ in range(steps):
        timed(lambda: agent.act(nowhere), times["act"])
        timed(lambda: agent.observe(0.0, False, False, nowhere), times["observe"])
        _, state = timed(lambda s=state: agent.predict(nowhere, s, reward=0.0), times["predict"])
        if agent.full:
            agent.adapt()
    return times


def main(steps: int) -> None:
    for name, on in (("maml", "navigation"), ("rl2", "gridnavi")):
        for call, times in measure(untrained(name, on).agent(), steps).items():
            median, slow = np.percentile(times, [50, 99])
            print(f"{name:4} on {on:10}  {call:7}  median {median:6.1f} µs   99 % below {slow:7.1f} µs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000, help="steps to time")
    main(parser.parse_args().steps)
