"""What an agent reaches that is told the task: `python benchmarks/told.py --only hopper-params` (needs `[mujoco]`).

Multi-task soft actor-critic on a benchmark whose observations hold the task (a direction, or the logarithms of what a
body's parameters are multiplied by), judged on the test tasks by its most likely actions, before any fine-tuning. Where
no bound follows from the rewards, this is the best reference of a benchmark: its number stands in the benchmark's
builder. Trained further with more `--iterations`, from where it was.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from common import RESULTS, RUNS, arguments, document, row, seeds_of, write

import adaptax
from adaptax import Benchmark, Trained
from adaptax.envs.host.mujoco.tasks import BodyTask, multipliers
from adaptax.names import registry
from adaptax.run.evaluate import Protocol, evaluate

NAME = "told"
BENCHMARKS = ("hopper-params", "walker-params", "humanoid-direction", "ant-direction", "half-cheetah-direction")
HYPERPARAMETERS = {"tasks": 10, "streams": 1, "capacity": 1_000_000, "gradient_steps": 200, "fine_tuning_steps": 0}
ITERATIONS = 1000  # 2 M steps
NOTE = "told: the observation holds the task; most likely actions, before any fine-tuning; the budget is in each line"


class Told(NamedTuple):
    """`Streams` whose observations [N, B, O + K] end with the task's numbers [K]."""

    streams: Any
    length: int  # O
    numbers: int  # K

    @property
    def spec(self) -> Any:
        space = gymnasium.spaces.Box(-np.inf, np.inf, (self.length + self.numbers,), np.float32)
        return self.streams.spec._replace(observation_space=space)

    def first_streams(self, tasks: Any, keys: Any) -> Any:
        states, observations = self.streams.first_streams(tasks, keys)
        return states, joined(observations, tasks)

    def reset_streams(self, tasks: Any, states: Any, observations: Any, ended: Any, keys: Any) -> Any:
        seen = observations[..., : self.length]
        states, observations = self.streams.reset_streams(tasks, states, seen, ended, keys)
        return states, joined(observations, tasks)

    def step_streams(self, tasks: Any, states: Any, actions: Any, keys: Any) -> Any:
        states, outcome = self.streams.step_streams(tasks, states, actions, keys)
        return states, outcome._replace(observation=joined(outcome.observation, tasks))

    def failed(self, after: Any) -> Any:
        return self.streams.failed(after)

    def failure(self) -> Any:
        return self.streams.failure()


def joined(observations: Any, tasks: Any) -> Any:
    numbers = numbers_of(tasks)[:, None]
    return jnp.concatenate([observations, jnp.broadcast_to(numbers, (*observations.shape[:2], numbers.shape[-1]))], -1)


def numbers_of(tasks: Any) -> Any:
    """What is told of tasks [N]: float32 [N, K]."""
    if isinstance(tasks, BodyTask):
        return jnp.log(multipliers(tasks)[0])
    return tasks.direction


def told(name: str) -> Benchmark:
    on = registry.make_benchmark(name, {})
    _, some = on.test.enumerate(jax.random.key(0), 1)
    length = (on.spec.observation_space.shape or (0,))[0]
    return on._replace(environment=Told(on.environment, length, numbers_of(some).shape[1]))


def trained(on: Benchmark, out: Path, seed: int, options: Any) -> tuple[Trained, dict[str, Any]]:
    """The agent, trained first or trained on, and the last row of its metrics."""
    if options.evaluate_only:
        agent = adaptax.load(out, benchmark=on)
    else:
        begun = (out / "config.json").exists()
        iterations = options.iterations or ITERATIONS
        given: Any = {"hyperparameters": HYPERPARAMETERS, "resume": begun, "iterations": iterations, "seed": seed}
        agent = adaptax.train("multitask-sac", on, out=out, log_every=10, **given)
    return agent, json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])


def main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--only", choices=BENCHMARKS, nargs="*", default=BENCHMARKS)
    options = parser.parse_args()
    path = RESULTS / f"{NAME}.json"
    rows = {one["benchmark"]: one for one in json.loads(path.read_text())["rows"]} if path.exists() else {}
    for name in options.only:
        on, returns, last = told(name), [], {}
        for seed in seeds_of(options):
            agent, last = trained(on, RUNS / f"{NAME}-{name}-seed{seed}", seed, options)
            protocol = Protocol(tasks=on.test.size or 40, streams=10, deterministic=True)
            found = evaluate(agent.algorithm, on, on.test, agent.params, protocol).returns
            returns.append(found[:, 0, :, 0].mean(axis=1))
        steps, values = int(last["environment_steps"]), np.stack(returns)
        label = f"{name}: multi-task SAC that is told the task, {steps / 1e6:.2g} M steps"
        more = {"benchmark": name, "environment_steps": steps, "seconds": last["seconds"], "seeds": len(returns)}
        rows[name] = row(label, values, **more)
        title = "Robots whose agent is told the task"
        seconds, most = (max(one[key] for one in rows.values()) for key in ("seconds", "environment_steps"))
        counts = {"seeds": seeds_of(options), "tasks": values.shape[1], "steps": most, "seconds": seconds}
        result = document(NAME, title, "return per episode", None, note=NOTE, **counts)
        write(result | {"rows": list(rows.values())})


if __name__ == "__main__":
    main()
