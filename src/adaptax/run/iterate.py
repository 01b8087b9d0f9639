"""One meta-iteration, and many of them under one `jit`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..types import Algorithm, Array, Key, Metrics, State
from .source import Source, check_drawn


class Progress(NamedTuple):
    """All that training carries, and all that a checkpoint holds: the algorithm's state, and what the source carries
    (lives that are not over; None: nothing)."""

    state: Any
    carried: Any


def meta_iteration(algorithm: Algorithm, source: Source) -> Callable[[Progress, Key], tuple[Progress, Metrics]]:
    """The function (progress, root key) -> (progress, metrics): draw, then update. Nothing random is carried.

    Raises a `UserError`, when it is traced, for trials of another shape than the plan's. If the host fails while the
    source draws, progress stays as it was, its iteration count included.
    """

    def iterate(progress: Progress, root: Key) -> tuple[Progress, Metrics]:
        collect_key, update_key = keys_of(progress.state, root)
        drawn = source.draw(progress.state.params, progress.carried, collect_key)
        check_drawn(algorithm.plan, drawn.experience)

        def learn(state: Any) -> tuple[Progress, Metrics]:
            after, metrics = algorithm.update(state, drawn.experience, update_key)
            return Progress(after, drawn.carried), drawn.metrics | metrics

        failed = source.failed(drawn.experience)
        return learn(progress.state) if failed is None else _unless(failed, learn, progress)

    return iterate


def keys_of(state: State, root: Key) -> tuple[Key, Key]:
    """The keys of the meta-iteration that begins with `state`: to collect, and to update."""
    collect_key, update_key = jax.random.split(jax.random.fold_in(root, state.iteration))
    return collect_key, update_key


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


def begin(algorithm: Algorithm, source: Source, root: Key) -> Progress:
    """The progress before the first meta-iteration: fresh parameters, and what the source carries."""
    init_key, life_key = jax.random.split(jax.random.fold_in(root, 2**32 - 1))
    state = algorithm.init(init_key)
    return Progress(state, source.begin(state.params, life_key))


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
    iterate = jax.jit(iterate)  # traced once, for the shapes and for the loop
    _, shapes = jax.eval_shape(iterate, progress, root)
    buffers = jax.tree.map(lambda s: jnp.zeros((longest, *s.shape), s.dtype), shapes)

    def body(i: Array, carry: tuple[Progress, Metrics]) -> tuple[Progress, Metrics]:
        progress, metrics = carry
        progress, row = iterate(progress, root)
        return progress, jax.tree.map(lambda b, r: b.at[i].set(r), metrics, row)

    return jax.lax.fori_loop(0, count, body, (progress, buffers))
