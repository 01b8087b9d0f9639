"""A meta-batch to test losses on: what an algorithm with shaken parameters collects, and that in double precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from adaptax.run.collect import collect, streams_of
from adaptax.run.train import root_keys
from adaptax.types import Benchmark


def collected(algorithm: Any, benchmark: Benchmark, noise: float) -> tuple[Any, Any]:
    """The algorithm's state with normal `noise` on all parameters, and the trials [N, R, B, T] that it collects.

    Away from zero biases: a ReLU that sits on its kink at the origin has no derivative there.
    """
    streams, plan = streams_of(benchmark.environment), algorithm.plan

    def run(root: Any) -> Any:
        state = algorithm.init(root)
        flat, unravel = ravel_pytree(state.params)
        params = unravel(flat + noise * jax.random.normal(jax.random.key(5), flat.shape))
        trials = collect(algorithm, streams, benchmark.train, plan, params, None, jax.random.key(1))[0]
        return state._replace(params=params), trials

    return jax.jit(run)(root_keys(0, 1))


def widened(tree: Any) -> Any:
    """All single-precision leaves in double precision (under `jax.enable_x64`)."""
    return jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, tree)
