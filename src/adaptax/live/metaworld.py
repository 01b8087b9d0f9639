"""A trained agent in Meta-World's own protocol, `metaworld.evaluation.MetaLearningAgent`, on a vector of environments.

Every environment has an agent of its own (`live.agent`). Where an algorithm adapts between rounds, the adaptation
episodes are one round of as many streams; where all learning is in the memory (RL², VariBAD), they are one stream, and
its memory goes on in the episodes on which the agent is evaluated. Meta-World tells such an agent no reward: one
that reads rewards needs environments made with `recurrent_info_in_obs=True`, which observe the last reward, too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..ranges import check_range
from ..types import UserError
from .agent import LiveAgent
from .frozen import FrozenState

REWARD_SCALE = 10.0  # by which `recurrent_info_in_obs` divides rewards
TOLD = 2  # what it appends besides the last action: the reward, and whether the episode is over


class Told(NamedTuple):
    """What a vector of environments observes."""

    observation: np.ndarray  # [N, ...]
    reward: np.ndarray | None  # [N]; of the step before, where it is observed


class MetaWorldAgent:
    """N trained agents side by side. `live` is the first one; its protocol says how many episodes are for adaptation,
    `remembers` whether its memory goes on where it is evaluated."""

    def __init__(self, live: LiveAgent, environments: int, remembers: bool) -> None:
        check_range("environments", environments, 1)
        self._agents = [live, *(live.twin(live.protocol.seed + n) for n in range(1, environments))]
        self._remembers = remembers
        self._observed = int(np.prod(live.spec.observation_space.shape or ()))
        self._acted = int(np.prod(live.spec.action_space.shape or ()))
        self._due: Any = None
        self._states: list[FrozenState | None] = [None] * environments
        self._starts = np.ones(environments, bool)

    def init(self) -> None:
        """New tasks: forget everything."""
        for agent in self._agents:
            agent.begin()
        self._due, self._states = None, [None] * len(self._agents)

    def adapt_action(self, observations: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Actions [N, ...] with which to explore. The second result is empty: what adaptation needs is kept here."""
        told = self._told(observations)
        self._observe(told.observation)
        return np.stack([agent.act(o) for agent, o in zip(self._agents, told.observation, strict=True)]), {}

    def step(self, timestep: Any) -> None:
        """Told of what came of those actions: a `metaworld.evaluation.Timestep`."""
        self._due = timestep

    def adapt(self) -> None:
        """Adapt on all that was told. A `UserError` if it is not `adaptation_episodes` whole episodes."""
        if self._due is not None:
            self._observe(self._told(self._due.observation).observation)
        for n, agent in enumerate(self._agents):
            agent.adapt()
            self._states[n] = agent.as_it_stands() if self._remembers else None

    def reset(self, env_mask: np.ndarray) -> None:
        """In these environments an episode begins on which the agent is evaluated."""
        self._starts = self._starts | env_mask

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        """Actions [N, ...] of the adapted agents."""
        told = self._told(observations)
        actions = []
        for n, agent in enumerate(self._agents):
            reward = None if told.reward is None else told.reward[n]
            if self._remembers and reward is None:
                raise UserError(
                    "this agent reads the rewards while it is evaluated, and Meta-World tells none: make the "
                    "environments with recurrent_info_in_obs=True"
                )
            action, self._states[n] = agent.predict(
                told.observation[n], self._states[n], self._starts[n : n + 1], reward=reward
            )
            actions.append(action)
        self._starts = np.zeros_like(self._starts)
        return np.stack(actions)

    def _observe(self, following: np.ndarray) -> None:
        """What came of the last actions. The observation after an episode's last step is not told here: the last one
        before it stands in."""
        if self._due is None:
            return
        seen, actions, reward, terminated, truncated, _ = self._due
        before = self._told(seen).observation
        for n, agent in enumerate(self._agents):
            over = bool(terminated[n] or truncated[n])
            after = before[n] if over else following[n]
            if not agent.full:
                agent.observe(float(reward[n]), bool(terminated[n]), bool(truncated[n]), after)
        self._due = None

    def _told(self, observations: Any) -> Told:
        array, count = np.asarray(observations, np.float32), len(self._agents)
        own, more = self._observed, self._observed + self._acted + TOLD
        if array.shape == (count, own):
            return Told(array, None)
        if array.shape == (count, more):
            return Told(array[:, :own], array[:, -TOLD] * REWARD_SCALE)
        raise UserError(
            f"the observations are {list(array.shape)}; {count} environments of {own} numbers each are due, or of "
            f"{more} with recurrent_info_in_obs"
        )
