"""What a ring keeps of a trial is enough to read it again as it was read when acting."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from adaptax.names import registry
from adaptax.nets.trial_encoder import TrialEncoder, time_first
from adaptax.run.collect import collect, streams_of

ON = {
    "tabular-mdp": registry.make_benchmark("tabular-mdp", {"episodes": 3, "states": 3, "actions": 2, "horizon": 2}),
    "navigation": registry.make_benchmark("navigation", {"horizon": 4}),
}


@cache
def rollouts_of(on: str) -> Any:
    """Trials of an untrained agent: [N, B, T]."""
    algorithm = registry.make_algorithm("rl2", None, ON[on].spec, {"tasks": 3, "streams": 2, "hidden": 4})
    streams, params = streams_of(ON[on].environment), algorithm.init(jax.random.key(0)).params
    run = jax.jit(lambda p, key: collect(algorithm, streams, ON[on].train, algorithm.plan, p, None, key)[0])
    return jax.tree.map(lambda x: x[:, 0], run(params, jax.random.key(1)).rollouts)


def encoder_of(on: str, network: str = "gru", pairs: bool = False) -> TrialEncoder:
    spec = ON[on].spec
    return TrialEncoder(spec, network, 5, spec.episodes * spec.horizon, pairs)


@pytest.mark.parametrize("on", ON)
def test_the_timesteps_of_a_past_trial_are_those_that_were_perceived(on: str) -> None:
    encoder, rollouts = encoder_of(on), rollouts_of(on)
    past = encoder.past(rollouts)
    assert jax.tree.map(jax.typeof, jax.tree.map(lambda x: x[0], past)) == jax.tree.map(jax.typeof, encoder.empty())
    found = encoder.timesteps(time_first(past))
    expected = jax.tree.map(lambda x: np.moveaxis(x.reshape(6, *x.shape[2:]), 0, 1), rollouts.timestep)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    np.testing.assert_array_equal(time_first(past).reward[:, 3], rollouts.reward[1, 1])
    assert found.first[0].all() and (on != "tabular-mdp" or found.first[2].all())


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize(("network", "pairs"), [("gru", True), ("lstm", False), ("transformer", True)])
def test_encoding_a_past_trial_is_reading_it_step_by_step(on: str, network: str, pairs: bool) -> None:
    encoder, rollouts = encoder_of(on, network, pairs), rollouts_of(on)
    params = encoder.init(jax.random.key(2))
    found = jax.jit(encoder.encode)(params, time_first(encoder.past(rollouts)))
    step, memory = jax.jit(encoder.step), encoder.start(params)
    for t in range(encoder.steps):
        told = jax.tree.map(lambda x, t=t: x[1, 1, t], rollouts.timestep)  # stream 3 of 6
        hidden, memory = step(params, memory, told)
        np.testing.assert_allclose(found[t, 3], hidden, rtol=1e-5, atol=1e-6)
