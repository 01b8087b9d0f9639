"""Collection by workers: the tasks of a meta-iteration are cut into slices, and each worker collects one of them.

A slice is a function of the meta-parameters and of the iteration's key, with the slice's number folded in. Whoever
collects it, and however often, it is the same bit for bit: so a worker that dies is begun anew and asked again, and
nothing is lost or counted twice. What the workers are, processes here or actors elsewhere, is of no interest here.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from ...types import Algorithm, Array, Benchmark, Key, Params, TaskError, Trial, UserError
from ..collect import collect, streams_of
from ..source import Drawn, returns_of

DEATHS = 3  # of one worker on one slice in a row: the next would die as well

Make = Callable[[], tuple[Algorithm, Benchmark]]

# What JAX must be told alike here and in a worker, since it changes what is computed.
_ALIKE = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_default_matmul_precision",
    "jax_disable_most_optimizations",
)


class Collected(NamedTuple):
    """A slice: the leaves of its trials, keys as their data."""

    leaves: list[np.ndarray]


class Failed(NamedTuple):
    """What is wrong with the benchmark, or with how it behaved, in one sentence."""

    sentence: str


class Broken(NamedTuple):
    """The traceback of a mistake in the program."""

    trace: str


class Ended(NamedTuple):
    """The worker died; `how` goes on after "the worker"."""

    how: str


Reply = Collected | Failed | Broken | Ended


class Workers(Protocol):
    """The workers of slices 0 to `count` - 1."""

    @property
    def count(self) -> int: ...
    def ask(self, number: int, request: bytes) -> None:
        """Let worker `number` collect its slice; one that has died is begun anew first."""
        ...

    def answer(self, waiting: Collection[int]) -> tuple[int, Reply]:
        """Wait for the next of these workers to answer, or to die: its number and the reply."""
        ...

    def close(self) -> None:
        """End all workers, busy ones too."""
        ...


def pack(make: Make, count: int) -> bytes:
    """What every one of `count` workers is given: `make` makes the algorithm and the benchmark anew."""
    alike = {name: jax.config.values[name] for name in _ALIKE}
    try:
        return cloudpickle.dumps((make, count, alike))
    except Exception as error:
        raise UserError(
            f"every worker needs a copy of the algorithm and the benchmark, and these cannot be pickled "
            f"({_first_line(error)}): let a function make what does not pickle, or train without workers"
        ) from error


class Worker:
    """The worker's side: what the worker of slice `number` answers to a request."""

    def __init__(self, packed: bytes, number: int) -> None:
        self._packed, self._number, self._tasks = packed, number, 0
        self._ready: tuple[Callable[..., Any], Callable[[], UserError | None]] | None = None

    def answer(self, request: bytes) -> Reply:
        try:
            collect, failure = self._ready = self._ready or self._make()
        except Exception as error:
            return Failed(str(error) if isinstance(error, UserError) else f"a worker failed: {_first_line(error)}")
        try:
            leaves = jax.device_get(collect(*pickle.loads(request)))
            found = failure()
            return Failed(str(self._in_batch(found))) if found else Collected(leaves)
        except Exception:
            return Broken(traceback.format_exc())

    def _in_batch(self, found: UserError) -> UserError:
        """What went wrong, with the task counted in the whole batch, and not in the slice."""
        if not isinstance(found, TaskError):
            return found
        before, task, after = found.args
        return TaskError(before, self._number * self._tasks + task, after)

    def _make(self) -> tuple[Callable[..., Any], Callable[[], UserError | None]]:
        make, count, alike = pickle.loads(self._packed)
        for name, value in alike.items():
            jax.config.update(name, value)
        algorithm, benchmark = make()
        self._tasks = algorithm.plan.tasks // count
        one, like, number = slice_collector(algorithm, benchmark, count), _params(algorithm), self._number

        def run(params: list[Array], key: Array) -> list[Array]:
            return _bare(one(_restored(like, params), jax.random.wrap_key_data(key), jnp.int32(number)))

        return jax.jit(run), streams_of(benchmark.environment).failure


def slice_collector(
    algorithm: Algorithm, benchmark: Benchmark, count: int
) -> Callable[[Params, Key, Array | int], Trial]:
    """The function (params, the iteration's key, number) -> the trials of one of `count` slices."""
    plan = algorithm.plan._replace(tasks=algorithm.plan.tasks // count)
    streams = streams_of(benchmark.environment)

    def run(params: Params, key: Key, number: Array | int) -> Trial:
        own = jax.random.fold_in(key, number)
        return collect(algorithm, streams, benchmark.train, plan, params, None, own)[0]

    return run


class Sliced:
    """A `run.source.Source`: `workers` collect the slices, called by the program; `say` tells the user that a worker
    died."""

    def __init__(
        self, algorithm: Algorithm, benchmark: Benchmark, workers: Workers, say: Callable[[str], None]
    ) -> None:
        self._workers, self._say = workers, say
        self._plan, self._horizon = algorithm.plan, benchmark.spec.horizon
        self._failure: Exception | None = None
        one = slice_collector(algorithm, benchmark, workers.count)
        self._like = jax.eval_shape(one, _params(algorithm), jax.random.key(0), 0)
        # Every leaf of the trials leads with the tasks, of which a slice has its share.
        bare = jax.eval_shape(_bare, self._like)
        self._shapes = [jax.ShapeDtypeStruct((x.shape[0] * workers.count, *x.shape[1:]), x.dtype) for x in bare]

    def begin(self, params: Params, key: Key) -> None:
        """Nothing: workers keep nothing from one meta-iteration to the next."""
        return None

    def draw(self, params: Params, carried: None, key: Key) -> Drawn:
        given = [*_bare(params), jax.random.key_data(key)]
        trials = _restored(self._like, io_callback(self._gather, self._shapes, *given, ordered=True))
        return Drawn(trials, None, returns_of(trials.rollouts, self._plan, self._horizon))

    def failed(self, experience: Trial) -> Array:
        shape = jax.ShapeDtypeStruct((), np.bool_)
        after = experience.rollouts.reward.ravel()[-1:]
        return io_callback(lambda _: np.asarray(self._failure is not None), shape, after, ordered=True)

    def failure(self) -> UserError | None:
        """How a worker's benchmark failed, if one did. Raises what is a mistake in the program."""
        found, self._failure = self._failure, None
        if found is not None and not isinstance(found, UserError):
            raise found
        return found

    def _gather(self, *given: Any) -> list[np.ndarray]:
        """What runs on the host: the leaves of all slices; zeros after a failure, which must not pass through the
        program."""
        if self._failure is None:
            *params, key = [np.asarray(x) for x in given]
            try:
                return gather(self._workers, pickle.dumps((params, key), protocol=5), self._say)
            except Exception as error:
                self._failure = error
        return [np.zeros(shape.shape, shape.dtype) for shape in self._shapes]


def gather(workers: Workers, request: bytes, say: Callable[[str], None]) -> list[np.ndarray]:
    """The leaves of all slices, one slice after the other on the axis of the tasks. Raises a `UserError` if a host
    fails, or if the worker of some slice dies again and again; the other slices are waited for."""
    deaths, found, waiting = [0] * workers.count, {}, set(range(workers.count))
    for number in sorted(waiting):
        workers.ask(number, request)
    while waiting:
        number, reply = workers.answer(waiting)
        if isinstance(reply, Ended):
            deaths[number] += 1
            died = f"worker {number + 1} of {workers.count} {reply.how}"
            if deaths[number] < DEATHS:
                say(f"{died}: its slice is collected again")
                workers.ask(number, request)
                continue
            reply = Failed(f"{died}, {DEATHS} times in a row")
        found[number] = reply
        waiting.remove(number)
    slices = [_leaves(found[number]) for number in range(workers.count)]
    return [np.concatenate(parts) for parts in zip(*slices, strict=True)]


def _leaves(reply: Reply) -> list[np.ndarray]:
    match reply:
        case Collected(leaves):
            return leaves
        case Failed(sentence) | Ended(sentence):
            raise UserError(sentence)
        case Broken(trace):
            raise RuntimeError(f"a worker failed:\n\n{trace}")


def _params(algorithm: Algorithm) -> Params:
    """The meta-parameters as `jax.ShapeDtypeStruct`s."""
    return jax.eval_shape(lambda: algorithm.init(jax.random.key(0)).params)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _bare(tree: Any) -> list[Array]:
    """The leaves of a tree, keys as their data: no more than NumPy can hold."""
    return [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)]


def _restored(like: Any, leaves: list[Array]) -> Any:
    """The tree of which these are the `_bare` leaves; `like` is one of its form."""
    kinds, structure = jax.tree.flatten(like)
    wrap = jax.random.wrap_key_data
    return jax.tree.unflatten(
        structure, [wrap(leaf) if _is_key(kind) else leaf for kind, leaf in zip(kinds, leaves, strict=True)]
    )


def _first_line(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"
