"""HyperX is VariBAD, except for what its policy and value learn from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected
from algorithms.test_varibad import SMALL

from adaptax.names import registry
from adaptax.types import UserError


def make(name: str, **fields: Any) -> tuple[Any, Any]:
    benchmark = registry.make_benchmark("gridnavi", {"episodes": 2, "goals": "paper"})
    return registry.make_algorithm(name, None, benchmark.spec, {**SMALL, **fields}), benchmark


def equal(left: Any, right: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (left, right)), strict=True))


def test_bonuses_reach_policy_and_value_alone_and_end_with_annealing() -> None:
    hyperx, benchmark = make("hyperx", anneal=10)
    varibad, _ = make("varibad")
    state, trials = collected(hyperx, benchmark, noise=0.3)
    plain, same = collected(varibad, benchmark, noise=0.3)
    # It begins as VariBAD does, and acts as VariBAD does.
    assert equal(state.params, plain.params) and equal(trials.rollouts, same.rollouts)
    update = jax.jit(hyperx.update)
    after, metrics = update(state, trials, jax.random.key(0))
    expected, _ = jax.jit(varibad.update)(plain, trials, jax.random.key(0))
    # What the encoder reads and the ring holds knows nothing of bonuses, and so the model learns the same.
    assert equal(after.ring, expected.ring) and equal(after.params.model, expected.params.model)
    assert not equal(after.params.heads, expected.params.heads)
    assert not equal(after.bonuses.predictor, state.bonuses.predictor)
    assert equal(after.bonuses.prior, state.bonuses.prior)
    # At half of the iterations they are half as large, and at their end nothing is left of them.
    half = update(state._replace(iteration=jnp.int32(5)), trials, jax.random.key(0))[1]
    assert 0 < float(metrics["bonus"]) == pytest.approx(2 * float(half["bonus"]), rel=1e-5)
    for iteration in (10, 999):
        late, none = update(state._replace(iteration=jnp.int32(iteration)), trials, jax.random.key(0))
        assert float(none["bonus"]) == 0 and equal(late.params, expected.params)


@pytest.mark.parametrize(
    "network", ["gru", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lstm", "transformer"))]
)
def test_without_annealing_they_stay(network: str) -> None:
    """Whatever the memory is that the beliefs are read from."""
    hyperx, benchmark = make("hyperx", network=network)
    state, trials = collected(hyperx, benchmark, noise=0.3)
    update = jax.jit(hyperx.update)
    first, later = (update(state._replace(iteration=jnp.int32(i)), trials, jax.random.key(0))[1] for i in (0, 10**6))
    assert 0 < float(first["bonus"]) == float(later["bonus"])


def test_bad_input() -> None:
    for name, low in (("novelty_weight", 0), ("surprise_weight", 0), ("anneal", 1)):
        with pytest.raises(UserError, match=rf"{name.replace('_', '-')} is -1; it must satisfy {low} ≤ "):
            make("hyperx", **{name: -1})
    with pytest.raises(UserError, match="algorithm hyperx has no setting 'explore'"):
        make("hyperx", explore=False)
    spec = registry.make_benchmark("navigation", {}).spec
    with pytest.raises(UserError, match="cells are counted from the lowest observation, and the observation space has"):
        registry.make_algorithm("hyperx", None, spec, {"cells": (3, 3)})
