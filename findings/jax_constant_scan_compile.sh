#!/usr/bin/env bash
# jax 0.10.2, jaxlib 0.10.2, on a CPU: a question about an empty buffer in a scan is answered while the program compiles,
# thirty times more slowly than the program would answer it.
#
# A replay buffer of zeros is made inside a jitted program and carried through lax.scan, whose body asks for each task
# whether a number of it is NaN (any(isnan(buffer))). Since the carry never changes, XLA takes it for the constant that it
# is, and folds the reduction over it with its evaluator, about 1 microsecond an entry, on one core. Outside of a scan the
# same question is simplified away at once. XLA says "Constant folding an instruction is taking > 1s", and compiles on.
# The same happens with two steps as with one, so it is not the loop's being unrolled. Where the buffer comes in as an
# argument, or passes through lax.optimization_barrier before the question, the program compiles in a tenth of a second.
#
# Seen, in seconds of CPU, for [400, 2500, 3] zeros:
#                              compiles    (then runs, wall)
#   carried through a scan       3.32           0.06
#   without a scan               0.02           0.08
#   scan, behind a barrier       0.11           0.12
#
# For users: programs that check their state for NaN, or that reduce freshly made buffers in any other way, should make the
# buffers outside, or hide them by jax.lax.optimization_barrier. The compile time grows with the buffer's capacity.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

JAX_PLATFORMS=cpu TF_CPP_MIN_LOG_LEVEL=3 "$place/venv/bin/python" - <<'PROGRAM'
import statistics
import sys
import time

import jax
import jax.numpy as jnp

SHAPE = (400, 2500, 3)


def sound(buffer):
    return ~jnp.any(jnp.isnan(buffer), axis=(1, 2))


def plain(steps):
    buffer = jnp.zeros(SHAPE)
    return sound(buffer) & (steps[0] > 0)


def scanned(steps):
    def step(buffer, number):
        return buffer, sound(buffer) & (number > 0)

    return jax.lax.scan(step, jnp.zeros(SHAPE), steps)[1]


def behind_a_barrier(steps):
    def step(buffer, number):
        return buffer, sound(jax.lax.optimization_barrier(buffer)) & (number > 0)

    return jax.lax.scan(step, jnp.zeros(SHAPE), steps)[1]


def seconds(function):
    """CPU seconds of compilation, and seconds of a run; each the median of three."""
    compiling, running = [], []
    for _ in range(3):
        jax.clear_caches()
        lowered = jax.jit(function).lower(jnp.ones(2))
        began = time.process_time()
        compiled = lowered.compile()
        compiling.append(time.process_time() - began)
        began = time.perf_counter()
        assert bool(jax.block_until_ready(compiled(jnp.ones(2))).all())
        running.append(time.perf_counter() - began)
    return statistics.median(compiling), statistics.median(running)


seconds(plain)  # what is started once
found = {function.__name__: seconds(function) for function in (scanned, plain, behind_a_barrier)}
for name, (compiling, running) in found.items():
    print(f"{name:17s} compiles in {compiling:6.2f} s of CPU, runs in {running:.4f} s")
slow, fast = found["scanned"][0], found["behind_a_barrier"][0]
sys.exit(0 if slow > 10 * fast and slow > 10 * found["plain"][0] else "the behaviour changed")
PROGRAM
