"""Animations of a run's agent on one task, before and after adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..envs.filmed import CanBeFilmed, Filmed, ShowsItself
from ..ranges import check_range
from ..render import Path as Walk
from ..render import Picture, Shot, animate, check_writable, write
from ..render.image import images
from ..report.tables import chosen_points
from ..run.evaluate import Protocol, evaluated_task
from ..run.record import Record, record
from ..types import Algorithm, Benchmark, Params, Task, UserError
from .config import Config
from .evaluation import make_task, task_fields

SHOTS = 4  # at most so many panels


def render(
    algorithm: Algorithm,
    on: Benchmark,
    params: Params,
    config: Config,
    protocol: Protocol,
    out: str | Path,
    task: int | Mapping[str, Any],
    split: str,
    seconds: float,
) -> Path:
    """Write an animation of the agent with `params` to `out` and return its path (`Trained.render`)."""
    path = Path(out)
    check_writable(path)
    check_range("seconds", seconds, 0, 600, above=True)
    chosen = _task(on, task, split, protocol)
    scene = _scene(on, chosen, config)
    filmed = isinstance(scene, Filmed)
    where = on._replace(environment=scene.environment) if filmed else on
    lived = record(algorithm, where, chosen, params, replace(protocol, tasks=1), states=filmed)
    frames = _frames(scene, lived) if filmed else None
    picture = images(frames(0, 0, 0, 1, 0), scene.note) if filmed and frames else scene
    assert isinstance(picture, Picture)
    # What is believed is believed by one stream.
    shots = shots_of(lived, on.spec.horizon, protocol, 1 if lived.beliefs is not None else picture.streams, frames)
    title, note = _title(config, task, split), _note(picture, shots, protocol)
    return write(animate(picture, shots, title, note, seconds), path)


def _scene(on: Benchmark, task: Task, config: Config) -> Picture | Filmed:
    """How the task is shown: as the environment draws itself, as we draw it, or as it is filmed."""
    environment = on.environment
    if isinstance(environment, ShowsItself):
        return Filmed(environment, partial(environment.frame, task))
    if on.picture is not None:
        return on.picture(task_fields(task))
    if isinstance(environment, CanBeFilmed):
        return environment.filmed(task)
    raise UserError(
        f"there is no picture of {config.benchmark}: a benchmark may have picture=…, and an environment that offers "
        "frame(task, state) draws itself"
    )


def _task(on: Benchmark, task: int | Mapping[str, Any], split: str, protocol: Protocol) -> Task:
    if isinstance(task, Mapping):
        return make_task(on, task)
    tasks = on.split(split)
    count = tasks.size or protocol.tasks
    if not 1 <= task <= count:
        raise UserError(
            f"there is no task {task}: the run is evaluated on the tasks 1 to {count} of the split {split!r}"
        )
    return jax.tree.map(np.asarray, evaluated_task(tasks, task, protocol))


def shots_of(lived: Record, horizon: int, protocol: Protocol, streams: int, frames: Any = None) -> list[Shot]:
    """Panels along the adaptation curve: episodes by round, or whole rounds where an episode is a single step."""
    whole = horizon == 1
    episodes = 1 if whole else protocol.episodes
    shots = []
    for point in chosen_points(protocol.rounds * episodes, SHOTS):
        round_, episode = divmod(point, episodes)
        spans = [_span(ended, None if whole else episode) for ended in lived.ended[round_]]
        longest = max(end - begin for begin, end in spans)
        rewards = [lived.reward[round_, b, begin:end] for b, (begin, end) in enumerate(spans)]
        sums = np.mean([np.pad(np.cumsum(pay), (0, longest - len(pay)), mode="edge") for pay in rewards], axis=0)
        walks = tuple(_walk(lived, round_, b, *span, frames) for b, span in enumerate(spans[:streams]))
        shots.append(Shot(_label(round_, episode, protocol, whole), walks, np.concatenate([[0.0], sums])))
    return shots


def _span(ended: np.ndarray, episode: int | None) -> tuple[int, int]:
    """From which step to which one of [T] an episode lasts; all of them for None."""
    ends = [*(np.flatnonzero(ended) + 1).tolist(), len(ended)]
    return (0, len(ended)) if episode is None else ((0, *ends)[episode], ends[episode])


def _walk(lived: Record, round_: int, stream: int, begin: int, end: int, frames: Any) -> Walk:
    part = (round_, stream, slice(begin, end))
    observations = jax.tree.map(
        lambda seen, after: np.concatenate([seen[part], after[round_, stream, end - 1][None]]),
        *(lived.observation, lived.next_observation),
    )
    beliefs = None if lived.beliefs is None else lived.beliefs[part]
    frame = None if frames is None else lambda step: frames(round_, stream, begin, end, step)
    return Walk(observations, lived.action[part], lived.reward[part], beliefs, frame)


def _frames(scene: Filmed, lived: Record) -> Any:
    """What the environment shows after so many steps of an episode."""

    def at(round_: int, stream: int, begin: int, end: int, step: int) -> Any:
        after = begin + step == end
        states, place = (lived.next_states, end - 1) if after else (lived.states, begin + step)
        return scene.frame(jax.tree.map(lambda x: x[round_, stream, place], states))

    return at


def _label(round_: int, episode: int, protocol: Protocol, whole: bool) -> str:
    if protocol.rounds == 1:
        return "one trial" if whole else f"episode {episode + 1}"
    after = "before adaptation" if round_ == 0 else f"after {round_} round{'s' * (round_ > 1)}"
    return after if whole or protocol.episodes == 1 else f"{after}, episode {episode + 1}"


def _title(config: Config, task: int | Mapping[str, Any], split: str) -> str:
    which = f"{split} task {task}" if isinstance(task, int) else "a task of one's own"
    return f"{config.algorithm} on {config.benchmark}, {which}"


def _note(picture: Picture, shots: list[Shot], protocol: Protocol) -> str:
    parts = [picture.note]
    if shots[0].paths[0].beliefs is not None:
        parts.append("blue: what it expects to be paid there")
    if protocol.streams > 1:
        count = len(shots[0].paths)
        drawn = f"{count} of {protocol.streams} streams {'is' if count == 1 else 'are'} drawn"
        parts.append(f"{drawn}, the return is the mean of all")
    return "; ".join(part for part in parts if part)
