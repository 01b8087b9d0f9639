"""Where the experience of a meta-iteration comes from. The loop knows sources by this protocol alone."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from ..ranges import check_range
from ..types import Algorithm, Array, Benchmark, Key, Metrics, Params, Plan, Rollout, Streams, Tasks, Trial, UserError
from .collect import Life, begin_lives, collect, select, streams_of, without_nan
from .episodes import episodes_per_round, round_returns


def check_plan(plan: Plan, horizon: int) -> None:
    """Raise a `UserError` for lives that cannot be lived, or in which no episode is sure to end."""
    for name in ("tasks", "rounds", "streams", "steps", "lifetime"):
        check_range(f"the plan's {name}", getattr(plan, name), 1)
    lengths = {"lifetime": plan.lifetime, "shortest lifetime": plan.shortest}
    for name, rounds in lengths.items():
        if rounds is not None and (rounds % plan.rounds or rounds < 1):
            raise UserError(f"a {name} of {rounds} rounds is not a multiple of the {plan.rounds} of an iteration")
    if plan.shortest is not None and plan.shortest > plan.lifetime:
        raise UserError(f"the shortest lifetime is {plan.shortest} rounds, but the longest is {plan.lifetime}")
    life = plan.lifetime * plan.steps
    if plan.context is not None and life > plan.context:
        raise UserError(f"a life has {life} steps, but the agent's memory holds {plan.context}: make lives shorter")
    if not plan.restart and life < horizon:
        raise UserError(
            f"a life has {life} steps, in which an episode of {horizon} need not end: make lives longer, or episodes "
            "shorter"
        )


def check_drawn(plan: Plan, experience: Any) -> None:
    """Raise a `UserError` if trials, as shapes, are not of the plan's."""
    if not isinstance(experience, Trial):
        return
    found, wanted = list(experience.rollouts.reward.shape), [plan.tasks, plan.rounds, plan.streams, plan.steps]
    if found != wanted:
        raise UserError(
            f"the source draws trials of {found} tasks, rounds, streams and steps; the algorithm's plan says {wanted}"
        )


class Drawn(NamedTuple):
    """What `Source.draw` returns: the experience that `update` learns from, what goes on to the next meta-iteration
    (lives that are not over; None: nothing), and what there is to report of it."""

    experience: Any
    carried: Any
    metrics: Metrics


class Source(Protocol):
    """Living on tasks, slices that workers collect, recorded data, lessons."""

    def begin(self, params: Params, key: Key) -> Any:
        """What is carried into the first meta-iteration; None: nothing."""
        ...

    def draw(self, params: Params, carried: Any, key: Key) -> Drawn:
        """The experience of one meta-iteration; traced inside its program."""
        ...

    def failed(self, experience: Any) -> Array | None:
        """Inside a program: whether `experience` is not what it should be, since the host failed; bool []. None: there
        is nothing that could fail."""
        ...

    def failure(self) -> UserError | None:
        """Outside: how the host failed, if it did. It is told once; after that the host may be asked again."""
        ...


class Living(NamedTuple):
    """An agent lives on tasks of a benchmark, with lives that may outlast a meta-iteration."""

    agent: Any
    streams: Streams
    tasks: Tasks
    plan: Plan

    def begin(self, params: Params, key: Key) -> Life | None:
        """Newborn lives where they last, None where all end with a meta-iteration."""
        plan = self.plan
        if plan.lifetime == plan.rounds:
            return None
        lives = begin_lives(self.agent, self.streams, self.tasks, plan, params, key)
        # Staggered ages: otherwise all lives would end, and begin, in the same iteration.
        ages = jnp.arange(plan.tasks, dtype=jnp.int32) % (lives.birth.rounds // plan.rounds) * plan.rounds
        return lives._replace(age=ages)

    def draw(self, params: Params, carried: Life | None, key: Key) -> Drawn:
        trials, lives, _ = collect(self.agent, self.streams, self.tasks, self.plan, params, carried, key)
        if lives is None:
            return Drawn(trials, None, self._returns(trials))
        diverged = _diverged(trials, lives)
        over = lives._replace(age=jnp.where(diverged, lives.birth.rounds, lives.age))
        sound = _replaced(trials, diverged)
        return Drawn(sound, over, self._returns(sound) | {"diverged": jnp.sum(diverged).astype(jnp.float32)})

    def failed(self, experience: Trial) -> Array | None:
        return self.streams.failed(experience.rollouts.reward)

    def failure(self) -> UserError | None:
        return self.streams.failure()

    def _returns(self, trials: Trial) -> Metrics:
        return returns_of(trials.rollouts, self.plan, self.streams.spec.horizon)


def living(algorithm: Algorithm, benchmark: Benchmark, tasks: Tasks | None = None) -> Living:
    """The algorithm's agent on the benchmark's training tasks, or on `tasks`."""
    return Living(
        algorithm, streams_of(benchmark.environment), benchmark.train if tasks is None else tasks, algorithm.plan
    )


def returns_of(rollouts: Rollout, plan: Plan, horizon: int) -> Metrics:
    """The mean return of each round [N, R, B, T]. Where streams run on across rounds, and episodes with them, all of a
    round's rewards count."""
    return round_returns(rollouts, episodes_per_round(plan, horizon) if plan.restart else None)


def _diverged(trials: Trial, lives: Life) -> Array:
    """Which lives are no longer made of numbers: bool [N]."""
    count = lives.age.shape[0]
    rewards = jnp.all(jnp.isfinite(trials.rollouts.reward.reshape(count, -1)), axis=1)
    return ~(rewards & jnp.all(trials.sound, axis=1) & without_nan((lives.adapted, lives.stream.memory), count))


def _replaced(trials: Trial, diverged: Array) -> Trial:
    """The trials, with the next sound one in the place of each that diverged, so that the others are learned from and
    no NaN is. If all diverged they stay, and the loop finds that."""
    place = jnp.arange(diverged.shape[0])
    # Going round from n, the first that is sound.
    away = jnp.where(diverged[None, :], diverged.shape[0], (place[None, :] - place[:, None]) % diverged.shape[0])
    chosen = jnp.argmin(away, axis=1)

    def pick(leaf: Array) -> Array:
        return select(diverged, leaf[chosen], leaf)

    return jax.tree.map(pick, trials)
