"""How fast Meta-World's ML10 is trained on: `python benchmarks/speed.py --only meta-world`.

Whole meta-iterations of first-order MAML, whose own arithmetic is small, on 10 tasks × 2 streams × 2 rounds of 500
steps, with worker processes or without (`--workers`). The first iterations load the simulators of the families that
come up, and are left out. `--bare` steps Meta-World's own environments in a loop and does nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

ITERATIONS, LEFT_OUT = 10, 5
TASKS, STREAMS, STEPS = 10, 2, 500


def main() -> None:
    """Print the rate as JSON."""
    from adaptax import api

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    workers = options.workers
    if options.bare:
        print(json.dumps({"steps_per_second": bare_rate()}))
        return
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "run"
        given = {"tasks": TASKS, "streams": STREAMS, "hidden": (64, 64)}
        api.train(
            "fomaml",
            "metaworld-ml10",
            out=out,
            iterations=ITERATIONS,
            hyperparameters=given,
            workers=workers,
            log_every=1,
            quiet=True,
        )
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = rows[1]["environment_steps"] - rows[0]["environment_steps"]
    seconds = [late["seconds"] - early["seconds"] for early, late in zip(rows[:-1], rows[1:], strict=True)]
    rate = steps / statistics.median(seconds[LEFT_OUT - 1 :])
    print(json.dumps({"steps_per_second": rate, "workers": workers, "environment_steps": steps}))


def bare_rate() -> float:
    """Steps per second of Meta-World alone: an episode of every training family, by actions like a fresh policy's."""
    import metaworld
    import numpy as np

    benchmark, random = metaworld.ML10(seed=0), np.random.default_rng(0)
    robots = []
    for name, make in benchmark.train_classes.items():
        robot = make()
        robot.set_task(next(task for task in benchmark.train_tasks if task.env_name == name))
        robots.append(robot)
    began = time.perf_counter()
    for robot in robots:
        robot.reset()
        for action in np.clip(random.normal(size=(STEPS, 4)), -1.0, 1.0):
            robot.step(action)
    return len(robots) * STEPS / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
