"""The run's log: rows that survive kills and resumes, events by seed, and what a person sees."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptax.run import log
from adaptax.run.log import RunLog
from adaptax.types import UserError


def rows(directory: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def events(folder: Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of every scalar below `folder` itself, subfolders left out."""
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in records(path.read_bytes()):
            event = Event.FromString(record)
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return found


def records(blob: bytes) -> Iterator[bytes]:
    """TFRecords: the length in eight bytes, its checksum in four, the data, its checksum in four."""
    place = 0
    while place < len(blob):
        length = int.from_bytes(blob[place : place + 8], "little")
        yield blob[place + 12 : place + 12 + length]
        place += 16 + length


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time stands still; calling the fixture moves it on by so many seconds."""
    now = [1000.0]
    monkeypatch.setattr(log.time, "perf_counter", lambda: now[0])

    def pass_seconds(seconds: float) -> None:
        now[0] += seconds

    return pass_seconds


def test_rows(tmp_path: Path, clock: Callable[[float], None]) -> None:
    with RunLog(tmp_path / "run", iterations=4, quiet=True) as run:
        clock(2.0)
        run.write(1, 100, {"return": 1.5, "loss": np.float32(0.25)})
        assert len(rows(tmp_path / "run")) == 1  # there at once, not only at the end
        clock(0.5)
        run.write(2, 200, {"return": [1.0, 2.0], "loss": np.array([0.5, 0.25])})
    assert rows(tmp_path / "run") == [
        {
            "iteration": 1,
            "environment_steps": 100,
            "seconds": 2.0,
            "steps_per_second": 50.0,
            "return": 1.5,
            "loss": 0.25,
        },
        {
            "iteration": 2,
            "environment_steps": 200,
            "seconds": 2.5,
            "steps_per_second": 200.0,
            "return": [1.0, 2.0],
            "loss": [0.5, 0.25],
        },
    ]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    with RunLog(tmp_path, iterations=1, quiet=True) as run:
        run.write(1, 10, {"a": float("nan"), "b": [1.0, float("inf")], "c": -float("inf")})
    assert [(row["a"], row["b"], row["c"]) for row in rows(tmp_path)] == [(None, [1.0, None], None)]
    assert {tag for tag, _, _ in events(tmp_path / "tensorboard")} == {"steps_per_second"}
    assert events(tmp_path / "tensorboard" / "seed-0") == [("b", 10, 1.0)]
    assert events(tmp_path / "tensorboard" / "seed-1") == []


def test_a_metric_cannot_take_our_names(tmp_path: Path) -> None:
    with RunLog(tmp_path, iterations=1, quiet=True) as run, pytest.raises(ValueError, match="'seconds'"):
        run.write(1, 10, {"seconds": 1.0})


def test_seeds_have_events_of_their_own(tmp_path: Path) -> None:
    with RunLog(tmp_path, iterations=2, quiet=True) as run:
        run.write(1, 10, {"return": [1.0, 2.0, 3.0], "tasks": 5.0})
        run.write(2, 20, {"return": [4.0, 5.0, 6.0], "tasks": 5.0})
    for seed in range(3):
        folder = tmp_path / "tensorboard" / f"seed-{seed}"
        assert events(folder) == [("return", 10, 1.0 + seed), ("return", 20, 4.0 + seed)]
    tags = [tag for tag, _, _ in events(tmp_path / "tensorboard")]
    assert sorted(tags) == ["steps_per_second"] * 2 + ["tasks"] * 2


def first_run(directory: Path, clock: Callable[[float], None]) -> None:
    with RunLog(directory, iterations=4, quiet=True) as run:
        for iteration in range(1, 5):
            clock(1.0)
            run.write(iteration, 10 * iteration, {"return": float(iteration)})


def test_a_resumed_run_has_no_row_twice(tmp_path: Path, clock: Callable[[float], None]) -> None:
    first_run(tmp_path, clock)
    clock(3600.0)  # the time between the two runs does not count
    with RunLog(tmp_path, iterations=6, resumed_at=2, environment_steps=20, quiet=True) as run:
        assert [row["iteration"] for row in rows(tmp_path)] == [1, 2]
        for iteration in range(3, 7):
            clock(0.5)
            run.write(iteration, 10 * iteration, {"return": -1.0})
    after = rows(tmp_path)
    assert [row["iteration"] for row in after] == [1, 2, 3, 4, 5, 6]
    assert [row["seconds"] for row in after] == [1.0, 2.0, 2.5, 3.0, 3.5, 4.0]
    assert [row["steps_per_second"] for row in after] == [10.0, 10.0, 20.0, 20.0, 20.0, 20.0]
    assert [row["return"] for row in after] == [1.0, 2.0, -1.0, -1.0, -1.0, -1.0]


def test_resuming_tells_tensorboard_from_where(tmp_path: Path, clock: Callable[[float], None]) -> None:
    from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore

    first_run(tmp_path, clock)
    before = set((tmp_path / "tensorboard").iterdir())
    with RunLog(tmp_path, iterations=6, resumed_at=2, environment_steps=20, quiet=True) as run:
        run.write(3, 30, {"return": 3.0})
    (added,) = set((tmp_path / "tensorboard").iterdir()) - before
    starts = [Event.FromString(record) for record in records(added.read_bytes())]
    assert [event.step for event in starts if event.session_log.status == SessionLog.START] == [21]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_half_a_last_line_is_dropped(tmp_path: Path, clock: Callable[[float], None], cut: int) -> None:
    first_run(tmp_path, clock)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    with RunLog(tmp_path, iterations=5, resumed_at=4, environment_steps=40, quiet=True) as run:
        run.write(5, 50, {"return": 5.0})
    assert [row["iteration"] for row in rows(tmp_path)] == [1, 2, 3, 5]
    assert not list(tmp_path.glob(".*"))


def test_lines_that_are_no_rows_are_dropped(tmp_path: Path, clock: Callable[[float], None]) -> None:
    first_run(tmp_path, clock)
    path = tmp_path / "metrics.jsonl"
    good = path.read_bytes()
    path.write_bytes(b'\xff\xfe{\n[1]\n{"iteration": 1}\n' + good)
    with RunLog(tmp_path, iterations=4, resumed_at=4, environment_steps=40, quiet=True):
        pass
    assert path.read_bytes() == good


def test_a_new_run_does_not_touch_the_log_of_another(tmp_path: Path, clock: Callable[[float], None]) -> None:
    first_run(tmp_path, clock)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="already holds the log of a run"), RunLog(tmp_path, iterations=4):
        pass
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_resuming_before_the_first_row(tmp_path: Path) -> None:
    with RunLog(tmp_path, iterations=1, resumed_at=0, quiet=True) as run:
        run.write(1, 10, {})
    assert [row["iteration"] for row in rows(tmp_path)] == [1]


def test_plain_lines_without_a_terminal(
    tmp_path: Path, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with RunLog(tmp_path, iterations=4000) as run:
        clock(30.0)  # compilation
        run.write(1, 1_000, {"return": 1.0})
        clock(1.0)
        run.write(2, 701_000, {"return": [2.0, 3.0]})
        run.say("checkpoint [120] written")
        clock(1.0)
        run.write(4000, 702_000, {"loss": 3.0})
    assert out.getvalue() == ""
    assert err.getvalue().splitlines() == [
        "iteration 1/4000 · 33.3 steps/s · return 1 · 33:19:30 left",
        "iteration 2/4000 · 700k steps/s · return 2.5 · 1:06:38 left",
        "checkpoint [120] written",
        "iteration 4000/4000 · 1k steps/s",
    ]


def test_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLog(tmp_path, iterations=1, quiet=True) as run:
        run.write(1, 10, {"return": 1.0})
        run.say("hello")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


WATCHED = """
import sys
from pathlib import Path
from adaptax.run.log import RunLog
with RunLog(Path(sys.argv[1]), iterations=10) as run:
    run.write(1, 1000, {"return": -40.4})
    run.write(2, 2000, {"return": -11.75})
    run.say("a word [in] between")
print("done")
"""


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    source = str(Path(log.__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": source, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    command = [sys.executable, "-c", WATCHED, str(tmp_path)]
    watched = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # how Linux says that the other side has closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    printed, _ = watched.communicate()
    assert watched.returncode == 0
    assert printed == b"done\n"
    text = shown.decode()
    assert "2/10" in text and "return -11.75" in text and "left" in text and "steps/s" in text
    assert "a word [in] between" in text
    assert "iteration 1/10" not in text


def test_importing_the_log_does_not_import_tensorboard() -> None:
    code = "import sys, adaptax.run.log; sys.exit('tensorboardX' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(Path(log.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
