#!/usr/bin/env bash
# jax 0.10.2, jaxlib 0.10.2, on a CPU: the same random numbers take five times as long to compile under vmap, where the
# draw's own axis is short.
#
# A thousand uniform numbers from one key compile in about 0.17 s of CPU. A hundred keys, each of which draws ten, under
# vmap, give the same operations on the array [100, 10], and as many of them after XLA's own passes; they compile in
# about 1.1 s. XLA's loop over the last axis has a constant length of ten, and at its highest optimization level, which is
# the default, LLVM writes the whole hash out for each of the ten; the code grows as the axis does, up to where it stops
# doing so. At level 2 both compile in less than 0.2 s. A program that draws in many places (tasks, actions and resets of
# many environments, each from a key of its own) spends seconds of compilation on this.
#
# Seen, in seconds of CPU:      level 3 (default)    level 2
#   one key draws [1000]              0.17             0.17
#   100 keys draw [10] each           1.09             0.20
#
# For users: draw for all at once from one key and reshape, where that is possible (jax.random.split does too: split into
# one long axis, then reshape); give programs that run only a few times
# jax.jit(..., compiler_options={"xla_backend_optimization_level": 2}).
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

JAX_PLATFORMS=cpu "$place/venv/bin/python" - <<'PROGRAM'
import statistics
import sys
import time

import jax


def one(key):
    return jax.random.uniform(key, (1000,))


def each(keys):
    return jax.vmap(lambda key: jax.random.uniform(key, (10,)))(keys)


keys = jax.random.split(jax.random.key(0), 100)


def seconds(draw, given, level):
    """CPU seconds of compilation, and how many operations the compiled program has."""
    found, size = [], 0
    for _ in range(3):
        jax.clear_caches()
        lowered = jax.jit(draw).lower(given)
        began = time.process_time()
        compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": level})
        found.append(time.process_time() - began)
        size = compiled.as_text().count(" = ")
    return statistics.median(found), size


seconds(one, keys[0], 3)  # what is started once
(alone, size), (alone_2, _) = (seconds(one, keys[0], level) for level in (3, 2))
(batched, batched_size), (batched_2, _) = (seconds(each, keys, level) for level in (3, 2))
print(f"one key draws [1000]:     level 3 {alone:.2f}, level 2 {alone_2:.2f} s of CPU; {size} operations")
print(f"100 keys draw [10] each:  level 3 {batched:.2f}, level 2 {batched_2:.2f} s of CPU; {batched_size} operations")
as_described = batched > 3 * alone and batched > 3 * batched_2 and batched_size < 1.2 * size
sys.exit(0 if as_described else "the behaviour changed")
PROGRAM
