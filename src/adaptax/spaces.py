"""What an environment's observations and actions are to an agent, and back.

Agents perceive `Discrete` and `Box` observations and choose `Discrete` or one-dimensional `Box` actions. Gymnasium's
other spaces are turned into these: several discrete choices into one choice among all their combinations, boxes of any
shape into vectors where they are actions, and composite observations into one vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from .types import Spec, UserError

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


def observation_side(space: gymnasium.Space) -> Side:
    """Discrete observations count from 0, boxes are float32 of the same shape, and any other space that Gymnasium can
    flatten is a vector."""
    if isinstance(space, spaces.Discrete):
        return Side(spaces.Discrete(int(space.n)), _number_of(space))
    if isinstance(space, spaces.Box):
        return Side(_box(space.low, space.high), _array_of(space))
    if not isinstance(space, gymnasium.Space):
        raise UserError(f"the observation space is {space!r}; it must be a gymnasium.Space")
    flat = spaces.flatten_space(space) if space.is_np_flattenable else None
    if not isinstance(flat, spaces.Box):
        raise UserError(f"the observation space {space} is not served: it has no fixed number of entries")
    return Side(_box(flat.low, flat.high), _vector_of(space))


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


def _array_of(space: spaces.Box) -> Callable[[Any], np.ndarray]:
    def convert(value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != space.shape or array.dtype != space.dtype:
            due = f"{space.dtype} {list(space.shape)}"
            raise UserError(f"the observation is {_describe(value)}, and its space says {due}")
        return array.astype(np.float32, copy=False)

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
    if isinstance(wanted, gymnasium.spaces.Discrete):
        return isinstance(found, gymnasium.spaces.Discrete) and found.n == wanted.n
    if not isinstance(wanted, gymnasium.spaces.Box) or not isinstance(found, gymnasium.spaces.Box):
        return wanted == found
    # The bounds of observations say nothing to a network; those of actions are what it was trained to act within.
    same_bounds = wanted.shape == found.shape and all(
        np.allclose(x, y) for x, y in ((wanted.low, found.low), (wanted.high, found.high))
    )
    return same_bounds if kind == "action" else wanted.shape == found.shape


def perceived(
    space: gymnasium.Space, observation: Any, side: Side | None = None, streams: tuple[int, ...] = ()
) -> np.ndarray:
    """The observation [*streams, ...] as the agent reads it. Raises a `UserError` for a wrong shape, or where it is not
    finite."""
    value = np.asarray(observation if side is None else side.convert(observation), space.dtype)
    wanted = (*streams, *(space.shape or ()))
    if value.shape != wanted:
        raise UserError(f"an observation has the shape {list(value.shape)}; the agent was trained on {list(wanted)}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise UserError(f"an observation is not finite: {observation}")
    return value


def executed(space: gymnasium.Space, action: np.ndarray, side: Side | None = None) -> Any:
    """The action as an environment takes it: within the bounds of a Box; a whole number where `space` is Discrete."""
    if side is not None:
        return side.convert(action)
    if isinstance(space, gymnasium.spaces.Box):
        return np.clip(action, space.low, space.high)
    return int(action) if action.ndim == 0 else action
