"""Environments, step by step, against slow references in plain NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.bandit import BanditTask, BernoulliBandit, bandit
from adaptax.envs.gaussian_bandit import GaussianBandit, GaussianBanditTask, gaussian_bandit
from adaptax.envs.gridnavi import all_goals, gridnavi
from adaptax.envs.navigation import navigation, published_goals
from adaptax.envs.rooms import rooms
from adaptax.envs.sparse_navigation import half_circle_goals, sparse_navigation
from adaptax.envs.tabular_mdp import mdp_task, tabular_mdp
from adaptax.envs.treasure import treasure
from adaptax.types import Benchmark, UserError


def walk(benchmark: Benchmark, task: Any, actions: np.ndarray) -> Any:
    """The outcomes of one stream that takes `actions` in turn, leading axis time."""
    environment = benchmark.environment
    state, _ = environment.reset(task, jax.random.key(0))

    def step(state: Any, inputs: Any) -> Any:
        return environment.step(task, state, *inputs)

    keys = jax.random.split(jax.random.key(1), len(actions))
    return jax.lax.scan(step, state, (jnp.asarray(actions), keys))[1]


BUILDERS = [bandit, gaussian_bandit, tabular_mdp, navigation, sparse_navigation, gridnavi, rooms, treasure]


@pytest.mark.parametrize("build", BUILDERS)
def test_observations_fit_their_space_and_types_are_explicit(build: Any) -> None:
    benchmark = build()
    task = jax.tree.map(lambda leaf: leaf[0], benchmark.test.enumerate(jax.random.key(0), 1)[1])
    state, observation = benchmark.environment.reset(task, jax.random.key(1))
    action = jnp.asarray(benchmark.spec.action_space.sample())
    after, outcome = benchmark.environment.step(task, state, action, jax.random.key(2))
    space = benchmark.spec.observation_space
    assert space.contains(np.asarray(observation)) or space.contains(int(observation))
    for leaf in jax.tree.leaves((state, observation, after, outcome.observation, outcome.reward)):
        assert leaf.dtype in (jnp.float32, jnp.int32) and not leaf.weak_type
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, after)
    assert outcome.reward.dtype == jnp.float32 and outcome.reward.shape == ()


def test_bandit_wins_with_the_probability_of_the_arm() -> None:
    probabilities = np.asarray([0.0, 0.2, 0.7, 1.0], np.float32)
    environment = BernoulliBandit(arms=4, pulls=10)
    keys = jax.random.split(jax.random.key(0), 20_000)
    for arm, probability in enumerate(probabilities):
        actions = jnp.full((20_000,), arm, jnp.int32)
        step = jax.vmap(environment.step, in_axes=(None, None, 0, 0))
        _, outcome = step(BanditTask(jnp.asarray(probabilities)), (), actions, keys)
        assert set(np.unique(outcome.reward)) <= {0.0, 1.0}
        assert abs(float(outcome.reward.mean()) - probability) <= 4 * (0.25 / 20_000) ** 0.5


def test_gaussian_bandit_pays_the_mean_with_the_noise() -> None:
    environment = GaussianBandit(arms=2, pulls=10, noise=0.3)
    task = GaussianBanditTask(jnp.asarray([0.1, 0.9], jnp.float32))
    keys = jax.random.split(jax.random.key(0), 20_000)
    rewards = np.asarray(jax.vmap(lambda key: environment.step(task, (), jnp.int32(1), key)[1].reward)(keys))
    assert abs(rewards.mean() - 0.9) < 4 * 0.3 / 20_000**0.5
    assert abs(rewards.std() - 0.3) < 0.01


def test_tabular_mdp_follows_its_tables() -> None:
    benchmark = tabular_mdp()
    _, tasks = benchmark.train.sample(jax.random.key(0), 400)
    transitions = np.asarray(tasks.transitions)
    assert np.all(transitions >= -1e-6)
    np.testing.assert_allclose(transitions.sum(-1), 1.0, atol=1e-5)
    # Of a Dirichlet(1, …, 1) with 10 parts every part has mean 1/10 and variance 9/1100.
    np.testing.assert_allclose(transitions.mean(), 0.1, atol=1e-5)
    np.testing.assert_allclose(transitions.var(), 9 / 1100, rtol=0.02)
    np.testing.assert_allclose(np.asarray(tasks.rewards).mean(), 1.0, atol=0.03)
    np.testing.assert_allclose(np.asarray(tasks.rewards).std(), 1.0, atol=0.03)

    task = jax.tree.map(lambda leaf: leaf[0], tasks)
    keys = jax.random.split(jax.random.key(2), 50_000)
    step = jax.jit(
        jax.vmap(lambda key: benchmark.environment.step(task, jnp.int32(3), jnp.int32(2), key)[1]),
        compiler_options={"xla_backend_optimization_level": 0},  # nearly all of the time is compilation
    )
    outcome = step(keys)
    frequency = np.bincount(outcome.observation, minlength=10) / 50_000
    np.testing.assert_allclose(frequency, transitions[0, 3, 2], atol=4 * (0.25 / 50_000) ** 0.5)
    noise = np.asarray(outcome.reward) - float(task.rewards[3, 2])
    assert abs(noise.mean()) < 4 / 50_000**0.5 and abs(noise.std() - 1) < 0.02
    # The two draws of a step are independent.
    assert abs(np.corrcoef(noise, np.asarray(outcome.observation))[0, 1]) < 0.02


def test_a_certain_transition_is_certain() -> None:
    benchmark = tabular_mdp(states=3, actions=2)
    certain = np.zeros((3, 2, 3), np.float32)
    certain[..., 2] = 1.0
    task = mdp_task(np.zeros((3, 2)), certain)
    np.testing.assert_allclose(task.transitions, certain)
    outcome = walk(benchmark, task, np.zeros(1000, np.int32))
    assert np.all(np.asarray(outcome.observation) == 2)


@pytest.mark.parametrize("scale_actions", [True, False])
def test_navigation_against_numpy(scale_actions: bool) -> None:
    benchmark = navigation(scale_actions=scale_actions)
    generator = np.random.default_rng(0)
    actions = generator.normal(0, 1.0 if scale_actions else 0.1, (300, 2)).astype(np.float32)
    task = jax.tree.map(lambda leaf: leaf[0], benchmark.train.sample(jax.random.key(0), 1)[1])
    goal, low, high = np.asarray(task.goal), -0.1, 0.1
    outcome = walk(benchmark, task, actions)
    position = np.zeros(2)
    for t, action in enumerate(actions):
        scaled = low + (action + 1.0) * 0.5 * (high - low) if scale_actions else action
        position = position + np.clip(scaled, low, high)
        x, y = position - goal
        np.testing.assert_allclose(outcome.observation[t], position, atol=2e-5)
        np.testing.assert_allclose(outcome.reward[t], -((x**2 + y**2) ** 0.5), atol=2e-5)
        if abs(abs(x) - 0.01) > 1e-4 and abs(abs(y) - 0.01) > 1e-4:
            assert bool(outcome.terminated[t]) == bool(outcome.success[t]) == (abs(x) < 0.01 and abs(y) < 0.01)


def test_navigation_ends_at_the_goal_only() -> None:
    benchmark = navigation()
    task = jax.tree.map(lambda leaf: leaf[0], benchmark.train.sample(jax.random.key(0), 1)[1])
    for offset, reached in (((0.009, -0.009), True), ((0.011, 0.0), False), ((0.0, 0.011), False)):
        at = task.goal + jnp.asarray(offset, jnp.float32)
        outcome = benchmark.environment.step(task, at, jnp.zeros(2, jnp.float32), jax.random.key(0))[1]
        assert bool(outcome.terminated) is reached


def test_staying_at_the_origin_scores_the_published_value() -> None:
    benchmark = navigation()
    published = benchmark.named["published"]
    assert published.size == 40
    np.random.seed(1)
    np.testing.assert_allclose(published.tasks.goal, np.random.uniform(-0.5, 0.5, (40, 2)), rtol=4e-7)
    np.testing.assert_allclose(published.tasks.goal[:, 1], published_goals()[:, 1], rtol=0)
    _, tasks = published.enumerate(jax.random.key(0), 40)
    outcome = jax.vmap(lambda task: walk(benchmark, task, np.zeros((100, 2), np.float32)))(tasks)
    assert not np.any(outcome.terminated)
    np.testing.assert_allclose(np.asarray(outcome.reward).sum(1).mean(), -40.08, atol=0.005)


def test_dense_rewards_on_the_training_goals_only() -> None:
    mixed = sparse_navigation(dense_training=True)
    action = np.zeros((3, 2), np.float32)
    for split, expected in (("train", -1.0), ("validation", 0.0), ("test", 0.0), ("paper", 0.0)):
        task = jax.tree.map(lambda x: x[5], mixed.split(split).enumerate(jax.random.key(0), 10)[1])
        np.testing.assert_allclose(walk(mixed, task, action).reward, expected, atol=1e-6)
    np.testing.assert_array_equal(mixed.train.tasks.goal, sparse_navigation().train.tasks.goal)
    for split in ("train", "test"):
        assert sparse_navigation(dense=True).split(split).tasks.dense.all()
        assert not sparse_navigation().split(split).tasks.dense.any()


def test_sparse_navigation_against_numpy() -> None:
    generator = np.random.default_rng(0)
    sparse, dense = sparse_navigation(), sparse_navigation(dense=True)
    task = jax.tree.map(lambda leaf: leaf[0], sparse.test.enumerate(jax.random.key(0), 1)[1])
    goal = np.asarray(task.goal)
    actions = (10 * goal / np.linalg.norm(goal) * 0.1 + 0.5 * generator.normal(size=(40, 2))).astype(np.float32)
    outcome, other = walk(sparse, task, actions), walk(dense, task._replace(dense=jnp.bool_(True)), actions)
    position, seen = np.zeros(2), set()
    for t, action in enumerate(actions):
        position = position + np.clip(0.1 * action, -0.1, 0.1)
        distance = np.linalg.norm(position - goal)
        np.testing.assert_allclose(outcome.observation[t], position, atol=1e-5)
        np.testing.assert_allclose(other.reward[t], -distance, atol=1e-5)
        np.testing.assert_allclose(outcome.shaped[t], -distance, atol=1e-5)
        if abs(distance - 0.2) > 1e-4:
            np.testing.assert_allclose(outcome.reward[t], 1 - distance if distance <= 0.2 else 0.0, atol=1e-5)
            assert bool(outcome.success[t]) == (distance <= 0.2)
            seen.add(bool(outcome.success[t]))
    assert seen == {True, False} and not np.any(outcome.terminated)


def test_sparse_navigation_goals_are_the_published_ones() -> None:
    np.random.seed(1337)
    angles = np.linspace(0, np.pi, num=100)
    goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.random.shuffle(goals)
    np.testing.assert_allclose(half_circle_goals(), goals, atol=1e-7)
    held_out, paper = sparse_navigation(), sparse_navigation(goals="paper")
    assert (held_out.train.size, held_out.validation.size, held_out.test.size) == (70, 10, 20)
    assert (paper.train.size, paper.test.size, held_out.named["paper"].size) == (80, 20, 80)
    np.testing.assert_array_equal(held_out.test.tasks.goal, half_circle_goals()[-20:])
    assert "validation goals are training goals" in paper.describe


def test_gridnavi_against_numpy() -> None:
    benchmark = gridnavi()
    actions = np.random.default_rng(0).integers(0, 5, 500).astype(np.int32)
    task = jax.tree.map(lambda leaf: leaf[0], benchmark.train.enumerate(jax.random.key(0), 1)[1])
    outcome = walk(benchmark, task, actions)
    moves = {0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (0, -1), 4: (-1, 0)}  # stay, up, right, down, left
    position = np.zeros(2)
    for t, action in enumerate(actions):
        position = np.clip(position + moves[int(action)], 0, 4)
        found = bool(np.all(position == np.asarray(task.goal)))
        np.testing.assert_array_equal(outcome.observation[t], position)
        np.testing.assert_allclose(outcome.reward[t], 1.0 if found else -0.1)
        assert bool(outcome.success[t]) == found


def test_gridnavi_never_trains_on_test_goals_unawares() -> None:
    held_out, paper = gridnavi(), gridnavi(goals="paper")
    parts = [
        {tuple(goal) for goal in np.asarray(held_out.split(s).tasks.goal)} for s in ("train", "validation", "test")
    ]
    assert [len(part) for part in parts] == [13, 4, 4] and len(set.union(*parts)) == 21
    assert set.union(*parts) == {tuple(goal) for goal in all_goals()}
    assert paper.train.size == paper.test.size == held_out.named["paper"].size == 21
    assert "goals of training" in paper.describe and "unseen" in held_out.describe


@pytest.mark.parametrize(
    "build",
    [
        lambda: bandit(arms=1),
        lambda: bandit(pulls=0),
        lambda: gaussian_bandit(noise=-1.0),
        lambda: tabular_mdp(episodes=0),
        lambda: tabular_mdp(actions=1),
        lambda: navigation(horizon=0),
        lambda: sparse_navigation(goals="all"),  # type: ignore[arg-type]
        lambda: gridnavi(goals="all"),  # type: ignore[arg-type]
        lambda: gridnavi(episodes=0),
    ],
)
def test_settings_out_of_range_are_refused(build: Any) -> None:
    with pytest.raises(UserError):
        build()
