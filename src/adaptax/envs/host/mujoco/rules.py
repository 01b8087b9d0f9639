"""What a step pays, when an episode ends, and what is seen: written once, for the host and for MJX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.types import Array, Key, Outcome, Spec, Task

from .robots import Motion, Robot, never_falls


class Rules(NamedTuple):
    """The reward is `progress(motion, task)` + `alive` − `control_cost` ‖control‖².

    An episode terminates when the robot no longer `stands`, or the simulation has diverged, a step which counts as
    standing still.
    """

    robot: Robot
    observe: Callable[[Motion], Array]
    progress: Callable[[Motion, Any], Array]
    control_cost: float
    alive: float = 0.0
    stands: Callable[[Motion], Array] = never_falls

    def control(self, action: Array) -> Array:
        """The controls for an action, which is clipped to its box [−1, 1]."""
        return self.robot.scale * jnp.clip(action, -1.0, 1.0)

    def outcome(self, task: Task, motion: Motion, control: Array) -> Outcome:
        """What one stream is told after a step."""
        cost = self.control_cost * jnp.sum(control * control)
        reward = self.progress(motion, task) + self.alive - cost
        terminated = jnp.logical_not(self.stands(motion) & (motion.sound[0] > 0.0))
        return Outcome(self.observe(motion), reward, terminated=terminated)

    def noise(self, key: Key, positions: int, speeds: int) -> tuple[Array, Array]:
        """How an episode's first positions [nq] and velocities [nv] differ from the model's pose at rest."""
        key_position, key_speed = jax.random.split(key)
        width = self.robot.noise
        position = jax.random.uniform(key_position, (positions,), jnp.float32, -width, width)
        if self.robot.normal_velocities:
            return position, width * jax.random.normal(key_speed, (speeds,), jnp.float32)
        return position, jax.random.uniform(key_speed, (speeds,), jnp.float32, -width, width)

    def spec(self, model: Any, horizon: int, episodes: int) -> Spec:
        """The spaces for a `mujoco.MjModel` of the robot."""
        motion = Motion(*(jax.ShapeDtypeStruct((size,), jnp.float32) for size in motion_sizes(self.robot, model)))
        length = jax.eval_shape(self.observe, motion).shape
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, length, np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (model.nu,), np.float32)
        return Spec(observation_space, action_space, horizon, episodes)


def motion_sizes(robot: Robot, model: Any) -> tuple[int, ...]:
    """How long each part of a motion is, for a `mujoco.MjModel` of the robot."""
    return model.nq, model.nv, 2, 16 * (model.nbody - 1) + model.nv - 6 if robot.observes_bodies else 0, 1
