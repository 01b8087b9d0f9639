"""The log of a run: `metrics.jsonl`, TensorBoard event files, and the progress shown while it trains.

`metrics.jsonl` is the record that later tools read: one JSON object a line with `iteration`,
`environment_steps`, `seconds`, `steps_per_second` and the metrics, where a list holds one value per seed and
null stands for a number that is not finite. Every line is handed to the operating system when it is written.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from adaptax.types import UserError

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_OURS = ("iteration", "environment_steps", "seconds", "steps_per_second")
_EVENT_SECONDS = 10  # how far TensorBoard may lag behind; `metrics.jsonl` never does

Number = float | np.floating | np.integer


class RunLog:
    """Writes the log of one run; a context manager.

    `iterations` is where the run will end, for the time left. A run resumed from the checkpoint of iteration
    `resumed_at` says so, with the environment steps it had then done: rows of later iterations are dropped,
    since they will be written again. `quiet` shows nothing; the files are written all the same.
    """

    def __init__(
        self,
        directory: Path,
        *,
        iterations: int,
        resumed_at: int | None = None,
        environment_steps: int = 0,
        quiet: bool = False,
    ) -> None:
        self._directory = Path(directory)
        self._iterations = iterations
        self._start = resumed_at or 0
        self._resumed = resumed_at is not None
        self._display = _Display(iterations, self._start, quiet)
        self._path = self._directory / "metrics.jsonl"
        self._purge_step = environment_steps + 1 if self._resumed else None
        self._last_steps = environment_steps
        self._writers: dict[str, SummaryWriter] = {}

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        kept = _truncate(self._path, self._start if self._resumed else None)
        self._seconds_before = float(kept[-1]["seconds"]) if kept else 0.0
        self._file = self._path.open("a", encoding="utf-8")
        self._began = self._last_time = time.perf_counter()
        self._display.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.close()
        self._file.close()
        for writer in self._writers.values():
            writer.close()

    def write(
        self,
        iteration: int,
        environment_steps: int,
        metrics: Mapping[str, Number | Sequence[Number] | np.ndarray],
    ) -> None:
        """Write one row: where the run stands after `iteration`, and how fast it went since the row before.

        `environment_steps` are those of one seed. A metric is a number, or a list with a number per seed.
        """
        clash = sorted(set(metrics) & set(_OURS))
        if clash:
            raise ValueError(f"the log writes {clash[0]!r} itself; give that metric another name")
        now = time.perf_counter()
        rate = (environment_steps - self._last_steps) / max(now - self._last_time, 1e-9)
        self._last_time, self._last_steps = now, environment_steps
        values = {name: _numbers(value) for name, value in metrics.items()}
        row: dict[str, Any] = {
            "iteration": int(iteration),
            "environment_steps": int(environment_steps),
            "seconds": round(self._seconds_before + now - self._began, 3),
            "steps_per_second": round(rate, 1),
            **{name: _valid(value) for name, value in values.items()},
        }
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()
        self._write_events(environment_steps, {"steps_per_second": rate, **values})
        self._display.update(iteration, rate, _mean(values.get("return")))

    def say(self, message: str) -> None:
        """Show a line above the progress bar, such as where a checkpoint went."""
        self._display.say(message)

    def _write_events(self, step: int, values: Mapping[str, float | list[float]]) -> None:
        for name, value in values.items():
            seeds = {f"seed-{k}": v for k, v in enumerate(value)} if isinstance(value, list) else {"": value}
            for folder, number in seeds.items():
                if math.isfinite(number):  # TensorBoard shows a gap; the row says null
                    self._writer(folder).add_scalar(name, number, step)

    def _writer(self, folder: str) -> SummaryWriter:
        """The writer of all seeds together (""), or of one, made when it is first needed."""
        if folder not in self._writers:
            from tensorboardX import SummaryWriter  # imports protobuf: only when a run is logged

            path = self._directory / "tensorboard" / folder
            # Event files are named by the second: a resumed run must never write over the one before.
            suffix = f".from-{self._start}" if self._resumed else ""
            self._writers[folder] = SummaryWriter(
                str(path), purge_step=self._purge_step, flush_secs=_EVENT_SECONDS, filename_suffix=suffix
            )
        return self._writers[folder]


class _Display:
    """A progress bar on a terminal, one plain line per row elsewhere; on stderr: stdout stays clean."""

    def __init__(self, iterations: int, start: int, quiet: bool) -> None:
        self._iterations = iterations
        self._quiet = quiet
        self._began = (start, time.perf_counter())
        self._warm: tuple[int, float] | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def open(self) -> None:
        self._began = (self._began[0], time.perf_counter())
        console = Console(stderr=True)
        if self._quiet or not console.is_terminal:
            return
        columns = [
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", style="progress.percentage"),
            TextColumn("{task.fields[status]}"),
        ]
        # Drawn a few times a second: the cores belong to the training.
        redirect = sys.stdout.isatty()  # a redirected stdout must not end up on stderr
        self._bar = Progress(*columns, console=console, refresh_per_second=4, expand=True, redirect_stdout=redirect)
        status = "compiling …"
        self._task = self._bar.add_task("", total=self._iterations, completed=self._began[0], status=status)
        self._bar.start()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, message: str) -> None:
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        else:
            print(message, file=sys.stderr, flush=True)

    def update(self, iteration: int, rate: float, result: float | None) -> None:
        status = f"{_short(rate)} steps/s" + ("" if result is None else f" · return {result:.4g}")
        left = self._left(iteration)
        if left is not None and iteration < self._iterations:
            status += f" · {_duration(left)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=iteration, status=status)
        elif not self._quiet:
            print(f"iteration {iteration}/{self._iterations} · {status}", file=sys.stderr, flush=True)

    def _left(self, iteration: int) -> float | None:
        """Seconds left, from the rate since the first row: what came before it was mostly compilation."""
        now = (iteration, time.perf_counter())
        since, self._warm = self._warm or self._began, self._warm or now
        done = iteration - since[0]
        return (now[1] - since[1]) / done * (self._iterations - iteration) if done > 0 else None


def _truncate(path: Path, resumed_at: int | None) -> list[dict[str, Any]]:
    """The rows that stay; whatever else the file holds, such as half a line written at a kill, is removed."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    parsed = [(line, _parse(line)) for line in lines]
    if resumed_at is None:
        if any(row is not None for _, row in parsed):
            raise UserError(f"{path} already holds the log of a run; resume it or choose another directory")
        resumed_at = 0
    kept = [(line, row) for line, row in parsed if row is not None and row["iteration"] <= resumed_at]
    if len(kept) < len(lines):
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            file.writelines(line for line, _ in kept)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    return [row for _, row in kept]


def _parse(line: bytes) -> dict[str, Any] | None:
    """A whole row, or None."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    whole = line.endswith(b"\n") and isinstance(row, dict) and all(name in row for name in _OURS)
    return row if whole else None


def _numbers(value: Number | Sequence[Number] | np.ndarray) -> float | list[float]:
    return np.asarray(value, np.float64).tolist()


def _valid(value: float | list[float]) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, list):
        return [_valid(v) for v in value]
    return value if math.isfinite(value) else None


def _mean(value: float | list[float] | None) -> float | None:
    if isinstance(value, list):
        return sum(value) / len(value) if value else None
    return value


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
