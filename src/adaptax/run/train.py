"""The training loop: pieces of many meta-iterations, a row of metrics, a checkpoint now and then.

The loop knows protocols and no names. A killed run leaves its last checkpoint; a resumed one goes on bit for bit as if
it had never stopped.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..ranges import check_range
from ..types import Algorithm, Benchmark, UserError
from . import checkpoint
from .collect import Batched, streams_of
from .iterate import Progress, begin, many, meta_iteration
from .log import RunLog
from .room import check_training
from .shard import mesh_of
from .source import Source, check_plan, living
from .workers.actors import Actors, import_ray
from .workers.processes import Processes
from .workers.slices import Make, Sliced, pack

ROWS = 200  # rows in metrics.jsonl of a run whose `log_every` is left open
PIECE_SECONDS = 1.0  # how long Ctrl-C and the progress bar wait at most, once the speed is known


@dataclass(frozen=True)
class Settings:
    """How to train; none of it changes what an iteration computes, except that each number of workers draws other
    tasks."""

    iterations: int
    """Meta-iterations in all."""
    seed: int = 0
    """Seed of the first run."""
    seeds: int = 1
    """How many seeds to train at once: seed, seed + 1, …"""
    devices: int = 1
    """Devices over which the tasks are spread."""
    workers: int | None = None
    """Processes that each collect a slice of the tasks; 0: they are collected here; None: as many as the run that is
    resumed had, else 0."""
    ray: str = ""
    """Address of a Ray cluster that is to run the workers (local: one of this machine); empty: none."""
    log_every: int | None = None
    """Meta-iterations per row of metrics; None: a two-hundredth of them all."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints (there is always one at the end)."""
    quiet: bool = False
    """No progress on the terminal."""

    def __post_init__(self) -> None:
        for name in ("iterations", "seeds", "devices", "log_every"):
            check_range(name, getattr(self, name), 1)
        for name in ("seed", "workers", "checkpoint_seconds"):
            check_range(name, getattr(self, name), 0)

    @property
    def row(self) -> int:
        return max(1, self.iterations // ROWS) if self.log_every is None else self.log_every


class Diverged(UserError):
    """A loss or return that is not finite: no fault of the input's form, so the exit code is 1."""


class Result(NamedTuple):
    """What training leaves. `state` leads with the axis [seeds] when there are several; `stopped` says whether
    Ctrl-C ended it early."""

    state: Any
    iteration: int
    stopped: bool


def train(
    algorithm: Algorithm,
    benchmark: Benchmark,
    settings: Settings,
    directory: Path,
    *,
    resume: bool,
    make: Make | None = None,
) -> Result:
    """Train until `settings.iterations`, from the newest checkpoint in `directory` if `resume`. `make` makes the
    algorithm and the benchmark again in every worker (default: they get copies of these)."""
    check(algorithm, benchmark, settings)
    make = make or partial(_pair, algorithm, benchmark)
    log: RunLog | None = None

    def say(text: str) -> None:
        assert log is not None
        log.say(text)

    with mesh_of(settings.devices, algorithm.plan.tasks), _source(algorithm, benchmark, settings, make, say) as source:
        progress, done = _start(algorithm, source, settings, directory / "checkpoints", resume)
        log = RunLog(
            directory,
            iterations=settings.iterations,
            resumed_at=done if resume else None,
            environment_steps=done * algorithm.plan.environment_steps,
            quiet=settings.quiet,
        )
        return _train(algorithm, source, settings, progress, done, log, directory / "checkpoints")


def _pair(algorithm: Algorithm, benchmark: Benchmark) -> tuple[Algorithm, Benchmark]:
    return algorithm, benchmark


@contextmanager
def _source(
    algorithm: Algorithm, benchmark: Benchmark, settings: Settings, make: Make, say: Callable[[str], None]
) -> Iterator[Source]:
    """Where the experience comes from: lives that are lived here, or slices that workers collect."""
    if not settings.workers:
        yield living(algorithm, benchmark)
        return
    packed = pack(make, settings.workers)
    workers = Actors(settings.ray, packed, settings.workers) if settings.ray else Processes(packed, settings.workers)
    try:
        yield Sliced(algorithm, benchmark, workers, say)
    finally:
        workers.close()


def check(algorithm: Algorithm, benchmark: Benchmark, settings: Settings) -> None:
    """Raise a `UserError` for what `train` refuses, before it compiles or writes anything."""
    plan = algorithm.plan
    check_plan(plan, benchmark.spec.horizon)
    if plan.training_tasks not in (None, benchmark.train.size):
        size = benchmark.train.size
        found = "draws its tasks afresh" if size is None else f"has {size}"
        raise UserError(
            f"the algorithm keeps something of each of {plan.training_tasks} training tasks, but the benchmark "
            f"{found}; make it with the spec of the benchmark that it trains on"
        )
    on_host = not isinstance(streams_of(benchmark.environment), Batched)
    if on_host and (settings.seeds > 1 or settings.devices > 1):
        raise UserError("a benchmark stepped on the host trains one seed on one device: leave out seeds and devices")
    if settings.ray and not settings.workers:
        raise UserError(f"say with workers how many slices the Ray cluster at {settings.ray} shall collect")
    if settings.workers and (settings.seeds > 1 or settings.devices > 1):
        raise UserError("workers collect for one seed on one device: leave out seeds and devices, or workers")
    if settings.workers and plan.tasks % settings.workers:
        raise UserError(f"tasks is {plan.tasks}, which {settings.workers} workers cannot share equally; use a multiple")
    if settings.workers and plan.lifetime > plan.rounds:
        raise UserError(
            f"a lifetime of {plan.lifetime} rounds outlasts the {plan.rounds} of an iteration, and workers keep "
            "nothing from one to the next: train it without workers"
        )
    if settings.ray:
        import_ray()
    start = partial(begin, algorithm, living(algorithm, benchmark))
    progress = jax.eval_shape(start, root_keys(0, 1))
    check_training(algorithm, progress, settings.seeds)


def _start(
    algorithm: Algorithm, source: Source, settings: Settings, places: Path, resume: bool
) -> tuple[Progress, int]:
    """Where training begins, or goes on, and how many iterations are done."""
    roots = root_keys(settings.seed, settings.seeds)
    start = jax.jit(lambda root: begin(algorithm, source, root))
    if settings.seeds > 1:
        start = jax.vmap(start)
    if resume and checkpoint.latest(places):  # a run that ended before its first checkpoint begins anew
        progress, done, _ = checkpoint.restore(places, jax.eval_shape(start, roots))
        return progress, done
    progress = start(roots)
    if failure := source.failure():
        raise failure
    return progress, 0


def _train(
    algorithm: Algorithm, source: Source, settings: Settings, progress: Progress, done: int, log: RunLog, places: Path
) -> Result:
    steps = algorithm.plan.environment_steps
    with log, _interruptible() as interrupted:
        saved_at, saved = time.monotonic(), done
        run = _program(algorithm, source, settings)
        pieces = _pieces(run, progress, done, settings, interrupted, source.failure)
        for progress, done, row, failure in pieces:
            bad = _not_finite(row, done) if row else None
            if bad:
                raise Diverged(_diverged(*bad, places, saved))
            if row:
                log.write(done, done * steps, {name: np.mean(v, axis=0).tolist() for name, v in row.items()})
            late = time.monotonic() - saved_at > settings.checkpoint_seconds
            if failure and not _all_finite(progress.state.params):
                raise Diverged(_diverged("a parameter", done, places, saved)) from failure
            if (row and late) or interrupted() or done >= settings.iterations or (failure and done > saved):
                checkpoint.save(places, progress, iteration=done, details={"environment_steps": done * steps})
                saved_at, saved = time.monotonic(), done
            if failure:
                raise UserError(f"{failure}: training stopped, and {_kept(places, saved)}") from failure.__cause__
            if interrupted():
                log.say(f"stopped at iteration {done}; the checkpoint is written")
                return Result(progress.state, done, stopped=done < settings.iterations)
    return Result(progress.state, done, stopped=False)


def _program(algorithm: Algorithm, source: Source, settings: Settings) -> Callable[..., Any]:
    """Many meta-iterations as one program, over all seeds."""
    run = many(meta_iteration(algorithm, source), settings.row)
    if settings.seeds > 1:
        run = jax.vmap(run, in_axes=(0, 0, None))
    return jax.jit(run, donate_argnums=0)


def root_keys(seed: int, seeds: int) -> Any:
    """The root key of every seed: [seeds] keys, or a single one."""
    if seeds == 1:
        return jax.random.key(seed)
    return jnp.stack([jax.random.key(seed + k) for k in range(seeds)])


def _pieces(
    run: Callable,
    progress: Progress,
    done: int,
    settings: Settings,
    stop: Callable[[], bool],
    failed: Callable[[], UserError | None],
) -> Iterator[tuple[Progress, int, dict[str, np.ndarray], UserError | None]]:
    """(progress, iterations done, metrics, how the host failed) after each piece; the metrics [n, …] come with the
    piece that completes a row and are empty otherwise. Rows end at multiples of `settings.row`, wherever the run was
    resumed, and where it is asked to stop or the host fails: then only whole iterations count."""
    pending: list[dict[str, np.ndarray]] = []
    roots = root_keys(settings.seed, settings.seeds)
    length, compiled = 1, False
    while done < settings.iterations:
        row_ends = min(done - done % settings.row + settings.row, settings.iterations)
        count = min(length, row_ends - done)
        began = time.monotonic()
        progress, metrics = run(progress, roots, jnp.asarray(count, jnp.int32))
        metrics = jax.device_get(metrics)
        each = max((time.monotonic() - began) / count, 1e-6)
        if compiled:  # the first piece's time is mostly compilation
            length = max(1, int(PIECE_SECONDS / each))
        compiled = True
        failure = failed()
        if failure:
            count = int(progress.state.iteration) - done
        done += count
        axis = 0 if settings.seeds == 1 else 1  # [count] or [seeds, count] -> [count, …]
        pending.append({k: np.moveaxis(np.take(v, range(count), axis), axis, 0) for k, v in metrics.items()})
        row: dict[str, np.ndarray] = {}
        if done == row_ends or stop() or failure or not all(np.isfinite(v).all() for v in pending[-1].values()):
            row = {k: np.concatenate([p[k] for p in pending]).astype(np.float64) for k in pending[0]}
            pending = []
        yield progress, done, {k: v for k, v in row.items() if len(v)}, failure


def _not_finite(row: dict[str, np.ndarray], done: int) -> tuple[str, int] | None:
    """The first metric that is not finite and its iteration."""
    bad = []
    for name, values in row.items():
        wrong = ~np.isfinite(values.reshape(values.shape[0], -1)).all(axis=1)
        if wrong.any():
            bad.append((done - len(values) + int(np.argmax(wrong)) + 1, name))
    return (min(bad)[1], min(bad)[0]) if bad else None


def _diverged(metric: str, iteration: int, places: Path, saved: int) -> str:
    kept = _kept(places, saved)
    return (
        f"{metric} is not finite at iteration {iteration}: training stopped, and {kept}; a smaller step size may help"
    )


def _kept(places: Path, saved: int) -> str:
    if checkpoint.latest(places) is None:
        return "no checkpoint was written yet"
    return f"the checkpoint of iteration {saved} is kept"


def _all_finite(params: Any) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(params)))


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """While training, Ctrl-C (or SIGTERM) asks to stop after the piece at hand; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
