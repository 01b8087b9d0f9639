"""Gymnasium's robots: their model files, how they are stepped and begun, what is observed of them, when they have
fallen.

Rewards and observations are made of a `Motion`, which either simulator fills, so they are written once. Contact forces
are not simulated: MuJoCo since 2.0 leaves them at zero unless it is asked for them, and with it so do PEARL's and
VariBAD's environments, whose observations then hold as many zeros. Here those zeros are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import gymnasium
import jax.numpy as jnp

from adaptax.envs.host.opengl import load_mujoco
from adaptax.types import Array, UserError

LOOKS = ("texture", "material")  # half a megabyte of every model, and one model is kept for every task


class Motion(NamedTuple):
    """What a simulator tells of one stream, as NumPy or JAX arrays; float32.

    `velocity` is the horizontal velocity over the last step, of the root body or (humanoid) the centre of mass; 0 when
    an episode begins. `bodies` holds what else some robots observe, else nothing: the inertias [nbody − 1, 10] and the
    velocities [nbody − 1, 6] of all bodies but the world about the centre of mass, and the motors' torques on the
    joints [nv − 6]. `sound` is 1, or 0 if the simulation has diverged.
    """

    position: Any  # [nq]; MuJoCo's qpos
    speed: Any  # [nv]; MuJoCo's qvel
    velocity: Any  # [2]
    bodies: Any  # [16 (nbody − 1) + nv − 6] or [0]
    sound: Any  # [1]


class Robot(NamedTuple):
    """One of Gymnasium's model files; `frame_skip` steps of `timestep` seconds (None: the file's) are one of ours.

    An episode begins at the model's pose plus uniform noise of ± `noise` on every position; the noise on velocities is
    as wide, or normal with that standard deviation. `sliders`: the root moves by slide joints in the (x, z) plane, not
    freely. `scale` is the largest control: the agent's box is [−1, 1].
    """

    file: str
    frame_skip: int
    noise: float
    normal_velocities: bool
    sliders: bool
    scale: float = 1.0
    observes_bodies: bool = False
    timestep: float | None = None


HALF_CHEETAH = Robot("half_cheetah", 5, 0.1, normal_velocities=True, sliders=True)
ANT = Robot("ant", 5, 0.1, normal_velocities=True, sliders=False)
HUMANOID = Robot("humanoid", 5, 0.01, normal_velocities=False, sliders=False, scale=0.4, observes_bodies=True)
WALKER = Robot("walker2d", 4, 5e-3, normal_velocities=False, sliders=True)
HOPPER = Robot("hopper", 4, 5e-3, normal_velocities=False, sliders=True)

CHEETAH_TORSO = 0.7  # the height of the torso in the model's pose
FASTEST = 10.0  # walker and hopper: velocities are observed up to this


def load_model(robot: Robot, looks: bool = False) -> Any:
    """The robot's `mujoco.MjModel`, without its looks unless they are asked for. Raises a `UserError` if MuJoCo is not
    installed."""
    mujoco = require_mujoco()
    path = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / f"{robot.file}.xml"
    root = ElementTree.parse(path).getroot()
    for parent in () if looks else root.iter():
        parent.attrib.pop("material", None)
        for child in [child for child in parent if child.tag in LOOKS]:
            parent.remove(child)
    # MuJoCo warns of this attribute on the terminal, and says to do so instead.
    mass = [
        compiler.attrib.pop("settotalmass") for compiler in root.iter("compiler") if "settotalmass" in compiler.attrib
    ]
    model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))
    if mass:
        mujoco.mj_setTotalmass(model, float(mass[0]))
        mujoco.mj_setConst(model, mujoco.MjData(model))
    if robot.timestep is not None:
        model.opt.timestep = robot.timestep
    return model


def require_mujoco() -> Any:
    """The module `mujoco`, or a `UserError` that says how to install it, or what is wrong with MUJOCO_GL."""
    try:
        load_mujoco()
        import mujoco
        import mujoco.rollout
    except ImportError as error:
        raise UserError(f"robots need MuJoCo; install it by pip install 'adaptax[mujoco]' ({error})") from error
    return mujoco


def cheetah_joints(motion: Motion) -> Array:
    """Positions without x, and velocities: float32 [17]."""
    return jnp.concatenate([motion.position[1:], motion.speed])


def cheetah_torso(motion: Motion) -> Array:
    """The same and where the torso is, (x, 0, z): float32 [20]."""
    x, z = motion.position[0], motion.position[1] + CHEETAH_TORSO
    return jnp.concatenate([motion.position[1:], motion.speed, jnp.stack([x, jnp.zeros_like(x), z])])


def ant_joints(motion: Motion) -> Array:
    """Positions without x and y, and velocities: float32 [27]."""
    return jnp.concatenate([motion.position[2:], motion.speed])


def ant_place(motion: Motion) -> Array:
    """All positions, and velocities: float32 [29]."""
    return jnp.concatenate([motion.position, motion.speed])


def ant_frame(motion: Motion) -> Array:
    """All positions, velocities, and the torso's rotation matrix and place: float32 [41]."""
    w, x, y, z = motion.position[3:7] / jnp.linalg.norm(motion.position[3:7])
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    rotation = jnp.stack([entry for row in rows for entry in row])
    return jnp.concatenate([motion.position, motion.speed, rotation, motion.position[:3]])


def humanoid_bodies(motion: Motion) -> Array:
    """Positions without x and y, velocities, and `bodies`: float32 [270]."""
    return jnp.concatenate([motion.position[2:], motion.speed, motion.bodies])


def legs(motion: Motion) -> Array:
    """Walker and hopper: positions without x, and velocities up to ±10: float32 [17] and [11]."""
    return jnp.concatenate([motion.position[1:], jnp.clip(motion.speed, -FASTEST, FASTEST)])


def never_falls(motion: Motion) -> Array:
    return jnp.ones((), bool)


def ant_stands(motion: Motion) -> Array:
    """The torso is between 0.2 and 1 m high (MAML, PEARL, VariBAD)."""
    return _between(motion.position[2], 0.2, 1.0)


def ant_stands_low(motion: Motion) -> Array:
    """The torso is between 0 and 1 m high (ProMP)."""
    return _between(motion.position[2], 0.0, 1.0)


def humanoid_stands(motion: Motion) -> Array:
    """The root is between 1 and 2 m high."""
    return _between(motion.position[2], 1.0, 2.0)


def walker_stands(motion: Motion) -> Array:
    """The torso is between 0.8 and 2 m high and tilted by less than 1 rad."""
    height, tilt = motion.position[1], motion.position[2]
    return (height > 0.8) & (height < 2.0) & (jnp.abs(tilt) < 1.0)


def hopper_stands(motion: Motion) -> Array:
    """The torso is above 0.7 m and tilted by less than 0.2 rad, and nothing else is beyond ±100."""
    height, tilt = motion.position[1], motion.position[2]
    rest = jnp.concatenate([motion.position[2:], motion.speed])
    return (height > 0.7) & (jnp.abs(tilt) < 0.2) & jnp.all(jnp.abs(rest) < 100.0)


def _between(value: Array, low: float, high: float) -> Array:
    return (value >= low) & (value <= high)
