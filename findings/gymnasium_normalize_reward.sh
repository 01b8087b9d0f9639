#!/usr/bin/env bash
# gymnasium 1.4.0 (with numpy 2.4.6): NormalizeReward does not know where an episode ends that a time limit truncates.
#
# The wrapper divides each reward by the deviation of the discounted return so far. One expects that this sum begins at
# zero with every episode. Termination does clear it (a step early: the sum of the next episode begins with the last
# reward of this one). Truncation does not, and neither does reset(), with a seed or without: with discount 1 the sum is
# 5 after a first episode of five rewards of 1, and 15 after the third. So the rewards of one environment shrink from
# episode to episode, although no episode ever returns more than 5. That statistics outlive reset(seed=...) is what one
# may expect of a wrapper that normalises; that a return goes on through a reset is not.
#
# Seen: the last reward of 40 episodes of five rewards of 1, discount 1, after normalisation, and the variance of what
# the wrapper takes for returns (that of 1, 2, 3, 4, 5 is 2):
#   truncated   0.017  variance 3333.3
#   terminated  0.707  variance    2.0
#
# For users: in environments that are stopped by a time limit, normalise by hand, clearing the sum in reset(). And a
# wrapper with running statistics makes what an episode pays depend on all episodes before it: a run that is resumed with
# a new wrapper is not the uninterrupted one, and returns of different moments cannot be compared.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check gymnasium==1.4.0 numpy==2.4.6

"$place/venv/bin/python" - <<'PROGRAM'
import sys

import gymnasium
import numpy as np


class Ones(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, terminates):
        self.terminates = terminates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        over = self.steps == 5
        return np.zeros(1, np.float32), 1.0, over and self.terminates, over and not self.terminates, {}


def last(terminates):
    wrapped = gymnasium.wrappers.NormalizeReward(Ones(terminates), gamma=1.0)
    for episode in range(40):
        wrapped.reset(seed=0)
        rewards = [wrapped.step(0)[1] for _ in range(5)]
    return float(rewards[-1]), float(wrapped.return_rms.var)


truncated, terminated = last(terminates=False), last(terminates=True)
print("truncated:  last reward %.3f, variance %.1f" % truncated)
print("terminated: last reward %.3f, variance %.1f" % terminated)
sys.exit(0 if truncated[1] > 1000 and terminated[1] < 4 else "the behaviour changed")
PROGRAM
