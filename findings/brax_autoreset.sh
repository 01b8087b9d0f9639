#!/usr/bin/env bash
# brax 0.14.2 (with jax 0.10.2): in training, an environment's reset is called once; what it draws is never drawn again.
#
# The wrappers that brax trains with (envs.wrappers.training.wrap: vmap, episode length, automatic reset) keep the first
# state and the first observation of each instance, and put them back whenever an episode ends. So every later episode
# of an instance starts from the same state, however long training lasts, and a goal that reset draws, as in a benchmark
# of many tasks, is one goal an instance for ever: 2 048 instances see 2 048 tasks. What an environment keeps in
# state.info is not put back at all: a count that reset sets to 0 goes on from episode to episode, beside a pipeline
# state that begins anew.
#
# Seen: two instances, episodes of 3 steps, a goal drawn by reset, a count of steps in info and one in the pipeline state.
#   goals in the three episodes    0.842 0.842 0.842  and  0.007 0.007 0.007
#   count in info at their ends    3 6 9
#   count in the pipeline state    0 0 0  (that of the first state, already put back)
#
# For users: draw tasks outside of reset, put them into the state as an argument, or wrap with a reset of your own; and
# keep nothing in info that an episode has to begin with. Judge generalisation on fresh resets, not on more episodes.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check brax==0.14.2 jax==0.10.2 numpy==2.4.6

"$place/venv/bin/python" - <<'PROGRAM'
import sys

import jax
import jax.numpy as jnp
from brax.envs.base import Env, State
from brax.envs.wrappers.training import wrap


class Goal(Env):
    """A goal that is drawn by reset and shown; the pipeline state and info both count steps."""

    observation_size, action_size, backend = 1, 1, "positional"

    def reset(self, rng):
        goal = jax.random.uniform(rng)
        return State(jnp.int32(0), goal[None], jnp.float32(0), jnp.float32(0), {}, {"goal": goal, "count": jnp.int32(0)})

    def step(self, state, action):
        info = {**state.info, "count": state.info["count"] + 1}
        return state.replace(pipeline_state=state.pipeline_state + 1, obs=state.info["goal"][None], info=info)


environment = wrap(Goal(), episode_length=3, action_repeat=1)
state = jax.jit(environment.reset)(jax.random.split(jax.random.PRNGKey(0), 2))
step, goals, counts, places = jax.jit(environment.step), [], [], []
for t in range(9):
    state = step(state, jnp.zeros((2, 1)))
    if state.done.all():
        goals.append([round(float(goal), 3) for goal in state.obs[:, 0]])
        counts.append(int(state.info["count"][0]))
        places.append(int(state.pipeline_state[0]))
print("goals by episode:", goals)
print("count in info:", counts)
print("count in the pipeline state:", places)
as_described = len(goals) == 3 and goals[0] == goals[1] == goals[2] and counts == [3, 6, 9] and places == [0, 0, 0]
sys.exit(0 if as_described else "the behaviour changed")
PROGRAM
