"""What an environment's observations and actions are to an agent, and back.

Agents choose `Discrete` or one-dimensional `Box` actions: several discrete choices become one choice among all their
combinations, and boxes of any shape vectors. Observations keep their form. They have parts: those of the entries of a
`Dict` or a `Tuple`, and of any other space itself; a part is

    an image    a `Box` of three axes, [height, width, channels]
    tokens      a `MultiDiscrete` of one axis with at least two entries, all of which count the same numbers: a sequence
                from one vocabulary
    flat        any other `Box`, `Discrete`, `MultiDiscrete` or `MultiBinary`
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from .types import Spec, UserError

SERVED = "Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these"
COMBINATIONS = 4096  # of several discrete choices: a policy has one output for each


class Side(NamedTuple):
    """The space that an agent sees in place of an environment's, and the conversion: of an environment's observation
    to the agent's, or of an agent's action to the environment's. It raises a `UserError` for a value that is wrong."""

    space: gymnasium.Space
    convert: Callable[[Any], Any]


class Sides(NamedTuple):
    """None where the agent's space is the environment's own."""

    observation: Side | None = None
    action: Side | None = None


NO_SIDES = Sides()


def is_image(space: gymnasium.Space) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 3


def is_tokens(space: gymnasium.Space) -> bool:
    if not isinstance(space, spaces.MultiDiscrete) or len(space.shape) != 1 or len(space.nvec) < 2:
        return False
    return bool(np.all(space.nvec == space.nvec[0]) and np.all(space.start == space.start[0]))


def parts(space: gymnasium.Space) -> Iterator[tuple[tuple[Any, ...], gymnasium.Space]]:
    """The parts of a space of observations in its own order, each with the keys and indices that lead to it. Raises a
    `UserError` for a space that is not served."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for key, entry in _entries(space):
            for path, part in parts(entry):
                yield (key, *path), part
    elif isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        yield (), space
    elif isinstance(space, gymnasium.Space):
        raise UserError(f"the observation space {space} is not served; {SERVED} are")
    else:
        raise UserError(f"the observation space is {space!r}; it must be a gymnasium.Space")


def _entries(space: spaces.Dict | spaces.Tuple) -> list[tuple[Any, gymnasium.Space]]:
    return list(space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces))


def rebuilt(space: gymnasium.Space, of_part: Callable[[Any, tuple[Any, ...]], Any]) -> Any:
    """What `of_part` makes of each part and the way to it, in the form of an observation."""

    def build(entry: gymnasium.Space, path: tuple[Any, ...]) -> Any:
        if isinstance(entry, spaces.Dict):
            return {key: build(one, (*path, key)) for key, one in _entries(entry)}
        if isinstance(entry, spaces.Tuple):
            return tuple(build(one, (*path, key)) for key, one in _entries(entry))
        return of_part(entry, path)

    return build(space, ())


def zeros(space: gymnasium.Space, leading: tuple[int, ...] = ()) -> Any:
    """Observations of zeros with leading axes: NumPy arrays, of their space's dtypes but of at most 32 bits, as JAX has
    them."""

    def of_part(part: Any, path: tuple[Any, ...]) -> np.ndarray:
        narrow = {"int64": np.int32, "float64": np.float32}.get(str(part.dtype), part.dtype)
        return np.zeros((*leading, *(part.shape or ())), narrow)

    return rebuilt(space, of_part)


def at(observation: Any, path: tuple[Any, ...]) -> Any:
    """The entry of an observation to which the keys and indices lead; a `UserError` where there is none."""
    for key in path:
        try:
            observation = observation[key]
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"the observation is {_describe(observation)}, which has no entry {key!r}") from error
    return observation


def observation_side(space: gymnasium.Space) -> Side:
    """Observations keep their form. In it discrete ones count from 0, images of bytes stay as they are, other boxes are
    float32 of the same shape, tokens int32 that count from 0, and what else there is are vectors, as Gymnasium flattens
    them."""
    list(parts(space))  # refuse, before anything else, what is not served
    sides = rebuilt(space, lambda part, path: _part_side(part))

    def form(entry: gymnasium.Space, made: Any) -> gymnasium.Space:
        if isinstance(entry, spaces.Dict):
            return spaces.Dict(OrderedDict((key, form(one, made[key])) for key, one in _entries(entry)))
        if isinstance(entry, spaces.Tuple):
            return spaces.Tuple([form(one, made[key]) for key, one in _entries(entry)])
        return made.space

    def convert(value: Any) -> Any:
        return rebuilt(space, lambda part, path: at(sides, path).convert(at(value, path)))

    return Side(form(space, sides), convert)


def _part_side(part: Any) -> Side:
    if isinstance(part, spaces.Discrete):
        return Side(spaces.Discrete(int(part.n)), _number_of(part))
    if isinstance(part, spaces.Box):
        seen = part if is_image(part) and part.dtype == np.uint8 else _box(part.low, part.high)
        return Side(seen, _array_of(part, seen.dtype))
    if is_tokens(part):
        return Side(spaces.MultiDiscrete(part.nvec, dtype=np.int32), _tokens_of(part))
    flat: Any = spaces.flatten_space(part)
    return Side(_box(flat.low, flat.high), _vector_of(part))


def action_side(space: gymnasium.Space) -> Side:
    """A choice (Discrete, or the combinations of MultiDiscrete and MultiBinary), or a vector that is clipped to the
    bounds of the box."""
    if isinstance(space, spaces.Discrete):
        return Side(spaces.Discrete(int(space.n)), lambda action: space.start + np.int64(action))
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return _combinations(space)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return Side(_box(space.low.ravel(), space.high.ravel()), _bounded(space))
    if not isinstance(space, gymnasium.Space):
        raise UserError(f"the action space is {space!r}; it must be a gymnasium.Space")
    served = "Discrete, MultiDiscrete, MultiBinary and Box spaces of real numbers"
    raise UserError(f"the action space {space} is not served; {served} are")


def _box(low: np.ndarray, high: np.ndarray) -> spaces.Box:
    """A box of float32; bounds beyond its range are none."""
    with np.errstate(over="ignore"):
        return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _number_of(space: spaces.Discrete) -> Callable[[Any], np.int32]:
    def convert(value: Any) -> np.int32:
        if not space.contains(value):
            raise UserError(f"the observation is {_describe(value)}, which is not in its space {space}")
        return np.int32(value - space.start)

    return convert


def _tokens_of(space: spaces.MultiDiscrete) -> Callable[[Any], np.ndarray]:
    def convert(value: Any) -> np.ndarray:
        if not space.contains(value):
            raise UserError(f"the observation is {_describe(value)}, which is not in its space {space}")
        return (np.asarray(value) - space.start).astype(np.int32)

    return convert


def _array_of(space: spaces.Box, dtype: Any) -> Callable[[Any], np.ndarray]:
    def convert(value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != space.shape or array.dtype != space.dtype:
            due = f"{space.dtype} {list(space.shape)}"
            raise UserError(f"the observation is {_describe(value)}, and its space says {due}")
        return array.astype(dtype, copy=False)

    return convert


def _vector_of(space: gymnasium.Space) -> Callable[[Any], np.ndarray]:
    def convert(value: Any) -> np.ndarray:
        if not space.contains(value):
            raise UserError(f"the observation is {_describe(value)}, which is not in its space {space}")
        return np.asarray(spaces.flatten(space, value), np.float32)

    return convert


def _combinations(space: spaces.MultiDiscrete | spaces.MultiBinary) -> Side:
    binary = isinstance(space, spaces.MultiBinary)
    choices = np.full(space.shape, 2) if binary else space.nvec
    start = np.zeros_like(choices) if binary else space.start
    count = float(np.prod(choices.astype(np.float64)))
    if count > COMBINATIONS:
        raise UserError(
            f"the action space {space} has {count:.4g} combinations, and agents choose among all of them; "
            f"{COMBINATIONS} are the most that are served"
        )

    def convert(action: Any) -> np.ndarray:
        chosen = np.stack(np.unravel_index(int(action), choices.ravel()))
        return (chosen.reshape(choices.shape) + start).astype(space.dtype)

    return Side(spaces.Discrete(int(count)), convert)


def _bounded(space: spaces.Box) -> Callable[[Any], np.ndarray]:
    def convert(action: Any) -> np.ndarray:
        if not np.isfinite(action).all():
            raise UserError(f"the agent's action is {action}, not finite numbers")
        return np.clip(np.reshape(action, space.shape), space.low, space.high).astype(space.dtype)

    return convert


def _describe(value: Any) -> str:
    array = np.asarray(value)
    if array.dtype == object:
        return f"a {type(value).__name__}"
    return f"{array.dtype} {list(array.shape)}" if array.shape else f"{type(value).__name__} {value}"


def check_environment(spec: Spec, environment: Any, sides: Sides) -> None:
    """Raise a `UserError` unless an agent for `spec` can live on `environment`, an object with Gymnasium's `reset` and
    `step`. Its spaces are compared where it has them: the kinds, shapes and numbers, and the bounds of actions.
    """
    for name in ("reset", "step"):
        if not callable(getattr(environment, name, None)):
            raise UserError(f"the environment {environment!r} has no {name}; it must have Gymnasium's reset and step")
    many = getattr(environment, "num_envs", None)
    if many is not None:
        raise UserError(
            f"this environment steps {many} at once, but an agent lives on one: give it a single one, or no "
            "environment and use predict for many"
        )
    for kind, wanted, side in (
        ("observation", spec.observation_space, sides.observation),
        ("action", spec.action_space, sides.action),
    ):
        found = getattr(environment, f"{kind}_space", None)
        if found is not None and not _fits(kind, wanted, found if side is None else side.space):
            raise UserError(f"the environment's {kind} space is {found}, but the agent was trained on {wanted}")


def _fits(kind: str, wanted: Any, found: Any) -> bool:
    if isinstance(wanted, spaces.Discrete):
        return isinstance(found, spaces.Discrete) and found.n == wanted.n
    if isinstance(wanted, spaces.Dict | spaces.Tuple) and type(found) is type(wanted):
        ours, theirs = dict(_entries(wanted)), dict(_entries(found))
        return ours.keys() == theirs.keys() and all(_fits(kind, ours[key], theirs[key]) for key in ours)
    if isinstance(wanted, spaces.MultiDiscrete) and is_tokens(wanted):
        alike = isinstance(found, spaces.MultiDiscrete) and is_tokens(found) and found.shape == wanted.shape
        return alike and found.nvec[0] == wanted.nvec[0]
    if not isinstance(wanted, spaces.Box) or not isinstance(found, spaces.Box):
        return wanted == found
    # The bounds of observations say nothing to a network; those of actions are what it was trained to act within.
    same_bounds = wanted.shape == found.shape and all(
        np.allclose(x, y) for x, y in ((wanted.low, found.low), (wanted.high, found.high))
    )
    return same_bounds if kind == "action" else wanted.shape == found.shape


def perceived(space: gymnasium.Space, observation: Any, side: Side | None = None, streams: tuple[int, ...] = ()) -> Any:
    """The observation [*streams, ...] as the agent reads it: arrays in the form of its space. Raises a `UserError` for
    a wrong form or shape, or where it is not finite."""
    given = observation if side is None else side.convert(observation)

    def of_part(part: Any, path: tuple[Any, ...]) -> np.ndarray:
        value, wanted = np.asarray(at(given, path), part.dtype), (*streams, *(part.shape or ()))
        if value.shape != wanted:
            where = f"{'.'.join(map(str, path))} of " if path else ""
            raise UserError(
                f"{where}an observation has the shape {list(value.shape)}; the agent was trained on {list(wanted)}"
            )
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise UserError(f"an observation is not finite: {observation}")
        return value

    return rebuilt(space, of_part)


def is_one(space: gymnasium.Space, observation: Any, side: Side | None = None) -> bool:
    """Whether this is the observation of one stream, and not those of several as the agent reads them."""
    path, part = next(iter(parts(space)))
    value = at(observation, path)
    flattened = side is not None and isinstance(part, spaces.Box) and not isinstance(value, np.ndarray)
    return flattened or np.ndim(value) == len(part.shape or ())


def executed(space: gymnasium.Space, action: np.ndarray, side: Side | None = None) -> Any:
    """The action as an environment takes it: within the bounds of a Box; a whole number where `space` is Discrete."""
    if side is not None:
        return side.convert(action)
    if isinstance(space, spaces.Box):
        return np.clip(action, space.low, space.high)
    return int(action) if action.ndim == 0 else action
