"""MAESN: one latent an episode, the step on its distribution, and the outer step through it."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected, widened
from jax.flatten_util import ravel_pytree

from adaptax.algorithms.maesn import Latent, over_episodes
from adaptax.names import registry
from adaptax.ops.tasks import map_tasks
from adaptax.run.train import Settings, train
from adaptax.types import Birth, UserError

SMALL: dict[str, Any] = {"tasks": 3, "streams": 4, "hidden": (5,), "latent": 2, "damping": 0.0}
STEPS = 12  # two episodes a round


def make(**fields: Any) -> tuple[Any, Any]:
    benchmark = registry.make_benchmark("sparse-navigation", {"horizon": 6, "dense": True})
    return registry.make_algorithm("maesn", None, benchmark.spec, {**SMALL, "steps": STEPS, **fields}), benchmark


@cache
def meta_batch(inner_steps: int = 1) -> tuple[Any, Any, Any]:
    algorithm, benchmark = make(inner_steps=inner_steps)
    return algorithm, *collected(algorithm, benchmark, noise=0.1)


def test_a_latent_lasts_for_an_episode_and_comes_from_the_tasks_gaussian() -> None:
    algorithm, state, trials = meta_batch()
    extras, first = trials.rollouts.decision.extras, np.asarray(trials.rollouts.timestep.first)
    noise, latent = np.asarray(extras.noise), np.asarray(extras.latent)
    assert first[..., [0, 6]].all() and first.sum() == first.size / 6
    for episode in (noise[..., :6, :], noise[..., 6:, :]):
        np.testing.assert_array_equal(episode, np.broadcast_to(episode[..., :1, :], episode.shape))
    drawn = noise[first]
    assert len(np.unique(drawn)) == drawn.size and abs(drawn.mean()) < 0.4 and 0.7 < drawn.std() < 1.3
    for task, index in enumerate(np.asarray(trials.birth.index)):  # before adaptation, the training task's own
        mean, log_std = (np.asarray(x)[index] for x in state.params.latents)
        np.testing.assert_allclose(latent[task, 0], mean + np.exp(log_std) * noise[task, 0], rtol=1e-5)
    np.testing.assert_allclose(latent[:, 1], _moved(algorithm, state, trials), rtol=1e-4, atol=1e-5)


def _moved(algorithm: Any, state: Any, trials: Any) -> Any:
    """z of the second round from NumPy's version of the inner step: ∇ log N(z; μ, σ²) is ((z − μ)/σ², (z − μ)²/σ² − 1)
    for (μ, log σ)."""
    found = []
    for task, index in enumerate(np.asarray(trials.birth.index)):
        mean, log_std = (np.asarray(x, np.float64)[index] for x in state.params.latents)
        rollout = jax.tree.map(lambda x, t=task: x[t, 0], trials.rollouts)
        batch, weight = algorithm._round(rollout)
        weight = np.asarray(weight, np.float64)
        z = np.asarray(batch.extras.latent, np.float64)
        shift = (z - mean) / np.exp(log_std)
        toward_mean = (weight[:, None] * shift / np.exp(log_std)).sum(0)
        toward_std = (weight[:, None] * (shift**2 - 1)).sum(0)
        sizes = jax.tree.map(np.asarray, state.params.step_sizes)
        mean, log_std = mean + sizes.mean * toward_mean, log_std + sizes.log_std * toward_std
        found.append(mean + np.exp(log_std) * np.asarray(trials.rollouts.decision.extras.noise[task, 1]))
    return np.stack(found)


def test_the_weights_of_episodes_are_standardised_returns() -> None:
    advantage = jnp.array([[1.0, 9.0, 3.0], [5.0, 9.0, 9.0]])
    first = jnp.array([[True, False, True], [True, False, False]])
    found = np.asarray(over_episodes(advantage, first))
    spread = np.std([1.0, 3.0, 5.0])
    np.testing.assert_allclose(found, np.array([[-2, 0, 0], [2, 0, 0]]) / spread / 3, atol=1e-6)
    assert not np.any(over_episodes(jnp.ones((2, 3)), first))  # nothing to tell them apart: no step, and no NaN


def test_a_task_that_is_not_of_the_training_set_begins_at_the_prior() -> None:
    algorithm, state, _ = meta_batch()
    adapted = algorithm.begin(state.params, jax.random.key(0), Birth())
    np.testing.assert_array_equal(adapted.latent.mean, [0, 0])
    np.testing.assert_array_equal(adapted.latent.log_std, [0, 0])
    known = algorithm.begin(state.params, jax.random.key(0), Birth(jnp.int32(69)))
    np.testing.assert_array_equal(known.latent.mean, state.params.latents.mean[69])


def test_later_steps_are_shorter() -> None:
    """The first two steps are of size α (`inner_steps` is 1), the third of α/2, the fourth of α/4."""
    algorithm, state, trials = meta_batch()
    rollout = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    adapt, moves = jax.jit(algorithm.adapt), []
    adapted = algorithm.begin(state.params, jax.random.key(0), Birth())
    for _ in range(4):
        again = adapted._replace(latent=Latent(jnp.zeros(2), jnp.zeros(2)))
        moves.append(adapt(state.params, again, rollout, jax.random.key(0)).latent.mean)
        adapted = adapt(state.params, again, rollout, jax.random.key(0))
    np.testing.assert_allclose(np.stack(moves) / moves[0], [[1, 1], [1, 1], [0.5, 0.5], [0.25, 0.25]], rtol=1e-5)


@pytest.mark.parametrize("inner_steps", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_gradient_and_hessian_against_central_differences(inner_steps: int) -> None:
    """The outer gradient to six digits; the products with the Hessian of the mean divergence, which is zero and has no
    slope where the trials were collected, and whose Hessian is thus JᵀFJ."""
    algorithm, state, trials = meta_batch(inner_steps)
    with jax.enable_x64(True):
        state, rollouts = widened((state, trials.rollouts))
        rounds = jax.jit(lambda r: map_tasks(lambda one: jax.lax.map(algorithm._round, one), r))(rollouts)
        # What was stored is of single precision; the policy that acted is recomputed in double.
        acted = jax.vmap(algorithm.adapted_policy, (None, 0, 0))(state.params, rounds, trials.birth.index)
        extras = rounds.batch.extras
        stored = extras.distribution._replace(
            mean=extras.distribution.mean.at[:, -1].set(acted.mean),
            log_std=extras.distribution.log_std.at[:, -1].set(acted.log_std),
        )
        rounds = rounds._replace(batch=rounds.batch._replace(extras=extras._replace(distribution=stored)))
        flat, unravel = ravel_pytree(state.params)

        def mean(flat: Any, which: int) -> Any:
            return jnp.mean(jax.vmap(algorithm.outer, (None, 0, 0))(unravel(flat), rounds, trials.birth.index)[which])

        loss, divergence = jax.jit(lambda x: mean(x, 0)), jax.jit(jax.grad(lambda x: mean(x, 1)))
        slope = jax.jit(jax.grad(lambda x: mean(x, 0)))(flat)
        assert float(mean(flat, 1)) == pytest.approx(0, abs=1e-12) and np.abs(divergence(flat)).max() < 1e-10
        product = jax.jit(lambda v: algorithm._hessian_times(state.params, (rounds, trials.birth.index), unravel(v)))
        width = 1e-5
        for direction in np.random.default_rng(0).normal(size=(4, flat.size)):
            numeric = (loss(flat + width * direction) - loss(flat - width * direction)) / (2 * width)
            assert float(slope @ direction) == pytest.approx(float(numeric), rel=1e-6, abs=1e-8)
            curved = (divergence(flat + width * direction) - divergence(flat - width * direction)) / (2 * width)
            found = ravel_pytree(product(direction))[0]
            np.testing.assert_allclose(found, curved, atol=1e-5 * float(np.abs(curved).max()))
            assert np.abs(curved).max() > 1e-3


def test_the_outer_step_lowers_the_loss_within_the_trust_region() -> None:
    algorithm, benchmark = make(damping=0.01)
    state, trials = collected(algorithm, benchmark, noise=0.1)
    after, metrics = jax.jit(algorithm.update)(state, trials, jax.random.key(0))
    assert metrics["rejected"] == 0 and metrics["improvement"] > 0 and 0 < metrics["divergence"] <= 0.01
    met = np.unique(trials.birth.index)
    moved = np.any(np.asarray(after.params.latents.mean != state.params.latents.mean), axis=1)
    np.testing.assert_array_equal(np.flatnonzero(moved), met)  # no other task's latents are touched


def test_bad_input_is_refused_before_compilation() -> None:
    unbounded = registry.make_benchmark("navigation", {})
    with pytest.raises(UserError, match="needs a benchmark with a finite training set"):
        registry.make_algorithm("maesn", None, unbounded.spec, {})
    algorithm, _ = make()
    for other in (unbounded, registry.make_benchmark("sparse-navigation", {"goals": "paper"})):
        with pytest.raises(UserError, match="each of 70 training tasks, but the benchmark (draws|has 80)"):
            train(algorithm, other, Settings(1, quiet=True), None, resume=False)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="inner-steps is -1"):
        make(inner_steps=-1)
    state = meta_batch()[1]
    for index in (70, -2):
        with pytest.raises(UserError, match=f"index is {index}; it must satisfy -1 ≤ index ≤ 69"):
            algorithm.begin(state.params, jax.random.key(0), Birth(jnp.int32(index)))
