"""The vocabulary of adaptax as NamedTuples, and the protocols that every family of agents satisfies.

Axes always stand in the order tasks N, rounds R, streams B, time T. An agent's methods are written for one
stream (`act`) or one task (`begin`, `adapt`); only the collector and the mean over tasks add the axes before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import jax
import numpy as np

from .known import Known, Published

Array = jax.Array
Key = jax.Array  # a typed PRNG key, `jax.random.key(...)`
Params = Any  # meta-parameters: a pytree of arrays
Adapted = Any  # what `begin` and `adapt` return: a pytree of arrays
Memory = Any  # what `act` carries within a stream: a pytree of arrays, () when nothing is remembered
Task = Any  # a NamedTuple of arrays that fixes one task
EnvState = Any
Observation = Any
Metrics = dict[str, Array]

_FALSE: Any = np.bool_(False)
_ONE: Any = np.int32(1)
UNSEEN: Any = np.int32(-1)  # the index of a task that is not of a finite training set


class UserError(ValueError):
    """Bad input: one clear sentence that names what is wrong and what would be right (exit code 2)."""


class TaskError(UserError):
    """What is wrong with a task of a batch. Its arguments: what is said before the task's number, the number, and what
    is said after it."""

    def __str__(self) -> str:
        return "".join(map(str, self.args))


class Spec(NamedTuple):
    """What an agent must know of an environment before it meets a task.

    `horizon` is the number of steps after which an episode is truncated; `episodes` the number of episodes in a
    trial of the published protocol (RL²'s n: 10 pulls of a bandit are 10 episodes of one step). `training_tasks` is the
    size of a benchmark's finite training set; None where tasks are drawn afresh, and in an environment's own spec.
    `masked`: timesteps say which discrete actions can be chosen; in the own spec of `Streams` alone.
    """

    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    horizon: int
    episodes: int = 1
    training_tasks: int | None = None
    masked: bool = False


class Timestep(NamedTuple):
    """What the agent perceives before it acts. At the first step of an episode `first` is true, and `action`
    and `reward` still tell of the step before (zeros at the start of a stream)."""

    observation: Observation
    action: Array
    reward: Array  # float32 []
    first: Array  # bool []
    allowed: Array | None = None  # bool [n]: which discrete actions can be chosen; None: every one


class Decision(NamedTuple):
    """An action, and what the learner needs to know later of how it was chosen (log-probability, value, …)."""

    action: Array
    extras: Any = ()


class Outcome(NamedTuple):
    """What one environment step returns. `terminated` ends the episode for good (value 0 after it);
    `truncated` only stops it (value goes on). The collector adds the truncation at `spec.horizon`. `shaped` is a reward
    that an algorithm may learn from in training, where the environment has one besides `reward`, which alone is
    perceived and counted in evaluations; None: there is no other."""

    observation: Observation
    reward: Array
    terminated: Array | bool = False
    truncated: Array | bool = False
    success: Array | bool = False
    shaped: Array | None = None


class Birth(NamedTuple):
    """What an agent is told when its life begins; scalars."""

    index: Array = UNSEEN
    """int32: the task's place in the finite training set, for agents that keep something of every training task; -1
    where tasks are drawn afresh, and in every evaluation."""
    judged: Array = _FALSE
    """bool: the agent is evaluated, or used, and need no longer act at random to learn."""
    rounds: Array = _ONE
    """int32: how many rounds the life will have."""


def judged_birth(rounds: int) -> Birth:
    """What an agent is told that is evaluated, or used, for so many rounds."""
    told: Any = np.bool_(True), np.int32(rounds)
    return Birth(UNSEEN, *told)


class Rollout(NamedTuple):
    """B parallel streams of T steps on one task; leading axes [B, T] unless said otherwise.

    `next_observation` is the true successor, before any reset; `shaped` is `reward` unless the environment has another
    one for training. `last` [B] is what the agent would perceive next, and `memory` [B] what it remembered when the
    rollout began: enough to unroll it again. `next_allowed` [B, T, n] are the discrete actions that the true successor
    allows; None: every one.
    """

    timestep: Timestep
    decision: Decision
    reward: Array
    terminated: Array
    truncated: Array
    success: Array
    next_observation: Observation
    shaped: Array
    last: Timestep
    memory: Memory
    next_allowed: Array | None = None


class Trial(NamedTuple):
    """R rounds of a lifetime on one task, with an `adapt` after each (the last one only if the life goes on).

    `keys` [R] are those given to `adapt`; `birth_key` and `birth` what was given to `begin`, so that an update can
    replay them. `start` is what the agent was when this window of its life began and `age` how many rounds it had then
    lived. `sound` [R]: whether there was no NaN in what the agent was in that round.
    """

    rollouts: Rollout  # leading axis [R]
    keys: Key
    birth_key: Key
    birth: Birth
    start: Adapted
    age: Array  # int32 []
    sound: Array


class Plan(NamedTuple):
    """How much one meta-iteration collects; all static.

    `lifetime` is in rounds, a multiple of `rounds`; when it is longer, lives go on in the next iteration. `shortest`:
    each life's length is drawn when it begins, among the multiples of `rounds` from `shortest` to `lifetime`; None: all
    live `lifetime` rounds. `restart`: every round begins with a new episode (False: streams run on across rounds).
    `training_tasks` is the size of the finite training set of which the algorithm keeps something of every task; None
    if it keeps nothing. `context` is how many steps of one stream the agent's memory holds; None: any number.
    `episodes`: a trial is over with its last one, and what is stepped after it belongs to nothing; None: steps are
    counted, and all belong to the trial.
    """

    tasks: int
    rounds: int
    streams: int
    steps: int
    lifetime: int
    restart: bool = True
    training_tasks: int | None = None
    context: int | None = None
    shortest: int | None = None
    episodes: int | None = None

    @property
    def environment_steps(self) -> int:
        """Environment steps of one meta-iteration, adaptation data included."""
        return self.tasks * self.rounds * self.streams * self.steps


class Agent(Protocol):
    """How an agent faces one task.

    Outside the collector `act` may be given None for the key: then nothing is to be left to chance (`ops.chance`).
    """

    def begin(self, params: Params, key: Key, birth: Birth) -> Adapted: ...
    def start(self, params: Params) -> Memory: ...
    def act(
        self, params: Params, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]: ...
    def adapt(self, params: Params, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted: ...


class State(Protocol):
    """What an algorithm carries from one meta-iteration to the next: all that a checkpoint holds."""

    @property
    def params(self) -> Params: ...
    @property
    def iteration(self) -> Array: ...


@runtime_checkable
class Algorithm(Agent, Protocol):
    """How meta-parameters learn from many tasks. `update` is a pure function of the collected trials [N, R, B, T]."""

    @property
    def plan(self) -> Plan: ...
    def init(self, key: Key) -> Any: ...
    def update(self, state: Any, trials: Trial, key: Key) -> tuple[Any, Metrics]: ...


class Environment(Protocol):
    """One instance: no batching, no auto-reset; the task is an argument."""

    @property
    def spec(self) -> Spec: ...
    def reset(self, task: Task, key: Key) -> tuple[EnvState, Observation]: ...
    def step(self, task: Task, state: EnvState, action: Array, key: Key) -> tuple[EnvState, Outcome]: ...


@runtime_checkable
class Restricts(Protocol):
    """An environment in which not every discrete action can always be chosen."""

    def allowed(self, task: Task, state: EnvState) -> Array:
        """Which of the n actions can be chosen in `state`: bool [n]. None of them counts as all."""
        ...


@runtime_checkable
class Streams(Protocol):
    """An environment over the whole batch [N, B] of streams at once (tasks have the axis [N] only).

    The collector makes one of any `Environment` by `vmap`; an environment that lives on the host is one itself.
    """

    @property
    def spec(self) -> Spec: ...
    def reset_streams(
        self, tasks: Task, states: EnvState, observations: Observation, ended: Array, keys: Key
    ) -> tuple[EnvState, Observation]:
        """Begin new episodes in the streams where `ended` [N, B] is true; leave the others as they are."""
        ...

    def first_streams(self, tasks: Task, keys: Key) -> tuple[EnvState, Observation]:
        """Begin an episode in every stream; `keys` [N, B]."""
        ...

    def step_streams(self, tasks: Task, states: EnvState, actions: Array, keys: Key) -> tuple[EnvState, Outcome]: ...

    def failed(self, after: Array) -> Array | None:
        """Inside a program, once `after` is known: whether the host failed in something that it was asked so far
        (then it returned zeros). None: there is nothing that could fail."""
        ...

    def failure(self) -> UserError | None:
        """Outside: how the host failed, if it did. It is told once; after that the host may be asked again."""
        ...


class Tasks(Protocol):
    """A distribution over tasks, or a finite set of them (`size` tasks; None when unbounded)."""

    @property
    def size(self) -> int | None: ...
    def sample(self, key: Key, count: int) -> tuple[Array, Task]:
        """Draw `count` tasks for training: their indices [count] (-1 when unbounded) and the tasks [count, …]."""
        ...

    def enumerate(self, key: Key, count: int) -> tuple[Array, Task]:
        """`count` tasks for evaluation: a finite set in its own order, again from the start when it is used up."""
        ...


class Benchmark(NamedTuple):
    """An environment and its tasks, no benchmark without held-out ones, and what is known of it.

    `named` holds further splits, such as the tasks of a published protocol. `describe` says in one line what
    the test protocol is; reports print it. With `judged_by_success` they show success rates even where all are 0, and
    agents are compared by them.

    Whoever is evaluated stands beside `references`, strategies by name, each made on demand from the spec; one with
    `informed = True` is given the task as its params. Uniformly random play is one of them without being named, unless
    `random` is another one. `known` holds references that are numbers, and `best` names the reference of either kind to
    which an agent's share of the way from random play is counted.

    `picture(fields)` draws a task of these fields (a `render.Picture`), and `published(split, protocol)` gives the
    figures that were published for just that (`run.evaluate.Protocol`).
    """

    environment: Any
    train: Tasks
    validation: Tasks
    test: Tasks
    named: Mapping[str, Tasks] = {}
    describe: str = ""
    judged_by_success: bool = False
    references: Mapping[str, Callable[[Spec], Agent]] = {}
    known: tuple[Known, ...] = ()
    best: str | None = None
    picture: Callable[[Mapping[str, Any]], Any] | None = None
    published: Callable[[str, Any], Sequence[Published]] | None = None

    @property
    def spec(self) -> Spec:
        own = self.environment.spec
        masked = own.masked or isinstance(self.environment, Restricts)
        return own._replace(training_tasks=self.train.size, masked=masked)

    def split(self, name: str) -> Tasks:
        """The split called `name`: train, validation, test, or one of `named`."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test, **self.named}
        if name not in splits:
            raise UserError(f"there is no split {name!r} here; the splits are {', '.join(sorted(splits))}")
        return splits[name]
