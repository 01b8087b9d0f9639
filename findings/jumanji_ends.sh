#!/usr/bin/env bash
# jumanji 1.1.2 (with jax 0.10.2): its own Gym wrapper says "terminated" and "truncated" of every end, and some of its
# environments take their time limit for a terminal state, while others do not.
#
# An episode's last step has a discount: 0 where nothing can follow, 1 where the episode was only stopped. Maze and
# RubiksCube have a time limit that is an argument and no part of the puzzle; the last step by time has discount 0 all
# the same, so values are not bootstrapped there. LevelBasedForaging, in the same library, has discount 1. And through
# JumanjiToGymWrapper the last step is terminated and truncated at once where the board of 2048 is full and the game is
# really over, as where Maze ran out of time: who bootstraps wherever `truncated` is true does so after a lost game, and
# nobody can tell the two ends apart.
#
# Seen:
#   Maze, step 100 of 100                last step, discount 0
#   RubiksCube, step 200 of 200          last step, discount 0
#   LevelBasedForaging, step 100 of 100  last step, discount 1
#   wrapped Maze, out of time            terminated True, truncated True
#   wrapped Game2048, no move left       terminated True, truncated True
#
# For users: tell time limits from real ends by counting steps yourself, for each environment, and make the flags anew.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check jumanji==1.1.2 jax==0.10.2 numpy==2.4.6

"$place/venv/bin/python" - <<'PROGRAM'
import sys

import jax
import jumanji
import numpy as np
from jumanji.wrappers import JumanjiToGymWrapper


def last_discount(name):
    """Steps of an episode in which nothing useful is done, and the discount of the last one."""
    environment = jumanji.make(name)
    state, timestep = jax.jit(environment.reset)(jax.random.key(0))
    step, action, steps = jax.jit(environment.step), environment.action_spec.generate_value(), 0
    while not timestep.last():
        state, timestep = step(state, action)
        steps += 1
    return steps, float(np.mean(timestep.discount)), environment.time_limit


def flags(name, choose):
    environment = JumanjiToGymWrapper(jumanji.make(name))
    observation, _ = environment.reset(seed=0)
    terminated = truncated = False
    while not (terminated or truncated):
        observation, _, terminated, truncated, _ = environment.step(choose(observation))
    return bool(terminated), bool(truncated)


limits = {name: last_discount(name) for name in ("Maze-v0", "RubiksCube-v0", "LevelBasedForaging-v0")}
for name, (steps, discount, limit) in limits.items():
    print(f"{name}, step {steps} of {limit}: discount {discount:g}")
wrapped = {
    "Maze-v0": flags("Maze-v0", lambda observation: 0),
    "Game2048-v1": flags("Game2048-v1", lambda observation: int(np.argmax(observation["action_mask"]))),
}
for name, ended in wrapped.items():
    print(f"wrapped {name}: terminated {ended[0]}, truncated {ended[1]}")
as_described = (
    limits == {"Maze-v0": (100, 0.0, 100), "RubiksCube-v0": (200, 0.0, 200), "LevelBasedForaging-v0": (100, 1.0, 100)}
    and set(wrapped.values()) == {(True, True)}
)
sys.exit(0 if as_described else "the behaviour changed")
PROGRAM
