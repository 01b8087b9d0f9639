"""MuJoCo on the host: all streams of a batch stepped at once by its own rollout, on as many threads as there are cores.

A stream's state is MuJoCo's full physics state (time, positions, velocities), float64 [S]. JAX carries it as uint32
[2 S], the words of those numbers: every bit is kept, in float32 mode too, so a resumed run steps on from exactly where
it was. Each step's solver starts cold: what it starts from is then no hidden state.
"""

from __future__ import annotations

import copy
import os
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from .robots import Robot, load_model, require_mujoco

MODELS = 1024  # how many tasks' models are kept; about 0.1 MB each


class Simulator:
    """The streams of one robot; `threads` None: one for every core that this process may use."""

    def __init__(self, robot: Robot, threads: int | None = None) -> None:
        self.robot = robot
        self.model = load_model(robot)
        self.threads = threads or len(os.sched_getaffinity(0))
        self.timestep = robot.frame_skip * self.model.opt.timestep
        self.size = 1 + self.model.nq + self.model.nv
        self.gears = torques_per_control(self.model)
        self._changed = lru_cache(MODELS)(self._change)

    @cached_property
    def _data(self) -> list[Any]:
        return [require_mujoco().MjData(self.model) for _ in range(self.threads)]

    def begin(self, position_noise: np.ndarray, velocity_noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The states uint32 [N, B, 2 S] and motions at the start of episodes; noises [N, B, nq] and [N, B, nv].

        A motion's parts are joined to one array, float32 [N, B, M]: every array that passes to JAX costs time.
        """
        states = np.zeros((*position_noise.shape[:2], self.size))
        states[..., 1 : 1 + self.model.nq] = self.model.qpos0 + position_noise
        states[..., 1 + self.model.nq :] = velocity_noise
        control = np.zeros((*states.shape[:2], self.model.nu))
        return _words(states), self._motion(states, states, control, elapsed=0.0)

    def advance(
        self, words: np.ndarray, control: np.ndarray, multipliers: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """One step: states uint32 [N, B, 2 S], controls [N, B, nu], and by what each task multiplies its model's
        parameters [N, K], if it does; returns states and motions."""
        before = np.ascontiguousarray(words).view(np.float64)
        control = np.asarray(control, np.float64)
        after = self._roll(before, control, multipliers)
        return _words(after), self._motion(before, after, control, self.timestep)

    def _roll(self, before: np.ndarray, control: np.ndarray, multipliers: np.ndarray | None) -> np.ndarray:
        mujoco = require_mujoco()
        tasks, streams = before.shape[:2]
        count, steps = tasks * streams, self.robot.frame_skip
        if multipliers is not None:
            models = [model for row in multipliers for model in [self._changed(row.tobytes())] * streams]
        else:
            models = [self.model] * count
        controls = np.repeat(control.reshape(count, 1, -1), steps, axis=1)
        after = np.empty((count, steps, self.size))
        sensors = np.empty((count, steps, self.model.nsensordata))
        mujoco.rollout.rollout(
            models,
            self._data,
            np.array(before.reshape(count, -1)),
            controls,
            skip_checks=True,
            nstep=steps,
            state=after,
            sensordata=sensors,
            persistent_pool=True,
        )
        return np.ascontiguousarray(after[:, -1]).reshape(before.shape)

    def _motion(self, before: np.ndarray, after: np.ndarray, control: np.ndarray, elapsed: float) -> np.ndarray:
        """What is told of a step [N, B] between two states; in float64 up to here, so that a small difference of large
        positions is exact."""
        # MuJoCo stops a rollout that has diverged, and sets its state back, the clock included.
        sound = np.abs(after[..., :1] - before[..., :1] - elapsed) < 0.5 * self.model.opt.timestep
        if self.robot.observes_bodies:
            was, _ = self._bodies(before)
            now, bodies = self._bodies(after)
            moved, bodies = now - was, np.concatenate([bodies, (control @ self.gears)[..., 6:]], axis=-1)
        else:
            moved = (after - before)[..., 1:3] * (1.0, not self.robot.sliders)
            bodies = np.zeros((*after.shape[:2], 0))
        velocity = np.where(sound, moved / self.timestep, 0.0)
        return np.concatenate([after[..., 1:], velocity, bodies, sound], axis=-1, dtype=np.float32)

    def _bodies(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The horizontal centre of mass [N, B, 2], and the bodies' inertias and velocities [N, B, 16 (nbody − 1)]."""
        mujoco, model, data = require_mujoco(), self.model, self._data[0]
        flat = states.reshape(-1, self.size)
        centre, bodies = np.empty((len(flat), 2)), np.empty((len(flat), 16 * (model.nbody - 1)))
        for state, middle, body in zip(flat, centre, bodies, strict=True):
            data.qpos[:], data.qvel[:] = np.split(state[1:], [model.nq])
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_comVel(model, data)
            middle[:] = data.subtree_com[0, :2]
            body[:] = np.concatenate([data.cinert[1:].ravel(), data.cvel[1:].ravel()])
        shape = states.shape[:2]
        return centre.reshape(*shape, 2), bodies.reshape(*shape, -1)

    def _change(self, row: bytes) -> Any:
        """The model of one task."""
        model, multipliers = copy.copy(self.model), np.frombuffer(row, np.float32)
        for name, part in split_multipliers(self.model, multipliers).items():
            getattr(model, name)[:] *= part
        return model


PARAMETERS = ("body_mass", "body_inertia", "dof_damping", "geom_friction")  # in the order of the multipliers


def split_multipliers(model: Any, multipliers: Any) -> dict[str, Any]:
    """The multipliers [K] of one task by the model's fields, in their shapes."""
    found, start = {}, 0
    for name in PARAMETERS:
        shape = getattr(model, name).shape
        stop = start + int(np.prod(shape))
        found[name] = multipliers[start:stop].reshape(shape)
        start = stop
    return found


def torques_per_control(model: Any) -> np.ndarray:
    """What one unit of every control does to every degree of freedom: [nu, nv]; all motors drive one joint."""
    gears = np.zeros((model.nu, model.nv))
    gears[np.arange(model.nu), model.jnt_dofadr[model.actuator_trnid[:, 0]]] = model.actuator_gear[:, 0]
    return gears


def _words(states: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(states).view(np.uint32)
