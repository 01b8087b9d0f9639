"""Synthetic run directories with numbers known by hand: what `train` and `evaluate` would have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

VERSIONS = {"adaptax": "0.1.0", "jax": "0.10.2"}


def write_config(run: Path, algorithm: str, benchmark: str, settings: dict[str, Any], seeds: int = 3) -> None:
    run.mkdir(parents=True, exist_ok=True)
    config = {
        "schema": 1,
        "algorithm": algorithm,
        "benchmark": benchmark,
        "benchmark_settings": settings,
        "hyperparameters": {"learning_rate": 3e-4, "cell": "gru", "sizes": [100, 100]},
        "seed": 0,
        "seeds": seeds,
        "versions": VERSIONS,
        "git": "abc1234",
        "command": f"adaptax train {algorithm} {benchmark} --seeds {seeds}",
        "environment_steps_per_iteration": 20_000,
    }
    (run / "config.json").write_text(json.dumps(config))


def write_metrics(run: Path, rows: list[dict[str, Any]], tail: str = "") -> None:
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)


def write_evaluation(run: Path, split: str, returns: np.ndarray, **fields: Any) -> None:
    """`fields` are JSON fields, except arrays, which go to the `.npz`."""
    arrays = {k: v for k, v in fields.items() if isinstance(v, np.ndarray)}
    config = json.loads((run / "config.json").read_text())
    seeds, tasks, rounds, streams, episodes = returns.shape
    data = {
        "schema": 1,
        **{k: config[k] for k in ("algorithm", "benchmark", "benchmark_settings", "versions", "git")},
        "split": split,
        "seeds": list(range(seeds)),
        "tasks": tasks,
        "rounds": rounds,
        "streams": streams,
        "episodes": episodes,
        "command": f"adaptax evaluate {run.name}",
        "environment_steps": 2_000_000,
        "unit": "episode return",
        "arrays": f"evaluation-{split}.npz",
        **{k: v for k, v in fields.items() if k not in arrays},
    }
    (run / f"evaluation-{split}.json").write_text(json.dumps(data))
    np.savez(run / f"evaluation-{split}.npz", returns=returns.astype(np.float32), **arrays)


def bandit_run(run: Path, seeds: int = 3, tasks: int = 40, shift: float = 0.0, name: str = "rl2") -> Path:
    """RL² on ten pulls of five arms: one round of ten one-step episodes, seven reference strategies."""
    random = np.random.default_rng(1)
    write_config(run, name, "bandit", {"arms": 5, "pulls": 10}, seeds)
    steps = np.arange(0, 2_000_001, 20_000)
    rows = []
    for k, step in enumerate(steps):
        level = 5.0 + 1.6 * (1 - np.exp(-step / 4e5)) + shift
        values = [float(level + 0.04 * s + 0.06 * random.normal()) for s in range(seeds)]
        rows.append(
            {
                "iteration": k,
                "environment_steps": int(step),
                "seconds": 0.6 * k,
                "steps_per_second": 33_000.0 + 100 * k,
                "return": values,
                "loss": None if k == 0 else 0.1,
            }
        )
    write_metrics(run, rows, tail='{"iteration": 101, "environm')
    chance = 0.5 + 0.24 * (1 - np.exp(-np.arange(10) / 3)) + shift / 10
    returns = (random.random((seeds, tasks, 1, 4, 10)) < chance).astype(np.float32)
    references = []
    for strategy, total in (
        ("random", 5.0), ("greedy", 6.5), ("ε-greedy", 6.5), ("UCB1", 6.2),
        ("Thompson", 5.7), ("optimistic Thompson", 6.5), ("Gittins", 6.6),
    ):  # fmt: skip
        mean = 0.5 + (total / 10 - 0.5) * 1.2 * (1 - np.exp(-np.arange(10) / 3))
        references.append({"name": strategy, "mean": mean.tolist(), "total": total, "sem": 0.02})
    write_evaluation(
        run,
        "test",
        returns,
        success=np.zeros_like(returns),
        task_means=random.random((tasks, 5)).astype(np.float32),
        references=references,
        published=[{"name": "RL² paper", "total": 6.7, "source": "Duan et al. 2016"}],
    )
    return run


def navigation_run(run: Path, tasks: int = 12, name: str = "maml", benchmark: str = "navigation") -> Path:
    """MAML on 2-D navigation: four rounds of one episode, with paths that come nearer to the goal."""
    random = np.random.default_rng(2)
    write_config(run, name, benchmark, {}, 2)
    rows = []
    for k in range(101):
        after, before = -13.5 - 28 * np.exp(-k / 20), -41 - 3 * np.exp(-k / 20)
        noise = random.normal(size=(2, 2))
        rows.append(
            {
                "iteration": k,
                "environment_steps": 80_000 * k,
                "seconds": 0.2 * k,
                "steps_per_second": 610_000.0,
                "return": [float(after + n) for n in noise[0]],
                "return/round_0": [float(before + n) for n in noise[1]],
                "return/round_1": [float(after + n) for n in noise[0]],
            }
        )
    write_metrics(run, rows)
    mean = np.array([-41.0, -13.0, -6.0, -4.5])[None, None, :, None, None]
    returns = mean * (1 + 0.1 * random.normal(size=(2, tasks, 4, 6, 1)))
    goals = random.uniform(-0.5, 0.5, (tasks, 2)).astype(np.float32)
    paths, first = _paths(goals[:5], rounds=4, streams=3, steps=60, random=random)
    write_evaluation(
        run,
        "test",
        returns,
        success=np.zeros_like(returns),
        task_goal=goals,
        trajectories=paths,
        trajectories_first=first,
        round_labels=["before", "after 1 step", "after 2 steps", "after 3 steps"],
        references=[
            {"name": "random", "mean": [-52.0] * 4, "total": None, "sem": 0.5},
            {"name": "known goal", "mean": [-2.0] * 4, "total": None, "sem": 0.1},
        ],
        published=[{"name": "MAML paper", "by_round": [-40.4, -11.7, -3.3, -3.2], "source": "Finn et al. 2017"}],
    )
    return run


def _paths(
    goals: np.ndarray, rounds: int, streams: int, steps: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two episodes of `steps` / 2 in each stream, drawn to the goal ever more strongly."""
    paths = np.zeros((2, len(goals), rounds, streams, steps, 2), np.float32)
    first = np.zeros(paths.shape[:-1], bool)
    first[..., [0, steps // 2]] = True
    for r in range(rounds):
        point = np.zeros((2, len(goals), streams, 2))
        for t in range(steps):
            point = np.where(first[:, :, r, :, t, None], 0.0, point)
            paths[:, :, r, :, t] = point
            pull = 0.09 * r * (goals[None, :, None] - point)
            point = point + pull + 0.02 * random.normal(size=point.shape)
    return paths, first


def grid_run(run: Path) -> Path:
    """RL² on GridNavi: one round of four episodes of fifteen steps on integer cells, with successes."""
    write_config(run, "rl2", "gridnavi", {}, 1)
    random = np.random.default_rng(3)
    goals = np.array([[4, 4], [0, 4], [3, 1], [2, 2]], np.float32)
    returns = np.tile(np.array([2.0, 8.0, 9.0, 9.5]), (1, 4, 1, 3, 1)) + random.normal(size=(1, 4, 1, 3, 1))
    write_metrics(run, [{"iteration": 0, "environment_steps": 60_000, "seconds": 1.0, "return": 3.5}])
    paths = np.zeros((1, 4, 1, 3, 60, 2), np.float32)
    first = np.zeros(paths.shape[:-1], bool)
    first[..., ::15] = True
    for n, goal in enumerate(goals):
        for b in range(3):
            for t in range(60):
                if t % 15 == 0:
                    continue
                at = paths[0, n, 0, b, t - 1].copy()
                axis = int(random.integers(2))
                way = np.sign(goal[axis] - at[axis]) if t >= 15 else random.integers(-1, 2)
                at[axis] = np.clip(at[axis] + way, 0, 4)
                paths[0, n, 0, b, t] = at
    success = np.ones_like(returns)
    success[..., 0] = 0.0
    success[..., 1] = 0.5
    write_evaluation(
        run,
        "paper",
        returns,
        success=success.astype(np.float32),
        task_goal=goals.astype(np.int32),
        trajectories=paths,
        trajectories_first=first,
        references=[{"name": "known goal", "mean": [10.2] * 4, "total": 40.8, "sem": 0.0}],
        published=[],
    )
    return run
