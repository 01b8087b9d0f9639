"""The speed of a whole meta-iteration, in the jobs of `adaptax bench`: `python benchmarks/speed.py`.

Each job runs in a process of its own, with as many devices as it names, several times; the median run is kept. `--only
NAME …` measures the jobs of some algorithms; `simulator` is MuJoCo in the collector (`simulator.py`), `meta-world` is
ML10 with worker processes (`meta_world_rate.py`, needs `[metaworld]`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

import jax
from common import document, write

from adaptax.cli.measure import JOBS, Job
from adaptax.names import config as runs
from adaptax.run.bench import bench

REPEATS = 3
TARGETS = {
    "maml": (600_000, "speed_maml_navigation"),
    "maml-trpo": (72_700, "speed_maml_trpo_navigation"),  # 1.1 s for 80 000 steps
    "rl2": (36_000, "speed_rl2_bandit"),
    "varibad": (20_000, "speed_varibad_gridnavi"),
    "pearl": (8, "speed_pearl_sparse_navigation"),
}
SHARE = 0.85  # of the bare simulator's rate
META_WORLD, META_WORLD_PEER = 5_000, ("Meta-World in one process, another machine", 3_300.0)
BY_GRADIENT_STEPS = ("pearl",)  # whose rate is that of gradient steps, not of environment steps
PEERS = {
    "maml": ("PyTorch MAML-RL, TRPO outer step, another machine", 1_400.0),
    "maml-trpo": ("TensorFlow 1, another machine", 9_500.0),
    "rl2": ("JAX single-file PPO-RNN, another machine", 25_300.0),
    "varibad": ("the authors' PyTorch code, another machine", 1_100.0),
    "pearl": ("the authors' PyTorch code, another machine", 3.9),
}


def measure(index: int) -> dict[str, float]:
    """One run of job `index` in a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--job", str(index)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(job: Job) -> dict[str, float]:
    """One run of a job, in this process."""
    jax.config.update("jax_num_cpu_devices", job.devices)
    on = runs.name_benchmark(job.benchmark, job.settings)
    return bench(runs.name_algorithm(job.algorithm, on, job.hyperparameters), on.value, devices=job.devices)


def simulator() -> None:
    """MuJoCo in our collector beside its bare batched rollout, in the same process."""
    import simulator as job

    def once() -> dict[str, float]:
        done = subprocess.run([sys.executable, job.__file__], capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    measured = sorted((once() for _ in range(REPEATS)), key=lambda m: m["share"])
    chosen = measured[REPEATS // 2]
    value, bare = chosen["steps_per_second"], chosen["bare_steps_per_second"]
    streams, layers = job.TASKS * job.STREAMS, "×".join(str(units) for units in (len(job.HIDDEN), job.HIDDEN[0]))
    title = f"HalfCheetah in the collector, {streams} streams, {chosen['threads']} threads, a {layers} policy acting"
    result = document(
        "speed_simulator",
        title,
        "environment steps/s",
        None,
        seeds=[0],
        tasks=job.TASKS,
        steps=int(chosen["environment_steps"]),
        seconds=chosen["environment_steps"] / value,
        note=f"{chosen['share']:.0%} of MuJoCo's bare batched rollout, taking turns with it; wanted {SHARE:.0%}",
        bounds=[("bare batched rollout here", bare)],
    )
    shares = [m["share"] for m in measured]
    result |= {"value": value, "per_seed": [m["steps_per_second"] for m in measured], "ci95": None}
    result |= {"target": f">= {SHARE * bare:.0f}", "met": value >= round(SHARE * bare)}
    write({**result, "details": {**chosen, "shares": shares}})
    print(f"{title}: {value:,.0f} steps/s, {result['note']} (shares {', '.join(f'{s:.3f}' for s in shares)})")


def meta_world() -> None:
    """Training on ML10 with two workers, beside one process and a bare loop; they take turns."""
    import meta_world_rate as job

    def once(*options: str) -> float:
        given = [sys.executable, job.__file__, *options]
        done = subprocess.run(given, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])["steps_per_second"]

    workers = 2
    turns = [(once("--workers", str(workers)), once(), once("--bare")) for _ in range(REPEATS)]
    rates, alone, bare = ([turn[k] for turn in turns] for k in range(3))
    value, steps = statistics.median(rates), 2 * job.TASKS * job.STREAMS * job.STEPS
    share = statistics.median(rate / other for rate, other in zip(rates, bare, strict=True))
    title = f"Meta-World ML10, training with {workers} worker processes"
    result = document(
        "speed_meta_world",
        title,
        "environment steps/s",
        None,
        seeds=[0],
        tasks=job.TASKS,
        steps=steps,
        seconds=steps / value,
        note=f"{value / statistics.median(alone):.2f} times the rate of one process here, and {share:.2f} times that "
        f"of Meta-World's own environments in a bare loop; wanted are {META_WORLD / META_WORLD_PEER[1]:.2f} times it, "
        f"{META_WORLD} where the loop makes {META_WORLD_PEER[1]:.0f}",
        published=META_WORLD_PEER[1],
        source=META_WORLD_PEER[0],
        bounds=[("one process here", statistics.median(alone)), ("a bare loop here", statistics.median(bare))],
    )
    result |= {"value": value, "per_seed": rates, "ci95": (max(rates) - min(rates)) / 2}
    result |= {"target": f">= {META_WORLD}", "met": value >= META_WORLD}
    write({**result, "details": {"alone": alone, "bare": bare}})
    print(f"{title}: {value:,.0f} steps/s, {result['note']}")


def main() -> None:
    hosted = {"simulator": simulator, "meta-world": meta_world}
    names = [*TARGETS, *hosted]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="some of them")
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job is not None:
        print(json.dumps(one(JOBS[options.job])))
        return
    chosen_jobs = options.only
    for name in [name for name in hosted if name in chosen_jobs]:
        hosted[name]()
    for index, job in enumerate(JOBS):
        if job.algorithm not in chosen_jobs:
            continue
        measured = [measure(index) for _ in range(REPEATS)]
        steps = job.hyperparameters["gradient_steps"] if job.algorithm in BY_GRADIENT_STEPS else 0
        rates = [steps / m["iteration_seconds"] if steps else m["iteration_steps_per_second"] for m in measured]
        chosen = measured[rates.index(statistics.median(rates))]
        least, name = TARGETS[job.algorithm]
        peer, rate = PEERS[job.algorithm]
        value = statistics.median(rates)
        result = document(
            name,
            job.title,
            "gradient steps/s" if steps else "environment steps/s",
            None,
            seeds=[0],
            tasks=job.hyperparameters.get("tasks"),
            steps=int(chosen["environment_steps"]),
            seconds=chosen["iteration_seconds"],
            note=f"{chosen['times_floor']:.2f} times the floor at {chosen['product_rate_gflops']:.0f} GFLOP/s",
            published=rate,
            source=peer,
            bounds=[("matrix-product floor here", value * chosen["times_floor"])],
        )
        spread = (max(rates) - min(rates)) / 2
        result |= {"value": value, "per_seed": rates, "ci95": spread, "target": f">= {least}", "met": value >= least}
        write({**result, "details": chosen})
        met = f"{result['target']}, met: {result['met']}"
        print(f"{job.title}: {value:,.1f} {result['metric']} ({met}), {result['note']}")


if __name__ == "__main__":
    main()
