"""The outer step of MAML-TRPO: its gradient, its divergence's Hessian, and what it does to a meta-batch."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected, widened
from jax.flatten_util import ravel_pytree

from adaptax.names import registry
from adaptax.ops.tasks import map_tasks

SMALL: dict[str, Any] = {"tasks": 3, "streams": 4, "hidden": (5,), "step_size": 0.4, "damping": 0.0}
VARIANTS = {
    "maml": {},
    "two steps": {"inner_steps": 2},
    "anil": {"adapts": "head"},
    "boil": {"adapts": "body"},
    "cavia": {"adapts": "context"},
    "e-maml": {"exploration_credit": True},
}


class Case(NamedTuple):
    algorithm: Any
    state: Any
    trials: Any
    batches: Any
    credit: Any


@cache
def prepared(on: str, variant: str, damping: float) -> tuple[Any, Any, Any]:
    """The algorithm, its state, and a meta-batch that its parameters collected."""
    benchmark = registry.make_benchmark(on, {"horizon": 6} if on == "navigation" else {"arms": 3, "pulls": 5})
    fields = {**SMALL, **VARIANTS[variant], "damping": damping}
    algorithm = registry.make_algorithm("maml-trpo", None, benchmark.spec, fields)
    return algorithm, *collected(algorithm, benchmark, noise=0.1)


def make(on: str = "navigation", variant: str = "maml", damping: float = 0.0, wide: bool = True) -> Case:
    algorithm, state, trials = prepared(on, variant, damping)
    with jax.enable_x64(wide):
        if wide:
            state, rollouts = widened((state, trials.rollouts))
            trials = trials._replace(rollouts=rollouts)

        def prepare(trials: Any) -> Any:
            batches = map_tasks(lambda trial: jax.lax.map(algorithm._batch, trial.rollouts), trials)
            return batches, algorithm._credits(trials)

        return Case(algorithm, state, trials, *jax.jit(prepare)(trials))


def mean_outer(case: Case, flat: Any, which: int) -> Any:
    unravel = ravel_pytree(case.state.params)[1]
    each = jax.vmap(case.algorithm.outer, (None, 0, 0))(unravel(flat), case.batches, case.credit)
    return jnp.mean(each[which])


@pytest.mark.parametrize(
    "variant", ["maml", *(pytest.param(v, marks=pytest.mark.slow) for v in ("two steps", "boil", "cavia", "e-maml"))]
)
def test_the_gradient_against_central_differences(variant: str) -> None:
    case = make(variant=variant)
    with jax.enable_x64(True):
        flat = ravel_pytree(case.state.params)[0]
        assert flat.dtype == jnp.float64
        loss = jax.jit(lambda p: mean_outer(case, p, 0))
        slope = jax.jit(jax.grad(loss))(flat)
        directions = np.random.default_rng(0).normal(size=(6, flat.size))
        for direction in directions:
            width = 1e-5
            numeric = (loss(flat + width * direction) - loss(flat - width * direction)) / (2 * width)
            assert float(slope @ direction) == pytest.approx(float(numeric), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("variant", "on"),
    [
        ("maml", "navigation"),
        ("boil", "bandit"),
        *(pytest.param(v, "navigation", marks=pytest.mark.slow) for v in ("two steps", "anil", "cavia")),
    ],
)
def test_the_divergence_has_no_slope_and_the_hessian_that_is_multiplied_with(variant: str, on: str) -> None:
    """Against central differences of the mean divergence's slope, in double precision."""
    case = make(on, variant)
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(case.state.params)
        divergence = lambda p: mean_outer(case, p, 1)  # noqa: E731
        slope = jax.jit(jax.grad(divergence))
        assert float(divergence(flat)) == pytest.approx(0.0, abs=1e-9)
        np.testing.assert_allclose(slope(flat), 0.0, atol=1e-5)  # stored in single precision
        times = jax.jit(lambda v: ravel_pytree(hessian_times(case, unravel(v)))[0])
        for direction in np.random.default_rng(1).normal(size=(4, flat.size)):
            width = 1e-4
            numeric = (slope(flat + width * direction) - slope(flat - width * direction)) / (2 * width)
            found = times(jnp.asarray(direction))
            np.testing.assert_allclose(found, numeric, rtol=1e-3, atol=1e-4 * np.abs(numeric).max())


def hessian_times(case: Case, tangent: Any) -> Any:
    return case.algorithm._hessian_times(case.state.params, case.batches, tangent)


def test_the_damping_is_added_to_the_diagonal() -> None:
    bare, damped = make(), make(damping=0.5)
    with jax.enable_x64(True):
        ones = jax.tree.map(jnp.ones_like, bare.state.params)
        less, more = (
            ravel_pytree(jax.jit(lambda v, case=case: hessian_times(case, v))(ones))[0] for case in (bare, damped)
        )
        np.testing.assert_allclose(more - less, 0.5, rtol=1e-6)


def test_e_maml_credits_what_was_done_before_with_what_was_earned_after() -> None:
    case, plain = make(variant="e-maml"), make()
    with jax.enable_x64(True):
        rewards = np.asarray(case.trials.rollouts.reward[:, -1])
        standard = (rewards - rewards.mean()) / rewards.std()
        credit = standard.mean(axis=(1, 2))
        np.testing.assert_allclose(case.credit, credit, rtol=1e-5)
        np.testing.assert_array_equal(plain.credit, 0.0)
        logs = np.asarray(case.trials.rollouts.decision.extras.log_probability[:, 0]).mean(axis=(1, 2))
        flat = ravel_pytree(case.state.params)[0]
        difference = float(mean_outer(case, flat, 0) - mean_outer(plain, flat, 0))
        assert difference == pytest.approx(-(credit * logs).mean(), rel=1e-5)
        assert abs(difference) > 1e-3


@pytest.mark.parametrize("on", ["navigation", pytest.param("bandit", marks=pytest.mark.slow)])
def test_an_update_improves_within_the_trust_region(on: str) -> None:
    # On a bandit only the last biases matter, and the inner step makes the divergence blind to some of them.
    case = make(on, damping=0.1 if on == "bandit" else 0.0, wide=False)
    state, metrics = jax.jit(case.algorithm.update)(case.state, case.trials, jax.random.key(2))
    assert metrics["rejected"] == 0 and metrics["improvement"] > 0
    assert 0.001 < metrics["divergence"] <= 0.01
    flat = ravel_pytree(state.params)[0]
    assert float(mean_outer(case, flat, 0)) == pytest.approx(float(metrics["loss"] - metrics["improvement"]), abs=1e-5)
    assert float(mean_outer(case, flat, 1)) == pytest.approx(float(metrics["divergence"]), rel=1e-2)


def test_a_meta_batch_that_teaches_nothing_leaves_the_parameters_and_is_counted() -> None:
    """Equal rewards everywhere: every advantage is zero, and no candidate can be better."""
    case = make(wide=False)
    rollouts = case.trials.rollouts
    same = case.trials._replace(rollouts=rollouts._replace(reward=jnp.zeros_like(rollouts.reward)))
    state, metrics = jax.jit(case.algorithm.update)(case.state, same, jax.random.key(2))
    jax.tree.map(np.testing.assert_array_equal, state.params, case.state.params)
    assert metrics["rejected"] == 1 and metrics["improvement"] == 0 and metrics["divergence"] == 0


def test_a_broken_reward_never_reaches_the_state() -> None:
    case = make(wide=False)
    rollouts = case.trials.rollouts
    broken = rollouts._replace(reward=rollouts.reward.at[0, -1, 0, 0].set(jnp.nan))
    state, metrics = jax.jit(case.algorithm.update)(
        case.state, case.trials._replace(rollouts=broken), jax.random.key(2)
    )
    jax.tree.map(np.testing.assert_array_equal, state.params, case.state.params)
    assert metrics["rejected"] == 1
