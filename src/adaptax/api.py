"""The library's front door: benchmarks and algorithms by name or as values, training, loading, adapting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax

from .live.agent import LiveAgent, saved_details
from .live.metaworld import MetaWorldAgent
from .names import registry
from .names.animation import render
from .names.config import name_algorithm, name_benchmark, read_config, restore_algorithm, run
from .names.evaluation import make_task, protocol_for
from .ranges import check_range
from .run import checkpoint
from .run import evaluate as evaluator
from .run.evaluate import Evaluation
from .run.iterate import begin
from .run.train import Settings, root_keys
from .spaces import Side, Sides, action_side, observation_side
from .types import Algorithm, Benchmark, Key, Rollout, TaskSet, Timestep, UserError, judged_birth


def benchmark(name: str, **settings: Any) -> Benchmark:
    """The benchmark called `name` (see `adaptax list`), for example `benchmark("bandit", arms=5, pulls=10)`."""
    return registry.make_benchmark(name, settings)


def algorithm(name: str, on: Benchmark | str, **hyperparameters: Any) -> Algorithm:
    """The algorithm called `name` for the benchmark `on`; given by name, `on` also brings the pair's defaults."""
    chosen, spec = (on, benchmark(on).spec) if isinstance(on, str) else (None, on.spec)
    return registry.make_algorithm(name, chosen, spec, hyperparameters)


class Trained(NamedTuple):
    """A trained agent: its algorithm, benchmark, and the meta-parameters of each seed.

    `begin`, `start`, `act` and `adapt` are those of the protocol with the parameters of one seed filled in.
    """

    algorithm: Algorithm
    benchmark: Benchmark
    params: Any
    """Meta-parameters of the chosen seed."""
    all_params: Any
    """Meta-parameters of all seeds, leading axis [seeds]."""
    config: Mapping[str, Any]
    iteration: int

    def begin(self, key: Key, rounds: int | None = None) -> Any:
        """The agent at the start of a life; `rounds` is how many it will have (default: as many as in training)."""
        rounds = self.algorithm.plan.lifetime if rounds is None else rounds
        return self.algorithm.begin(self.params, key, judged_birth(rounds))

    def start(self) -> Any:
        return self.algorithm.start(self.params)

    def act(self, adapted: Any, memory: Any, timestep: Timestep, key: Key) -> tuple[Any, Any]:
        return self.algorithm.act(self.params, adapted, memory, timestep, key)

    def adapt(self, adapted: Any, rollout: Rollout, key: Key) -> Any:
        return self.algorithm.adapt(self.params, adapted, rollout, key)

    def evaluate(
        self, tasks: int = 100, *, split: str = "test", rounds: int = 0, seed: int = 0, deterministic: bool = False
    ) -> Evaluation:
        """Returns of this agent on held-out tasks, by round and episode (`run.evaluate.Evaluation`). It draws its
        actions, as in training, unless `deterministic`."""
        given: Any = {"tasks": tasks, "rounds": rounds, "seed": seed, "deterministic": deterministic}
        protocol = protocol_for(self.config, self.algorithm, self.benchmark, **given)
        return evaluator.evaluate(self.algorithm, self.benchmark, self.benchmark.split(split), self.params, protocol)

    def agent(
        self,
        environment: Any = None,
        *,
        streams: int = 0,
        episodes: int = 0,
        seed: int = 0,
        adapted: str | Path | None = None,
    ) -> LiveAgent:
        """This agent on one real environment, an object with Gymnasium's `reset` and `step`: `episode()` acts, and
        adapts after every round (`live.agent.LiveAgent`).

        A round is that of the pair's protocol: `streams` times `episodes` episodes, one after the other. With the same
        `seed` it lives as `evaluate` has it on the first task. `adapted` is a file that `LiveAgent.save` wrote; rounds
        and seed are then those of the file. Raises a `UserError` if the environment's spaces are not those of training.
        """
        for name, value in (("streams", streams), ("episodes", episodes)):
            check_range(name, value, 0)
        identity = {k: self.config[k] for k in ("algorithm", "benchmark")} | {"iteration": self.iteration}
        identity["parameters"] = checkpoint.digest(self.params)
        if adapted is not None:
            details = saved_details(adapted)
            streams, episodes = streams or details["streams"], episodes or details["episodes"]
            seed = details["seed"]
        protocol = protocol_for(self.config, self.algorithm, self.benchmark, tasks=1, episodes=episodes, seed=seed)
        protocol = replace(protocol, streams=streams or protocol.streams)
        spec, sides = self.benchmark.spec, _sides(environment)
        live = LiveAgent(self.algorithm, self.params, spec, protocol, environment, identity, sides)
        return live if adapted is None else live.restore(adapted)

    def meta_world_agent(self, environments: int, *, adaptation_episodes: int = 10, seed: int = 0) -> MetaWorldAgent:
        """This agent for `metaworld.evaluation.metalearning_evaluation`, on a vector of so many environments. What
        that function counts as success is its own affair: `evaluate` counts the same for every benchmark."""
        check_range("adaptation_episodes", adaptation_episodes, 1)
        # Without a memory a single round is no sign of one: multi-task policies are fine-tuned after it.
        remembers = self.algorithm.plan.lifetime == 1 and bool(jax.tree.leaves(self.start()))
        shape = (1, adaptation_episodes) if remembers else (adaptation_episodes, 1)
        return MetaWorldAgent(self.agent(streams=shape[0], episodes=shape[1], seed=seed), environments, remembers)

    def render(
        self,
        out: str | Path,
        *,
        task: int | Mapping[str, Any] = 1,
        split: str = "test",
        rounds: int = 0,
        episodes: int = 0,
        seed: int = 0,
        seconds: float = 6.0,
    ) -> Path:
        """Write an animation of this agent on one task, before and after it adapts (`filming.render`)."""
        given = {"rounds": rounds, "episodes": episodes, "seed": seed, "seconds": seconds}
        return render(self, out, task=task, split=split, **given)


def _sides(environment: Any) -> Sides:
    """How the spaces of `environment`, where it has any, look to an agent: as in the benchmarks on the host, but for
    observations that are arrays, which may be of any type."""
    found: list[Side | None] = []
    for name, side_of in (("observation_space", observation_side), ("action_space", action_side)):
        space = getattr(environment, name, None)
        try:
            if space is None or isinstance(space, gymnasium.spaces.Box) and name == "observation_space":
                found.append(None)
            else:
                found.append(side_of(space))
        except UserError:  # not served: it is compared as it is, and refused
            found.append(None)
    return Sides(*found)


def train(
    algorithm: str | Algorithm,
    benchmark: str | Benchmark,
    *,
    out: str | Path,
    iterations: int = 0,
    seed: int = 0,
    seeds: int = 1,
    devices: int = 1,
    workers: int | None = None,
    ray: str = "",
    resume: bool = False,
    quiet: bool = True,
    log_every: int = 0,
    settings: Mapping[str, Any] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
) -> Trained:
    """Meta-train and return the trained agent; everything is also written to the run directory `out`.

    `algorithm` and `benchmark` are names (then `hyperparameters` and `settings` are theirs) or values of your own.
    `iterations` 0 takes the pair's default. `workers` processes, or actors of the Ray cluster at the address `ray`,
    each collect their share of the tasks (docs/host.md); a run that is resumed has as many as before. Ctrl-C (or
    SIGTERM) writes a checkpoint and raises `KeyboardInterrupt`, so that nothing goes on with half a training; the same
    call with `resume=True` does.
    """
    named = name_benchmark(benchmark, settings or {})
    chosen = name_algorithm(algorithm, named, hyperparameters or {})
    name = algorithm if isinstance(algorithm, str) else None
    iterations = iterations or registry.defaults(name or "", named.name or "").iterations
    plan = Settings(iterations, seed, seeds, devices, workers=workers, ray=ray, log_every=log_every, quiet=quiet)
    if run(chosen, name, named, plan, Path(out), resume=resume).stopped:
        raise KeyboardInterrupt
    return load(out, algorithm=chosen, benchmark=named.value)


def load(
    directory: str | Path,
    *,
    seed: int = 0,
    algorithm: Algorithm | None = None,
    benchmark: Benchmark | None = None,
) -> Trained:
    """The trained agent of a run directory; `seed` counts the seeds that it trained, from 0.

    A run of your own algorithm or benchmark needs that value again, since a file cannot hold it.
    """
    config = read_config(directory)
    if not 0 <= seed < config["seeds"]:
        raise UserError(f"seed is {seed}, but {directory} has the seeds 0 to {config['seeds'] - 1}")
    for kind, value in (("algorithm", algorithm), ("benchmark", benchmark)):
        if value is None and not config[f"{kind}_is_named"]:
            raise UserError(f"{directory} was trained with your own {config[kind]}: pass it as {kind}=…")
    benchmark = benchmark or registry.make_benchmark(config["benchmark"], config["benchmark_settings"])
    algorithm = algorithm or restore_algorithm(config, benchmark)
    template = jax.eval_shape(
        jax.vmap(lambda root: begin(algorithm, benchmark, root)),
        jax.numpy.stack([root_keys(0, 1)] * config["seeds"]),
    )
    if config["seeds"] == 1:
        template = jax.eval_shape(lambda root: begin(algorithm, benchmark, root), root_keys(0, 1))
    progress, iteration, _ = checkpoint.restore(Path(directory) / "checkpoints", template)
    params = progress.state.params
    every = jax.tree.map(lambda x: x[None], params) if config["seeds"] == 1 else params
    return Trained(algorithm, benchmark, jax.tree.map(lambda x: x[seed], every), every, config, iteration)


def adapt_to(
    trained: Trained,
    task: Mapping[str, Any],
    *,
    rounds: int = 0,
    episodes: int = 0,
    lifetimes: int = 20,
    seed: int = 0,
) -> Evaluation:
    """Let the agent adapt to the task with these fields, such as `{"goal": [0.3, -0.2]}`, `lifetimes` times anew: the
    tasks axis of the result counts lifetimes. Rounds and episodes left at 0 are those of the pair's protocol."""
    check_range("lifetimes", lifetimes, 1)
    alone = TaskSet(jax.tree.map(lambda x: x[None], make_task(trained.benchmark, task)))
    protocol = protocol_for(
        trained.config,
        trained.algorithm,
        trained.benchmark,
        tasks=lifetimes,
        rounds=rounds,
        episodes=episodes,
        seed=seed,
    )
    return evaluator.evaluate(trained.algorithm, trained.benchmark, alone, trained.params, protocol)
