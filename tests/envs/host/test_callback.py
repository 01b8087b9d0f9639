"""What goes wrong on the host is kept aside, named, and reported once; the program runs on with zeros."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.host.callback import Host, StreamError

STEPS = 6


class Pole(NamedTuple):
    length: Any
    pushes: Any


TASKS = Pole(jnp.asarray([0.25, 0.5], jnp.float32), jnp.arange(40, dtype=jnp.int32).reshape(2, 20))


def nan(values: np.ndarray) -> np.ndarray:
    values[1, 2] = np.nan
    return values


def explode(values: np.ndarray) -> np.ndarray:
    raise RuntimeError("the motor is gone\nand the log is long")


def point_out(values: np.ndarray) -> np.ndarray:
    raise StreamError((0, 1), "TypeError: no such action")


def narrow(values: np.ndarray) -> np.ndarray:
    return values[:, :2]


def widen(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64)


def double(values: np.ndarray) -> Any:
    return values, values


def count(host: Host, mistake: Any, calls: list[int], ordered: bool) -> tuple[np.ndarray, bool]:
    """Add 1 to [2, 3] streams STEPS times, with `mistake` in the fourth step."""

    def add(values: np.ndarray) -> Any:
        calls.append(1)
        assert isinstance(values, np.ndarray)
        return mistake(values + 1) if len(calls) == 4 and mistake else values + 1

    @jax.jit
    def run(start: jax.Array) -> Any:
        def step(carry: Any, _: None) -> Any:
            values, steps = carry
            shape = jax.ShapeDtypeStruct(values.shape, values.dtype)
            return (host.call(add, shape, values, tasks=TASKS, steps=steps + 1, ordered=ordered), steps + 1), None

        (values, _), _ = jax.lax.scan(step, (start, jnp.zeros((2, 3), jnp.int32)), None, length=STEPS)
        return values, host.failed(values)

    values, failed = jax.device_get(run(jnp.zeros((2, 3), jnp.float32)))
    return values, bool(failed)


@pytest.mark.parametrize("ordered", [True, False])
def test_calls_come_in_order_with_arrays_of_numpy(ordered: bool) -> None:
    host, calls = Host("pole"), []
    values, failed = count(host, None, calls, ordered)
    np.testing.assert_array_equal(values, np.full((2, 3), STEPS))
    assert len(calls) == STEPS and not failed and host.failure() is None


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (
            nan,
            "pole failed in step 4 of an episode on task 1 of the batch (length=0.5, pushes=[20 21 22 ... 37 38 39]), "
            "stream 2: its result holds nan, where finite numbers are due",
        ),
        (
            point_out,
            "pole failed in step 4 of an episode on task 0 of the batch (length=0.25, pushes=[ 0  1  2 ... 17 18 19]), "
            "stream 1: TypeError: no such action",
        ),
        (explode, "pole failed in step 4 of a batch of streams: RuntimeError: the motor is gone"),
        (narrow, "float32 [2, 2] in place of float32 [2, 3]"),
        (widen, "float64 [2, 3] in place of float32 [2, 3]"),
        (double, "PyTreeDef((*, *)) in place of PyTreeDef(*)"),
    ],
)
def test_a_failure_is_named_and_what_follows_is_zero(mistake: Any, sentence: str, ordered: bool) -> None:
    host, calls = Host("pole"), []
    values, failed = count(host, mistake, calls, ordered)
    assert failed and len(calls) == 4  # not called again
    np.testing.assert_array_equal(values, np.zeros((2, 3)))
    found = host.failure()
    assert found is not None and sentence in str(found) and "\n" not in str(found)
    assert found.__cause__ is not None
    assert host.failure() is None  # said once
    values, failed = count(host, None, [], ordered)  # and the host is called again
    assert not failed and (values == STEPS).all()


@pytest.mark.parametrize("ordered", [True, False])
def test_arguments_arrive_as_they_were(ordered: bool) -> None:
    host, seen = Host("any"), []
    given = {
        "flags": jnp.asarray([[True, False, True]]),
        "bytes": jnp.asarray([1, 255], jnp.uint8),
        "seeds": jnp.asarray([[2**31 + 5]], jnp.uint32),
        "reals": jnp.asarray([[-1.5], [np.inf], [np.nan]], jnp.float32),
        "nothing": jnp.zeros((3, 0), jnp.float32),
        "one": jnp.asarray(-7, jnp.int32),
    }

    def look(arrays: Any) -> np.ndarray:
        seen.append(arrays)
        arrays["reals"][0] = 0.0  # they are the host's own
        return np.zeros((1, 1), np.float32)

    shape = jax.ShapeDtypeStruct((1, 1), np.float32)
    jax.block_until_ready(jax.jit(lambda given: host.call(look, shape, given, ordered=ordered))(given))
    (found,) = seen
    given["reals"] = given["reals"].at[0].set(0.0)
    assert host.failure() is None and found.keys() == given.keys()
    for name, array in found.items():
        assert isinstance(array, np.ndarray) and array.dtype == given[name].dtype
        np.testing.assert_array_equal(array, given[name])
