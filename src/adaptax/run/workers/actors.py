"""Workers as actors of a Ray cluster, for those who outgrow one machine.

Every node needs adaptax installed, in the same version, and whatever the benchmark needs.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from typing import Any

from ...types import UserError
from .slices import Ended, Reply, Worker


class Actors:
    """`Workers` that are actors of the cluster at `address`: local (one that is begun here, and ends with the
    training), auto (the one this machine belongs to), HOST:PORT or ray://HOST:PORT; `packed` is what `slices.pack`
    made."""

    def __init__(self, address: str, packed: bytes, count: int) -> None:
        self.count = count
        self._ray = import_ray()
        self._connected = not self._ray.is_initialized()
        if self._connected:
            self._connect(address)
        self._packed = packed
        # A worker takes a core. What it does when it has died is ours to say, so Ray does nothing.
        self._kind = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Actor)
        self._actors: dict[int, Any] = {}
        self._answers: dict[int, Any] = {}
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        if cores < count:
            self.close()
            raise UserError(f"the Ray cluster at {address} has {cores} cores, too few for {count} workers")
        for number in range(count):
            self._begin(number)

    def ask(self, number: int, request: bytes) -> None:
        if number not in self._actors:
            self._begin(number)
        self._answers[number] = self._actors[number].answer.remote(request)

    def answer(self, waiting: Collection[int]) -> tuple[int, Reply]:
        numbers = {self._answers[number]: number for number in waiting}
        (ready, *_), _ = self._ray.wait(list(numbers), num_returns=1)
        number = numbers[ready]
        try:
            return number, self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            self._ray.kill(self._actors.pop(number))
            text = (str(error).strip().splitlines() or [""])[0]
            return number, Ended(f"died ({type(error).__name__}: {text})")

    def close(self) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors, self._answers = {}, {}
        if self._connected:
            self._ray.shutdown()

    def _connect(self, address: str) -> None:
        own = {"num_cpus": self.count, "include_dashboard": False} if address == "local" else {}
        try:
            with warnings.catch_warnings():
                # A cluster that is begun here is forked off, but becomes another program at once.
                warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
                self._ray.init(address, log_to_driver=False, logging_level="warning", **own)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            text = (str(error).strip().splitlines() or [""])[0]
            raise UserError(
                f"there is no Ray cluster at {address} ({text}): give local, auto, HOST:PORT or ray://HOST:PORT"
            ) from error

    def _begin(self, number: int) -> None:
        self._actors[number] = self._kind.remote(self._packed, number)


class _Actor:
    """A `Worker` in a process of Ray's, on the CPU. JAX reads the environment when it first computes."""

    def __init__(self, packed: bytes, number: int) -> None:
        import jax

        jax.config.update("jax_platforms", "cpu")
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
        self._worker = Worker(packed, number)

    def answer(self, request: bytes) -> Reply:
        return self._worker.answer(request)


def import_ray() -> Any:
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError as error:
        raise UserError("a Ray cluster needs Ray, which is not installed: pip install 'adaptax[ray]'") from error
    return ray
