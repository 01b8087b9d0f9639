#!/usr/bin/env bash
# cpprb 11.0.0 (with numpy 2.2.6): the last n-1 transitions of an episode have no successor in an n-step replay buffer.
#
# An episode of 6 steps goes into a ReplayBuffer with Nstep size 3, and on_episode_end() closes it, as it has to be.
# What one expects of the transitions at the steps 4 and 5, of which fewer than 3 rewards are left: the shortened sum of
# rewards, and the last state of the episode as next_obs. The rewards are so. But every entry of next_obs is 1, whatever
# the states are, and no state of the episode. Where the episode was stopped by a time limit (done is 0), a target that
# bootstraps is computed on that made-up state, without an error or a warning. Nor does done help before that: an
# episode that ends at its step 5 has done 0 at step 3, although the three rewards from there on include the last and
# next_obs is the terminal state. So bootstrapping goes on from a terminal state there.
#
# Seen (states count from 10; gamma is 0.5):
#   time limit  rew      1.75 1.75 1.75 1.75 1.5 1
#               next_obs 13 14 15 16 1 1
#               done     0 0 0 0 0 0
#   terminated  next_obs 13 14 15 16 1 1
#               done     0 0 0 0 1 1
#
# For users: drop the last n-1 transitions of every episode, or build n-step sums outside the buffer; and set done for
# the transition whose n steps reach the end exactly.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check cpprb==11.0.0 numpy==2.2.6

"$place/venv/bin/python" - <<'PROGRAM'
import sys

from cpprb import ReplayBuffer


def episode(done):
    fields = {"obs": {}, "rew": {}, "next_obs": {}, "done": {}}
    buffer = ReplayBuffer(32, fields, Nstep={"size": 3, "gamma": 0.5, "rew": "rew", "next": "next_obs"})
    for t in range(6):
        buffer.add(obs=10 + t, rew=1.0, next_obs=11 + t, done=float(done and t == 5))
    buffer.on_episode_end()
    stored = buffer.get_all_transitions()
    return {name: stored[name].ravel().tolist() for name in fields}


limit, terminal = episode(done=False), episode(done=True)
print("time limit", limit)
print("terminated", terminal)
expected = (
    limit["rew"] == terminal["rew"] == [1.75, 1.75, 1.75, 1.75, 1.5, 1.0]
    and limit["next_obs"] == terminal["next_obs"] == [13.0, 14.0, 15.0, 16.0, 1.0, 1.0]
    and limit["done"] == [0.0] * 6
    and terminal["done"] == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
)
sys.exit(0 if expected else "the behaviour changed")
PROGRAM
