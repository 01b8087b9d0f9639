"""The examples run as a user would run them, shrunk, each in a process of its own, and say what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
NUMBER = r"-?\d+\.\d+(?:e[-+]\d+)?"


def run(number: int, *options: str, place: Path | None = None) -> str:
    """What example `number` prints."""
    script = next(path for path in EXAMPLES if path.name.startswith(f"{number:02d}_"))
    where = ["--out", str(place)] if place else []
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), *options, *where],
        capture_output=True,
        text=True,
        # As a user runs it: with optimisations, which the tests do without.
        env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        cwd=script.parent,  # an example must not need the repository's root as its directory
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(NUMBER, text)]


def test_all_examples_are_tested() -> None:
    tested = re.findall(r"run\((\d+),", Path(__file__).read_text("utf-8"))
    assert {int(path.name[:2]) for path in EXAMPLES} == set(map(int, tested))


def test_train_and_adapt(tmp_path: Path) -> None:
    printed = run(1, "--iterations", "2", place=tmp_path / "run").splitlines()
    assert len(printed) == 4
    returns = [numbers(line)[0] for line in printed]
    # Staying at the origin scores −36 on this goal; an untrained policy of standard deviation 1 drifts away.
    assert all(-300 < value < 0 for value in returns)
    assert returns[1] > returns[0]  # one gradient step helps even this early
    assert (tmp_path / "run" / "config.json").is_file()


def test_your_own_environment(tmp_path: Path) -> None:
    lines = run(2, "--iterations", "3", place=tmp_path).splitlines()
    assert [len(numbers(line.partition(":")[2])) for line in lines[:2]] == [2, 2]
    for line in lines[2:]:  # the same physics in NumPy: |position − 1| ≤ 3 over 20 steps
        returns = numbers(line.partition(":")[2])
        assert len(returns) == 2 and all(-60 <= value < 0 for value in returns)
    assert {path.name for path in tmp_path.iterdir()} == {"rl2", "maml"}


def test_maml_in_eighty_lines_gives_the_same_numbers() -> None:
    printed = run(3, "--iterations", "3").splitlines()
    assert printed[-1] == "the same numbers"
    rows = [numbers(line) for line in printed[2:-1]]
    assert len(rows) == 3
    for before, after, library, here, gradient, parameters in rows:
        assert after > before
        assert library == pytest.approx(here, rel=1e-3) and library > 0.01
        # A first-order gradient is 1e-3 away.
        assert gradient < 1e-4 and parameters < 1e-4


def test_maml_in_eighty_lines_has_about_eighty_lines() -> None:
    lines = (ROOT / "examples" / "03_maml_in_eighty_lines.py").read_text("utf-8").splitlines()
    begin, end = (k for k, line in enumerate(lines) if line.startswith("# -----"))
    assert end - begin <= 80
    own = "\n".join(lines[begin:end])
    assert "adaptax" not in own and "optax" not in own


def test_gymnasium(tmp_path: Path) -> None:
    returns = numbers(run(5, "--iterations", "1", place=tmp_path).partition(":")[2])
    assert len(returns) == 3 and all(8 <= value <= 100 for value in returns)  # a pole takes 8 steps to fall
    assert (tmp_path / "poles" / "config.json").is_file()


def test_deploy(tmp_path: Path) -> None:
    lines = run(6, "--iterations", "2", place=tmp_path).splitlines()
    before, first, second, restarted, after = (numbers(line.partition(":")[2])[0] for line in lines)
    # Staying at the start scores −25 on this goal; one gradient step helps even this early.
    assert all(-200 < value < 0 for value in (before, first, second, restarted, after))
    assert second > first and after > before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "adapted.safetensors"}


@pytest.mark.slow
def test_half_cheetah_velocity(tmp_path: Path) -> None:
    trained, given = tmp_path / "run", ["--velocity", "2.0"]
    first, *rounds = run(7, "--iterations", "1", *given, place=trained).splitlines()
    assert first == "to be found out: 2.00 m/s" and len(rounds) == 3
    for line in rounds:
        total, velocity = numbers(line.partition(":")[2])
        # 100 steps; actions of 6 numbers up to 1 cost up to 30, and an untrained cheetah stays about where it is.
        assert -330 < total < -100 and abs(velocity) < 1
    assert run(7, "--run", str(trained), *given).splitlines() == [first, *rounds]


@pytest.mark.slow
def test_your_own_algorithm(tmp_path: Path) -> None:
    lines = run(4, "--iterations", "40", place=tmp_path).splitlines()
    hardly, trained = (numbers(line.partition(":")[2]) for line in lines[:2])
    assert len(hardly) == len(trained) == 4
    assert hardly[1] > hardly[0] and trained[1] > trained[0]  # searching helps …
    assert trained[1] > hardly[1]  # … and so does meta-training
