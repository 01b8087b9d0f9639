"""What would not fit into memory is refused before anything is allocated or compiled."""

from __future__ import annotations

from typing import Any

import jax

from ..buffers import machine_memory, size_of
from ..types import Algorithm, Birth, Params, UserError

GIB = 2**30


def check_training(algorithm: Algorithm, progress: Any, seeds: int) -> None:
    """`progress` is what training carries, as shapes of arrays, of one seed.

    It has to fit twice: an iteration holds the old and the new of what it changes, and a resumed run the file and the
    arrays made of it. What agents keep while they live on their tasks comes on top.
    """
    kept = seeds * size_of(progress)
    lives = (
        0 if progress.carried is not None else seeds * _of_lives(algorithm, progress.state.params, algorithm.plan.tasks)
    )
    present = machine_memory()
    if 2 * kept + lives > present:
        tasks = _count(algorithm.plan.tasks, "task")
        more = f", and {lives / GIB:.1f} GiB for {tasks} that are lived on at once" if lives > kept / 100 else ""
        raise UserError(
            f"training keeps {kept / GIB:.1f} GiB for {_count(seeds, 'seed')} and needs room for twice that{more}; the "
            f"machine has {present / GIB:.1f}: lower the capacity of the buffers, or train fewer seeds at once"
        )


def check_lives(algorithm: Algorithm, params: Params, tasks: int) -> None:
    """What the agents keep that live on so many tasks at once has to fit."""
    needed, present = _of_lives(algorithm, params, tasks), machine_memory()
    if needed > present:
        raise UserError(
            f"what the agent keeps of {_count(tasks, 'task')} that are lived on at once needs {needed / GIB:.1f} GiB "
            f"and the machine has {present / GIB:.1f}: lower the capacity of its buffers, or evaluate it on fewer tasks"
        )


def _of_lives(algorithm: Algorithm, params: Params, tasks: int) -> int:
    return tasks * size_of(jax.eval_shape(algorithm.begin, params, jax.random.key(0), Birth()))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
