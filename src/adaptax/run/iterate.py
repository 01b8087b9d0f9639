"""One meta-iteration, and many of them under one `jit`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..types import Algorithm, Array, Benchmark, Key, Metrics, Plan, Rollout, Spec, State, Trial
from .collect import Batched, Life, begin_lives, collect, streams_of


class Progress(NamedTuple):
    """All that training carries, and all that a checkpoint holds. `lives` is None when lifetimes end with every
    iteration."""

    state: Any
    lives: Life | None


def episodes_per_round(plan: Plan, spec: Spec) -> int:
    """E: as many whole episodes as fit in a round whatever their length (1 when a round is shorter than one)."""
    return max(1, plan.steps // spec.horizon)


def counted(rollout: Rollout, episodes: int) -> Array:
    """Which steps [..., T] belong to the first E episodes of their stream's round.

    Returns are those of the first E episodes: were they averaged over whatever ended within T steps, episodes
    that end early would count more often than others.
    """
    return _episode_index(rollout) < episodes


def _episode_index(rollout: Rollout) -> Array:
    ended = jnp.logical_or(rollout.terminated, rollout.truncated).astype(jnp.int32)
    return jnp.cumsum(ended, axis=-1) - ended


def episode_sums(values: Array, rollout: Rollout, episodes: int) -> Array:
    """Sums of `values` [..., T] over each of the first E episodes: [..., E]."""

    def one(values: Array, index: Array) -> Array:
        return jnp.zeros((episodes + 1,), jnp.float32).at[jnp.minimum(index, episodes)].add(values)[:-1]

    flat = jax.vmap(one)(values.reshape(-1, values.shape[-1]), _episode_index(rollout).reshape(-1, values.shape[-1]))
    return flat.reshape(*values.shape[:-1], episodes)


def round_returns(rollouts: Rollout, episodes: int) -> Metrics:
    """Mean over tasks and streams of each round's return (the sum over its first E episodes); leaves [N, R, B, T]."""
    by_round = jnp.mean(jnp.sum(rollouts.reward * counted(rollouts, episodes), axis=-1), axis=(0, 2))
    rounds = by_round.shape[0]
    each = {f"return/round_{r}": by_round[r] for r in range(rounds)} if 1 < rounds <= 10 else {}
    return {"return": by_round[-1], **each}


def meta_iteration(
    algorithm: Algorithm, benchmark: Benchmark, training: Any = None
) -> Callable[[Progress, Key], tuple[Progress, Metrics]]:
    """The function (progress, root key) -> (progress, metrics): collect, then update. Nothing random is carried.

    If the host fails in the collection, progress stays as it was, its iteration count included.
    `training` is the task distribution (default: the benchmark's training split).
    """
    streams = streams_of(benchmark.environment)
    tasks = benchmark.train if training is None else training
    plan = algorithm.plan

    def iterate(progress: Progress, root: Key) -> tuple[Progress, Metrics]:
        state, lives = progress
        collect_key, update_key = keys_of(state, root)
        trials, lives, _ = collect(algorithm, streams, tasks, plan, state.params, lives, collect_key)

        def learn(state: Any) -> tuple[Progress, Metrics]:
            return learn_from(algorithm, streams.spec, state, lives, trials, update_key)

        if isinstance(streams, Batched):
            return learn(state)
        return _unless(streams.failed(trials.rollouts.reward), learn, progress)

    return iterate


def keys_of(state: State, root: Key) -> tuple[Key, Key]:
    """The keys of the meta-iteration that begins with `state`: to collect, and to update."""
    collect_key, update_key = jax.random.split(jax.random.fold_in(root, state.iteration))
    return collect_key, update_key


def learn_from(
    algorithm: Algorithm, spec: Spec, state: Any, lives: Life | None, trials: Trial, key: Key
) -> tuple[Progress, Metrics]:
    """The second half of a meta-iteration: update, and measure what was collected."""
    after, metrics = algorithm.update(state, trials, key)
    episodes = episodes_per_round(algorithm.plan, spec)
    return Progress(after, lives), round_returns(trials.rollouts, episodes) | metrics


def _unless(
    failed: Array, learn: Callable[[Any], tuple[Progress, Metrics]], progress: Progress
) -> tuple[Progress, Metrics]:
    """`learn(progress.state)`, or `progress` as it is: what a host that failed returned is not what happened.

    A loop of one turn or none, since the branches of a `cond` would copy the state, and with it any replay buffer.
    """
    _, shapes = jax.eval_shape(learn, progress.state)
    nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def turn(carry: tuple[Progress, Metrics, Array]) -> tuple[Progress, Metrics, Array]:
        return *learn(carry[0].state), jnp.zeros((), bool)

    after, metrics, _ = jax.lax.while_loop(lambda carry: carry[2], turn, (progress, nothing, ~failed))
    return after, metrics


def begin(algorithm: Algorithm, benchmark: Benchmark, root: Key) -> Progress:
    """The progress before the first meta-iteration: fresh parameters and, where lifetimes last, newborn lives."""
    init_key, life_key = jax.random.split(jax.random.fold_in(root, 2**32 - 1))
    state = algorithm.init(init_key)
    plan = algorithm.plan
    if plan.lifetime == plan.rounds:
        return Progress(state, None)
    streams = streams_of(benchmark.environment)
    lives = begin_lives(algorithm, streams, benchmark.train, plan, state.params, life_key)
    # Staggered ages: otherwise all lives would end, and begin, in the same iteration.
    windows = plan.lifetime // plan.rounds
    ages = (jnp.arange(plan.tasks, dtype=jnp.int32) % windows) * plan.rounds
    return Progress(state, lives._replace(age=ages))


def many(
    iterate: Callable[[Progress, Key], tuple[Progress, Metrics]], longest: int
) -> Callable[[Progress, Key, Array], tuple[Progress, Metrics]]:
    """`iterate` repeated `count` ≤ `longest` times in one compiled loop; metrics come stacked [longest].

    The count is an argument of the program, so one compilation serves any number, and a resumed run, whose
    pieces differ in length, runs the very same code as an uninterrupted one.
    """

    return partial(_repeat, iterate, longest)


def _repeat(
    iterate: Callable[[Progress, Key], tuple[Progress, Metrics]],
    longest: int,
    progress: Progress,
    root: Key,
    count: Array,
) -> tuple[Progress, Metrics]:
    _, shapes = jax.eval_shape(iterate, progress, root)
    buffers = jax.tree.map(lambda s: jnp.zeros((longest, *s.shape), s.dtype), shapes)

    def body(i: Array, carry: tuple[Progress, Metrics]) -> tuple[Progress, Metrics]:
        progress, metrics = carry
        progress, row = iterate(progress, root)
        return progress, jax.tree.map(lambda b, r: b.at[i].set(r), metrics, row)

    return jax.lax.fori_loop(0, count, body, (progress, buffers))
