"""One life of an agent on one task, kept in full, for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ..offers import beliefs_of
from ..types import (
    Adapted,
    Agent,
    Array,
    Benchmark,
    Birth,
    Decision,
    Key,
    Memory,
    Params,
    Rollout,
    Spec,
    Streams,
    Task,
    Timestep,
    UserError,
)
from .collect import collect, streams_of
from .evaluate import Given, Protocol, check_context, life_key


class Record(NamedTuple):
    """NumPy arrays [R, B, T, ...] of R rounds, B streams and T steps."""

    observation: Any
    next_observation: Any
    action: Any
    reward: Any
    ended: Any  # bool; whether the episode ended with this step
    beliefs: Any  # [R, B, T, W, H], or None: as in `run.evaluate.Evaluation`
    states: Any  # trees; the environment's before each step, and after it; None unless they were asked for
    next_states: Any


class Scene(NamedTuple):
    """An observation, and the state behind it, which the agent is not shown."""

    observation: Any
    state: Any


def record(
    agent: Agent, benchmark: Benchmark, task: Task, params: Params, protocol: Protocol, states: bool = False
) -> Record:
    """The life that `evaluate` sees on the first task of its protocol, on this task; `states` keeps the
    environment's too. Raises a `UserError`, before anything is compiled, where it outlasts the agent's memory."""
    check_context(agent, protocol, benchmark.spec.horizon)
    program = jax.jit(partial(_live, agent, benchmark, protocol, states))
    alone = jax.tree.map(lambda x: jax.numpy.asarray(x)[None], task)
    rollouts, beliefs = jax.device_get(program(params, alone, life_key(protocol.seed)))
    if failure := streams_of(benchmark.environment).failure():
        raise failure
    observation, following = rollouts.timestep.observation, rollouts.next_observation
    before = after = None
    if states:
        (observation, before), (following, after) = observation, following
    ended = np.logical_or(rollouts.terminated, rollouts.truncated)
    return Record(observation, following, rollouts.decision.action, rollouts.reward, ended, beliefs, before, after)


def _live(
    agent: Agent, benchmark: Benchmark, protocol: Protocol, states: bool, params: Params, tasks: Task, key: Key
) -> tuple[Rollout, Any]:
    plan = protocol.plan(benchmark.spec.horizon)._replace(tasks=1)
    streams = streams_of(benchmark.environment)
    who, where = (Unaware(agent), Watched(streams)) if states else (agent, streams)
    trials, _, _ = collect(who, where, Given(tasks), plan, params, None, key, judged=True)
    rollouts: Rollout = jax.tree.map(lambda x: x[0], trials.rollouts)
    return rollouts, beliefs_of(agent, params, rollouts.decision.extras, jax.random.fold_in(key, 0))


class Watched(NamedTuple):
    """Streams whose observations are `Scene`s."""

    streams: Streams

    @property
    def spec(self) -> Spec:
        return self.streams.spec

    def first_streams(self, tasks: Task, keys: Key) -> Any:
        state, observation = self.streams.first_streams(tasks, keys)
        return state, Scene(observation, state)

    def reset_streams(self, tasks: Task, states: Any, observations: Any, ended: Array, keys: Key) -> Any:
        state, observation = self.streams.reset_streams(tasks, states, observations.observation, ended, keys)
        return state, Scene(observation, state)

    def step_streams(self, tasks: Task, states: Any, actions: Array, keys: Key) -> Any:
        state, outcome = self.streams.step_streams(tasks, states, actions, keys)
        return state, outcome._replace(observation=Scene(outcome.observation, state))

    def failed(self, after: Array) -> Array | None:
        return self.streams.failed(after)

    def failure(self) -> UserError | None:
        return self.streams.failure()


@dataclass(frozen=True)
class Unaware:
    """An agent that is shown the observations of `Scene`s alone."""

    agent: Agent

    def begin(self, params: Params, key: Key, birth: Birth) -> Adapted:
        return self.agent.begin(params, key, birth)

    def start(self, params: Params) -> Memory:
        return self.agent.start(params)

    def act(
        self, params: Params, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self.agent.act(params, adapted, memory, _unscened(timestep), key)

    def adapt(self, params: Params, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        seen = rollout._replace(
            timestep=_unscened(rollout.timestep),
            last=_unscened(rollout.last),
            next_observation=rollout.next_observation.observation,
        )
        return self.agent.adapt(params, adapted, seen, key)


def _unscened(timestep: Timestep) -> Timestep:
    return timestep._replace(observation=timestep.observation.observation)
