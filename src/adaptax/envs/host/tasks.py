"""Tasks as a user writes them, dictionaries or NamedTuples of numbers, as the arrays that the loop deals out.

Inside, a task is a NamedTuple of arrays of 32 bits. The user's functions get it back in the form that it had: a
dictionary stays one, a number is a number of Python and an array has its dtype.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.host.callback import Host, describe_error
from adaptax.tasks import TaskSet
from adaptax.types import UNSEEN, Array, Key, Task, UserError


class Form(NamedTuple):
    """How a user's tasks look: `kind` makes one from fields by name (`dict`, or a NamedTuple), and `packed` is the
    NamedTuple that stands for it inside; `fields` holds the dtype, as the user has it, and the shape of each field."""

    kind: Callable[..., Any]
    packed: Callable[..., Any]
    fields: Mapping[str, jax.ShapeDtypeStruct]

    @property
    def shapes(self) -> Any:
        """A packed task as `jax.ShapeDtypeStruct`s."""
        return self.packed(*(jax.ShapeDtypeStruct(x.shape, _narrow(x.dtype)) for x in self.fields.values()))

    def pack(self, task: Any) -> Any:
        """A user's task as a NamedTuple of NumPy arrays; raises a `UserError` if it looks different from the others."""
        values = _fields(task)
        if values.keys() != self.fields.keys():
            raise UserError(f"a task has the fields {', '.join(values)}; the first one has {', '.join(self.fields)}")
        return self.packed(*(_cast(name, values[name], like) for name, like in self.fields.items()))

    def unpack(self, task: Any) -> Any:
        """The user's task of a packed one."""
        values = {}
        for name, like in self.fields.items():
            array = np.asarray(getattr(task, name)).astype(like.dtype)
            values[name] = array if array.shape else array.item()
        return self.kind(**values)


def form_of(tasks: Sequence[Any]) -> Form:
    """The form of a user's tasks, all of which have the same fields; a field is real if it is so in any of them."""
    first, *others = map(_fields, tasks)
    fields = {}
    for name, value in first.items():
        alike = [value, *(other[name] for other in others if name in other)]
        fields[name] = jax.ShapeDtypeStruct(np.shape(value), np.result_type(*(np.asarray(x) for x in alike)))
    if isinstance(tasks[0], dict):
        try:
            return Form(dict, namedtuple("Task", first), fields)
        except ValueError as error:
            raise UserError(f"the fields of a task cannot be called {', '.join(first)}: {error}") from None
    return Form(type(tasks[0]), type(tasks[0]), fields)


def listed(form: Form, tasks: Sequence[Any]) -> TaskSet:
    """A finite set of a user's tasks."""
    packed = [form.pack(task) for task in tasks]
    return TaskSet(jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *packed))


class Drawn(NamedTuple):
    """Unbounded `Tasks` that `draw(generator)`, a function of NumPy's random numbers, makes on the host. `split` goes
    into the seed, so that no two splits share a stream of random numbers."""

    draw: Callable[[np.random.Generator], Any]
    form: Form
    host: Host
    split: int

    @property
    def size(self) -> None:
        return None

    def sample(self, key: Key, count: int) -> tuple[Array, Task]:
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), self.form.shapes)
        task = self.host.call(partial(self._draw, count), shapes, jax.random.bits(key, (4,), jnp.uint32))
        return jnp.full((count,), UNSEEN), task

    def enumerate(self, key: Key, count: int) -> tuple[Array, Task]:
        return self.sample(key, count)

    def _draw(self, count: int, seed: np.ndarray) -> Any:
        generator = np.random.default_rng([self.split, *map(int, seed)])
        try:
            tasks = [self.form.pack(self.draw(generator)) for _ in range(count)]
        except Exception as error:
            raise UserError(f"no task could be drawn: {describe_error(error)}") from error
        return jax.tree.map(lambda *leaves: np.stack(leaves), *tasks)


def fields_of(task: Any) -> dict[str, Any]:
    """The fields of a user's task by name; none if it is neither a dictionary nor a NamedTuple."""
    return (
        dict(task) if isinstance(task, dict) else {name: getattr(task, name) for name in getattr(task, "_fields", ())}
    )


def _fields(task: Any) -> dict[str, Any]:
    """The fields of a user's task by name, checked to be numbers or arrays of numbers."""
    found = fields_of(task)
    if not found or not all(isinstance(name, str) for name in found):
        raise UserError(f"a task is {task!r}; it must be a dictionary or a NamedTuple of numbers and arrays")
    for name, value in found.items():
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.asarray(None)
        if array.dtype.kind not in "biuf":
            raise UserError(f"the field {name} of a task is {value!r}; it must be a number or an array of numbers")
        if not np.isfinite(array).all():
            raise UserError(f"the field {name} of a task is {value}; it must be finite")
    return found


def _cast(name: str, value: Any, like: jax.ShapeDtypeStruct) -> np.ndarray:
    array = np.asarray(value)
    if array.shape != like.shape:
        raise UserError(f"the field {name} of a task has the shape {list(array.shape)}, not {list(like.shape)}")
    cast = array.astype(_narrow(like.dtype))
    if like.dtype.kind != "f" and (cast != array).any():
        raise UserError(f"the field {name} of a task is {value}; in the first one it is a whole number of 32 bits")
    return cast


def _narrow(dtype: Any) -> np.dtype:
    """The dtype of 32 bits that stands for one of NumPy's."""
    return np.dtype({"f": np.float32, "b": np.bool_}.get(np.dtype(dtype).kind, np.int32))
