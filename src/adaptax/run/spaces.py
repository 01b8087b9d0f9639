"""Between an agent's spaces and those of a real environment."""

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from ..types import Spec, UserError


class Side(NamedTuple):
    """How a space of an environment looks to an agent, and the conversion: of an environment's observation to the
    agent's, or of an agent's action to the environment's."""

    space: gymnasium.Space
    convert: Callable[[Any], Any]


class Sides(NamedTuple):
    """None where the agent's space is the environment's own."""

    observation: Side | None = None
    action: Side | None = None


NO_SIDES = Sides()


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
