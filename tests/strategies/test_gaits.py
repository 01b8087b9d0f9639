"""The half-cheetah's rhythms: what they reach, and that each episode begins them anew."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.host.mujoco.families import half_cheetah_direction
from adaptax.envs.host.mujoco.tasks import DirectionTask
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.types import Birth, Timestep


def test_a_gait_runs_either_way() -> None:
    on = half_cheetah_direction()
    protocol = Protocol(tasks=20, episodes=2)
    found = evaluate(on.references["gait"](on.spec), on, on.split("paper"), (), protocol).returns[:, 0, 0]
    forwards, backwards = found[::2].mean(), found[1::2].mean()
    assert forwards > 700 and backwards > 880


def test_a_rhythm_begins_anew_with_every_episode() -> None:
    on = half_cheetah_direction()
    gait: Any = on.references["gait"](on.spec)
    for way, rhythm in ((1.0, gait.forwards), (-0.7, gait.backwards)):
        task = DirectionTask(jnp.asarray([way, 0.0], jnp.float32))
        adapted, memory = gait.begin(task, jax.random.key(0), Birth()), gait.start(task)
        for step in (0, 1, 2, 0, 1):  # the second episode begins after three steps
            seen = Timestep(jnp.zeros(20), jnp.zeros(6), jnp.float32(0), jnp.asarray(step == 0))
            decision, memory = gait.act(task, adapted, memory, seen, jax.random.key(0))
            swing = np.sin(2 * np.pi * rhythm.frequency * 0.05 * step + np.asarray(rhythm.phases))
            expected = np.clip(np.asarray(rhythm.offsets) + np.asarray(rhythm.amplitudes) * swing, -1, 1)
            np.testing.assert_allclose(decision.action, expected, atol=1e-5)
