"""The one evaluator: any agent of the protocol, on tasks it has not seen, by return per episode of its lifetime.

Tasks, their order and every draw are fixed by the seed, so that agents and reference strategies face the same tasks.
"""

import math
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..offers import beliefs_of, is_informed
from ..ranges import check_range
from ..strategies.random_actions import RandomActions
from ..types import UNSEEN, Agent, Algorithm, Benchmark, Key, Plan, Rollout, Spec, Task, Tasks, UserError
from .collect import collect, streams_of
from .deterministic import Deterministic
from .episodes import episodes_per_round
from .room import check_lives
from .scores import scores_of, whole_lives

CHUNK_STEPS = 4_000_000  # environment steps collected at once: bounds memory


class Evaluation(NamedTuple):
    """returns, success, final_success, entropy: float32 [N, R, B, E] of the first E episodes of each round (success: 1
    if any of the episode's steps was one; final_success: 1 if its last step was). tasks: a pytree [N, …]. observations
    [n, R, b, T, …] and first [n, R, b, T] of a few streams. Where streams run on across rounds (`Protocol.steps`), R is
    1, E counts the episodes of the whole life, and observations and first are None.

    diverged: bool [N, R, B, E], the episodes of lives that were no longer made of numbers: their returns and successes
    are those of random play on the same task.

    entropy is the mean over an episode's steps of −log π(a), from the log-probability that the agent stored with each
    action, in nats; NaN where it stores none, and where the protocol is deterministic. Its expectation at a step is the
    entropy of the policy there, so it estimates the episode's mean policy entropy without bias, unless the episode's
    length depends on its actions.

    beliefs [n, R, b, T, H, W]: what the agent expected of every place of a grid when it acted; None unless it has a
    method `believed(params, extras, key)` that tells.
    """

    returns: np.ndarray
    success: np.ndarray
    final_success: np.ndarray
    tasks: Task
    observations: Any
    first: Any
    entropy: np.ndarray
    diverged: np.ndarray
    beliefs: np.ndarray | None = None


@dataclass(frozen=True)
class Protocol:
    """How an agent is evaluated."""

    tasks: int
    """N, held-out tasks."""
    rounds: int = 1
    """R, rounds of the lifetime, with an adaptation after each."""
    streams: int = 1
    """B, parallel streams on each task."""
    episodes: int = 1
    """E, episodes per round and stream; of a whole life, if `steps` is given."""
    steps: int | None = None
    """Steps of a round, if streams run on from round to round, and episodes with them; None: every round begins with a
    new episode, and lasts for E whole ones."""
    window: int = 1
    """Rounds that are kept at once if `steps` is given; no result depends on it."""
    seed: int = 0
    """Fixes tasks and draws."""
    deterministic: bool = False
    """Whether an algorithm's agent acts by the mode, or the mean, of whatever it would draw (latents, too). Reference
    strategies draw in any case."""
    shown_tasks: int = 8
    """Tasks whose trajectories are kept."""
    shown_streams: int = 5
    """Streams whose trajectories are kept."""

    def __post_init__(self) -> None:
        for name in ("tasks", "rounds", "streams", "episodes", "steps", "window"):
            check_range(name, getattr(self, name), 1)
        for name in ("seed", "shown_tasks", "shown_streams"):
            check_range(name, getattr(self, name), 0)

    def plan(self, horizon: int) -> Plan:
        if self.steps is None:
            return Plan(self.tasks, self.rounds, self.streams, self.episodes * horizon, lifetime=self.rounds)
        return Plan(
            self.tasks,
            math.gcd(self.rounds, self.window),
            self.streams,
            self.steps,
            lifetime=self.rounds,
            restart=False,
        )

    def life_steps(self, horizon: int) -> int:
        """Steps of one stream in a whole life."""
        return self.rounds * (self.episodes * horizon if self.steps is None else self.steps)


def protocol_of(plan: Plan, benchmark: Benchmark, tasks: int) -> Protocol:
    """A lifetime as long, and rounds as large, as in training."""
    horizon = benchmark.spec.horizon
    if plan.restart:
        return Protocol(tasks, plan.lifetime, plan.streams, episodes_per_round(plan, horizon))
    episodes = max(1, plan.lifetime * plan.steps // horizon)
    return Protocol(tasks, plan.lifetime, plan.streams, episodes, steps=plan.steps, window=plan.rounds)


class Evaluator:
    """`evaluate` for one agent and protocol, on any tasks and with any params: what it compiles is kept.

    Raises a `UserError` for a protocol that does not fit the agent.
    """

    def __init__(self, agent: Agent, benchmark: Benchmark, protocol: Protocol):
        check_context(agent, protocol, benchmark.spec.horizon)
        check_episodes(protocol, benchmark.spec.horizon)
        certain = protocol.deterministic and isinstance(agent, Algorithm)
        self.agent: Any = Deterministic(agent) if certain else agent
        self.benchmark, self.protocol = benchmark, protocol
        self._size = _at_once(protocol, benchmark.spec)
        shown = min(self._size, protocol.shown_tasks)
        chunk = partial(_chunk, self.agent, benchmark, protocol, self._size, shown)
        self._chunk = jax.jit(chunk, compiler_options=compiled_quickly())

    def __call__(self, tasks: Tasks, params: Any) -> Evaluation:
        """The evaluation with `params` on the first `protocol.tasks` tasks of the split `tasks`."""
        chosen = self._chosen(tasks)
        result = self._lives(params, chosen)
        if isinstance(self.agent, Deterministic):  # an action's probability says nothing of the entropy then
            result = result._replace(entropy=np.full_like(result.entropy, np.nan))
        if not result.diverged.any():
            return result
        random = Evaluator(RandomActions(self.benchmark.spec), self.benchmark, self.protocol)._lives((), chosen)
        return result._replace(
            **{
                name: np.where(result.diverged, getattr(random, name), getattr(result, name))
                for name in ("returns", "success", "final_success")
            }
        )

    def check(self) -> None:
        """Raise the `UserError` of a call before anything is compiled, and without parameters: before training."""
        assert isinstance(self.agent, Algorithm)
        params = jax.eval_shape(lambda key: self.agent.init(key).params, jax.random.key(0))
        check_lives(self.agent, params, self._size)
        _, run_key = _keys(self.protocol.seed)
        tasks = jax.tree.map(lambda x: x[: self._size], self._chosen(self.benchmark.test))
        jax.eval_shape(self._chunk, params, tasks, run_key)

    def _chosen(self, tasks: Tasks) -> Task:
        return tasks.enumerate(_keys(self.protocol.seed)[0], self.protocol.tasks)[1]

    def _lives(self, params: Any, chosen: Task) -> Evaluation:
        """The lives on the tasks [N, …], divergence and all."""
        protocol, size, run_key = self.protocol, self._size, _keys(self.protocol.seed)[1]
        if isinstance(self.agent, Algorithm):
            check_lives(self.agent, params, size)
        streams = streams_of(self.benchmark.environment)
        parts = []
        for start in range(0, protocol.tasks, size):
            # The last chunk is filled up with tasks seen before, so that one program serves all chunks.
            index = np.minimum(np.arange(start, start + size), protocol.tasks - 1)
            of_chunk = jax.tree.map(lambda x, i=index: x[i], chosen)
            parts.append(jax.device_get(self._chunk(params, of_chunk, jax.random.fold_in(run_key, start))))
            if failure := streams.failure():
                raise failure
        scores = jax.tree.map(lambda *x: np.concatenate(x)[: protocol.tasks], *(part[0] for part in parts))
        observations, first, beliefs = parts[0][1]
        return Evaluation(
            scores.returns,
            scores.success,
            scores.final_success,
            jax.device_get(chosen),
            observations,
            first,
            scores.entropy,
            scores.diverged,
            beliefs,
        )


def evaluate(agent: Agent, benchmark: Benchmark, tasks: Tasks, params: Any, protocol: Protocol) -> Evaluation:
    """Let `agent` with `params` live on the first `protocol.tasks` tasks of the split `tasks`.

    An informed strategy (`informed = True`) is given each task in place of params.
    """
    return Evaluator(agent, benchmark, protocol)(tasks, params)


@cache
def compiled_quickly() -> dict[str, Any]:
    """Compiler options for a program that runs once or twice: on a CPU it compiles in about half the time, and runs
    more slowly. Empty on other devices, and where XLA knows no such options."""
    if jax.default_backend() != "cpu":
        return {}
    quick = {"xla_backend_optimization_level": 2, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda: jnp.zeros(()), compiler_options=quick)()
    except jax.errors.JaxRuntimeError:  # another XLA
        return {}
    return quick


def _at_once(protocol: Protocol, spec: Spec) -> int:
    """How many tasks are evaluated at once."""
    plan = protocol.plan(spec.horizon)  # where streams run on, only a window of a life is kept
    each = plan.rounds * plan.streams * plan.steps
    return max(1, min(protocol.tasks, CHUNK_STEPS // each))


def _keys(seed: int) -> tuple[Key, Key]:
    """Of the tasks, and of what happens on them."""
    task_key, run_key = jax.random.split(jax.random.key(seed))
    return task_key, run_key


def life_key(seed: int) -> Key:
    """What `collect` is given for the tasks that are evaluated first."""
    return jax.random.fold_in(_keys(seed)[1], 0)


def evaluated_task(tasks: Tasks, number: int, protocol: Protocol) -> Task:
    """Task `number`, counted from 1, of those that `evaluate` takes."""
    count = tasks.size or protocol.tasks
    check_range("task", number, 1, count)
    _, chosen = tasks.enumerate(_keys(protocol.seed)[0], count)
    return jax.tree.map(lambda x: x[number - 1], chosen)


def check_episodes(protocol: Protocol, horizon: int) -> None:
    """Refuse to count more episodes than are sure to end within a life."""
    steps = protocol.life_steps(horizon)
    if protocol.episodes * horizon > steps:
        raise UserError(
            f"a life of {protocol.rounds} rounds has {steps} steps, in which {protocol.episodes} episodes of {horizon} "
            f"need not end: evaluate at most {steps // horizon}, or more rounds"
        )


def check_context(agent: Agent, protocol: Protocol, horizon: int) -> None:
    """A stream's memory lasts for all rounds: refuse to evaluate an agent on more steps than it can remember."""
    context = agent.plan.context if isinstance(agent, Algorithm) else None
    steps = protocol.life_steps(horizon)
    if context is not None and steps > context:
        raise UserError(
            f"{steps // horizon} episodes of {horizon} steps are a trial of {steps} steps, but the agent's memory "
            f"holds {context}: evaluate it on at most {context // horizon}, or train it on longer trials"
        )


class Given(NamedTuple):
    """`Tasks` that are handed over as they are."""

    tasks: Task

    @property
    def size(self) -> int:
        return jax.tree.leaves(self.tasks)[0].shape[0]

    def sample(self, key: Any, count: int) -> tuple[Any, Task]:
        return jnp.full((count,), UNSEEN), self.tasks

    enumerate = sample


def _chunk(
    agent: Agent,
    benchmark: Benchmark,
    protocol: Protocol,
    size: int,
    shown: int,
    params: Any,
    tasks: Task,
    key: Any,
) -> tuple[Any, ...]:
    plan = protocol.plan(benchmark.spec.horizon)._replace(tasks=size)
    if is_informed(agent):
        params = tasks
    streams = streams_of(benchmark.environment)
    if protocol.steps is not None:
        return whole_lives(agent, streams, Given(tasks), plan, params, protocol.episodes, key), (None, None, None)
    trials, _, _ = collect(agent, streams, Given(tasks), plan, params, None, key, judged=True)
    rollouts: Rollout = trials.rollouts
    kept = rollouts.timestep, rollouts.decision.extras
    timestep, extras = jax.tree.map(lambda x: x[:shown, :, : protocol.shown_streams], kept)
    beliefs = beliefs_of(agent, params, extras, jax.random.fold_in(key, 0))
    return scores_of(trials, protocol.episodes), (timestep.observation, timestep.first, beliefs)
