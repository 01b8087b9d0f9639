"""Acting without adapting, one stream or many at once, as other libraries' policies do."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Any, NamedTuple, Self

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from ..ops.distributions import zero_action
from ..spaces import NO_SIDES, Sides, executed, is_one, perceived, zeros
from ..types import Adapted, Agent, Algorithm, Key, Memory, Params, Spec, Timestep, UserError
from .seen import masks_of


class FrozenState(NamedTuple):
    """What n streams carry from one step to the next."""

    memory: Memory  # [n]
    action: Any  # [n, ...]; the last one
    steps: int  # that the memory has seen


class Frozen:
    """An agent whose parameters stay as they are; compiled once for every number of streams."""

    def __init__(self, agent: Agent, params: Params, spec: Spec, key: Key, sides: Sides = NO_SIDES) -> None:
        self._sides = sides
        self._agent, self._params, self._spec, self._key = agent, params, spec, key
        self._context = agent.plan.context if isinstance(agent, Algorithm) else None
        self._steps = 0
        self._reads_reward: bool | None = None
        self._act = jax.jit(partial(_act_streams, agent), static_argnames="deterministic")

    def twin(self, key: Key) -> Self:
        """Another one, whose draws come from `key`; what was compiled is shared."""
        twin = copy(self)
        twin._key, twin._steps = key, 0
        return twin

    def predict(
        self,
        adapted: Adapted,
        observation: Any,
        state: FrozenState | None = None,
        episode_start: Any = None,
        deterministic: bool = False,
        reward: Any = None,
        allowed: Any = None,
    ) -> tuple[Any, FrozenState]:
        """The action for one observation, or the actions [n, ...] for n of them, and the state to go on from.

        Without a state, streams begin: nothing is remembered. `episode_start` [n] says where an episode begins. Other
        than in Stable-Baselines memory goes on there, since it is over episodes that these agents learn; a new task
        is a new stream. `reward` [n] is that of the step before, which an agent must be told if it reads it. `allowed`
        bool [n, A]: which of A discrete actions can be chosen; None: all.
        `deterministic`: nothing is left to chance, the action is the most likely one, or that of the highest value.

        Raises a `UserError` for a wrong shape, where a reward is needed, and once the memory is used up.
        """
        observation, alone = self._perceived(observation)
        count = len(jax.tree.leaves(observation)[0])
        if state is None:
            begun, reward = self._begun(count), np.zeros((count,)) if reward is None else reward
            first = np.ones((count,), bool)
        else:
            begun, first = state, np.zeros((count,), bool) if episode_start is None else episode_start
            if reward is None and self._needs_reward(adapted):
                raise UserError(
                    "this agent learns from the rewards that it reads: give predict the reward of the step before, "
                    "reward=…, or use act and observe"
                )
        reward = np.zeros((count,)) if reward is None else reward
        told: Any = [np.asarray(x, t).reshape(-1) for x, t in ((reward, np.float32), (first, bool))]
        timestep = Timestep(observation, begun.action, *told)._replace(allowed=masks_of(self._spec, allowed, (count,)))
        for name, value in (("reward", timestep.reward), ("episode_start", timestep.first)):
            if len(value) != count:
                raise UserError(f"{name} is of {len(value)} streams, the observation of {count}")
        if self._context is not None and begun.steps >= self._context:
            raise UserError(
                f"the agent's memory holds {self._context} steps, which are used up: leave out the state to begin anew"
            )
        self._steps += 1
        decided = self._act(
            self._params,
            adapted,
            begun.memory,
            timestep,
            self._key,
            np.uint32(self._steps),
            deterministic=deterministic,
        )
        action, memory = np.asarray(decided[0]), decided[1]
        return self._executed(action, alone), FrozenState(memory, action, begun.steps + 1)

    def _perceived(self, observation: Any) -> tuple[Any, bool]:
        """Observations [n, ...], and whether it is one alone. Many are given as the agent reads them."""
        space, side = self._spec.observation_space, self._sides.observation
        if is_one(space, observation, side):
            return jax.tree.map(lambda x: x[None], perceived(space, observation, side)), True
        count = len(jax.tree.leaves(observation)[0])
        return perceived(space, observation, None, (count,)), False

    def _executed(self, action: np.ndarray, alone: bool) -> Any:
        """The action as the environment takes it, or several of them."""
        space, side = self._spec.action_space, self._sides.action
        if alone or side is None:
            return executed(space, action[0] if alone else action, side)
        return np.stack([executed(space, one, side) for one in action])

    def _begun(self, count: int) -> FrozenState:
        repeat = lambda x: jnp.broadcast_to(x, (count, *jnp.shape(x)))  # noqa: E731
        memory = jax.tree.map(repeat, self._agent.start(self._params))
        return FrozenState(memory, np.asarray(repeat(zero_action(self._spec.action_space))), 0)

    def _needs_reward(self, adapted: Adapted) -> bool:
        """Whether acting depends on the last reward."""
        if self._reads_reward is None:
            memory, action = jax.tree.map(lambda x: x[0], self._begun(1)[:2])
            nothing = zeros(self._spec.observation_space)

            def act(reward: Any) -> Any:
                timestep = Timestep(nothing, action, reward, jnp.zeros((), bool))
                return self._agent.act(self._params, adapted, memory, timestep, self._key)

            program = jax.make_jaxpr(act)(np.float32(0)).jaxpr
            read = [v for e in program.eqns for v in e.invars if not isinstance(v, jex.Literal)]
            self._reads_reward = any(v is program.invars[0] for v in [*read, *program.outvars])
        return self._reads_reward


def _act_streams(
    agent: Agent,
    params: Params,
    adapted: Adapted,
    memory: Memory,
    timestep: Timestep,
    key: Key,
    step: Any,
    deterministic: bool,
) -> tuple[Any, Memory]:
    """Actions and memories of n streams."""
    count = timestep.reward.shape[0]

    def act(memory: Memory, timestep: Timestep, key: Any = None) -> tuple[Any, Memory]:
        decision, memory = agent.act(params, adapted, memory, timestep, key)
        return decision.action, memory

    if not deterministic:
        return jax.vmap(act)(memory, timestep, jax.random.split(jax.random.fold_in(key, step), count))
    try:
        return jax.vmap(act)(memory, timestep)
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{type(agent).__name__} cannot act without chance: its act must take None for the key, as "
            f"ops.distributions and ops.chance do ({error})"
        ) from error
