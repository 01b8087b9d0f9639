"""A task seen as 16 × 16 pictures beside the same task seen as a vector: `python benchmarks/pictures.py`.

RL² on GridNavi, and MAML, whose meta-gradient is of second order, on 2-D navigation with short episodes. Either is
trained for as many steps, and judged on the same tasks, with the position as two numbers and with the position drawn: a
soft spot in a picture of bytes. What a meta-iteration takes to compile is measured too.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from common import RUNS, arguments, document, row, seeds_of, write

from adaptax import api
from adaptax.names import registry
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.run.iterate import begin, meta_iteration
from adaptax.run.source import living
from adaptax.run.train import root_keys
from adaptax.types import Array, Benchmark, Key, Outcome, Spec, Task

NAME, SIDE = "pictures", 16


class Drawn(NamedTuple):
    """The environment `inner`, whose observations (x, y) between `low` and `high` are drawn."""

    inner: Any
    low: float
    high: float

    @property
    def spec(self) -> Spec:
        picture = gymnasium.spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)
        return self.inner.spec._replace(observation_space=picture)

    def reset(self, task: Task, key: Key) -> tuple[Any, Array]:
        state, position = self.inner.reset(task, key)
        return state, self._draw(position)

    def step(self, task: Task, state: Any, action: Array, key: Key) -> tuple[Any, Outcome]:
        state, outcome = self.inner.step(task, state, action, key)
        return state, outcome._replace(observation=self._draw(outcome.observation))

    def _draw(self, position: Array) -> Array:
        """A spot two pixels wide on either side: where it is between pixels shows in their brightness."""
        place = jnp.clip((position - self.low) / (self.high - self.low), 0.0, 1.0) * (SIDE - 1)
        bright = jnp.maximum(1.0 - jnp.abs(jnp.arange(SIDE) - place[:, None]) / 2, 0.0)
        return jnp.round(255 * bright[1][:, None] * bright[0]).astype(jnp.uint8)[..., None]


class Pair(NamedTuple):
    """What is trained, on what, and how it is judged."""

    label: str
    algorithm: str
    on: str
    settings: dict[str, Any]
    own: dict[str, Any]
    iterations: int
    span: tuple[float, float]  # of the positions that a picture shows
    protocol: Protocol


PAIRS = (
    Pair(
        "RL², GridNavi, 4 episodes",
        "rl2",
        "gridnavi",
        {"goals": "paper"},
        {"tasks": 128},
        300,
        (0.0, 4.0),
        Protocol(tasks=210, episodes=4, seed=1),
    ),
    Pair(
        "MAML, navigation of 20 steps, after one gradient step",
        "maml",
        "navigation",
        {"horizon": 20},
        {"streams": 10},
        200,
        (-1.5, 1.5),
        Protocol(tasks=100, rounds=2, streams=10, seed=1),
    ),
)
TARGET = 0.1  # share of the return seen as a vector that may be missing


def drawn(benchmark: Benchmark, low: float, high: float) -> Benchmark:
    return benchmark._replace(environment=Drawn(benchmark.environment, low, high))


def compiled_in(algorithm: Any, benchmark: Benchmark) -> float:
    """Seconds of this process that compiling one meta-iteration takes."""
    source = living(algorithm, benchmark)
    progress = jax.eval_shape(lambda root: begin(algorithm, source, root), root_keys(0, 1))
    program = jax.jit(meta_iteration(algorithm, source)).lower(progress, root_keys(0, 1))
    start = time.process_time()
    program.compile()
    return time.process_time() - start


def measured(pair: Pair, pictures: bool, seed: int, iterations: int) -> tuple[np.ndarray, dict[str, float]]:
    """The returns by task [N] of the last round, all episodes of it, and what it cost."""
    benchmark = registry.make_benchmark(pair.on, pair.settings)
    benchmark = drawn(benchmark, *pair.span) if pictures else benchmark
    algorithm = registry.make_algorithm(pair.algorithm, pair.on, benchmark.spec, pair.own)
    compiling = compiled_in(algorithm, benchmark)
    out = RUNS / f"{NAME}-{pair.algorithm}-{'pictures' if pictures else 'vector'}-seed{seed}"
    start = time.process_time()
    agent = api.train(algorithm, benchmark, out=out, iterations=iterations, seed=seed, resume=out.exists())
    training = time.process_time() - start
    found = evaluate(agent.algorithm, benchmark, benchmark.test, agent.params, pair.protocol)
    returns = found.returns[:, -1].astype(np.float64).mean(axis=1).sum(axis=-1)
    steps = float(agent.algorithm.plan.environment_steps * iterations)
    print(f"{pair.label}, pictures: {pictures}, seed {seed}: {returns.mean():.3f}; {training:.0f} s of CPU", flush=True)
    return returns, {"compiling": compiling, "training": training, "steps": steps}


def main() -> None:
    options = arguments(__doc__ or "", seeds=1).parse_args()
    seeds, rows, details, met = seeds_of(options), [], {}, []
    everything: dict[tuple[str, bool], np.ndarray] = {}
    for pair in PAIRS:
        iterations = options.iterations or pair.iterations
        for pictures in (False, True):
            found = [measured(pair, pictures, seed, iterations) for seed in seeds]
            label = f"{pair.label}, seen as {'pictures' if pictures else 'a vector'}"
            everything[pair.label, pictures] = np.stack([returns for returns, _ in found])
            details[label] = {name: [float(cost[name]) for _, cost in found] for name in found[0][1]}
        vector = everything[pair.label, False].mean()
        target = vector - TARGET * abs(vector)
        rows.append(row(f"{pair.label}, seen as a vector", everything[pair.label, False]))
        rows.append(row(f"{pair.label}, seen as pictures", everything[pair.label, True], round(float(target), 3)))
        met.append(everything[pair.label, True].mean() >= target)
    first = everything[PAIRS[0].label, True]
    result = document(
        NAME,
        "Tasks seen as 16 × 16 pictures",
        "return of the last round",
        first,
        seeds=seeds,
        tasks=first.shape[1],
        steps=int(details[f"{PAIRS[0].label}, seen as pictures"]["steps"][0]),
        seconds=float(np.mean(details[f"{PAIRS[0].label}, seen as pictures"]["training"])),
        note=NOTE,
    )
    write({**result, "rows": rows, "details": details})
    assert all(met), "a task seen as pictures falls short of the same task seen as a vector by more than a tenth"


NOTE = (
    "the same budget and the same tasks for both; a row's target is a tenth below the return of the same agent that "
    "sees a vector. Seconds are those of this process's CPU, for one seed"
)


if __name__ == "__main__":
    main()
