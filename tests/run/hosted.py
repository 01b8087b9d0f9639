"""JAX benchmarks written again in NumPy, as Gymnasium environments: what a robot is to an agent."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class Hosted(gymnasium.Env):
    """A point that starts at the origin; counts its resets."""

    def __init__(self, goal: Any) -> None:
        self.goal, self.seeds = np.asarray(goal, np.float32), []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.position = np.zeros(2, np.float32)
        self.seeds.append(seed)
        return self.position.copy(), {}


class HostedNavigation(Hosted):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def step(self, action: np.ndarray) -> Step:
        assert self.action_space.contains(action)
        self.position = self.position + np.float32(0.1) * action
        offset = self.position - self.goal
        reached = bool((np.abs(offset) < 0.01).all())
        return self.position.copy(), -float(np.sqrt((offset * offset).sum())), reached, False, {"success": reached}


class HostedSparse(HostedNavigation):
    def step(self, action: np.ndarray) -> Step:
        observation, reward, *_ = super().step(action)
        near = -reward <= 0.2
        return observation, 1.0 + reward if near else 0.0, False, False, {"is_success": near}


class HostedGrid(Hosted):
    observation_space = gymnasium.spaces.Box(0.0, 4.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(5)
    moves = np.asarray([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)], np.float32)

    def step(self, action: int) -> Step:
        assert self.action_space.contains(action)
        self.position = np.clip(self.position + self.moves[action], 0, 4)
        found = bool((self.position == self.goal).all())
        return self.position.copy(), 1.0 if found else -0.1, False, False, {"success": found}
