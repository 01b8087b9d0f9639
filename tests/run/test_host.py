"""A benchmark that is stepped on the host goes through the collector and the loop like any other: CartPole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from adaptax.algorithms.rl2 import RL2
from adaptax.envs.host.classic import CartPoleTask, cart_pole, set_cart_pole
from adaptax.run import checkpoint
from adaptax.run.collect import collect, streams_of
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.run.iterate import begin
from adaptax.run.source import living
from adaptax.run.train import Settings, root_keys, train
from adaptax.types import Benchmark, Decision, Plan, UserError

HORIZON = 20


def benchmark() -> Benchmark:
    return cart_pole(HORIZON)


@dataclass(frozen=True)
class Tilted:
    """Pushes against the tilt half of the time, with it otherwise: poles fall, but not at once."""

    def begin(self, params: Any, key: Any, birth: Any) -> Any:
        return ()

    def start(self, params: Any) -> Any:
        return ()

    def act(self, params: Any, adapted: Any, memory: Any, timestep: Any, key: Any) -> Any:
        against = (timestep.observation[2] > 0).astype(jnp.int32)
        return Decision(jnp.where(jax.random.bernoulli(key, 0.3), against, 1 - against)), memory

    def adapt(self, params: Any, adapted: Any, rollout: Any, key: Any) -> Any:
        return adapted


def assert_is_cart_pole(rollouts: Any, tasks: CartPoleTask) -> None:
    """Every episode, played again from its first observation, gives the same observations and ends."""
    arrays = (
        rollouts.timestep.observation,
        rollouts.decision.action,
        rollouts.next_observation,
        rollouts.terminated,
        rollouts.truncated,
        rollouts.timestep.first,
    )
    observation, action, following, terminated, truncated, first = (np.asarray(x) for x in arrays)
    pole = CartPoleEnv()
    for n, r, b in np.ndindex(action.shape[:3]):
        set_cart_pole(pole, jax.tree.map(lambda x, n=n: float(x[n]), tasks))
        for t in range(action.shape[3]):
            here = (n, r, b, t)
            if first[here] or t == 0:
                pole.reset()
                pole.state = np.asarray(observation[here], np.float64)
            else:
                np.testing.assert_array_equal(observation[here], following[n, r, b, t - 1])
            expected, _, over, _, _ = pole.step(int(action[here]))
            np.testing.assert_allclose(following[here], expected, rtol=1e-4, atol=1e-5)
            assert terminated[here] == over
            if t + 1 < action.shape[3]:
                assert first[n, r, b, t + 1] == (terminated[here] or truncated[here])


def test_the_collector_steps_the_host() -> None:
    """Poles of different lengths, episodes that fall and episodes that the clock stops."""
    on, plan = benchmark(), Plan(tasks=3, rounds=2, streams=2, steps=50, lifetime=2)
    streams = streams_of(on.environment)
    assert streams is on.environment

    @jax.jit
    def run(key: Any) -> Any:
        return collect(Tilted(), streams, on.train, plan, (), None, key)

    trials, _, tasks = run(jax.random.key(0))
    rollouts = trials.rollouts
    assert np.ptp(tasks.length) > 0.1
    assert rollouts.terminated.any() and rollouts.truncated.any()
    assert_is_cart_pole(rollouts, tasks)
    again, _, _ = run(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, rollouts, again.rollouts)


def test_lives_on_the_host_go_on() -> None:
    """Only the streams of lives that have ended are begun again; the others stand where they stood."""
    on, plan = benchmark(), Plan(tasks=4, rounds=1, streams=2, steps=5, lifetime=2, restart=False)
    streams = streams_of(on.environment)

    @partial(jax.jit, static_argnums=0)
    def run(begun: bool, lives: Any, key: Any) -> Any:
        return collect(Tilted(), streams, on.train, plan, (), lives if begun else None, key)

    trials, lives, tasks = run(False, None, jax.random.key(0))
    lives = lives._replace(age=jnp.asarray([1, 2, 1, 2], jnp.int32))
    later, _, after = run(True, lives, jax.random.key(1))
    np.testing.assert_array_equal(np.asarray(after.length) == np.asarray(tasks.length), [True, False, True, False])
    assert_is_cart_pole(later.rollouts, after)
    begun = np.asarray(later.rollouts.timestep.observation[:, 0, :, 0])
    stood = np.asarray(trials.rollouts.last.observation[:, 0])
    np.testing.assert_array_equal(begun[[0, 2]], stood[[0, 2]])
    assert (begun[[1, 3]] != stood[[1, 3]]).all() and (np.abs(begun[[1, 3]]) <= 0.05).all()
    assert later.rollouts.timestep.first[np.array([1, 3]), 0, :, 0].all()
    # Whoever uses the environments of lives that go on, a third of them here, is found out.
    assert streams.failure() is None
    run(False, None, jax.random.key(2))
    assert streams.failure() is None
    run(True, lives, jax.random.key(1))
    failure = streams.failure()
    assert failure is not None and "step 6 of an episode on task 0" in str(failure)
    assert "its environment was begun again by another collection" in str(failure)


@pytest.mark.slow
def test_rl2_trains_on_the_host_and_resumes(tmp_path: Path) -> None:
    on = benchmark()
    algorithm = RL2(on.spec, tasks=3, streams=2, hidden=8, epochs=1, minibatches=2)

    def go(name: str, iterations: int, resume: bool = False) -> None:
        settings = Settings(iterations, seed=1, log_every=1, quiet=True)
        train(algorithm, benchmark(), settings, tmp_path / name, resume=resume)

    go("whole", 6)
    go("pieces", 3)
    go("pieces", 6, resume=True)
    template = jax.eval_shape(lambda root: begin(algorithm, living(algorithm, on), root), root_keys(1, 1))
    whole, pieces = (checkpoint.restore(tmp_path / n / "checkpoints", template)[0] for n in ("whole", "pieces"))
    assert int(whole.state.iteration) == 6
    jax.tree.map(np.testing.assert_array_equal, whole, pieces)
    rows = [(tmp_path / n / "metrics.jsonl").read_text().splitlines() for n in ("whole", "pieces")]
    returns = [[json.loads(row)["return"] for row in each] for each in rows]
    assert len(returns[0]) == 6 and returns[0] == returns[1]
    fresh = begin(algorithm, living(algorithm, on), root_keys(1, 1)).state.params
    assert np.abs(whole.state.params.heads - fresh.heads).max() > 1e-4


def test_an_evaluation_steps_the_host() -> None:
    """Episodes are counted, and the same seed gives the same tasks and the same returns, whatever ran in between."""
    on, protocol = benchmark(), Protocol(tasks=5, rounds=2, streams=2, episodes=2, seed=3)
    first = evaluate(Tilted(), on, on.test, (), protocol)
    assert first.returns.shape == (5, 2, 2, 2) and first.success.max() == 0
    assert first.returns.min() >= 1 and first.returns.max() <= HORIZON and np.ptp(first.returns) > 0
    again = evaluate(Tilted(), on, on.test, (), protocol)
    jax.tree.map(np.testing.assert_array_equal, first, again)


@pytest.mark.parametrize("several", [{"seeds": 2}, {"devices": 2}])
def test_one_seed_on_one_device(tmp_path: Path, several: dict[str, int]) -> None:
    algorithm = RL2(benchmark().spec, tasks=4, hidden=8, minibatches=2)
    with pytest.raises(UserError, match="on the host trains one seed on one device"):
        train(algorithm, benchmark(), Settings(1, quiet=True, **several), tmp_path, resume=False)
