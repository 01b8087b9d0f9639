"""Tune the constants of UCB1, ε-greedy and optimistic Thompson sampling: plain NumPy, independent of adaptax.

    python tests/strategies/tune_bandits.py [pulls arms]

prints, for each published cell, the mean total of every candidate over the same tasks. The best of each line
stands in `adaptax.strategies.bandits.TUNED`.
"""

from __future__ import annotations

import sys

import numpy as np

CANDIDATES = {
    "ucb1": [round(0.1 * i, 1) for i in range(11)],
    "epsilon_greedy": [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3],
    "optimistic_thompson": [1, 2, 3, 5, 7, 10, 15, 20, 30],
}


def totals(name: str, constant: float, pulls: int, arms: int, tasks: int, seed: int = 0) -> np.ndarray:
    """Total reward [tasks] of one strategy; `name` is a key of CANDIDATES."""
    tasks_generator, generator = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    probabilities = tasks_generator.random((tasks, arms))
    wins, losses = np.ones((tasks, arms)), np.ones((tasks, arms))
    total, row = np.zeros(tasks), np.arange(tasks)
    for t in range(pulls):
        count = wins + losses
        score = wins / count
        if name == "ucb1":
            score = score + constant * np.sqrt(2 * np.log(max(t, 1)) / count)
        elif name == "epsilon_greedy":
            explore = generator.random((tasks, 1)) < constant
            score = np.where(explore, generator.random((tasks, arms)), score)
        else:
            best = np.full(tasks, -np.inf)
            for _ in range(int(constant)):
                draw = generator.beta(wins, losses)
                density = np.sum((wins - 1) * np.log(draw) + (losses - 1) * np.log1p(-draw), axis=1)
                score = np.where((density > best)[:, None], draw, score)
                best = np.maximum(best, density)
        action = score.argmax(1)
        reward = generator.random(tasks) < probabilities[row, action]
        wins[row, action] += reward
        losses[row, action] += ~reward
        total += reward
    return total


def main() -> None:
    cells = [(pulls, arms) for pulls in (10, 100, 500) for arms in (5, 10, 50)]
    if len(sys.argv) == 3:
        cells = [(int(sys.argv[1]), int(sys.argv[2]))]
    for pulls, arms in cells:
        for name, constants in CANDIDATES.items():
            cost = pulls * arms * (30 if name == "optimistic_thompson" else 1)
            tasks = int(np.clip(1e8 / cost, 200, 40_000))
            means = [(c, totals(name, c, pulls, arms, tasks)) for c in constants]
            line = "  ".join(f"{c:g}: {t.mean():.3f}" for c, t in means)
            print(
                f"{pulls} {arms} {name} (s.e. {means[0][1].std() / tasks**0.5:.3f}, {tasks} tasks)  {line}",
                flush=True,
            )


if __name__ == "__main__":
    main()
