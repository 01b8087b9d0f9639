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

from adaptax.types import UserError

COMBINATIONS = 4096  # of several discrete choices: a policy has one output for each


class Side(NamedTuple):
    """The space that an agent sees in place of an environment's, and the conversion: of an environment's observation
    to the agent's, or of an agent's action to the environment's. It raises a `UserError` for a value that is wrong."""

    space: gymnasium.Space
    convert: Callable[[Any], Any]


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
