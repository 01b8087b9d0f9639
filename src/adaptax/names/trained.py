"""A trained agent as a value: its algorithm, benchmark and parameters, and what it can be asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax

from ..live.agent import LiveAgent, saved_details
from ..live.metaworld import MetaWorldAgent
from ..ranges import check_range
from ..run import checkpoint
from ..run import evaluate as evaluator
from ..run.evaluate import Evaluation, Protocol
from ..spaces import Side, Sides, action_side, observation_side
from ..types import Algorithm, Benchmark, Key, Rollout, Timestep, UserError, judged_birth
from .animation import render
from .config import Config
from .evaluation import protocol_for


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
    config: Config
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

    def protocol(
        self,
        *,
        tasks: int | None = None,
        rounds: int | None = None,
        episodes: int | None = None,
        seed: int = 0,
        deterministic: bool = False,
    ) -> Protocol:
        """How this agent is evaluated: the pair's protocol, with what is given here in its place."""
        given: Any = {"tasks": tasks, "rounds": rounds, "episodes": episodes, "deterministic": deterministic}
        return protocol_for(self.config, self.algorithm, self.benchmark, seed=seed, **given)

    def evaluate(
        self,
        tasks: int = 100,
        *,
        split: str = "test",
        rounds: int | None = None,
        seed: int = 0,
        deterministic: bool = False,
    ) -> Evaluation:
        """Returns of this agent on held-out tasks, by round and episode (`run.evaluate.Evaluation`). It draws its
        actions, as in training, unless `deterministic`."""
        protocol = self.protocol(tasks=tasks, rounds=rounds, seed=seed, deterministic=deterministic)
        return evaluator.evaluate(self.algorithm, self.benchmark, self.benchmark.split(split), self.params, protocol)

    def agent(
        self,
        environment: Any = None,
        *,
        streams: int | None = None,
        episodes: int | None = None,
        seed: int = 0,
        adapted: str | Path | None = None,
    ) -> LiveAgent:
        """This agent on one real environment, an object with Gymnasium's `reset` and `step`: `episode()` acts, and
        adapts after every round (`live.agent.LiveAgent`).

        A round is that of the pair's protocol: `streams` times `episodes` episodes, one after the other. With the same
        `seed` it lives as `evaluate` has it on the first task. `adapted` is a file that `LiveAgent.save` wrote; rounds
        and seed are then those of the file. Raises a `UserError` if the environment's spaces are not those of training.
        """
        identity = {
            "algorithm": self.config.algorithm,
            "benchmark": self.config.benchmark,
            "iteration": self.iteration,
            "parameters": checkpoint.digest(self.params),
        }
        if adapted is not None:
            details = saved_details(adapted)
            streams = details["streams"] if streams is None else streams
            episodes = details["episodes"] if episodes is None else episodes
            seed = details["seed"]
        protocol = self.protocol(tasks=1, episodes=episodes, seed=seed)
        if streams is not None:
            protocol = replace(protocol, streams=streams)
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
        rounds: int | None = None,
        episodes: int | None = None,
        seed: int = 0,
        seconds: float = 6.0,
    ) -> Path:
        """Write an animation of this agent on one task, before and after it adapts, to `out`, a .webp, .gif or .mp4,
        and return its path.

        `task` is a number, from 1, of the tasks of `split` on which the run is evaluated, or a task's fields by name.
        Rounds and episodes left out are those of the pair's protocol; `seed` fixes the tasks and every draw. Raises a
        `UserError`, or a `ReportError`, before anything is compiled, for a task, suffix or benchmark of which there is
        no animation.
        """
        protocol = self.protocol(rounds=rounds, episodes=episodes, seed=seed)
        return render(self.algorithm, self.benchmark, self.params, self.config, protocol, out, task, split, seconds)


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
