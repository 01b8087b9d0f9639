"""From rules and tasks to a `Benchmark`, on the host or on MJX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

from adaptax.known import Known
from adaptax.ranges import check_range
from adaptax.types import Benchmark, Environment, Streams, Tasks, UserError

from .locomotion import HostLocomotion
from .mjx import MJXLocomotion
from .robots import require_mujoco
from .rules import Rules

Backend = Literal["host", "mjx"]
Found = TypeVar("Found")


def chosen(variants: Mapping[str, Found], name: str) -> Found:
    """The variant called `name`."""
    if name not in variants:
        raise UserError(f"variant is {name!r}; it must be one of {', '.join(variants)}")
    return variants[name]


def locomotion(
    name: str,
    rules: Rules,
    splits: tuple[Tasks, Tasks, Tasks],
    horizon: int,
    episodes: int,
    backend: Backend,
    *,
    on: str,
    named: Mapping[str, Tasks] | None = None,
) -> Benchmark:
    """The benchmark `name`; `on` says in words what is tested on."""
    check_range("horizon", horizon, 1)
    check_range("episodes", episodes, 1)
    if backend not in ("host", "mjx"):
        raise UserError(f"backend is {backend!r}; it must be 'host' or 'mjx'")
    require_mujoco()
    environment: Environment | Streams
    if backend == "mjx":
        environment = MJXLocomotion(rules, horizon, episodes)
    else:
        environment = HostLocomotion(name, rules, horizon, episodes)
    each = f"return per episode of {horizon} steps" if episodes == 1 else f"return over {episodes} episodes"
    return Benchmark(environment, *splits, named or {}, f"{each} on {on}")


def bounded(benchmark: Benchmark, most: float, why: str) -> Benchmark:
    """`benchmark`, whose best reference is that no step pays more than `most`."""
    bound = Known("bound", benchmark.spec.horizon * most, f"no step pays more than {most:g}: {why}")
    return benchmark._replace(known=(bound,), best=bound.name)


def reached(benchmark: Benchmark, episode: float, how: str) -> Benchmark:
    """`benchmark`, whose best reference is the return of an episode that an agent reached which was told the task."""
    told = Known("told-task", episode, how, bounds=False)
    return benchmark._replace(known=(told,), best=told.name)
