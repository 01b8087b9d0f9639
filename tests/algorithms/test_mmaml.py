"""MMAML: modulation and encoder against slow references, what a lifetime does, and its meta-gradient."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected

from adaptax.names import registry
from adaptax.nets.film import Film, modulate, modulation_of, neutral
from adaptax.nets.recurrent import gru
from adaptax.types import Birth, UserError

SMALL: dict[str, Any] = {"tasks": 3, "streams": 4, "hidden": (5, 4), "step_size": 0.4, "encoder_hidden": 3}


@cache
def prepared(*fields: tuple[str, Any]) -> tuple[Any, Any, Any]:
    """The algorithm, parameters all of whose arrays are away from zero, and a meta-batch that they collected."""
    benchmark = registry.make_benchmark("clustered-navigation", {"horizon": 6})
    algorithm: Any = registry.make_algorithm("mmaml", None, benchmark.spec, {**SMALL, **dict(fields)})
    state, trials = collected(algorithm, benchmark, noise=0.2)
    return algorithm, state.params, trials


def lived(algorithm: Any, params: Any, trials: Any) -> list[Any]:
    """What the agent was before each round of the first task, and after the last."""
    key, adapted = jax.random.key(0), [algorithm.begin(params, jax.random.key(0), Birth())]
    for r in range(algorithm.plan.rounds):
        rollout = jax.tree.map(lambda x, r=r: x[0, r], trials.rollouts)
        adapted.append(jax.jit(algorithm.adapt)(params, adapted[-1], rollout, key))
    return adapted


def same(left: Any, right: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, left, right)


def close(left: Any, right: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), left, right)


def test_film_against_a_forward_pass_by_hand() -> None:
    algorithm, params, _ = prepared()
    generator = np.random.default_rng(0)
    films = [tuple(generator.normal(size=(2, width))) for width in (5, 4)]
    observation = generator.normal(size=(7, 2))
    x = observation
    for layer, (scale, shift) in zip(params.policy.network[:-1], films, strict=True):
        x = np.maximum(scale * (x @ layer.weight + layer.bias) + shift, 0)
    mean = x @ params.policy.network[-1].weight + params.policy.network[-1].bias
    policy = modulate(params.policy, tuple(Film(*map(jnp.float32, film)) for film in films))
    found = algorithm._policy.distribution(policy, jnp.float32(observation))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.log_std[0], params.policy.log_std, rtol=1e-6)


def test_outputs_of_a_network_are_scales_then_shifts_and_zeros_are_neutral() -> None:
    first, second = modulation_of(jnp.arange(10.0), (2, 3))
    np.testing.assert_array_equal(first.scale, [1, 2])
    np.testing.assert_array_equal(second.scale, [3, 4, 5])
    np.testing.assert_array_equal(first.shift, [5, 6])
    np.testing.assert_array_equal(second.shift, [7, 8, 9])
    _, params, _ = prepared()
    same(modulation_of(jnp.zeros(18), (5, 4)), neutral(params.policy))
    same(modulate(params.policy, neutral(params.policy)), params.policy)


def test_before_training_only_the_gradient_step_is_left_of_the_first_round() -> None:
    """The maps to the modulation start at zero; the step is the one on the policy that acted."""
    algorithm, _, trials = prepared()
    params = algorithm.init(jax.random.key(3)).params
    before, after, *_ = lived(algorithm, params, trials)
    same(before.policy, params.policy)
    same(after.policy, after.modulated.prior)
    batch = algorithm._batch(jax.tree.map(lambda x: x[0, 0], trials.rollouts))

    def loss(policy: Any) -> Any:
        logs = algorithm._policy.distribution(policy, batch.observation).log_probability(batch.action)
        return -jnp.mean(jnp.exp(logs - batch.extras.log_probability) * batch.advantage)

    slope = jax.grad(loss)(params.policy)
    close(after.policy, jax.tree.map(lambda p, g: p - 0.1 * g, params.policy, slope))


def test_the_encoder_reads_in_both_directions() -> None:
    """Against a loop over steps and trajectories; and reversed experience with exchanged directions is the same."""
    algorithm, params, trials = prepared()
    transitions = algorithm._transitions(jax.tree.map(lambda x: x[0, 0], trials.rollouts))
    assert transitions.shape == (4, 6, 2 + 2 + 1 + 1)
    found = algorithm.encode(params, transitions)
    network, expected = gru(6, 3), []
    for direction, order in ((0, range(6)), (1, range(5, -1, -1))):
        weights, ends = jax.tree.map(lambda x, d=direction: x[d], params.encoder), []
        for trajectory in transitions:
            memory: Any = (jnp.zeros(3),)
            for t in order:
                _, memory = network.apply(weights, memory, trajectory[t])
            ends.append(memory[0])
        expected.append(np.mean(ends, axis=0))
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5, atol=1e-6)
    exchanged = params._replace(encoder=jax.tree.map(lambda x: x[::-1], params.encoder))
    backwards = algorithm.encode(exchanged, transitions[:, ::-1])
    np.testing.assert_allclose(found, jnp.roll(backwards, 3), rtol=1e-6)
    assert np.abs(found - algorithm.encode(params, transitions[:, ::-1])).max() > 1e-3  # order matters
    shuffled = algorithm.encode(params, transitions[jnp.array([2, 0, 3, 1])])  # that of the trajectories does not
    np.testing.assert_allclose(found, shuffled, rtol=1e-5, atol=1e-6)


def test_the_first_round_makes_the_modulation_and_the_later_ones_keep_it() -> None:
    # Enough units, and steps small enough, for some to stay alive.
    algorithm, params, trials = prepared(("inner_steps", 2), ("hidden", (9, 8)), ("step_size", 0.1))
    start, probed, *stepped = lived(algorithm, params, trials)
    same(start.modulated.modulation, neutral(params.policy))
    transitions = algorithm._transitions(jax.tree.map(lambda x: x[0, 0], trials.rollouts))
    close(probed.modulated.modulation, algorithm.modulation(params, algorithm.encode(params, transitions)))
    before = probed
    for after in stepped:
        same(after.modulated.modulation, probed.modulated.modulation)
        close(after.policy, modulate(after.modulated.prior, probed.modulated.modulation))
        weights = (before.modulated.prior.network[0].weight, after.modulated.prior.network[0].weight)
        assert np.abs(weights[0] - weights[1]).max() > 1e-4
        before = after
    assert [int(adapted.rounds) for adapted in (start, probed, *stepped)] == [0, 1, 2, 3, 4]


def test_a_probing_round_without_a_step_is_only_encoded() -> None:
    algorithm, params, trials = prepared(("probing_step_size", 0.0))
    _, probed, *_ = lived(algorithm, params, trials)
    close(probed.modulated.prior, params.policy)
    assert np.abs(probed.policy.network[0].weight - params.policy.network[0].weight).max() > 1e-2


@pytest.mark.parametrize(
    "inner_steps", [1, pytest.param(0, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_the_outer_loss_is_that_of_the_deployed_lifetime(inner_steps: int) -> None:
    """At the parameters that collected, every ratio is 1 and no policy has moved: the loss is −mean(Â) = 0."""
    algorithm, params, trials = prepared(("inner_steps", inner_steps))
    assert algorithm.plan.rounds == trials.rollouts.reward.shape[1] == inner_steps + 2
    lesson = jax.tree.map(lambda x: x[1], algorithm.lessons(trials))
    code = algorithm.encode(params, lesson.transitions)
    loss, metrics = jax.jit(algorithm.loss)(params, code, lesson.rounds)
    assert abs(float(loss)) < 1e-5
    assert float(metrics["divergence"]) < 1e-9 and abs(float(metrics["divergence_before"])) < 1e-6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder_hidden": 0}, "encoder-hidden is 0; it must satisfy 1 ≤ encoder-hidden"),
        ({"probing_step_size": -0.1}, "probing-step-size is -0.1"),
        ({"step_size": -1.0}, "step-size is -1"),
        ({"penalty": -1.0}, "penalty is -1"),
        ({"inner_steps": -1}, "inner-steps is -1"),
        ({"hidden": (8, 0)}, "hidden is 0"),
        ({"hidden": ()}, "number of hidden layers is 0"),
        ({"clip": 0.0}, "clip is 0"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    spec = registry.make_benchmark("clustered-navigation", {}).spec
    with pytest.raises(UserError, match=message):
        registry.make_algorithm("mmaml", None, spec, fields)
