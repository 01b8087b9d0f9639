"""GridNavi (Zintgraf et al. 2020, VariBAD; the authors' `gridworld.py`): find a hidden goal on a 5 × 5 grid.

Every episode of 15 steps starts in (0, 0). The goal is one of the 21 cells other than (0, 0), (0, 1), (1, 0),
(1, 1) and is never observed; a step that ends on it pays +1, any other −0.1. Actions: stay, up, right, down,
left. The observation is the raw position (x, y) as two floats, as in the authors' code. Anchors over the 21
goals: an agent that knows the goal collects 11.0714 per episode, a Bayes-optimal one 4.000 in the first and
11.0714 in each later one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import gymnasium
import jax.numpy as jnp
import numpy as np

from adaptax.known import Published
from adaptax.ranges import check_range
from adaptax.tasks import TaskSet
from adaptax.types import Array, Benchmark, Key, Outcome, Spec, UserError

CELLS = 5
HORIZON = 15


class GridNaviTask(NamedTuple):
    """One goal cell."""

    goal: Array  # float32 [2]; (x, y), whole numbers


@dataclass(frozen=True)
class GridNavi:
    """The observation, and state, is the position (x, y): float32 [2], whole numbers."""

    episodes: int

    @property
    def spec(self) -> Spec:
        observation_space = gymnasium.spaces.Box(0.0, CELLS - 1.0, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(5, dtype=np.int32)
        return Spec(observation_space, action_space, HORIZON, self.episodes)

    def reset(self, task: GridNaviTask, key: Key) -> tuple[Array, Array]:
        start = jnp.zeros((2,), jnp.float32)
        return start, start

    def step(self, task: GridNaviTask, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        # Arithmetic, not a table: a gather per step costs more than the rest of the environment.
        right = (action == 2).astype(jnp.float32) - (action == 4)
        up = (action == 1).astype(jnp.float32) - (action == 3)
        position = jnp.clip(state + jnp.stack([right, up]), 0.0, CELLS - 1.0)
        found = jnp.all(position == task.goal)
        reward = jnp.where(found, jnp.float32(1.0), jnp.float32(-0.1))
        return position, Outcome(position, reward, success=found)


def all_goals() -> np.ndarray:
    """The 21 possible goals, float32 [21, 2], in the authors' order."""
    cells = [(x, y) for x in range(CELLS) for y in range(CELLS) if x > 1 or y > 1]
    return np.asarray(cells, np.float32)


def gridnavi(episodes: int = 4, goals: Literal["held-out", "paper"] = "held-out") -> Benchmark:
    """GridNavi with `episodes` episodes per trial.

    The published protocol trains and tests on all 21 goals. Nothing is held out there: it measures whether an
    agent explores by its posterior, not whether it generalises. So that this is never done unawares, the
    default `goals="held-out"` keeps every fifth goal for validation (4) and every fifth for test (4), spread
    over the grid, and trains on the other 13. Such an agent may learn a prior that excludes the test goals;
    the published numbers are out of its reach. With `goals="paper"` train, validation and test are all 21
    goals, which `describe` says. The split "paper" holds the 21 goals in either case.
    """
    check_range("episodes", episodes, 1)
    if goals not in ("held-out", "paper"):
        raise UserError(f"goals is {goals!r}; it must be 'held-out' or 'paper'")
    from adaptax.render import grid as drawn
    from adaptax.strategies import gridnavi as strategies

    cells = all_goals()
    residue = np.arange(len(cells)) % 5

    def tasks(chosen: np.ndarray) -> TaskSet:
        return TaskSet(GridNaviTask(jnp.asarray(cells[chosen])))

    paper = tasks(residue >= 0)
    held_out = (tasks((residue != 2) & (residue != 4)), tasks(residue == 2), tasks(residue == 4))
    train, validation, test = (paper, paper, paper) if goals == "paper" else held_out
    on = "the 21 goals of training (the published protocol)" if goals == "paper" else "4 unseen goals"
    describe = f"return over {episodes} episodes of {HORIZON} steps on {on}"

    def published(split: str, protocol: Any) -> list[Published]:
        if "paper" not in (split, goals) or protocol.tasks % len(cells):
            return []
        by_episode = (4.0, *[11.0714] * (protocol.rounds * protocol.episodes - 1))
        return [Published("Bayes-optimal (computed)", "exact; Zintgraf et al. 2020's task", by_round=by_episode)]

    return Benchmark(
        GridNavi(episodes),
        train,
        validation,
        test,
        {"paper": paper},
        describe,
        references={
            "posterior-sampling": strategies.PosteriorSampling,
            "bayes-optimal": strategies.BayesOptimal,
            "known-goal": strategies.KnownGoal,
        },
        best="known-goal",
        picture=drawn.gridnavi,
        published=published,
    )
