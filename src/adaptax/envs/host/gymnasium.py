"""Any Gymnasium environment with a distribution over tasks, as a benchmark.

There is one environment object for each stream. It is reset with the task applied and a seed that comes from the
stream's key, so that an episode depends on nothing that happened before it. Observation, reward and end of a step are
the environment's own; a time limit, the environment's or ours, truncates and never terminates.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.utils.env_checker import check_env

from adaptax.envs.host.callback import Host, describe_error, describe_task
from adaptax.envs.host.streams import GymnasiumStreams, Sides, Tasked, is_masked, reset_once, step_once
from adaptax.envs.host.tasks import Drawn, Form, fields_of, form_of, listed
from adaptax.ranges import check_range
from adaptax.spaces import action_side, observation_side
from adaptax.types import Benchmark, Spec, Tasks, UserError

TRIED = 100  # tasks of a finite set that are tried at the start

Application = Callable[[gymnasium.Env, Any], Any]  # applies a task; returns the options for `reset`, or None


def from_gymnasium(
    environment: str | Callable[[], gymnasium.Env],
    *,
    sample: Callable[[np.random.Generator], Any] | None = None,
    train: Tasks | Sequence[Any] | None = None,
    validation: Tasks | Sequence[Any] | None = None,
    test: Tasks | Sequence[Any] | None = None,
    set_task: Callable[[gymnasium.Env, Any], Any] | None = None,
    attributes: bool = False,
    options: bool = False,
    horizon: int | None = None,
    episodes: int = 1,
    name: str = "",
    describe: str = "",
    check: bool = True,
) -> Benchmark:
    """A benchmark of a Gymnasium environment: an id, or a function that makes a new environment at every call.

    Tasks are dictionaries or NamedTuples of numbers and arrays. Either `sample(generator)` draws one with NumPy's
    random numbers (training, validation and test never share a generator), or `train`, `validation` and `test` are
    lists of tasks, or adaptax's own `Tasks`. A task is applied before every reset in one of three ways:
    `set_task(environment, task)` is called with the environment as it was made; with `attributes`, the task's fields
    are set as attributes of `environment.unwrapped`; with `options`, they are passed as `reset(options=…)`.

    `horizon` is the time limit (default: the environment's own), `episodes` the number of episodes of a trial, `name`
    what errors call it. `check`: let Gymnasium's own checker try it. A `UserError` says what cannot be used.
    """
    name = name or (environment if isinstance(environment, str) else getattr(environment, "__name__", "environment"))
    host, apply = Host(name), _application(set_task, attributes, options)
    for limit, value in (("horizon", horizon), ("episodes", episodes)):
        check_range(limit, value, 1)
    make = partial(_make, environment, horizon, name, apply)
    one = make()
    try:
        spaces: Any = [getattr(one, name, None) for name in ("observation_space", "action_space")]
        sides = Sides(observation_side(spaces[0]), action_side(spaces[1]))
        form, splits = _splits(sample, (train, validation, test), host)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    limit = _horizon(one, horizon, name)
    sides = _try_out(one, sides, form, splits, host)
    spec = Spec(sides.observation.space, sides.action.space, limit, episodes, masked=sides.masked)
    if check:
        _check(one, name)
    one.close()
    streams = GymnasiumStreams(make, spec, sides, form, host)
    train, validation, test = splits
    describe = describe or f"return per episode of at most {spec.horizon} steps"
    return Benchmark(streams, train, validation, test, describe=describe)


def _application(set_task: Application | None, attributes: bool, options: bool) -> Application:
    def call(environment: gymnasium.Env, task: Any) -> None:
        assert set_task is not None
        set_task(environment, task)

    def assign(environment: gymnasium.Env, task: Any) -> None:
        for field, value in fields_of(task).items():
            getattr(environment.unwrapped, field)  # raises if there is none: a new attribute would change nothing
            setattr(environment.unwrapped, field, value)

    def pass_on(environment: gymnasium.Env, task: Any) -> dict[str, Any]:
        return fields_of(task)

    if (set_task is not None) + attributes + options != 1:
        raise UserError("say how a task is applied by exactly one of set_task=…, attributes=True and options=True")
    return pass_on if options else assign if attributes else call


def _make(
    environment: str | Callable[..., gymnasium.Env],
    horizon: int | None,
    name: str,
    apply: Application,
    render_mode: str | None = None,
) -> Tasked:
    """A new environment; one to be drawn, if it knows how to, by a `render_mode`."""
    drawn = {} if render_mode is None else {"render_mode": render_mode}
    try:
        if isinstance(environment, str):
            made = gymnasium.make(environment, max_episode_steps=horizon, disable_env_checker=True, **drawn)
        else:
            takes = bool(drawn) and "render_mode" in inspect.signature(environment).parameters
            made = environment(**(drawn if takes else {}))
    except (Exception, SystemExit) as error:
        raise UserError(f"{name} cannot be made: {describe_error(error)}") from error
    if not isinstance(made, gymnasium.Env):
        raise UserError(f"{name} is a {type(made).__name__}; it must be a gymnasium.Env")
    return Tasked(made, apply)


def _horizon(environment: gymnasium.Env, horizon: int | None, name: str) -> int:
    own = environment.spec.max_episode_steps if environment.spec else None
    limit = own if horizon is None else horizon
    if limit is None:
        raise UserError(f"{name} has no time limit of its own: say with horizon=… after how many steps to truncate")
    if own is not None and limit > own:
        raise UserError(f"horizon is {horizon}, but {name} ends every episode after {own} steps")
    return limit


def _splits(sample: Any, given: tuple[Any, Any, Any], host: Host) -> tuple[Form, list[Tasks]]:
    """The form of the tasks, and the training, validation and test tasks."""
    missing = [tasks is None for tasks in given]
    if any(missing) if sample is None else not all(missing):
        raise UserError("give either sample=…, or all of train=…, validation=… and test=…")
    if sample is not None:
        try:
            form = form_of([sample(np.random.default_rng(0))])
        except (Exception, SystemExit) as error:
            raise UserError(f"no task could be drawn: {describe_error(error)}") from error
        return form, [Drawn(sample, form, host, split) for split in range(3)]
    lists = [list(tasks) if isinstance(tasks, list) or type(tasks) is tuple else None for tasks in given]
    if all(lists):
        form = form_of([task for tasks in lists for task in tasks or ()])
        return form, [listed(form, tasks or ()) for tasks in lists]
    if any(tasks is not None for tasks in lists):
        raise UserError("train, validation and test must all be lists of at least one task, or all be Tasks of adaptax")
    return form_of([_first(tasks, 1)[0] for tasks in given]), list(given)


def _first(tasks: Tasks, count: int) -> list[Any]:
    """The first `count` tasks, packed, on the host."""
    drawn = jax.device_get(tasks.enumerate(jax.random.key(0), count)[1])
    return [jax.tree.map(lambda x, k=k: x[k], drawn) for k in range(count)]


def _try_out(environment: Tasked, sides: Sides, form: Form, splits: list[Tasks], host: Host) -> Sides:
    """Apply the first tasks of every split, one of a split that draws them, reset and step. Returns `sides`, which know
    after the first reset whether the environment says what can be chosen."""
    sides.action.space.seed(0)
    drawn = [task for tasks in splits for task in _first(tasks, min(tasks.size or 1, TRIED))]
    if failure := host.failure():
        raise failure
    for k, task in enumerate(map(form.unpack, drawn)):
        try:
            if k == 0:
                environment.task = task
                sides = sides._replace(masked=is_masked(environment, environment.reset(seed=0)[1]))
            begun = reset_once(sides, task, 0, environment)
            mask = {} if begun[1] is None else {"mask": begun[1].astype(np.int8)}
            outcome = step_once(sides, sides.action.space.sample(**mask), environment)
            if not all(np.isfinite(x).all() for x in jax.tree.leaves((begun, outcome))):
                raise UserError("an observation or a reward is not finite")
        except (Exception, SystemExit) as error:
            on = describe_task(task)
            raise UserError(f"{host.name} cannot be used on the task {on}: {describe_error(error)}") from error
    return sides


def _check(environment: Tasked, name: str) -> None:
    """Gymnasium's own checker; what it only warns of is passed over."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_env(environment, skip_render_check=True, skip_close_check=True)
    except (Exception, SystemExit) as error:
        raise UserError(f"{name} does not pass Gymnasium's checker: {describe_error(error)}") from error
