"""A small environment whose observations are an image, numbers and tokens: for tests of what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from adaptax.tasks import TaskSet
from adaptax.types import Benchmark, Outcome, Spec

SIDE, LENGTH, WORDS = 9, 3, 5


class Place(NamedTuple):
    goal: Any  # float32 []


@dataclass(frozen=True)
class Pictured:
    """A point on a line, drawn as an image and told in numbers and words; what is near the goal pays."""

    discrete: bool
    horizon: int = 3

    @property
    def spec(self) -> Spec:
        actions = spaces.Discrete(2) if self.discrete else spaces.Box(-1, 1, (1,), np.float32)
        return Spec(OBSERVATIONS, actions, self.horizon, episodes=2)

    def reset(self, task: Place, key: Any) -> Any:
        place = jax.random.uniform(key, ())
        return (place, jnp.int32(0)), self._observe(place, jnp.int32(0))

    def step(self, task: Place, state: Any, action: Any, key: Any) -> Any:
        move = action * 2.0 - 1.0 if self.discrete else jnp.clip(action[0], -1.0, 1.0)
        place, clock = jnp.clip(state[0] + 0.2 * move, 0, 1), state[1] + 1
        return (place, clock), Outcome(self._observe(place, clock), 1.0 - jnp.abs(place - task.goal))

    def _observe(self, place: Any, clock: Any) -> Any:
        row = jnp.maximum(1 - jnp.abs(jnp.arange(SIDE) - place * (SIDE - 1)), 0)
        image = (255 * jnp.stack([jnp.tile(row, (SIDE, 1)), jnp.ones((SIDE, SIDE)) * 0.5], axis=-1)).astype(jnp.uint8)
        words = jnp.stack([(place * (WORDS - 1)).astype(jnp.int32), clock % WORDS, jnp.int32(0)])
        return {"image": image, "vector": jnp.stack([place, -place]), "clock": clock, "words": words}


OBSERVATIONS = spaces.Dict(
    {
        "image": spaces.Box(0, 255, (SIDE, SIDE, 2), np.uint8),
        "vector": spaces.Box(-1, 1, (2,), np.float32),
        "clock": spaces.Discrete(4, dtype=np.int32),
        "words": spaces.MultiDiscrete([WORDS] * LENGTH, dtype=np.int32),
    }
)


def pictured(discrete: bool) -> Benchmark:
    tasks = TaskSet(Place(jnp.asarray([0.0, 0.3, 0.6, 1.0], jnp.float32)))
    return Benchmark(Pictured(discrete), tasks, tasks, tasks)
