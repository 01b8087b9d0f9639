"""What the off-policy multi-task baselines share: one replay of all tasks, and fine-tuning on a task's own.

    training      collect from all tasks into one ring; `gradient_steps` on batches from it
    fine-tuning   `begin`: a copy of all that was trained, Adam's moments zero, and an empty ring of the task's own;
                  `adapt`: the round's transitions into that ring, `fine_tuning_steps` on batches from it

Training learns from `Rollout.shaped`. A lifetime in training is one round, so `adapt` belongs to new tasks alone, and
there only the reward that is perceived may be learned from.

Functions of a `Learner`, which each baseline is by shape: its networks, its losses and how it explores are its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import gymnasium
import jax
import jax.numpy as jnp

from . import buffers
from .ops import distributions, observations, squashed
from .ops.transitions import Transition, transitions
from .ranges import check_range
from .types import Array, Key, Metrics, Params, Plan, Rollout, Spec, Trial, UserError


class Learner(Protocol):
    """An off-policy algorithm. Networks that are not learned themselves, such as targets, are parameters too."""

    @property
    def spec(self) -> Spec: ...
    @property
    def tasks(self) -> int: ...
    @property
    def streams(self) -> int: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def gradient_steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def fine_tuning_steps(self) -> int: ...
    @property
    def fine_tuning_capacity(self) -> int: ...
    def init_params(self, key: Key) -> Any: ...
    def init_moments(self, params: Any) -> Any:
        """The optimizers' state before the first step."""
        ...

    def learner_action(self, action: Array) -> Array:
        """Actions of the environment in the learner's units."""
        ...

    def gradient_step(self, params: Any, moments: Any, batch: Transition, key: Key) -> tuple[Any, Any, Metrics]:
        """One step of everything on transitions [B]: parameters, moments, and what there is to say of it."""
        ...


class Adapted(NamedTuple):
    """What was learned on this task so far, and the task's own transitions."""

    params: Params
    moments: Any
    own: buffers.Ring


class ReplayState(NamedTuple):
    params: Params
    moments: Any
    ring: buffers.Ring  # of Transition, from all tasks
    iteration: Array


def check(learner: Any) -> None:
    """Raise a `UserError` unless observations are served, and the rings hold what is collected at once."""
    observations.flat_size(learner.spec.observation_space)
    made = plan(learner)
    check_range("capacity", learner.capacity, made.environment_steps)
    check_range("fine_tuning_capacity", learner.fine_tuning_capacity, made.streams * made.steps)


def check_continuous(space: gymnasium.Space, who: str) -> None:
    """Raise a `UserError` unless actions are a bounded one-dimensional Box."""
    if isinstance(space, gymnasium.spaces.Discrete):
        raise UserError(
            f"{who} needs continuous actions and the action space here is {space}; multitask-dqn is the baseline for "
            "discrete ones"
        )
    squashed.check_bounded(space, who)


def plan(learner: Learner) -> Plan:
    """One round on each task, as long as a trial of the benchmark's protocol unless `steps` says otherwise."""
    steps = learner.steps or learner.spec.horizon * learner.spec.episodes
    return Plan(learner.tasks, rounds=1, streams=learner.streams, steps=steps, lifetime=1)


def init(learner: Learner, key: Key) -> ReplayState:
    params = learner.init_params(key)
    ring = _empty(learner, learner.capacity)
    return ReplayState(params, learner.init_moments(params), ring, jnp.zeros((), jnp.int32))


def _empty(learner: Learner, capacity: int) -> buffers.Ring:
    """A ring of transitions as `learner` keeps them."""
    observation = observations.nothing(learner.spec.observation_space)
    action, nothing = distributions.zero_action(learner.spec.action_space), jnp.zeros((), jnp.float32)
    allowed = distributions.kept_masks(learner.spec, None, ())
    return buffers.ring(Transition(observation, action, nothing, nothing, observation, allowed), capacity)


def update(learner: Learner, state: ReplayState, trials: Trial, key: Key) -> tuple[ReplayState, Metrics]:
    """What was collected goes into the replay, and `gradient_steps` follow."""
    ring = buffers.add(state.ring, _read(learner, trials.rollouts, trials.rollouts.shaped))
    params, moments, metrics = _learn(learner, state.params, state.moments, ring, learner.gradient_steps, key)
    return ReplayState(params, moments, ring, state.iteration + 1), jax.tree.map(jnp.mean, metrics)


def begin(learner: Learner, params: Params) -> Adapted:
    """What was trained, ready to go on learning on one task."""
    return Adapted(params, learner.init_moments(params), _empty(learner, learner.fine_tuning_capacity))


def adapt(learner: Learner, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
    """Fine-tuning after a round, on this and the task's earlier ones."""
    if rollout.reward.size > learner.fine_tuning_capacity:
        raise UserError(
            f"fine-tuning-capacity is {learner.fine_tuning_capacity}, and a round of this task has "
            f"{rollout.reward.size} transitions; it must hold at least as many"
        )
    own = buffers.add(adapted.own, _read(learner, rollout, rollout.reward))
    steps = learner.fine_tuning_steps
    params, moments, _ = _learn(learner, adapted.params, adapted.moments, own, steps, key)
    return Adapted(params, moments, own)


def _read(learner: Learner, rollout: Rollout, reward: Array) -> Transition:
    """The transitions of a rollout, whatever its leading axes, in one row [M]."""
    action = learner.learner_action(rollout.decision.action)
    kept = transitions(learner.spec.observation_space, rollout, action, reward)
    kept = kept._replace(next_allowed=distributions.kept_masks(learner.spec, rollout.next_allowed, reward.shape))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[reward.ndim :]), kept)


def _learn(
    learner: Learner, params: Params, moments: Any, ring: buffers.Ring, steps: int, key: Key
) -> tuple[Params, Any, Metrics]:
    """`steps` gradient steps on batches from `ring`, with metrics of each [steps]."""

    def improve(learned: tuple[Params, Any], key: Key) -> tuple[tuple[Params, Any], Metrics]:
        batch_key, step_key = jax.random.split(key)
        batch = buffers.sample(ring, batch_key, learner.batch)
        params, moments, metrics = learner.gradient_step(*learned, batch, step_key)
        return (params, moments), metrics

    learned, metrics = jax.lax.scan(improve, (params, moments), jax.random.split(key, steps))
    return *learned, metrics
