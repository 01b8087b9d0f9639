"""Gymnasium environments whose observations have parts: the streams hand over what the environment showed."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium import spaces

import adaptax
from adaptax.run.collect import collect


class Looking(gymnasium.Env):
    """Counts its steps, and shows the number as a picture, as a word and as itself."""

    observation_space = spaces.Dict(
        {
            "eye": spaces.Box(0, 255, (5, 6, 1), np.uint8),
            "rest": spaces.Tuple((spaces.MultiDiscrete([9, 9], start=[1, 1]), spaces.Discrete(9))),
        }
    )
    action_space = spaces.Discrete(2)
    gain = 1.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.clock = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self.clock += 1
        return self._seen(), self.gain * float(action), False, False, {}

    def _seen(self) -> Any:
        eye = np.full((5, 6, 1), 10 * self.clock, np.uint8)
        return {"eye": eye, "rest": (np.asarray([self.clock + 1, 1]), np.int64(self.clock))}


def test_streams_keep_every_part() -> None:
    tasks = [[{"gain": gain}] for gain in (1.0, 2.0, 3.0)]
    on = adaptax.from_gymnasium(
        Looking, train=tasks[0], validation=tasks[1], test=tasks[2], attributes=True, horizon=3, episodes=2
    )
    algorithm = adaptax.algorithm("rl2", on, hidden=4, tasks=4)
    params, plan = algorithm.init(jax.random.key(0)).params, algorithm.plan._replace(tasks=2, streams=2)
    run = jax.jit(lambda key: collect(algorithm, on.environment, on.train, plan, params, None, key)[0])
    rollouts = run(jax.random.key(1)).rollouts
    assert on.environment.failure() is None
    seen, clock = rollouts.timestep.observation, np.broadcast_to([0, 1, 2, 0, 1, 2], (2, 1, 2, 6))
    assert seen["eye"].dtype == np.uint8 and seen["eye"].shape == (2, 1, 2, 6, 5, 6, 1)
    np.testing.assert_array_equal(seen["eye"][..., 4, 5, 0], 10 * clock)
    np.testing.assert_array_equal(seen["rest"][0], np.stack([clock, 0 * clock], axis=-1))
    np.testing.assert_array_equal(seen["rest"][1], clock)
    np.testing.assert_array_equal(rollouts.next_observation["rest"][1], clock + 1)
