"""Pictures of the robots: a camera that goes along with the torso, and marks for the task."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from adaptax.envs.host.opengl import require_opengl
from adaptax.types import Task

from .robots import ANT, HALF_CHEETAH, HOPPER, HUMANOID, WALKER, Robot, load_model, require_mujoco
from .tasks import BodyTask, DirectionTask, GoalTask, VelocityTask

WIDTH, HEIGHT = 480, 360  # pixels
WANTED, SHOWN = (0.1, 0.65, 0.3, 1.0), (0.95, 0.5, 0.1, 1.0)  # green, orange: of a task, of the robot
SKY, TILES = 245, (205, 230)  # shades of grey
ARROW = 0.05  # m; half its width
PER_SPEED = 0.5  # m of an arrow for 1 m/s
LONGEST = 1.6  # m; of an arrow
LIGHT, HEAVY = np.array([0.95, 0.85, 0.6]), np.array([0.45, 0.1, 0.05])
HEAVIEST = 1.5**3.0  # by which a body's mass is multiplied


class View(NamedTuple):
    """From where a robot is seen."""

    distance: float  # m
    azimuth: float  # degrees; 90: from the side, forwards is to the right
    elevation: float
    above: float  # m; how high over the torso arrows are


VIEWS = {
    HALF_CHEETAH.file: View(3.2, 90.0, -15.0, 0.6),
    WALKER.file: View(4.0, 90.0, -10.0, 0.6),
    HOPPER.file: View(3.8, 90.0, -10.0, 0.6),
    ANT.file: View(4.5, 90.0, -35.0, 0.7),
    HUMANOID.file: View(4.5, 90.0, -40.0, 0.9),
}
OVERVIEW = View(8.0, 90.0, -45.0, 0.6)  # of a place to go to


class Camera:
    """Shows `robot` on one task. Raises a `UserError` if nothing can be drawn here."""

    def __init__(self, robot: Robot, task: Task) -> None:
        self.mujoco = require_mujoco()
        require_opengl()
        self.task = task
        self.view = OVERVIEW if isinstance(task, GoalTask) else VIEWS[robot.file]
        self.model = load_model(robot, looks=True)
        self.data = self.mujoco.MjData(self.model)
        _calm(self.mujoco, self.model)
        if isinstance(task, BodyTask):
            _paint(self.model, np.asarray(task.mass))
        self.renderer = self.mujoco.Renderer(self.model, HEIGHT, WIDTH)
        for effect in (self.mujoco.mjtRndFlag.mjRND_SHADOW, self.mujoco.mjtRndFlag.mjRND_REFLECTION):
            self.renderer.scene.flags[effect] = 0  # without a graphics card they take most of the time
        self.camera = self.mujoco.MjvCamera()
        self.camera.type = self.mujoco.mjtCamera.mjCAMERA_FREE  # one that tracks lags behind in some versions
        self.camera.distance, self.camera.azimuth, self.camera.elevation, _ = self.view

    @property
    def note(self) -> str:
        """The task in words."""
        match self.task:
            case VelocityTask(velocity):
                return f"to be run: {float(velocity):.2f} m/s (green arrow); orange: the torso's velocity"
            case DirectionTask(direction):
                return f"a metre pays {_pair(direction)} in x, y (green arrow); orange: the torso's velocity"
            case GoalTask(goal):
                return f"green: the goal at x, y = {_pair(goal)} m"
            case _:
                return "heavy parts are dark, light ones pale"

    def frame(self, position: np.ndarray, speed: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] of MuJoCo's qpos [nq] and qvel [nv]."""
        mujoco, model, data = self.mujoco, self.model, self.data
        data.qpos[:], data.qvel[:] = position, speed
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        self.camera.lookat[:] = data.subtree_com[1]  # of the robot
        self.renderer.update_scene(data, self.camera)
        self._mark(data.xpos[1], float(speed[0]), 0.0 if model.nq == model.nv else float(speed[1]))
        return self.renderer.render()

    def _mark(self, torso: np.ndarray, forwards: float, sideways: float) -> None:
        """The task's marks: the root's velocity is (forwards, sideways)."""
        kinds = self.mujoco.mjtGeom
        match self.task:
            case VelocityTask(velocity):
                wanted = PER_SPEED * np.array([float(velocity), 0.0])
            case DirectionTask(direction):
                wanted = np.asarray(direction, float)
            case GoalTask(goal):
                self._add(kinds.mjGEOM_CYLINDER, (0.3, 0.01, 0.0), np.array([*goal, 0.01]), WANTED)
                self._add(kinds.mjGEOM_CYLINDER, (0.04, 0.5, 0.0), np.array([*goal, 0.5]), WANTED)
                return
            case _:
                return
        above = torso + np.array([0.0, 0.0, self.view.above])
        self._arrow(above, wanted, WANTED)
        self._arrow(above - np.array([0.0, 0.0, 4 * ARROW]), PER_SPEED * np.array([forwards, sideways]), SHOWN)

    def _arrow(self, start: np.ndarray, along: np.ndarray, colour: tuple[float, ...]) -> None:
        """A horizontal one."""
        along = along * min(1.0, LONGEST / max(float(np.linalg.norm(along)), 1e-6))
        geom = self._add(self.mujoco.mjtGeom.mjGEOM_ARROW, (ARROW,) * 3, start, colour)
        end = start + np.array([*along, 0.0])
        self.mujoco.mjv_connector(geom, self.mujoco.mjtGeom.mjGEOM_ARROW, ARROW, start, end)

    def _add(self, kind: Any, size: tuple[float, ...], place: np.ndarray, colour: tuple[float, ...]) -> Any:
        scene = self.renderer.scene
        geom = scene.geoms[scene.ngeom]
        rgba = np.asarray(colour, np.float32)
        self.mujoco.mjv_initGeom(geom, kind, np.asarray(size, float), place, np.eye(3).ravel(), rgba)
        scene.ngeom += 1
        return geom


def _calm(mujoco: Any, model: Any) -> None:
    """A pale sky and floor, so that the robot stands out. Edges get smooth when the picture is made smaller."""
    model.vis.quality.offsamples = 0
    for texture, start in enumerate(model.tex_adr):
        size = model.tex_height[texture] * model.tex_width[texture] * model.tex_nchannel[texture]
        shades = model.tex_data[start : start + size]
        if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            shades[:] = SKY
        elif texture in model.mat_texid[model.geom_matid[model.geom_bodyid == 0]]:
            low, high = TILES
            shades[:] = np.where(shades > shades.mean(), high, low)


def _paint(model: Any, mass: np.ndarray) -> None:
    """Give every body's geoms the shade of by what its mass is multiplied [nbody]; the floor stays."""
    shades = 0.5 + 0.5 * np.log(mass) / np.log(HEAVIEST)
    for geom, body in enumerate(model.geom_bodyid):
        if body:
            model.geom_rgba[geom, :3] = LIGHT + np.clip(shades[body], 0.0, 1.0) * (HEAVY - LIGHT)
            model.geom_matid[geom] = -1


def _pair(values: Any) -> str:
    return ", ".join(f"{float(value):.2f}" for value in values)
