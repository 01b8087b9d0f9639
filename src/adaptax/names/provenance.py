"""Where numbers come from: versions, revision and command; and files that are written whole or not at all."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    names = ("adaptax", "jax", "jaxlib", "numpy", "optax")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def git_revision() -> str:
    """The source's git revision, "+changes" when files differ from it; empty outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = git("rev-parse", "--short=12", "HEAD")
        return revision + ("+changes" if revision and git("status", "--porcelain", "--", str(here)) else "")
    except OSError:
        return ""


def command() -> str:
    """The command line of this process, as one would type it again."""
    program = Path(sys.argv[0])
    first = "adaptax" if program.name in ("adaptax", "__main__.py") else program.name
    return shlex.join([first, *sys.argv[1:]])


def write_whole(path: Path, write: Any) -> None:
    """Write a file beside its place, then put it there: a reader never sees half of it."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as file:
        write(file)
    beside.replace(path)
