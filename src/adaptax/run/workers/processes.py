"""Workers as processes of this machine.

They are spawned, never forked: a copy of a process in which JAX runs can deadlock. A pipe brings the requests and
takes the slices back. Whoever waits for an answer watches the process too, so that none is waited for in vain.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from .slices import Ended, Reply, Worker

LOOK_SECONDS = 5.0  # between two looks at whether a silent worker lives, should the system not tell
GRACE_SECONDS = 2.0  # for workers to end by themselves

_MARK = "ADAPTAX_WORKER"  # an environment variable that only workers have


def in_worker() -> bool:
    """Whether this process is a worker, or is becoming one: a spawned process imports the program that began it."""
    return bool(os.environ.get(_MARK))


class _Begun(NamedTuple):
    process: Any
    connection: Connection


class Processes:
    """`Workers` that are processes; `packed` is what `slices.pack` made."""

    def __init__(self, packed: bytes, count: int) -> None:
        self.count = count
        self._packed = packed
        self._begun: dict[int, _Begun] = {}
        self._up: set[int] = set()  # those that have answered, now or before they died
        try:
            for number in range(count):
                self._begin(number)
        except BaseException:
            self.close()
            raise

    def ask(self, number: int, request: bytes) -> None:
        if number not in self._begun:
            self._begin(number)
        with suppress(OSError):  # it has died, which `answer` will find
            self._begun[number].connection.send_bytes(request)

    def answer(self, waiting: Collection[int]) -> tuple[int, Reply]:
        while True:
            for number in sorted(waiting):
                reply = self._reply(number)
                if reply is not None:
                    return number, reply
            begun = [self._begun[number] for number in waiting]
            wait([handle for one in begun for handle in (one.connection, one.process.sentinel)], LOOK_SECONDS)

    def close(self) -> None:
        for one in self._begun.values():
            one.connection.close()
        until = time.monotonic() + GRACE_SECONDS
        for one in self._begun.values():
            one.process.join(max(0.0, until - time.monotonic()))
            one.process.kill()
            one.process.join()
        self._begun = {}

    def _begin(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        arguments = (there, self._packed, number)
        process = context.Process(target=_serve, args=arguments, name=f"adaptax-worker-{number + 1}")
        with _surroundings(), there:
            process.start()
        self._begun[number] = _Begun(process, here)

    def _reply(self, number: int) -> Reply | None:
        """What the worker has answered; that it died; or None."""
        process, connection = self._begun[number]
        try:
            if connection.poll():
                reply = pickle.loads(connection.recv_bytes())
                self._up.add(number)
                return reply
            if process.is_alive():
                return None
        except (EOFError, OSError):
            process.join(GRACE_SECONDS)
        process.kill()
        process.join()
        connection.close()
        del self._begun[number]
        return Ended(_how(process.exitcode, number in self._up))


def _how(code: int, answered: bool) -> str:
    """How the worker ended, and the likely cause if it had never answered."""
    if code < 0:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    if answered:
        return f"ended with exit code {code}"
    return (
        f"ended with exit code {code} (a program that trains with workers is imported by each of them: what it does "
        'must stand under `if __name__ == "__main__":`)'
    )


@contextmanager
def _surroundings() -> Iterator[None]:
    """What a process that is begun now inherits: the environment of a worker, and a deaf ear to Ctrl-C, which a
    terminal sends to all processes, until it is up. Workers act on the CPU, wherever the learner learns, with one
    thread each, since there are several."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    wanted = {_MARK: "1", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    deaf = os.name != "nt" and signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        if deaf is not False:
            signal.pthread_sigmask(signal.SIG_SETMASK, deaf)


def _serve(connection: Connection, packed: bytes, number: int) -> None:
    """What a worker does: answer until the learner closes the pipe, or is gone."""
    _stop_with_the_learner_only()
    worker = Worker(packed, number)
    with suppress(EOFError, OSError):
        while True:
            reply = worker.answer(connection.recv_bytes())
            connection.send_bytes(pickle.dumps(reply, protocol=5))


def _stop_with_the_learner_only() -> None:
    """Ctrl-C, or a SIGTERM to all processes of a job, asks the learner to stop, which needs its workers to come to the
    end of an iteration. If it is killed, they end at once, even in the middle of a slice."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a handler, for what is ignored is ignored by a simulator's too
        signal.signal(number, lambda *_: None)
    if os.name != "nt":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    learner = multiprocessing.parent_process()
    assert learner is not None

    def watch() -> None:
        learner.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
