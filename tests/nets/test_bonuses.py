"""HyperX's bonuses: what is new, what the decoder gets wrong, and in which unit both are paid."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.nets.belief import Belief, Story
from adaptax.nets.bonuses import Bonuses
from adaptax.types import Spec

STEPS, TRIALS, LATENT = 6, 4, 3
BOX = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
BELIEF = Belief(Spec(BOX, gymnasium.spaces.Discrete(2), STEPS), LATENT, 5, 8, (6,), (), False)
BONUSES = Bonuses(BELIEF, 2.0, 3.0, 0.9, hidden=(16, 16), outputs=4, learning_rate=3e-3)


def stories(seed: int = 0) -> Story:
    draw = np.random.default_rng(seed)
    shapes = ((STEPS, 8), (STEPS, 4), (STEPS, 2), (STEPS,))
    seen = (jnp.asarray(draw.normal(size=(TRIALS, *shape)), jnp.float32) for shape in shapes)
    return Story(*seen, within=jnp.ones((TRIALS, STEPS), jnp.float32))


def begun() -> tuple[Any, Any]:
    return BONUSES.init(jax.random.key(0)), BELIEF.init(jax.random.key(1))


def forward(network: Any, inputs: np.ndarray) -> np.ndarray:
    """A network of ReLU layers, in NumPy."""
    for layer in network[:-1]:
        inputs = np.maximum(inputs @ np.asarray(layer.weight) + np.asarray(layer.bias), 0)
    return inputs @ np.asarray(network[-1].weight) + np.asarray(network[-1].bias)


def test_novelty_is_the_mean_squared_error_of_the_predictor() -> None:
    state, _ = begun()
    reached = np.random.default_rng(1).normal(size=(5, 7, 2 + 2 * LATENT)).astype(np.float32)
    found = BONUSES.novelty(state.prior, state.predictor, jnp.asarray(reached))
    expected = np.mean((forward(state.prior, reached) - forward(state.predictor, reached)) ** 2, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # Three layers of weights ten times as large: predictions a thousand times as large, nearly.
    assert np.std(forward(state.prior, reached)) > 300 * np.std(forward(state.predictor, reached))
    # Who predicts perfectly finds nothing new.
    np.testing.assert_array_equal(BONUSES.novelty(state.prior, state.prior, jnp.asarray(reached)), 0.0)


def test_novelty_falls_where_the_predictor_has_learnt_and_the_prior_stays() -> None:
    state, params = begun()
    # A prior of ordinary size, so that a few hundred steps reach it.
    state = state._replace(prior=jax.tree.map(lambda x: 0.2 * x, state.prior))
    known, other = stories(), jax.tree.map(lambda x: 3 * x, stories(1))

    @jax.jit
    def mean_novelty(state: Any, trials: Story) -> Any:
        after = BELIEF.after_each_step(params, trials)
        reached = jnp.concatenate([trials.reached, after.mean, after.log_std], axis=-1)
        return jnp.mean(BONUSES.novelty(state.prior, state.predictor, reached))

    learn = jax.jit(
        lambda state, root: jax.lax.scan(
            lambda s, key: (BONUSES.learn(s, params, known, key), None), state, jax.random.split(root, 500)
        )[0]
    )
    before = [float(mean_novelty(state, trials)) for trials in (known, other)]
    trained = learn(state, jax.random.key(2))
    after = [float(mean_novelty(trained, trials)) for trials in (known, other)]
    assert after[0] < 0.01 * before[0] and after[1] > 0.05 * before[1]
    jax.tree.map(np.testing.assert_array_equal, trained.prior, state.prior)


def test_surprise_is_the_error_of_each_steps_own_reward() -> None:
    _, params = begun()
    trials = stories()
    latent = jnp.asarray(np.random.default_rng(2).normal(size=(TRIALS, STEPS, LATENT)), jnp.float32)
    found = np.asarray(BONUSES.surprise(params, latent, trials))
    read = np.concatenate([latent, trials.before, trials.reached], axis=-1)
    expected = 0.5 * (forward(params.decoder, read)[..., 0] - np.asarray(trials.reward)) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_bonuses_are_paid_in_units_of_discounted_returns() -> None:
    state, params = begun()
    paid: dict[str, list[float]] = {"reward": [], "novelty": [], "surprise": []}
    for batch in range(3):
        trials, key = stories(batch), jax.random.key(batch)
        rewards, after, metrics = BONUSES.rewards(state, params, trials, jnp.float32(0.5), key)
        posterior = BELIEF.after_each_step(params, trials)
        reached = jnp.concatenate([trials.reached, posterior.mean, posterior.log_std], axis=-1)
        raw = {
            "reward": trials.reward,
            "novelty": BONUSES.novelty(state.prior, state.predictor, reached),
            "surprise": BONUSES.surprise(params, posterior.sample(key), trials),
        }
        for name, values in raw.items():
            for trial in np.asarray(values, np.float64):
                total = 0.0
                for value in trial:
                    total = 0.9 * total + value
                    paid[name].append(total)
        unit = {name: np.std(sums) for name, sums in paid.items()}
        bonus = 2.0 * raw["novelty"] / unit["novelty"] + 3.0 * raw["surprise"] / unit["surprise"]
        expected = np.asarray(trials.reward) + 0.5 * unit["reward"] * np.asarray(bonus)
        np.testing.assert_allclose(rewards, expected, rtol=1e-3)
        assert float(metrics["bonus"]) == pytest.approx(np.mean(expected - np.asarray(trials.reward)), rel=1e-3)
        state = after
    # Nothing is left of them at the end, and where nothing was ever paid they are paid as they are.
    rewards, _, _ = BONUSES.rewards(state, params, stories(), jnp.float32(0), jax.random.key(0))
    np.testing.assert_array_equal(rewards, stories().reward)
    free = stories()._replace(reward=jnp.zeros((TRIALS, STEPS)))
    rewards, _, _ = BONUSES.rewards(begun()[0], params, free, jnp.float32(1), jax.random.key(0))
    assert np.isfinite(rewards).all() and np.all(rewards > 0)
