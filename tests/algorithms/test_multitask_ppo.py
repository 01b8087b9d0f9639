"""Multi-task PPO: fine-tuning is Adam on the round's loss, and begins anew on every task."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from algorithms.meta_batch import collected

from adaptax.names import registry
from adaptax.types import Birth, UserError

SMALL: dict[str, Any] = {"tasks": 3, "streams": 4, "hidden": (5,), "fine_tuning_epochs": 3}


def make(**fields: Any) -> tuple[Any, Any]:
    benchmark = registry.make_benchmark("navigation", {"horizon": 6})
    return registry.make_algorithm("multitask-ppo", None, benchmark.spec, {**SMALL, **fields}), benchmark


def test_fine_tuning_is_adam_on_the_clipped_loss() -> None:
    algorithm, benchmark = make(gradient_clip=1e6, fine_tuning_rate=0.02)
    state, trials = collected(algorithm, benchmark, noise=0.1)
    rollout = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    key = jax.random.key(0)
    begun = algorithm.begin(state.params, key, Birth())
    found = jax.jit(algorithm.adapt)(state.params, begun, rollout, key)
    batch, optimizer = algorithm._batch(rollout), optax.adam(0.02)
    policy, moments = state.params, optimizer.init(state.params)
    for _ in range(3):
        logs = lambda p: algorithm._policy.distribution(p, batch.observation).log_probability(batch.action)  # noqa: E731

        def loss(p: Any) -> Any:
            ratio = jnp.exp(logs(p) - batch.extras.log_probability)  # noqa: B023
            return -jnp.mean(jnp.minimum(ratio * batch.advantage, jnp.clip(ratio, 0.8, 1.2) * batch.advantage))  # noqa: B023

        step, moments = optimizer.update(jax.grad(loss)(policy), moments)
        policy = optax.apply_updates(policy, step)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found.policy, policy)
    assert algorithm.loss(found.policy, batch)[0] < algorithm.loss(state.params, batch)[0] - 0.01
    other = algorithm.begin(state.params, key, Birth())  # on the next task everything begins again
    jax.tree.map(np.testing.assert_array_equal, other, begun)


def test_without_epochs_the_policy_stays() -> None:
    algorithm, benchmark = make(fine_tuning_epochs=0)
    state, trials = collected(algorithm, benchmark, noise=0.1)
    rollout = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    begun = algorithm.begin(state.params, jax.random.key(0), Birth())
    found = algorithm.adapt(state.params, begun, rollout, jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, found, begun)
    with pytest.raises(UserError, match="fine-tuning-epochs is -1"):
        make(fine_tuning_epochs=-1)
