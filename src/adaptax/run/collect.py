"""The one collector: an agent lives R rounds of B streams of T steps on each of N tasks.

Training, evaluation and benchmarking all collect here. Every draw comes from the key that is passed in.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..offers import RestrictsStreams, is_informed
from ..ops.distributions import checked_masks, zero_action
from ..ops.tasks import map_tasks
from ..types import (
    Adapted,
    Agent,
    Array,
    Birth,
    Environment,
    EnvState,
    Key,
    Memory,
    Observation,
    Outcome,
    Params,
    Plan,
    Restricts,
    Rollout,
    Spec,
    Streams,
    Task,
    Tasks,
    Timestep,
    Trial,
)
from .hoist import scan_hoisted
from .keys import BirthKeys, RoundKeys, birth_keys, life_keys, round_keys, split_over
from .shard import spread


class Stream(NamedTuple):
    """Where the B streams of one task stand between two steps; `elapsed` counts the steps of the episode."""

    state: EnvState
    timestep: Timestep
    memory: Memory
    elapsed: Array


class Life(NamedTuple):
    """A lifetime on one task that outlasts an iteration."""

    task: Task
    birth: Birth
    birth_key: Key
    adapted: Adapted
    stream: Stream  # leading axis [B]
    age: Array  # rounds lived, int32 []


class Batched(NamedTuple):
    """`Streams` of an environment for one instance: reset and step under vmap over tasks and streams."""

    environment: Environment

    @property
    def spec(self) -> Spec:
        return self.environment.spec

    def first_streams(self, tasks: Task, keys: Key) -> tuple[EnvState, Observation]:
        return _over_streams(self.environment.reset)(tasks, keys)

    def reset_streams(
        self, tasks: Task, states: EnvState, observations: Observation, ended: Array, keys: Key
    ) -> tuple[EnvState, Observation]:
        fresh = self.first_streams(tasks, keys)
        return select(ended, fresh, (states, observations))

    def step_streams(self, tasks: Task, states: EnvState, actions: Array, keys: Key) -> tuple[EnvState, Outcome]:
        return _over_streams(self.environment.step)(tasks, states, actions, keys)

    def failed(self, after: Array) -> None:
        return None

    def failure(self) -> None:
        return None


def streams_of(environment: Environment | Streams) -> Streams:
    """The environment over the whole batch of streams: itself if it is that already (a host environment)."""
    return environment if isinstance(environment, Streams) else Batched(environment)


def select(condition: Array, yes: Any, no: Any) -> Any:
    """`yes` where `condition`, else `no`, over trees whose leaves lead with the axes of `condition`."""

    def pick(y: Array, n: Array) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (y.ndim - condition.ndim)), y, n)

    return jax.tree.map(pick, yes, no)


def begin_lives(
    agent: Agent, streams: Streams, tasks: Tasks, plan: Plan, params: Params, key: Key, *, judged: bool = False
) -> Life:
    """N new lives on fresh tasks."""
    keys = birth_keys(key, plan.tasks)
    task, birth, birth_key, adapted, memory = _newborn(agent, tasks, plan, params, keys, judged)
    shape = (plan.tasks, plan.streams)
    state, observation = streams.first_streams(task, split_over(keys.reset, shape))
    action = zero_action(streams.spec.action_space)
    action = jnp.broadcast_to(action, shape + action.shape)
    told = jnp.zeros(shape, jnp.float32), jnp.ones(shape, bool)
    timestep = Timestep(observation, action, *told, _allowed(streams, task, state))
    stream = Stream(state, timestep, memory, jnp.zeros(shape, jnp.int32))
    return Life(task, birth, birth_key, adapted, stream, jnp.zeros((plan.tasks,), jnp.int32))


def _newborn(agent: Agent, tasks: Tasks, plan: Plan, params: Params, keys: BirthKeys, judged: bool) -> tuple[Any, ...]:
    """Task, birth, birth key, adapted [N] and memory [N, B] of lives that begin."""
    index, task = spread(tasks.sample(keys.task, plan.tasks))
    birth = Birth(index, jnp.full((plan.tasks,), judged), _lengths(plan, keys.task))
    birth_key = spread(keys.begin)
    adapted = jax.vmap(agent.begin, in_axes=(_task_axis(agent), 0, 0))(params, birth_key, birth)
    start = jax.vmap(agent.start, in_axes=_task_axis(agent), axis_size=plan.tasks)
    memory = jax.tree.map(
        lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], plan.streams, *x.shape[1:])), start(params)
    )
    return task, birth, birth_key, adapted, memory


def _lengths(plan: Plan, key: Key) -> Array:
    """How many rounds each of N lives will have."""
    longest = jnp.full((plan.tasks,), plan.lifetime, jnp.int32)
    if plan.shortest is None:
        return longest
    windows = jax.random.randint(
        jax.random.fold_in(key, 0), longest.shape, plan.shortest // plan.rounds, plan.lifetime // plan.rounds + 1
    )
    return windows.astype(jnp.int32) * plan.rounds


def renew_lives(
    agent: Agent, streams: Streams, tasks: Tasks, plan: Plan, params: Params, lives: Life, key: Key
) -> Life:
    """Begin again, on fresh tasks, the lives that have lived all their rounds; leave the others as they are."""
    keys = birth_keys(key, plan.tasks)
    ended = lives.age >= lives.birth.rounds
    *born, memory = _newborn(agent, tasks, plan, params, keys, judged=False)
    task, birth, birth_key, adapted = select(ended, tuple(born), lives[:4])
    shape = (plan.tasks, plan.streams)
    before = lives.stream
    state, observation = streams.reset_streams(
        task,
        before.state,
        before.timestep.observation,
        jnp.broadcast_to(ended[:, None], shape),
        split_over(keys.reset, shape),
    )
    told = before.timestep
    nothing = jax.tree.map(jnp.zeros_like, (told.action, told.reward))
    action, reward = select(ended, nothing, (told.action, told.reward))
    allowed = _allowed(streams, task, state)
    timestep = Timestep(observation, action, reward, told.first | ended[:, None], allowed)
    elapsed = jnp.where(ended[:, None], 0, before.elapsed)
    stream = Stream(state, timestep, select(ended, memory, before.memory), elapsed)
    return Life(task, birth, birth_key, adapted, stream, jnp.where(ended, 0, lives.age))


def collect(
    agent: Agent,
    streams: Streams,
    tasks: Tasks,
    plan: Plan,
    params: Params,
    lives: Life | None,
    key: Key,
    *,
    judged: bool = False,
) -> tuple[Trial, Life | None, Task]:
    """One window of R rounds on each of N tasks: the trials [N, R, B, T], the lives that go on, and the tasks.

    `lives` is None when every lifetime fits in one window (`plan.lifetime == plan.rounds`); then nothing is
    carried. Otherwise lives that have ended, or diverged, are begun again on fresh tasks first.
    """
    birth_key, rounds_key = life_keys(key)
    if lives is None:
        lives = begin_lives(agent, streams, tasks, plan, params, birth_key, judged=judged)
    else:
        lives = renew_lives(agent, streams, tasks, plan, params, lives, birth_key)
    trials, after = live_on(agent, streams, plan, params, lives, jax.random.split(rounds_key, plan.rounds))
    return trials, after if plan.lifetime > plan.rounds else None, lives.task


def live_on(
    agent: Agent, streams: Streams, plan: Plan, params: Params, lives: Life, of_rounds: Key
) -> tuple[Trial, Life]:
    """R more rounds of N lives: the trials [N, R, B, T], and the lives after them. `of_rounds` [R] are their keys."""
    start = lives.adapted

    def live(carry: tuple[Adapted, Stream], of_round: tuple[Key, Array]):
        adapted, stream = carry
        key, goes_on = of_round
        keys = round_keys(key, plan)
        sound = without_nan(adapted, plan.tasks)
        stream, rollout = collect_round(agent, streams, plan, params, lives.task, adapted, stream, keys)
        adapt = partial(adapt_each, agent, params)
        if plan.lifetime > plan.rounds:
            adapted = adapt(adapted, rollout, keys.adapt)
        elif plan.rounds > 1:  # after the last round of a life nobody asks for what was learned
            adapted = jax.lax.cond(goes_on, adapt, lambda adapted, *_: adapted, adapted, rollout, keys.adapt)
        return (adapted, stream), (rollout, keys.adapt, sound)

    # One program for all rounds: it takes as long to compile as the first of them.
    goes_on = jnp.arange(plan.rounds) < plan.rounds - 1
    (adapted, stream), each = jax.lax.scan(live, (start, lives.stream), (of_rounds, goes_on))
    rollouts, keys, sound = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), each)  # [R, N, …] -> [N, R, …]
    trials = Trial(rollouts, keys, lives.birth_key, lives.birth, start, lives.age, sound)
    return trials, Life(lives.task, lives.birth, lives.birth_key, adapted, stream, lives.age + plan.rounds)


def without_nan(tree: Any, count: int) -> Array:
    """Whether there is no NaN in the leaves [N, …]: bool [N]."""
    sound = jnp.ones((count,), bool)
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            # An agent's empty ring is a constant, over which XLA may run while it compiles, for up to a minute.
            sound &= ~jnp.any(jnp.isnan(jax.lax.optimization_barrier(leaf)), axis=tuple(range(1, leaf.ndim)))
    return sound


def collect_round(
    agent: Agent,
    streams: Streams,
    plan: Plan,
    params: Params,
    tasks: Task,
    adapted: Adapted,
    stream: Stream,
    keys: RoundKeys,
) -> tuple[Stream, Rollout]:
    """T steps of every stream [N, B] with fixed `adapted` [N]; the rollout's leaves lead with [N, B, T]."""
    shape = (plan.tasks, plan.streams)
    if plan.restart:
        stream = _restart(streams, tasks, stream, keys.restart)
    act = _act(agent)

    def step(stream: Stream, keys: tuple[Key, Key, Key]):
        act_keys, step_keys, reset_keys = keys
        decision, memory = act(params, adapted, stream.memory, stream.timestep, act_keys)
        state, outcome = streams.step_streams(tasks, stream.state, decision.action, step_keys)
        next_allowed = _allowed(streams, tasks, state)
        elapsed = stream.elapsed + 1
        terminated = jnp.broadcast_to(jnp.asarray(outcome.terminated, bool), shape)
        timeout = jnp.logical_or(outcome.truncated, elapsed >= streams.spec.horizon)
        truncated = jnp.logical_and(timeout, jnp.logical_not(terminated))
        ended = jnp.logical_or(terminated, truncated)
        state, observation = streams.reset_streams(tasks, state, outcome.observation, ended, reset_keys)
        reward = jnp.asarray(outcome.reward, jnp.float32)
        following = Stream(
            state,
            Timestep(observation, decision.action, reward, ended, _allowed(streams, tasks, state)),
            memory,
            jnp.where(ended, 0, elapsed),
        )
        success = jnp.broadcast_to(jnp.asarray(outcome.success, bool), shape)
        shaped = None if outcome.shaped is None else jnp.asarray(outcome.shaped, jnp.float32)
        seen = (stream.timestep, decision, reward, terminated, truncated, success, outcome.observation, shaped)
        return following, (seen, next_allowed)

    after, seen = scan_hoisted(step, stream, (keys.act, keys.step, keys.reset))
    steps, next_allowed = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 2), seen)  # [T, N, B, ...] -> [N, B, T, ...]
    rollout = Rollout(*steps, last=after.timestep, memory=stream.memory, next_allowed=next_allowed)
    return after, rollout if rollout.shaped is not None else rollout._replace(shaped=rollout.reward)


def _restart(streams: Streams, tasks: Task, stream: Stream, keys: Key) -> Stream:
    """New episodes in the streams [N, B] where none has just begun; memory, last action and last reward go on."""
    under_way = stream.elapsed > 0
    state, observation = streams.reset_streams(tasks, stream.state, stream.timestep.observation, under_way, keys)
    first, allowed = stream.timestep.first | under_way, _allowed(streams, tasks, state)
    timestep = stream.timestep._replace(observation=observation, first=first, allowed=allowed)
    return Stream(state, timestep, stream.memory, jnp.where(under_way, 0, stream.elapsed))


def adapt_each(agent: Agent, params: Params, adapted: Adapted, rollout: Rollout, keys: Key) -> Adapted:
    """`adapt` on every task [N], one task at a time: an inner gradient's activations stay in cache (6× faster than one
    wide vmap for MAML's 20 × 2 000 points)."""
    if _task_axis(agent) is None:
        return map_tasks(partial(agent.adapt, params), adapted, rollout, keys)
    return map_tasks(agent.adapt, params, adapted, rollout, keys)


def _task_axis(agent: Agent) -> int | None:
    """An informed strategy is given each task as its params; every other agent shares one params."""
    return 0 if is_informed(agent) else None


def _allowed(streams: Streams, tasks: Task, states: EnvState) -> Array | None:
    """Which actions can be chosen: bool [N, B, n]; None: every one."""
    if streams.spec.masked and isinstance(streams, RestrictsStreams):
        return streams.allowed_streams(tasks, states)
    if not isinstance(streams, Batched) or not isinstance(streams.environment, Restricts):
        return None
    return checked_masks(streams.spec.action_space, _over_streams(streams.environment.allowed)(tasks, states))


def _over_streams(function: Any) -> Any:
    """vmap over tasks [N] and streams [B]; the task itself has the axis N only."""

    def on_task(task: Task, *others: Any) -> Any:
        return jax.vmap(partial(function, task))(*others)

    return jax.vmap(on_task)


def _act(agent: Agent) -> Any:
    over_streams = jax.vmap(agent.act, in_axes=(None, None, 0, 0, 0))
    return jax.vmap(over_streams, in_axes=(_task_axis(agent), 0, 0, 0, 0))
