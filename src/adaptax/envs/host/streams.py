"""The streams of a Gymnasium environment: one object for each, stepped one after the other by an ordered callback.

A program carries only where each stream stands, and calls for a reset only when some episode has ended.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, cast

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.filmed import Filmed
from adaptax.envs.host.callback import Host, StreamError, describe_error, describe_task
from adaptax.envs.host.opengl import require_opengl
from adaptax.envs.host.tasks import Form
from adaptax.spaces import Side, zeros
from adaptax.types import Array, Key, Observation, Outcome, Spec, Task, UserError

MODE = "rgb_array"  # Gymnasium's render mode that returns pictures
MASK = "action_mask"  # in what key of `info` environments say which discrete actions can be chosen
STALE = (
    "its environment was begun again by another collection, or in another process, while its life went on: a life that "
    "outlasts an iteration needs the environments for itself"
)


class Tasked(gymnasium.Wrapper):
    """An environment whose `task`, in the user's form, is applied at every reset: `apply(environment, task)` returns
    options for `reset`, or None."""

    def __init__(self, environment: gymnasium.Env, apply: Callable[[gymnasium.Env, Any], Any]) -> None:
        super().__init__(environment)
        self.apply = apply
        self.task: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        given = self.apply(self.env, self.task)
        return self.env.reset(seed=seed, options=options if given is None else {**(options or {}), **given})


class Sides(NamedTuple):
    """What the environment's observations and actions are to an agent, and whether it says in `info["action_mask"]`
    which discrete actions can be chosen."""

    observation: Side
    action: Side
    masked: bool = False


class Place(NamedTuple):
    """Where a stream stands: the number of its last reset, and its steps since, int32 [N, B]; and which of the n
    discrete actions can be chosen, bool [N, B, n], or None where the environment does not say."""

    token: Array
    elapsed: Array
    allowed: Array | None = None


class Begun(NamedTuple):
    """What the host returns of a reset: numbers of the resets, observations, and which actions can be chosen (or None);
    zeros where an episode goes on."""

    token: Any
    observation: Any
    allowed: Any


class Pool(NamedTuple):
    """The environments of one batch shape [N, B], made when they are needed, and the number of their last reset."""

    environments: np.ndarray
    tokens: np.ndarray


class GymnasiumStreams:
    """`Streams` over environments that `make` makes; `form` says how a user's tasks look."""

    def __init__(self, make: Callable[..., Tasked], spec: Spec, sides: Sides, form: Form, host: Host) -> None:
        self.make, self.spec, self.sides, self.form = make, spec, sides, form
        self._host = host
        self._pools: dict[tuple[int, ...], Pool] = {}
        self._used: set[int] = set()  # the ids of the environments in the pools
        self._resets = secrets.randbelow(2**30)  # so that no number of another process is taken for one of ours
        self.failed, self.failure = host.failed, host.failure

    def __reduce__(self) -> Any:
        """A copy in another process makes environments of its own."""
        return GymnasiumStreams, (self.make, self.spec, self.sides, self.form, self._host)

    def first_streams(self, tasks: Task, keys: Key) -> tuple[Place, Observation]:
        return self._begin(tasks, jnp.zeros(keys.shape, jnp.int32), jnp.ones(keys.shape, bool), keys)

    def reset_streams(
        self, tasks: Task, states: Place, observations: Observation, ended: Array, keys: Key
    ) -> tuple[Place, Observation]:
        def begin() -> tuple[Place, Observation]:
            place, fresh = self._begin(tasks, states.token, ended, keys)
            return _where(ended, place, states), _where(ended, fresh, observations)

        return jax.lax.cond(jnp.any(ended), begin, lambda: (states, observations))

    def step_streams(self, tasks: Task, states: Place, actions: Array, keys: Key) -> tuple[Place, Outcome]:
        shape, elapsed = states.token.shape, states.elapsed + 1
        flags = [jax.ShapeDtypeStruct(shape, np.bool_)] * 3
        due: Any = self._seen(shape), jax.ShapeDtypeStruct(shape, np.float32), *flags
        shapes = jax.ShapeDtypeStruct(shape, np.int32), Outcome(*due), self._masks(shape, jax.ShapeDtypeStruct)
        token, outcome, allowed = self._call(self._step, shapes, states.token, actions, tasks=tasks, steps=elapsed)
        return Place(token, elapsed, allowed), outcome

    def allowed_streams(self, tasks: Task, states: Place) -> Any:
        return states.allowed

    def _begin(self, tasks: Task, before: Array, ended: Array, keys: Key) -> tuple[Place, Observation]:
        shape = keys.shape
        seeds = jax.vmap(jax.vmap(jax.random.bits))(keys) >> 1  # some environments want 31 bits
        shapes = Begun(
            jax.ShapeDtypeStruct(shape, np.int32), self._seen(shape), self._masks(shape, jax.ShapeDtypeStruct)
        )
        steps = jnp.zeros(shape, jnp.int32)
        begun = self._call(self._reset, shapes, before, tasks, ended, seeds, tasks=tasks, steps=steps)
        return Place(begun.token, steps, begun.allowed), begun.observation

    def _call(self, function: Callable[..., Any], *arguments: Any, **of_whom: Any) -> Any:
        """A call that takes the tokens which the one before returned: so they cannot change places."""
        return self._host.call(function, *arguments, **of_whom, ordered=False)

    def _seen(self, shape: tuple[int, ...]) -> Any:
        """The shapes and dtypes of the observations of a batch of streams."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), zeros(self.spec.observation_space, shape))

    def _masks(self, shape: tuple[int, ...], kind: Callable[..., Any]) -> Any:
        """`kind` of masks of a batch of streams; None where the environment does not say what can be chosen."""
        space: Any = self.spec.action_space
        return kind((*shape, int(space.n)), np.bool_) if self.spec.masked else None

    # What runs on the host.

    def _reset(self, before: np.ndarray, tasks: Any, ended: np.ndarray, seeds: np.ndarray) -> Begun:
        tokens = np.zeros(ended.shape, np.int32)
        results = zeros(self.spec.observation_space, ended.shape), self._masks(ended.shape, np.zeros)
        empty = Pool(np.full(ended.shape, None, object), np.zeros(ended.shape, np.int32))
        pool = self._pools.setdefault(ended.shape, empty)
        for n in np.flatnonzero(ended.any(axis=1)):
            task = self.form.unpack(jax.tree.map(lambda x, n=n: x[n], tasks))
            for b in np.flatnonzero(ended[n]):
                self._resets = (self._resets + 1) % 2**31
                tokens[n, b] = pool.tokens[n, b] = self._resets
                begin = partial(reset_once, self.sides, task, int(seeds[n, b]))
                _write(results, (int(n), int(b)), self._try(pool, (int(n), int(b)), begin))
        return Begun(tokens, *results)

    def _step(self, tokens: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, Outcome, Any]:
        shape = tokens.shape
        pool = self._pools.get(shape)
        stale = np.argwhere(np.ones(shape, bool) if pool is None else pool.tokens != tokens)
        if pool is None or len(stale):
            raise StreamError((int(stale[0][0]), int(stale[0][1])), STALE)
        # observation, reward, terminated, truncated, success
        seen = zeros(self.spec.observation_space, shape)
        results: Any = seen, np.zeros(shape, np.float32), *np.zeros((3, *shape), bool), self._masks(shape, np.zeros)
        for n, b in np.ndindex(*shape):
            outcome = self._try(pool, (n, b), partial(step_once, self.sides, actions[n, b]))
            _write(results, (n, b), outcome)
        *outcomes, allowed = results
        return tokens, Outcome(*outcomes), allowed

    def _try(self, pool: Pool, place: tuple[int, int], use: Callable[[Tasked], Any]) -> Any:
        """What `use` makes of the environment at `place`; one that fails is not used again."""
        try:
            if pool.environments[place] is None:
                pool.environments[place] = self._new()
            return use(pool.environments[place])
        except (Exception, SystemExit, GeneratorExit) as error:  # a simulator that calls sys.exit, too
            if pool.environments[place] is not None:
                self._used.discard(id(pool.environments[place].unwrapped))
            pool.environments[place] = None
            raise StreamError(place, describe_error(error)) from error

    def _new(self) -> Tasked:
        environment = self.make()
        if id(environment.unwrapped) in self._used:
            raise UserError("the function that makes environments returned one twice; each stream needs its own")
        self._used.add(id(environment.unwrapped))
        return environment

    def filmed(self, task: Task) -> Filmed:
        """The same streams, of which the first one's environment is drawn by itself, in Gymnasium's `rgb_array`."""
        modes = self.make().metadata.get("render_modes") or ["none"]
        if MODE not in modes:
            raise UserError(
                f"{self._host.name} cannot be drawn: of the render modes it has {', '.join(modes)}, not {MODE}"
            )
        one, given = self.make(render_mode=MODE), self.form.unpack(task)
        if one.render_mode != MODE:
            raise UserError(
                f"{self._host.name} cannot be drawn: the function that makes it must take render_mode, as in "
                "lambda render_mode=None: gymnasium.make(…, render_mode=render_mode), or choose rgb_array itself"
            )
        if getattr(one.unwrapped, "mujoco_renderer", None) is not None:
            require_opengl()
        try:
            reset_once(self.sides, given, 0, one)
            picture_of(one)
        except Exception as error:
            raise UserError(f"{self._host.name} cannot be drawn: {describe_error(error)}") from error
        one.close()
        drawn = DrawnStreams(partial(self.make, render_mode=MODE), self.spec, self.sides, self.form, self._host)
        return Filmed(drawn, drawn.frame, describe_task(given))


class DrawnStreams(GymnasiumStreams):
    """Keeps what the first stream's environment shows after every reset and step, compressed."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._shown: dict[int, list[bytes]] = {}  # by the number of a reset
        self._size: tuple[int, ...] = ()

    def frame(self, state: Place) -> np.ndarray:
        shown = zlib.decompress(self._shown[int(state.token)][int(state.elapsed)])
        return np.frombuffer(shown, np.uint8).reshape(self._size)

    def _reset(self, before: np.ndarray, tasks: Any, ended: np.ndarray, seeds: np.ndarray) -> Begun:
        begun = super()._reset(before, tasks, ended, seeds)
        if ended[0, 0]:
            self._keep(begun.token)
        return begun

    def _step(self, tokens: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, Outcome, Any]:
        stepped = super()._step(tokens, actions)
        self._keep(tokens)
        return stepped

    def _keep(self, tokens: np.ndarray) -> None:
        shown = self._try(self._pools[tokens.shape], (0, 0), picture_of)
        self._size = shown.shape
        self._shown.setdefault(int(tokens[0, 0]), []).append(zlib.compress(shown.astype(np.uint8).tobytes(), 1))


def _where(ended: Array, fresh: Any, others: Any) -> Any:
    """The leaves of `fresh` where `ended` [N, B] is true, and else those of `others`."""

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(ended.reshape(ended.shape + (1,) * (new.ndim - ended.ndim)), new, old)

    return jax.tree.map(choose, fresh, others)


def _write(arrays: Any, place: tuple[int, int], values: Any) -> None:
    """Write what one stream gave into the leaves of `arrays`."""
    for array, value in zip(jax.tree.leaves(arrays), jax.tree.leaves(values), strict=True):
        array[place] = value


def picture_of(environment: Tasked) -> np.ndarray:
    """What it draws, always in the same thread: an OpenGL context draws black in another than it was made in, and
    callbacks come in whatever thread is free."""
    return np.asarray(_PAINTER.submit(environment.render).result())


_PAINTER = ThreadPoolExecutor(1)


def reset_once(sides: Sides, task: Any, seed: int, environment: Tasked) -> tuple[Any, Any]:
    """Begin an episode on a user's `task`: the observation as the agent sees it, and which actions can be chosen."""
    environment.task = task
    observation, info = environment.reset(seed=seed)
    return sides.observation.convert(observation), _mask_in(sides, info)


def step_once(sides: Sides, action: Any, environment: Tasked) -> tuple[Any, float, bool, bool, bool, Any]:
    """One step with an agent's action: observation, reward, terminated, truncated, success, and which actions can be
    chosen next."""
    observation, reward, terminated, truncated, info = environment.step(sides.action.convert(action))
    success = info.get("success", info.get("is_success", False))
    seen, allowed = sides.observation.convert(observation), _mask_in(sides, info)
    return seen, float(reward), bool(terminated), bool(truncated), bool(success), allowed


def is_masked(environment: gymnasium.Env, info: Mapping[str, Any]) -> bool:
    """Whether `info`, of a reset, says which of the environment's discrete actions can be chosen."""
    return MASK in info and isinstance(environment.action_space, gymnasium.spaces.Discrete)


def _mask_in(sides: Sides, info: Mapping[str, Any]) -> np.ndarray | None:
    """Which of the n discrete actions can be chosen, bool [n]; None where the environment does not say."""
    if not sides.masked:
        return None
    if MASK not in info:
        raise UserError(f"info has no {MASK} here, and had one at the first reset: it must be in every step's")
    mask, space = np.asarray(info[MASK]), cast(gymnasium.spaces.Discrete, sides.action.space)
    if mask.shape != (space.n,):
        raise UserError(f"info's {MASK} has the shape {list(mask.shape)}; for {space.n} actions it must be [{space.n}]")
    return mask.astype(bool)
