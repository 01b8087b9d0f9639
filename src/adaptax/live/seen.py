"""What an agent on one real environment has seen of a round, written down step by step, and where it stands."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..ops.distributions import outputs_needed
from ..spaces import zeros as empty
from ..types import Adapted, Decision, Memory, Plan, Rollout, Spec, Timestep, UserError


class Seen(NamedTuple):
    """A round as far as it has been lived: NumPy leaves [B, T, ...] that are written in place."""

    timestep: Timestep
    decision: Decision
    reward: Any
    terminated: Any
    truncated: Any
    success: Any
    next_observation: Any


class Episode(NamedTuple):
    """What happened in one episode."""

    total: float
    """The sum of its rewards."""
    steps: int
    end: str
    """terminated; truncated, also at the horizon of training; or cut, where its round's steps were used up."""
    success: bool
    """Whether a step of it was one: `info["success"]` or `info["is_success"]`."""
    round: int
    """How often the agent had adapted before it."""
    adapted: bool
    """Whether the agent adapted after it."""


class Counts(NamedTuple):
    """Where the agent stands."""

    life: int = 0
    rounds: int = 0  # lived, so also how often the agent has adapted
    stream: int = 0
    step: int = 0  # of the stream in this round
    elapsed: int = 0  # steps of the episode
    episodes: int = 0  # begun by `episode`, in all lives


class Standing(NamedTuple):
    """All that the agent is between two steps, and all that its file holds."""

    counts: Counts
    adapted: Adapted
    begun: Memory  # [B]; when the round began
    memory: Memory  # [B]
    action: Any  # [B, ...]; the last one
    reward: Any  # [B]
    seen: Seen


def nothing_seen(spec: Spec, plan: Plan, decision: Decision) -> Seen:
    """Zeros everywhere; `decision` has the shapes and dtypes of one."""
    leading = (plan.streams, plan.steps)

    def zeros(shape: Any, dtype: Any) -> Any:
        return np.zeros((*leading, *shape), dtype)

    def observations() -> Any:
        return empty(spec.observation_space, leading)

    decisions = jax.tree.map(lambda x: zeros(x.shape, x.dtype), decision)
    action, allowed = decision.action, mask_of(spec, None)
    told = zeros(action.shape, action.dtype), zeros((), np.float32), zeros((), bool)
    timestep = Timestep(observations(), *told, None if allowed is None else zeros(allowed.shape, bool))
    ends = zeros((), bool), zeros((), bool), zeros((), bool)
    return Seen(timestep, decisions, zeros((), np.float32), *ends, observations())


def write(seen: Seen, stream: int, step: int, *what: Any) -> None:
    """Write one step; `what` it is, in the order of the fields of `Seen`."""
    for place, value in zip(jax.tree.leaves(seen), jax.tree.leaves(what), strict=True):
        place[stream, step] = value


def ended(seen: Seen, stream: int) -> int:
    """How many episodes of the stream are over."""
    return int(np.sum(seen.terminated[stream] | seen.truncated[stream]))


def rollout_of(seen: Seen, action: Any, reward: Any, memory: Memory) -> Rollout:
    """The whole round as the collector would have it; `action` and `reward` [B] are the last ones, `memory` [B] is that
    with which it began. Where an episode ended with the last step, the collector has the first observation of another
    one as the last: here the stream's own first one stands for it."""
    over = seen.terminated[:, -1] | seen.truncated[:, -1]

    def last(observed: Any, following: Any) -> Any:
        first, after = observed[:, 0], following[:, -1]
        return np.where(over.reshape(-1, *(1,) * (first.ndim - 1)), first, after)

    observation = jax.tree.map(last, seen.timestep.observation, seen.next_observation)
    next_allowed = _next_allowed(seen)
    return Rollout(
        seen.timestep,
        seen.decision,
        seen.reward,
        seen.terminated,
        seen.truncated,
        seen.success,
        seen.next_observation,
        shaped=seen.reward,
        last=Timestep(observation, action, reward, over, None if next_allowed is None else next_allowed[:, -1]),
        memory=memory,
        next_allowed=next_allowed,
    )


def _next_allowed(seen: Seen) -> Any:
    """What could be chosen after each step [B, T, A]. Nobody said so where the episode or the round was over: all."""
    allowed = seen.timestep.allowed
    if allowed is None:
        return None
    following = np.concatenate([allowed[:, 1:], np.ones_like(allowed[:, :1])], axis=1)
    return following | (seen.terminated | seen.truncated)[..., None]


def mask_of(spec: Spec, allowed: Any) -> Any:
    """A mask [A] as timesteps of an agent for `spec` hold it: none where it was trained without, and where it was
    trained with them and none is given, that which allows all. Raises a `UserError` for one that does not fit."""
    if spec.masked:
        return masks_of(spec, np.ones(outputs_needed(spec.action_space), bool) if allowed is None else allowed, ())
    if allowed is not None:
        raise UserError(
            "act was told which actions are allowed, but the agent was trained where all were: leave it out"
        )
    return None


def masks_of(spec: Spec, allowed: Any, leading: tuple[int, ...]) -> Any:
    """`allowed` as masks [*leading, A], or None. Raises a `UserError` if they do not fit."""
    if allowed is None:
        return None
    wanted, found = (*leading, outputs_needed(spec.action_space)), np.asarray(allowed)
    if not isinstance(spec.action_space, gymnasium.spaces.Discrete):
        raise UserError(f"allowed is for Discrete actions; those of this agent are {spec.action_space}")
    if found.shape != wanted and not (leading == (1,) and found.shape == wanted[1:]):
        raise UserError(f"allowed has the shape {list(found.shape)}; it must be {list(wanted)}")
    return found.astype(bool).reshape(wanted)


def stacked(streams: list[Memory]) -> Memory:
    """Memories of B streams as one tree [B]."""
    return jax.tree.map(lambda *x: jnp.stack(x), *streams)


def apart(memory: Memory, streams: int) -> list[Memory]:
    """The contrary of `stacked`."""
    return [jax.tree.map(lambda x, b=b: x[b], memory) for b in range(streams)]
