"""The 1-D toy of ProMP (Rothfuss et al. 2019; the authors' `experiments/env_1d/point_1d_hand_grads.py`).

The goal g is −1 or 1 and is not observed. The state starts uniformly on [−2, 2] and is then the last action, which
is clipped to ±2: s' = a. Whatever the state, an action pays exp(−0.1 (a − g)²). An episode has 5 steps and does not
terminate. Most is paid for a = g: 1 a step.

It is meant for a policy of two parameters, N(θ₀ s² + θ₁, 1), whose meta-gradients under the paper's formulations I
and II (the latter is E-MAML's) can be drawn as arrows in the plane; the authors mark θ = 0 as the optimum.

Sure, since the authors' script has it: reward, transition, start, the clipping, the goals, 5 steps (and 100
trajectories a task, 40 tasks a goal, an inner step of 0.1, a start at θ = (0.09, 0.05)). Not sure: that the figure
in the paper was made by this revision of the script. The authors clip where an action is drawn and take the
likelihood of the clipped action; here the environment clips, and a policy's likelihood is that of what it drew,
which differs for the one action in about twenty that a policy near θ = 0 draws beyond ±2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.splits import disjoint_splits
from adaptax.ranges import check_range
from adaptax.tasks import TaskSet
from adaptax.types import Array, Benchmark, Key, Outcome, Spec, UserError

EDGE = 2.0  # states and actions lie within ±EDGE
WIDTH = 0.1  # the factor of the squared distance in the reward
NEAREST, FURTHEST = 0.5, 1.5  # |goal| with goals="held-out"; its mean is the published 1


class ToyTask(NamedTuple):
    """One goal."""

    goal: Array  # float32 []


@dataclass(frozen=True)
class Toy:
    """The observation, and state, is the last action, clipped to ±2, float32 [1]; at first it is random."""

    horizon: int

    @property
    def spec(self) -> Spec:
        line = gymnasium.spaces.Box(-EDGE, EDGE, (1,), np.float32)
        return Spec(line, line, self.horizon)

    def reset(self, task: ToyTask, key: Key) -> tuple[Array, Array]:
        start = jax.random.uniform(key, (1,), jnp.float32, minval=-EDGE, maxval=EDGE)
        return start, start

    def step(self, task: ToyTask, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        position = jnp.clip(action, -EDGE, EDGE)
        offset = position[0] - task.goal
        return position, Outcome(position, jnp.exp(-WIDTH * offset * offset))


def toy_1d(horizon: int = 5, goals: Literal["held-out", "paper"] = "held-out") -> Benchmark:
    """The 1-D toy, episodes of `horizon` steps.

    The published protocol has two tasks, −1 and 1, for training and for testing; two tasks cannot be divided into
    three splits. So the default `goals="held-out"` draws goals of either sign with |g| uniform on [0.5, 1.5), and
    the splits are disjoint as those of `navigation`. With `goals="paper"` train, validation and test are both
    published goals, which `describe` says. The split "paper" holds the two in either case.

    Raises a `UserError` for a setting out of its range.
    """
    check_range("horizon", horizon, 1)
    if goals not in ("held-out", "paper"):
        raise UserError(f"goals is {goals!r}; it must be 'held-out' or 'paper'")

    from adaptax.render import line as drawn
    from adaptax.strategies import toy as strategies

    def draw(key: Key) -> ToyTask:
        key_sign, key_size = jax.random.split(key)
        size = jax.random.uniform(key_size, (), jnp.float32, minval=NEAREST, maxval=FURTHEST)
        return ToyTask(jnp.where(jax.random.bernoulli(key_sign), size, -size))

    paper = TaskSet(ToyTask(jnp.asarray([-1.0, 1.0], jnp.float32)))
    train, validation, test = (paper, paper, paper) if goals == "paper" else disjoint_splits(draw)
    on = "the 2 goals of training (the published protocol)" if goals == "paper" else "unseen goals ~ ±U[0.5, 1.5]"
    describe = f"return per episode of {horizon} steps on {on}"
    return Benchmark(
        Toy(horizon),
        train,
        validation,
        test,
        {"paper": paper},
        describe,
        references={"random": strategies.random, "known-goal": strategies.KnownGoal},
        best="known-goal",
        picture=drawn.toy,
    )
