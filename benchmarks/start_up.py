"""CPU seconds from the command to the tables, for one meta-iteration: `python benchmarks/start_up.py`.

Nearly all of it is compilation. Each command runs `--repetitions` times with an empty cache, and again with the one
that the first run left; evaluation and reference strategies are included. Run it where nothing else runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import document, row, write

PAIRS = ("rl2 bandit", "maml-trpo navigation", "varibad gridnavi")
NOTE = "CPU seconds (user and system) of `adaptax train … --iterations 1`, evaluation and references included"


def seconds(pair: str, place: Path, cache: Path) -> float:
    """CPU seconds of one run, all its threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    named = [sys.executable, "-m", "adaptax", "train", *pair.split()]
    environment = {**os.environ, "ADAPTAX_CACHE": str(cache)}
    command = [*named, "--iterations", "1", "--out", str(place), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    repetitions = range(parser.parse_args().repetitions)
    rows = []
    for pair in PAIRS:
        both = []
        for _ in repetitions:
            with tempfile.TemporaryDirectory() as name:
                both.append([seconds(pair, Path(name) / run, Path(name) / "cache") for run in ("first", "second")])
        for label, values in zip(("first run", "second run"), np.asarray(both).T, strict=True):
            rows.append(row(f"{pair}, {label}", values[None]))
            print(f"{pair}, {label}: {np.median(values):.1f} s of CPU", flush=True)
    result = document(
        "start_up",
        "Start-up",
        "CPU seconds",
        None,
        seeds=list(repetitions),
        tasks=1,
        steps=0,
        seconds=float(sum(one["value"] for one in rows)),
        note=NOTE,
    )
    write({**result, "rows": rows})


if __name__ == "__main__":
    main()
