"""A small collector of its own: strategies are tested without the library's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.names.evaluation import strategies_of
from adaptax.types import Benchmark, Birth, Timestep


def lifetime_returns(
    benchmark: Benchmark,
    strategy: Any,
    split: str = "test",
    tasks: int = 1000,
    seed: int = 0,
    episodes: int = 0,
) -> np.ndarray:
    """Return of every episode of one stream on each of `tasks` tasks: float64 [tasks, episodes]. `strategy` is an
    agent, or the name of a reference of the benchmark.

    A finite split is gone through again from its start when `tasks` exceeds it.
    """
    environment, spec = benchmark.environment, benchmark.spec
    if isinstance(strategy, str):
        strategy = strategies_of(benchmark)[strategy](spec)
    episodes = episodes or spec.episodes
    key_tasks, key_play = jax.random.split(jax.random.key(seed))
    _, batch = benchmark.split(split).enumerate(key_tasks, tasks)

    def play(task: Any, key: Any) -> Any:
        key_reset, key_begin, key_steps = jax.random.split(key, 3)
        params = task if strategy.informed else ()
        adapted = strategy.begin(params, key_begin, Birth())
        state, observation = environment.reset(task, key_reset)
        sample = benchmark.spec.action_space.sample()
        action = jnp.zeros(np.shape(sample), np.asarray(sample).dtype)
        first = Timestep(observation, action, jnp.float32(0), jnp.asarray(True))

        def step(carry: Any, inputs: Any) -> Any:
            state, memory, timestep, alive = carry
            key, ends = inputs
            key_act, key_step, key_reset = jax.random.split(key, 3)
            decision, memory = strategy.act(params, adapted, memory, timestep, key_act)
            state, outcome = environment.step(task, state, decision.action, key_step)
            # A terminated episode pays nothing until its horizon; the next one then begins.
            reward = jnp.where(alive, outcome.reward, 0.0)
            alive = (alive & ~jnp.asarray(outcome.terminated)) | ends
            fresh, start = environment.reset(task, key_reset)
            state = jax.tree.map(lambda new, old: jnp.where(ends, new, old), fresh, state)
            observation = jnp.where(ends, start, outcome.observation)
            timestep = Timestep(observation, decision.action, outcome.reward, ends)
            return (state, memory, timestep, alive), reward

        length = episodes * spec.horizon
        ends = (jnp.arange(length) + 1) % spec.horizon == 0
        carry = (state, strategy.start(params), first, jnp.asarray(True))
        rewards = jax.lax.scan(step, carry, (jax.random.split(key_steps, length), ends))[1]
        return rewards.reshape(episodes, spec.horizon).sum(axis=1)

    # Nearly all of the time is compilation: do little of it.
    options = {"xla_backend_optimization_level": 0}
    returns = jax.jit(jax.vmap(play), compiler_options=options)(batch, jax.random.split(key_play, tasks))
    return np.asarray(returns, np.float64)


@pytest.fixture(scope="session")
def play() -> Callable[..., np.ndarray]:
    return lifetime_returns
