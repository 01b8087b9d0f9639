"""Which of OpenGL's libraries MuJoCo can draw with here, without a display.

MuJoCo takes its choice from the environment variable MUJOCO_GL when it is imported, and a choice that fails cannot be
taken back in the same process. So every candidate is tried in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from adaptax.types import UserError

CANDIDATES = ("egl", "osmesa", "glfw")
NEEDED = {
    "egl": "EGL, on Debian and Ubuntu apt-get install libegl1 libgl1 libgl1-mesa-dri",
    "osmesa": "OSMesa, on Debian and Ubuntu apt-get install libosmesa6",
    "glfw": "a display",
}
TRY_SECONDS = 60.0
TRIAL = "import mujoco; mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8).render()"


def load_mujoco() -> Any:
    """The module `mujoco`. Raises an `ImportError` if it is not installed, and a `UserError` if it cannot be imported
    with what MUJOCO_GL says: it loads the library that is named there even where nothing is drawn."""
    try:
        import mujoco
    except Exception as error:  # RuntimeError, AttributeError, ImportError: each library fails in its own way
        said = os.environ.get("MUJOCO_GL", "")
        passed = [Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)]
        if said and "gl_context.py" in passed:  # where MuJoCo looks at it
            raise _no_use(said) from error
        raise
    return mujoco


def require_opengl() -> None:
    """Let MuJoCo, which is installed, draw: with what MUJOCO_GL says, or else with the first that works.

    Sets MUJOCO_GL, which Gymnasium's robots go by. Raises a `UserError` that says what to install if none works.
    """
    name = _working(os.environ.get("MUJOCO_GL", ""))
    os.environ["MUJOCO_GL"] = name
    import mujoco

    # It was perhaps imported before this was set; here a renderer looks its context up.
    module: Any = sys.modules[mujoco.Renderer.__module__]
    if name == "egl":
        from mujoco.egl import GLContext

        module.gl_context.GLContext = GLContext
    elif name == "osmesa":
        from mujoco.osmesa import GLContext

        module.gl_context.GLContext = GLContext


def _working(said: str) -> str:
    """What MUJOCO_GL should be, where it is `said` to be that, or empty."""
    name = _read(said)
    if name:
        if works(name):
            return name
        raise _no_use(said)
    for name in CANDIDATES:
        if works(name):
            return name
    raise UserError(
        "MuJoCo draws by OpenGL, and neither EGL nor OSMesa, which need no display, works here: install one of them, "
        "on Debian and Ubuntu by apt-get install libegl1 libgl1 libgl1-mesa-dri, or apt-get install libosmesa6"
    )


def _read(said: str) -> str:
    """As MuJoCo reads MUJOCO_GL; Gymnasium takes it literally."""
    return said.strip().lower()


def _no_use(said: str) -> UserError:
    name = _read(said)
    why = (
        f"it needs {NEEDED[name]}" if name in NEEDED else f"it may be {', '.join(CANDIDATES[:-1])} or {CANDIDATES[-1]}"
    )
    return UserError(
        f"MuJoCo cannot work with MUJOCO_GL={said} here: {why}; unset it, and {', '.join(CANDIDATES)} are tried"
    )


@cache
def works(name: str) -> bool:
    """Whether a new process draws with MUJOCO_GL of this value."""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", TRIAL],
            env={**os.environ, "MUJOCO_GL": name},
            capture_output=True,
            timeout=TRY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return tried.returncode == 0
