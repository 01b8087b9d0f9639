"""Calls from a compiled program to the host, in order, and what happens when one goes wrong.

An exception must not pass through the compiled program: JAX would wrap it in an error of its own, and the state that
training gave away to the program would be lost. So the first mistake is kept aside, this call and all that follow
return zeros at once, and the loop asks after every collection: `failed` inside the program, so that no update learns
from zeros, and `failure` outside, to save what there is and stop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jax.experimental.buffer_callback import buffer_callback

from adaptax.types import Array, Task, TaskError, UserError

SHOWN = 200  # characters of an exception's message, or of a task, that an error repeats


class StreamError(Exception):
    """What a host function raises when it knows which stream (n, b) of the batch went wrong."""

    def __init__(self, place: tuple[int, int], what: str) -> None:
        super().__init__(what)
        self.place = place


class Host:
    """The host's side of the benchmark called `name`. Its `Streams` pass `failed` and `failure` on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._failure: UserError | None = None

    def __reduce__(self) -> Any:
        """A copy in another process has nothing behind it."""
        return Host, (self.name,)

    def call(
        self,
        function: Callable[..., Any],
        shapes: Any,
        *arguments: Any,
        tasks: Task = None,
        steps: Array | None = None,
        ordered: bool = True,
    ) -> Any:
        """`function(*arguments)`, called on the host when the program comes by, in the program's order. Not `ordered`,
        in the order of the data alone, which is faster on a CPU: for calls that each take a result of the one before,
        or whose function has no memory.

        `function` gets NumPy arrays of its own, and returns arrays exactly as in `shapes` (a pytree of
        `jax.ShapeDtypeStruct`, leading axes [N, B]), of finite numbers. If it does not, or raises, that is a failure
        whose sentence names the task, of `tasks` [N, …], and the step, of `steps` [N, B] (0: a reset). A `StreamError`
        says for which stream; of any other exception that is not known.
        """
        given = jax.tree.map(jnp.asarray, (tasks, steps, arguments))
        if not ordered and jax.default_backend() == "cpu":
            return buffer_callback(partial(self._in_place, function, shapes), shapes, has_side_effect=True)(*given)
        leaves, structure = jax.tree.flatten(given)
        kinds = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        unpack = partial(_unpack, jax.tree.unflatten(structure, kinds))
        return io_callback(partial(self._packed, function, shapes, unpack), shapes, _pack(leaves), ordered=True)

    def failed(self, after: Array) -> Array:
        """Inside a program, once `after` is known: whether one of the calls so far went wrong; bool []."""
        shape = jax.ShapeDtypeStruct((), np.bool_)
        return io_callback(lambda _: np.asarray(self._failure is not None), shape, after.ravel()[-1:], ordered=True)

    def failure(self) -> UserError | None:
        """Outside: what went wrong first since this was asked last, if anything. From then on calls are made again.
        Ctrl-C that came during a call is raised."""
        found, self._failure = self._failure, None
        if found and isinstance(found.__cause__, KeyboardInterrupt):
            raise found.__cause__
        return found

    def _packed(self, function: Callable[..., Any], shapes: Any, unpack: Callable[[Any], Any], packed: Any) -> Any:
        return self._guarded(function, shapes, lambda: unpack(packed))

    def _in_place(self, function: Callable[..., Any], shapes: Any, _: Any, results: Any, *given: Any) -> None:
        """On the program's own buffers: JAX takes 0.8 ms to hand over arrays for 256 half-cheetahs, this 0.3 ms."""
        found = self._guarded(function, shapes, lambda: jax.tree.map(lambda x: np.asarray(x).copy(), given))
        for buffer, result in zip(jax.tree.leaves(results), jax.tree.leaves(found), strict=True):
            np.asarray(buffer)[...] = result

    def _guarded(self, function: Callable[..., Any], shapes: Any, read: Callable[[], Any]) -> Any:
        """What `function` returns, with the tasks, the steps and the arguments that `read` returns; else zeros."""
        if self._failure is None:
            tasks, steps, arguments = read()
            try:
                return _checked(function(*arguments), shapes)
            except BaseException as error:  # sys.exit in a simulator and Ctrl-C must not pass through, either
                self._failure = self._error(error, tasks, steps)
                self._failure.__cause__ = error
        return jax.tree.map(lambda shape: np.zeros(shape.shape, shape.dtype), shapes)

    def _error(self, error: BaseException, tasks: Any, steps: Any) -> UserError:
        if not isinstance(error, StreamError):
            what = describe_error(error)
            if steps is None:
                return UserError(f"{self.name}: {what}")
            return UserError(f"{self.name} failed in step {int(np.max(steps))} of a batch of streams: {what}")
        n, b = error.place
        step = 0 if steps is None else int(steps[n, b])
        task = "" if tasks is None else f" ({describe_task(jax.tree.map(lambda x: x[n], tasks))})"
        when = f"step {step} of an episode" if step else "a reset"
        return TaskError(f"{self.name} failed in {when} on task ", n, f" of the batch{task}, stream {b}: {error}")


def _pack(leaves: list[Any]) -> Array:
    """The words of all `leaves`, one after the other: uint32 []. A call costs 0.1 ms for each array that it is given,
    so it is given one. Words, since XLA copies them much faster than bytes; what is narrower is widened."""
    flat = [jnp.zeros((0,), jnp.uint32)]
    for leaf in map(jnp.asarray, leaves):
        flat.append(jax.lax.bitcast_convert_type(leaf.astype(_wide(leaf.dtype)), jnp.uint32).ravel())
    return jnp.concatenate(flat)


def _unpack(kinds: Any, packed: Any) -> Any:
    """The arrays that `_pack` packed, as NumPy arrays in the tree of `kinds`."""
    data, begin, arrays = np.asarray(packed).tobytes(), 0, []
    for kind in jax.tree.leaves(kinds):
        array = np.frombuffer(data, _wide(kind.dtype), int(np.prod(kind.shape)), begin).reshape(kind.shape)
        begin += array.nbytes
        arrays.append(array.astype(kind.dtype))
    return jax.tree.unflatten(jax.tree.structure(kinds), arrays)


def _wide(dtype: Any) -> Any:
    """The type of whole words that holds every number of `dtype`."""
    if np.dtype(dtype).itemsize >= 4:
        return dtype
    return jnp.float32 if jnp.issubdtype(dtype, jnp.inexact) else jnp.int32


def describe_error(error: BaseException) -> str:
    """An exception's type and the first line of its message; of our own the message alone."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, UserError):
        return shorten(text)
    return shorten(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def describe_task(task: Task) -> str:
    """The fields of one task, `length=0.43, goal=[0.1 0.2]`; of a task without names its leaves."""
    names = list(task) if isinstance(task, dict) else getattr(task, "_fields", ())
    text = {
        name: jax.tree.map(_number, task[name] if isinstance(task, dict) else getattr(task, name)) for name in names
    }
    if not text:
        return shorten(", ".join(_number(leaf) for leaf in jax.tree.leaves(task)))
    return shorten(", ".join(f"{name}={value}" for name, value in text.items()))


def shorten(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _number(value: Any) -> str:
    return np.array2string(np.asarray(value), precision=4, threshold=6, edgeitems=3).replace("\n", "")


def _checked(results: Any, shapes: Any) -> Any:
    """`results` if they are what was promised; raises otherwise."""
    wanted, structure = jax.tree_util.tree_flatten_with_path(shapes)
    if jax.tree.structure(results) != structure:
        raise TypeError(f"the host returned {jax.tree.structure(results)} in place of {structure}")
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(results)]
    for leaf, (path, shape) in zip(leaves, wanted, strict=True):
        if leaf.shape != shape.shape or leaf.dtype != shape.dtype:
            found, due = (f"{x.dtype} {list(x.shape)}" for x in (leaf, shape))
            raise TypeError(f"the host returned {found} in place of {due}")
        if np.issubdtype(leaf.dtype, np.inexact) and not np.isfinite(leaf).all():
            place = np.argwhere(~np.isfinite(leaf))[0]
            name = jax.tree_util.keystr(path[-1:], simple=True) or "result"
            what = f"its {name} holds {leaf[tuple(place)]}, where finite numbers are due"
            if len(place) < 2:
                raise ValueError(what)
            raise StreamError((int(place[0]), int(place[1])), what)
    return jax.tree.unflatten(structure, leaves)
