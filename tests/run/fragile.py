"""A benchmark on the host that does what a file in a folder says, in whichever process it runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import adaptax
from adaptax import Benchmark
from adaptax.algorithms.rl2 import RL2

HORIZON = 4


class Fragile(gymnasium.Env):
    """Counts its steps up by `rate`. Where the folder holds a file `kill`, or `exit`, the process that finds it first
    is killed, or leaves, in the third step of an episode; with `poison` all are, and with `fail` the step raises."""

    observation_space = gymnasium.spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    rate = 1.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.count, self.start = 0, self.np_random.random(2).astype(np.float32)
        return self.start, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.count += 1
        if self.count == 3:
            self._obey()
        return self.start + np.float32(self.count * self.rate), float(action), False, False, {}

    def _obey(self) -> None:
        if (self.folder / "fail").exists():
            raise RuntimeError("the gearbox is gone")
        if (self.folder / "poison").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (self.folder / "exit").exists():
            (self.folder / "exit").unlink()
            os._exit(7)
        if (self.folder / "kill").exists():
            (self.folder / "kill").unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def fragile(folder: Path) -> Benchmark:
    """Three training tasks, told from each other by how fast they count."""
    rates = [{"rate": rate} for rate in (1.0, 2.0, 3.0, 4.0, 5.0)]
    return adaptax.from_gymnasium(
        lambda: Fragile(folder),
        train=rates[:3],
        validation=rates[3:4],
        test=rates[4:],
        attributes=True,
        horizon=HORIZON,
        episodes=2,
        name="counter",
        check=False,
    )


def learner(on: Benchmark) -> RL2:
    return RL2(on.spec, tasks=4, streams=2, hidden=4, epochs=1, minibatches=2)


def make(folder: Path) -> tuple[RL2, Benchmark]:
    on = fragile(folder)
    return learner(on), on
