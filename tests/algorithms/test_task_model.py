"""The task model: its meta-gradient, what is left of it without predictions, and what it may say of a task."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected, widened
from jax.flatten_util import ravel_pytree

from adaptax.algorithms.task_model import TaskModel
from adaptax.names import registry
from adaptax.types import Birth, UserError

SMALL: dict[str, Any] = {"tasks": 3, "streams": 4, "hidden": (5,), "step_size": 0.4}
MODEL: dict[str, Any] = {"encoder_hidden": (6,), "prototypes": 3, "embedding": 2, "step_range": 4.0}


@cache
def prepared(*fields: tuple[str, Any]) -> tuple[Any, Any, Any]:
    """The algorithm, parameters all of whose arrays are away from zero, and a meta-batch that they collected."""
    benchmark = registry.make_benchmark("clustered-navigation", {"horizon": 6})
    algorithm: Any = registry.make_algorithm("task-model", None, benchmark.spec, {**SMALL, **MODEL, **dict(fields)})
    state, trials = collected(algorithm, benchmark, noise=0.2)
    return algorithm, state.params, trials


@pytest.mark.parametrize(
    "fields",
    [
        {"difficulty_weight": 0.7},
        pytest.param({"inner_steps": 2}, marks=pytest.mark.slow),
        pytest.param({"inner_steps": 0}, marks=pytest.mark.slow),
    ],
)
def test_the_meta_gradient_against_central_differences(fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm, *seen = prepared(*fields.items())
    judge = TaskModel.judge
    with jax.enable_x64(True):
        params, trials = widened(seen)
        lessons = jax.jit(algorithm.lessons)(trials)
        flat, unravel = ravel_pytree(params)
        assert flat.dtype == jnp.float64
        # Not at the policy that collected: a ratio of 1 sits between the branches of the clipped loss.
        flat = flat + 1e-3 * np.random.default_rng(1).normal(size=flat.size)

        def loss(flat: Any) -> Any:
            return jnp.mean(jax.vmap(lambda lesson: algorithm.loss(unravel(flat), lesson)[0])(lessons))

        slope = jax.jit(jax.grad(loss))(flat)

        def judge_knowing(self: Any, params: Any, transitions: Any) -> Any:
            """The step sizes take the embedding and the difficulty as given: they do not move with the parameters."""
            return judge(self, params, transitions)._replace(known=judge(self, unravel(flat), transitions).known)

        monkeypatch.setattr(TaskModel, "judge", judge_knowing)
        value = jax.jit(lambda flat: loss(flat))
        for direction in np.random.default_rng(0).normal(size=(6, flat.size)):
            width = 1e-6
            numeric = (value(flat + width * direction) - value(flat - width * direction)) / (2 * width)
            assert float(slope @ direction) == pytest.approx(float(numeric), rel=1e-6, abs=1e-8)


def test_without_predictions_it_takes_the_step_of_maml() -> None:
    algorithm, params, trials = prepared(("predict_start", False), ("predict_step_sizes", False))
    probe, acted = (jax.tree.map(lambda x, r=r: x[0, r], trials.rollouts) for r in range(2))
    maml: Any = registry.make_algorithm("maml", None, algorithm.spec, SMALL)

    @jax.jit
    def both(params: Any) -> Any:
        key = jax.random.key(0)
        started = algorithm.adapt(params, algorithm.begin(params, key, Birth()), probe, key)
        found = algorithm.adapt(params, started, acted, key)
        step_sizes = jax.tree.map(lambda p: jnp.full_like(p, algorithm.step_size), params.policy)
        theirs = maml.init(key).params._replace(policy=params.policy, step_sizes=step_sizes)
        expected = maml.adapt(theirs, maml.begin(theirs, key, Birth()), acted, key)
        return started.policy, found.policy, expected.policy

    started, found, expected = both(params)
    jax.tree.map(np.testing.assert_array_equal, started, params.policy)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), found, expected)
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(started), strict=True))


def test_zero_offsets_start_from_the_shared_policy() -> None:
    algorithm, params, _ = prepared()
    nothing = params._replace(offsets=jax.tree.map(jnp.zeros_like, params.offsets))
    jax.tree.map(np.testing.assert_array_equal, algorithm.start_from(nothing, jnp.ones(3) / 3), params.policy)
    chosen = algorithm.start_from(params, jnp.array([0.0, 1.0, 0.0]))
    expected = jax.tree.map(lambda p, d: p + d[1], params.policy, params.offsets)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), chosen, expected)


def test_similarity_is_a_distribution_that_prefers_the_nearest_prototype() -> None:
    algorithm, params, _ = prepared()
    model = params._replace(prototypes=jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))
    found = np.asarray(algorithm.similarity(model, jnp.array([0.9, 0.1])))
    weights = np.exp([-0.82, -0.02, -4.42])  # squared distances 0.81 + 0.01, 0.01 + 0.01, 0.81 + 3.61
    np.testing.assert_allclose(found, weights / weights.sum(), rtol=1e-5)
    assert found.argmax() == 1


def test_step_sizes_stay_within_their_bounds() -> None:
    algorithm, params, trials = prepared()
    lesson = jax.tree.map(lambda x: x[0], jax.jit(algorithm.lessons)(trials))
    judgement = algorithm.judge(params, lesson.transitions)
    assert np.sum(judgement.similarity) == pytest.approx(1, rel=1e-6)
    wild = params._replace(steps=jax.tree.map(lambda x: 1e3 * x, params.steps))
    for outcome in (-8.0, 0.0, 8.0):
        for given in (params, wild):
            scales = np.asarray(algorithm.scales(given, judgement, jnp.float32(outcome)))
            assert scales.shape == (6,)  # weights and biases of two layers, standard deviations, an empty context
            assert (scales >= 1 / 4.0 - 1e-6).all() and (scales <= 4.0 + 1e-6).all()
    fresh = algorithm.init(jax.random.key(0)).params
    np.testing.assert_array_equal(algorithm.scales(fresh, judgement, jnp.float32(-2)), 1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prototypes": 0}, "prototypes is 0; it must satisfy 1 ≤ prototypes"),
        ({"embedding": 0}, "embedding is 0"),
        ({"step_range": 0.5}, "step-range is 0.5; it must satisfy 1 ≤ step-range"),
        ({"difficulty_weight": -1.0}, "difficulty-weight is -1"),
        ({"encoder_hidden": (8, 0)}, "encoder-hidden is 0"),
        ({"inner_steps": -1}, "inner-steps is -1"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    spec = registry.make_benchmark("clustered-navigation", {}).spec
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        registry.make_algorithm("task-model", None, spec, fields)
