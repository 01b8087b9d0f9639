"""VariBAD: the belief that acts is the belief that is learned, and which loss trains what."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected

from adaptax import buffers
from adaptax.algorithms.varibad import Extras
from adaptax.names import registry
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.types import UserError

SMALL: dict[str, Any] = {
    "tasks": 6,
    "latent": 2,
    "hidden": 6,
    "embedding": 5,
    "decoder_hidden": (4,),
    "policy_hidden": (4,),
    "model_batch": 3,
    "capacity": 9,
    "cells": (5, 5),
    "reward_model": "bernoulli",
}


def make(**fields: Any) -> tuple[Any, Any]:
    benchmark = registry.make_benchmark("gridnavi", {"episodes": 2, "goals": "paper"})
    return registry.make_algorithm("varibad", None, benchmark.spec, {**SMALL, **fields}), benchmark


@cache
def meta_batch(network: str = "gru") -> tuple[Any, Any, Any]:
    algorithm, benchmark = make(network=network)
    return algorithm, *collected(algorithm, benchmark, noise=0.3)


@cache
def updated() -> tuple[Any, Any]:
    algorithm, state, trials = meta_batch()
    return jax.jit(algorithm.update)(state, trials, jax.random.key(0))


@pytest.mark.parametrize("network", ["gru", pytest.param("transformer", marks=pytest.mark.slow)])
def test_the_belief_that_acts_is_the_belief_that_is_learned(network: str) -> None:
    """The stored beliefs of a trial are the posteriors that the evidence bound is made of, and differ by what was seen:
    one memory for the whole trial, episode borders included."""
    algorithm, state, trials = meta_batch(network)
    rollouts = jax.tree.map(lambda x: x[:, 0], trials.rollouts)
    stories = algorithm._stories(rollouts)
    posterior = algorithm.belief_model.posteriors(state.params.model, jnp.swapaxes(stories.read, 0, 1))
    acted = np.asarray(rollouts.decision.extras.belief)[:, 0]  # [N, T, 2 Z]
    learned = np.swapaxes(np.concatenate([posterior.mean, posterior.log_std], axis=-1), 0, 1)
    assert learned.shape == (6, 31, 4)
    np.testing.assert_allclose(acted, learned[:, :-1], atol=1e-5)
    np.testing.assert_array_equal(acted[0, 0], acted[1, 0])  # before anything was read
    assert np.ptp(acted, axis=1).max() > 0.1


def test_pictures_show_what_the_belief_expects_of_every_cell() -> None:
    """Kept by the evaluator beside the paths; with one latent for all draws they are its decoder's chances."""
    algorithm, state, _ = meta_batch()
    benchmark = make()[1]
    protocol = Protocol(tasks=3, episodes=2, shown_tasks=2)
    beliefs = evaluate(algorithm, benchmark, benchmark.test, state.params, protocol).beliefs
    assert beliefs is not None and beliefs.shape == (2, 1, 1, 30, 5, 5)
    assert (beliefs > 0).all() and (beliefs < 1).all() and np.ptp(beliefs[0, 0, 0], axis=0).max() > 1e-3
    sure = Extras(jnp.zeros(()), jnp.zeros(()), jnp.asarray([0.3, -0.2, -20.0, -20.0]))
    logits = algorithm.belief_model.by_place(state.params.model, sure.belief[:2])
    expected = jax.nn.sigmoid(logits).reshape(5, 5)
    np.testing.assert_allclose(algorithm.believed(state.params, sure, jax.random.key(0)), expected, rtol=1e-5)
    assert make(cells=())[0].believed(state.params, sure, jax.random.key(0)) is None


def test_a_story_pairs_each_step_with_what_it_led_to() -> None:
    algorithm, _, trials = meta_batch()
    rollouts = jax.tree.map(lambda x: np.asarray(x)[:, 0], trials.rollouts._replace(memory=()))
    story = algorithm._stories(rollouts)
    np.testing.assert_array_equal(story.reward, rollouts.reward[:, 0])
    np.testing.assert_array_equal(story.reached, rollouts.next_observation[:, 0])
    np.testing.assert_array_equal(story.before[..., :2], rollouts.timestep.observation[:, 0])
    np.testing.assert_array_equal(np.argmax(story.before[..., 2:], -1), rollouts.decision.action[:, 0])
    # After a step the encoder reads where the agent stands, its action and its reward; 14 is an episode's last step.
    np.testing.assert_array_equal(story.read[:, :-1, :2], rollouts.timestep.observation[:, 0, 1:])
    np.testing.assert_array_equal(np.argmax(story.read[..., 2:7], -1), rollouts.decision.action[:, 0])
    np.testing.assert_array_equal(story.read[..., 7], rollouts.reward[:, 0])
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(story.read)[0, :, 8]), [14, 29])
    np.testing.assert_array_equal(story.read[:, 14, :2], 0)
    np.testing.assert_array_equal(story.read[..., 9:], rollouts.timestep.observation[:, 0])


def test_the_ring_takes_the_trials_and_the_model_learns_from_it_alone() -> None:
    algorithm, state, trials = meta_batch()
    after, _ = updated()
    stories = algorithm._stories(jax.tree.map(lambda x: x[:, 0], trials.rollouts))
    assert int(after.ring.added) == 6
    jax.tree.map(lambda held, new: np.testing.assert_array_equal(held[:6], new), after.ring.items, stories)
    # Other rewards change policy and value; with the same ring they leave the model as it is.
    key, rollouts = jax.random.key(1), jax.tree.map(lambda x: x[:, 0], trials.rollouts)
    improve = jax.jit(lambda rollouts: algorithm._improve_heads(state, rollouts, key)[0])
    heads, others = improve(rollouts), improve(rollouts._replace(reward=rollouts.reward[::-1]))
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (heads, others)), strict=True))
    full = buffers.add(buffers.add(state.ring, stories), jax.tree.map(lambda x: x[:3], stories))
    model = algorithm._improve_model(state, full, key)[0]
    assert all(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (model, state.params.model)), strict=True))


def test_the_update_is_the_one_it_was_before_hyperx() -> None:
    """How far each part of the parameters moves, as it was before VariBAD had a place for bonuses."""
    _, state, _ = meta_batch()
    after, metrics = updated()

    def moved(before: Any, now: Any) -> float:
        pairs = zip(*map(jax.tree.leaves, (before, now)), strict=True)
        return sum(float(np.abs(np.asarray(a, np.float64) - b).sum()) for a, b in pairs)

    found = [moved(*pair) for half in range(2) for pair in zip(state.params[half], after.params[half], strict=True)]
    expected = [0.12284, 0.58295, 0.080212, 0.26586, 0.0, 0.0, 0.10729, 0.13657, 0.0]  # nor states, nor images
    assert found == pytest.approx(expected, rel=1e-3)
    assert float(metrics["loss"]) == pytest.approx(0.916710, rel=1e-4)
    assert float(metrics["model_error"]) == pytest.approx(820.339, rel=1e-4)
    assert after.bonuses == ()


def test_what_is_normalized_when_acting_is_normalized_alike_when_learning() -> None:
    """So ratios of probabilities begin at one; the moments take in the trials only after that."""
    algorithm, benchmark = make(normalize=True)
    state, trials = collected(algorithm, benchmark, noise=0.3)
    rollouts = jax.tree.map(lambda x: x[:, 0], trials.rollouts)
    batch = algorithm._prepare(state.params, rollouts)
    policy, value = algorithm._heads.decide(state.params.heads, batch.inputs, batch.allowed)
    np.testing.assert_allclose(policy.log_probability(batch.action), batch.log_probability, atol=1e-5)
    stored = np.moveaxis(np.asarray(rollouts.decision.extras.value), 2, 0)
    np.testing.assert_allclose(value[0], stored.ravel(), atol=1e-5)
    before, after = state.params.inputs, algorithm.update(state, trials, jax.random.key(0))[0].params.inputs
    assert float(after.count - before.count) == 6 * 30
    raw = np.asarray(algorithm._read(rollouts.timestep, rollouts.decision.extras.belief)).reshape(180, -1)
    share = max(180 / float(after.count), 1 / 500)
    np.testing.assert_allclose(after.mean, before.mean + share * (raw.mean(axis=0) - before.mean), rtol=1e-3, atol=1e-4)
    assert make()[0].init(jax.random.key(0)).params.inputs == ()


def test_a_trial_longer_than_the_context_is_refused() -> None:
    """The context is the trial that was trained on, two episodes of 15 steps; a recurrent state has none."""
    algorithm, benchmark = make(network="transformer")
    assert algorithm.plan.context == 30 and make(network="lstm")[0].plan.context is None
    with pytest.raises(UserError, match="a trial of 45 steps, but the agent's memory holds 30: evaluate it on"):
        evaluate(algorithm, benchmark, benchmark.test, None, Protocol(2, episodes=3))


def test_bad_input() -> None:
    with pytest.raises(UserError, match="network is 'mlp'; the recurrent networks are gru, lstm, transformer"):
        make(network="mlp")
    with pytest.raises(UserError, match="cells has 1 numbers; an observation has 2"):
        make(cells=(25,))
    with pytest.raises(UserError, match=r"cells is \(4, 5\), fewer than the \(5, 5\) places"):
        make(cells=(4, 5))
    with pytest.raises(UserError, match=r"capacity is 5; it must satisfy 6 ≤ capacity"):
        make(capacity=5)
    algorithm, _ = make(capacity=10**12)
    with pytest.raises(UserError, match="a buffer of 1000000000000 items needs .* GiB and the machine has"):
        jax.eval_shape(algorithm.init, jax.random.key(0))
