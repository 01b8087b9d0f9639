"""Meta-gradients of MAML's family with gradient outer steps and of GMPS, against central differences in float64."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected, widened
from jax.flatten_util import ravel_pytree

from adaptax import buffers
from adaptax.names import registry
from adaptax.ops.tasks import map_tasks

SMALL: dict[str, Any] = {"tasks": 3, "streams": 4, "hidden": (5,), "step_size": 0.4}


def meta_batch(name: str, **fields: Any) -> tuple[Any, Any, Any]:
    """The algorithm, parameters in double precision, and the rounds of a meta-batch that they collected."""
    benchmark = registry.make_benchmark("navigation", {"horizon": 6})
    algorithm: Any = registry.make_algorithm(name, None, benchmark.spec, {**SMALL, **fields})
    state, trials = collected(algorithm, benchmark, noise=0.1)
    with jax.enable_x64(True):
        params, rollouts = widened((state.params, trials.rollouts))
        each = lambda rollouts: jax.lax.map(algorithm._batch, rollouts)  # noqa: E731
        return algorithm, params, jax.jit(lambda r: map_tasks(each, r))(rollouts)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("maml", {}),
        ("promp", {"penalty": 0.3}),
        ("meta-sgd", {}),
        ("promp", {"adapts": "context", "penalty": 0.3}),
        pytest.param("anil", {}, marks=pytest.mark.slow),
        pytest.param("maml", {"adapts": "body"}, marks=pytest.mark.slow),
        pytest.param("maml", {"adapts": "context"}, marks=pytest.mark.slow),
        pytest.param("maml", {"inner_steps": 2}, marks=pytest.mark.slow),
        pytest.param("promp", {"inner_steps": 2, "penalty": 0.3}, marks=pytest.mark.slow),
    ],
)
def test_the_meta_gradient_against_central_differences(name: str, fields: dict[str, Any]) -> None:
    algorithm, params, rounds = meta_batch(name, **fields)
    loss = lambda params: jnp.mean(jax.vmap(lambda r: algorithm.loss(params, r)[0])(rounds))  # noqa: E731
    # What does not adapt has step sizes without a slope, and a context that adapts begins every life as zeros.
    still = () if algorithm.adapts == "all" else (".step_sizes", ".context", ".policy.context")
    agrees_with_central_differences(loss, jax.grad(loss), params, still)


@pytest.mark.parametrize(
    "fields",
    [
        {"penalty": 0.3},
        pytest.param({"inner_steps": 0, "penalty": 0.3}, marks=pytest.mark.slow),
        pytest.param({"inner_steps": 2, "probing_step_size": 0.0}, marks=pytest.mark.slow),
    ],
)
def test_the_meta_gradient_of_mmaml(fields: dict[str, Any]) -> None:
    """Through the inner steps to the encoder, the maps to the modulation, and the prior."""
    benchmark = registry.make_benchmark("clustered-navigation", {"horizon": 6})
    given = {**SMALL, "probing_step_size": 0.3, "encoder_hidden": 3, **fields}
    algorithm: Any = registry.make_algorithm("mmaml", None, benchmark.spec, given)
    state, trials = collected(algorithm, benchmark, noise=0.2)
    with jax.enable_x64(True):
        params, trials = widened((state.params, trials))
        lessons = jax.jit(algorithm.lessons)(trials)

        def one(params: Any, lesson: Any) -> Any:
            return algorithm.loss(params, algorithm.encode(params, lesson.transitions), lesson.rounds)[0]

        def loss(params: Any) -> Any:
            return jnp.mean(jax.vmap(lambda lesson: one(params, lesson))(lessons))

        agrees_with_central_differences(loss, lambda params: algorithm.gradient(params, lessons)[0], params)


def agrees_with_central_differences(loss: Any, gradient: Any, params: Any, still: tuple[str, ...] = ()) -> None:
    """`gradient` near `params` in random directions, everything in double precision; it is zero only where the path of
    a leaf begins like one of `still`."""
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(params)
        assert flat.dtype == jnp.float64
        value = jax.jit(lambda flat: loss(unravel(flat)))
        # Not at the policy that collected: a ratio of 1 sits between the branches of the clipped loss.
        flat = flat + 1e-3 * np.random.default_rng(1).normal(size=flat.size)
        slopes = jax.jit(lambda flat: gradient(unravel(flat)))(flat)
        leaves = [(jax.tree_util.keystr(path), slope) for path, slope in jax.tree.leaves_with_path(slopes)]
        assert all(np.any(slope != 0) for path, slope in leaves if slope.size and not path.startswith(still))
        slope, _ = ravel_pytree(slopes)
        for direction in np.random.default_rng(0).normal(size=(6, flat.size)):
            width = 1e-6
            numeric = (value(flat + width * direction) - value(flat - width * direction)) / (2 * width)
            assert float(slope @ direction) == pytest.approx(float(numeric), rel=1e-6, abs=1e-8)


def test_the_imitation_gradient_against_central_differences() -> None:
    """GMPS: of −log π_θ'(a*|s) in θ and in the step sizes, through the inner step."""
    benchmark = registry.make_benchmark("sparse-navigation", {"dense": True, "horizon": 6})
    fields = {"context": 2, "batch": 8, "capacity": 24}
    algorithm: Any = registry.make_algorithm("gmps", None, benchmark.spec, {**SMALL, **fields})
    # The noise reaches `imitating` as well, which makes it true: θ collects, not the experts.
    state, trials = collected(algorithm, benchmark, noise=0.1)
    assert bool(state.params.imitating)
    visited = trials.rollouts.timestep.observation[:, 0].reshape(3, -1, 2)
    ring = buffers.add_by_task(state.states, trials.birth.index, visited)
    keys = jax.random.split(jax.random.key(0), 3)
    shown = jax.vmap(algorithm.demonstrate, (None, None, 0, 0))(state.params.experts, ring, trials.birth.index, keys)
    with jax.enable_x64(True):
        learned = (state.params.policy, state.params.step_sizes)
        learned, rollouts, shown = widened((learned, trials.rollouts, shown))
        before = jax.jit(lambda r: jax.tree.map(lambda x: x[:, 0], jax.vmap(jax.vmap(algorithm._batch))(r)))(rollouts)
        flat, unravel = ravel_pytree(learned)
        assert flat.dtype == jnp.float64

        @jax.jit
        def loss(flat: Any) -> Any:
            return jnp.mean(jax.vmap(lambda *task: algorithm.loss(unravel(flat), *task)[0])(before, shown))

        flat = flat + 1e-3 * np.random.default_rng(1).normal(size=flat.size)  # not where the ratio is 1
        slope = jax.jit(jax.grad(loss))(flat)
        for direction in np.random.default_rng(0).normal(size=(6, flat.size)):
            width = 1e-6
            numeric = (loss(flat + width * direction) - loss(flat - width * direction)) / (2 * width)
            assert float(slope @ direction) == pytest.approx(float(numeric), rel=1e-6, abs=1e-8)
