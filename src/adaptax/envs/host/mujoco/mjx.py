"""The robots on MJX, MuJoCo in JAX, as an `Environment`: for accelerators, where thousands of streams are stepped at
once. In float32; otherwise what `locomotion` does on the host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from adaptax.envs.filmed import Filmed
from adaptax.types import Array, Key, Outcome, Spec, Task, UserError

from .camera import Camera
from .robots import Motion, load_model, require_mujoco
from .rules import Rules
from .simulator import split_multipliers, torques_per_control
from .tasks import multipliers


class MJXState(NamedTuple):
    position: Array  # [nq]
    speed: Array  # [nv]


@dataclass(frozen=True, eq=False)
class MJXLocomotion:
    """`rules` on MJX. Raises a `UserError` if MJX is not installed."""

    rules: Rules
    horizon: int
    episodes: int = 1

    def __post_init__(self) -> None:
        require_mjx()

    @cached_property
    def host_model(self) -> Any:
        """The model as MuJoCo has it. MJX lacks the projected Gauss-Seidel solver of the humanoid's file."""
        mujoco, model = require_mujoco(), load_model(self.rules.robot)
        if model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
            model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
        return model

    @property
    def spec(self) -> Spec:
        return self.rules.spec(self.host_model, self.horizon, self.episodes)

    @cached_property
    def model(self) -> Any:
        with jax.ensure_compile_time_eval():
            return require_mjx().put_model(self.host_model)

    @cached_property
    def data(self) -> Any:
        with jax.ensure_compile_time_eval():
            return require_mjx().make_data(self.host_model)

    def reset(self, task: Task, key: Key) -> tuple[MJXState, Array]:
        model = self.host_model
        noise, speed = self.rules.noise(key, model.nq, model.nv)
        state = MJXState(jnp.asarray(model.qpos0, jnp.float32) + noise, speed)
        _, bodies = self._bodies(self.model, state, jnp.zeros((model.nu,), jnp.float32))
        motion = Motion(state.position, speed, jnp.zeros((2,), jnp.float32), bodies, jnp.ones((1,), jnp.float32))
        return state, self.rules.observe(motion)

    def step(self, task: Task, state: MJXState, action: Array, key: Key) -> tuple[MJXState, Outcome]:
        mjx, robot = require_mjx(), self.rules.robot
        control = self.rules.control(action)
        model = self._model_of(task)
        data = self.data.replace(qpos=state.position, qvel=state.speed, ctrl=control)
        data = jax.lax.fori_loop(0, robot.frame_skip, lambda _, data: mjx.step(model, data), data)
        after = MJXState(data.qpos, data.qvel)
        sound = jnp.all(jnp.isfinite(data.qpos)) & jnp.all(jnp.isfinite(data.qvel))
        # An episode that has diverged ends here; nothing that is not finite may be learned from.
        after = jax.tree.map(lambda new, old: jnp.where(sound, new, old), after, state)
        place, _ = self._bodies(model, state, control)
        now, bodies = self._bodies(model, after, control)
        velocity = (now - place) / (robot.frame_skip * self.host_model.opt.timestep)
        motion = Motion(after.position, after.speed, velocity, bodies, sound.astype(jnp.float32)[None])
        return after, self.rules.outcome(task, motion, control)

    def filmed(self, task: Task) -> Filmed:
        camera = Camera(self.rules.robot, task)
        return Filmed(self, lambda state: camera.frame(state.position, state.speed), camera.note)

    def _bodies(self, model: Any, state: MJXState, control: Array) -> tuple[Array, Array]:
        """Where the robot is [2], and what else it observes (see `Motion.bodies`)."""
        robot = self.rules.robot
        if not robot.observes_bodies:
            place = state.position[:2] * jnp.asarray([1.0, not robot.sliders], jnp.float32)
            return place, jnp.zeros((0,), jnp.float32)
        mjx = require_mjx()
        data = self.data.replace(qpos=state.position, qvel=state.speed)
        data = mjx.com_vel(model, mjx.com_pos(model, mjx.kinematics(model, data)))
        torques = control @ jnp.asarray(torques_per_control(self.host_model)[:, 6:], jnp.float32)
        inertia = data._impl.cinert[1:]  # MJX offers it in no other place
        return data.subtree_com[0, :2], jnp.concatenate([inertia.ravel(), data.cvel[1:].ravel(), torques])

    def _model_of(self, task: Task) -> Any:
        rows = multipliers(jax.tree.map(lambda leaf: leaf[None], task))
        if not rows:
            return self.model
        parts = split_multipliers(self.host_model, rows[0][0])
        return self.model.replace(**{name: getattr(self.model, name) * part for name, part in parts.items()})


def require_mjx() -> Any:
    """The module `mujoco.mjx`, or a `UserError` that says how to install it."""
    try:
        from mujoco import mjx  # type: ignore[attr-defined]  # there only where the extra is
    except ImportError as error:
        raise UserError(f"backend='mjx' needs MJX; install it by pip install 'adaptax[mjx]' ({error})") from error
    return mjx
