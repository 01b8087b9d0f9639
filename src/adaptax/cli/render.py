"""`adaptax render`: an animation of a trained agent before and after it adapts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from .. import api
from .evaluate import task_given, unusual

_Run = Annotated[str, tyro.conf.arg(metavar="RUN")]
_Own = tyro.conf.arg(metavar="N", help_behavior_hint="(default: the pair's protocol)")


@dataclass(frozen=True)
class RenderOptions:
    """Write an animation of a trained agent on one task, before and after it adapts; no display is needed."""

    run: tyro.conf.Positional[_Run]
    """A run directory."""
    out: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """A .webp, .gif or .mp4; the last needs `pip install 'adaptax[video]'`."""
    task: Annotated[str, tyro.conf.arg(metavar="N|JSON")] = "1"
    """The number of a task on which the run is evaluated, from 1, or a task by its fields, such as
    '{"goal": [0.3, -0.2]}'."""
    split: str = "test"
    """Where a number is looked up: test, validation, train, or a split that the benchmark names."""
    rounds: Annotated[int | None, _Own] = None
    """Rounds of a lifetime, with an adaptation after each."""
    episodes: Annotated[int | None, _Own] = None
    """Episodes per round."""
    seconds: float = 6.0
    """How long the animation lasts."""
    run_seed: int = 0
    """Which of the run's seeds, from 0."""
    seed: int = 0
    """Fixes the tasks and every draw."""


def render_command(words: list[str]) -> int:
    options = tyro.cli(RenderOptions, args=words, prog="adaptax render")
    text = options.task.strip()
    task = int(text) if text.lstrip("-").isdigit() else task_given(text)
    trained = api.load(options.run, seed=options.run_seed)
    if isinstance(task, dict) and (note := unusual(trained.benchmark, api.make_task(trained.benchmark, task))):
        print(f"note: {note}", file=sys.stderr)
    path = trained.render(
        options.out,
        task=task,
        split=options.split,
        rounds=options.rounds,
        episodes=options.episodes,
        seed=options.seed,
        seconds=options.seconds,
    )
    print(path)
    return 0
