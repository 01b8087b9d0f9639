"""A benchmark that is stepped on the host: Gymnasium's CartPole behind ordered callbacks, one object a stream."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from jax.experimental import io_callback

from adaptax.algorithms.rl2 import RL2
from adaptax.envs.host.callback import Host
from adaptax.run import checkpoint
from adaptax.run.collect import collect, streams_of
from adaptax.run.iterate import begin
from adaptax.run.train import Settings, root_keys, train
from adaptax.types import Benchmark, Decision, Outcome, Plan, Spec, TaskDistribution, UserError

pytestmark = pytest.mark.usefixtures("quick_compilation")

HORIZON = 12


class PoleTask(NamedTuple):
    length: Any  # half the pole's length


class CartPoles:
    """`Streams` whose state lives in Python: what JAX carries is (), and the callbacks' order is the time."""

    def __init__(self) -> None:
        self.host = Host("poles")
        self.failed, self.failure = self.host.failed, self.host.failure
        self.poles: dict[tuple[int, ...], CartPoleEnv] = {}

    @property
    def spec(self) -> Spec:
        space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
        return Spec(space, gymnasium.spaces.Discrete(2), HORIZON, episodes=2)

    def first_streams(self, tasks: PoleTask, keys: Any) -> Any:
        nothing = jnp.zeros((*keys.shape, 4), jnp.float32)
        return self.reset_streams(tasks, (), nothing, jnp.ones(keys.shape, bool), keys)

    def reset_streams(self, tasks: PoleTask, states: Any, observations: Any, ended: Any, keys: Any) -> Any:
        seeds = jax.vmap(jax.vmap(jax.random.bits))(keys)
        shape = jax.ShapeDtypeStruct((*ended.shape, 4), jnp.float32)
        return (), io_callback(self._reset, shape, tasks.length, observations, ended, seeds, ordered=True)

    def step_streams(self, tasks: PoleTask, states: Any, actions: Any, keys: Any) -> Any:
        shapes = (
            jax.ShapeDtypeStruct((*actions.shape, 4), jnp.float32),
            jax.ShapeDtypeStruct(actions.shape, jnp.float32),
            jax.ShapeDtypeStruct(actions.shape, jnp.bool_),
        )
        return (), Outcome(*io_callback(self._step, shapes, actions, ordered=True))

    def _reset(self, lengths: Any, observations: Any, ended: Any, seeds: Any) -> np.ndarray:
        result = np.array(observations)
        for place in np.argwhere(np.asarray(ended)):
            pole = self.poles.setdefault(tuple(place), CartPoleEnv())
            set_length(pole, float(lengths[place[0]]))
            result[tuple(place)], _ = pole.reset(seed=int(seeds[tuple(place)]))
        return result

    def _step(self, actions: Any) -> Any:
        actions = np.asarray(actions)
        observations = np.zeros((*actions.shape, 4), np.float32)
        rewards, over = np.zeros(actions.shape, np.float32), np.zeros(actions.shape, bool)
        for place in np.ndindex(actions.shape):
            step = self.poles[place].step(int(actions[place]))
            observations[place], rewards[place], over[place] = step[:3]
        return observations, rewards, over


def set_length(pole: CartPoleEnv, length: float) -> None:
    pole.length = length
    pole.polemass_length = pole.masspole * length


def draw(key: Any) -> PoleTask:
    return PoleTask(jax.random.uniform(key, (), jnp.float32, 0.1, 1.0))


def benchmark() -> Benchmark:
    return Benchmark(CartPoles(), *[TaskDistribution(draw)] * 3)


@dataclass(frozen=True)
class Tilted:
    """Pushes against the tilt half of the time, with it otherwise: poles fall, but not at once."""

    def begin(self, params: Any, key: Any, index: Any) -> Any:
        return ()

    def start(self, params: Any) -> Any:
        return ()

    def act(self, params: Any, adapted: Any, memory: Any, timestep: Any, key: Any) -> Any:
        against = (timestep.observation[2] > 0).astype(jnp.int32)
        return Decision(jnp.where(jax.random.bernoulli(key, 0.3), against, 1 - against)), memory

    def adapt(self, params: Any, adapted: Any, rollout: Any, key: Any) -> Any:
        return adapted


def assert_is_cart_pole(rollouts: Any, tasks: PoleTask) -> None:
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
        set_length(pole, float(tasks.length[n]))
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
    on, plan = benchmark(), Plan(tasks=3, rounds=2, streams=2, steps=30, lifetime=2)
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


def test_rl2_trains_on_the_host_and_resumes(tmp_path: Path) -> None:
    spec = benchmark().spec
    algorithm = RL2(spec, tasks=3, streams=2, hidden=8, epochs=1, minibatches=2)

    def go(name: str, iterations: int, resume: bool = False) -> None:
        settings = Settings(iterations, seed=1, log_every=1, quiet=True)
        train(algorithm, benchmark(), settings, tmp_path / name, resume=resume)

    go("whole", 3)
    go("pieces", 1)
    go("pieces", 3, resume=True)
    template = jax.eval_shape(lambda root: begin(algorithm, benchmark(), root), root_keys(1, 1))
    whole, pieces = (checkpoint.restore(tmp_path / n / "checkpoints", template)[0] for n in ("whole", "pieces"))
    assert int(whole.state.iteration) == 3
    jax.tree.map(np.testing.assert_array_equal, whole, pieces)
    fresh = begin(algorithm, benchmark(), root_keys(1, 1)).state.params
    assert np.abs(whole.state.params.heads - fresh.heads).max() > 1e-4


@pytest.mark.parametrize("several", [{"seeds": 2}, {"devices": 2}])
def test_one_seed_on_one_device(tmp_path: Path, several: dict[str, int]) -> None:
    algorithm = RL2(benchmark().spec, tasks=4, hidden=8, minibatches=2)
    with pytest.raises(UserError, match="on the host trains one seed on one device"):
        train(algorithm, benchmark(), Settings(1, quiet=True, **several), tmp_path, resume=False)
