"""A Gymnasium environment that breaks when it is told to."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np

STEPS = 4


class Faulty(gymnasium.Env):
    """Counts its steps up by `rate`; `fault` says at which step it goes wrong, and how. One dictionary serves all
    instances, so that a test can change it while environments are in use."""

    observation_space = gymnasium.spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    rate = 1.0

    def __init__(self, fault: dict[str, Any]) -> None:
        self.fault = fault

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        self.start = self.np_random.random(2).astype(np.float32)
        if self.fault.get("reset"):
            raise OSError("no such device")
        return self.start, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.count += 1
        observation: Any = self.start + np.float32(self.count * self.rate)
        result: Any = (observation, float(action), False, False, {})
        if self.fault.get("step") == self.count:
            self.fault["calls"] = self.fault.get("calls", 0) + 1
            if self.fault["calls"] > self.fault.get("spared", 0):
                return self.fault["do"](result)
        return result


def explode(result: Any) -> Any:
    raise RuntimeError("the gearbox is gone")


def leave(result: Any) -> Any:
    sys.exit("the licence has run out")


def with_observation(change: Any) -> Any:
    return lambda result: (change(result[0]), *result[1:])


FAULTS = {
    "exception": (explode, "RuntimeError: the gearbox is gone"),
    "exit": (leave, "SystemExit: the licence has run out"),
    "shape": (with_observation(lambda x: x[:1]), "the observation is float32 [1], and its space says float32 [2]"),
    "dtype": (with_observation(lambda x: x.astype(np.float64)), "is float64 [2], and its space says float32 [2]"),
    "type": (with_observation(lambda x: {"position": x}), "is a dict, and its space says float32 [2]"),
    "nan": (with_observation(lambda x: x * np.nan), "its observation holds nan, where finite numbers are due"),
    "reward": (lambda result: (result[0], np.inf, *result[2:]), "its reward holds inf, where finite numbers are due"),
    "tuple": (lambda result: result[:4], "ValueError: not enough values to unpack (expected 5, got 4)"),
}
