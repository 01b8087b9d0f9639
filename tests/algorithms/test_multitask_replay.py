"""The off-policy multi-task baselines: losses by hand, targets, the replay, fine-tuning, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected

from adaptax import buffers
from adaptax.names import registry
from adaptax.ops.epsilon_greedy import annealed
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.run.iterate import begin, many, meta_iteration
from adaptax.run.source import living
from adaptax.run.train import root_keys
from adaptax.tasks import TaskSet
from adaptax.types import Birth, UserError

SMALL: dict[str, Any] = {"tasks": 3, "streams": 2, "hidden": (6,), "batch": 7, "gradient_steps": 3, "discount": 0.9}
SMALL |= {"capacity": 80, "target_rate": 0.1, "fine_tuning_steps": 4, "fine_tuning_capacity": 15}
# The reward is perceived sparse, the one to learn from in training is dense; steps of DQN's process tell of resets.
BENCHMARKS = {
    "multitask-sac": registry.make_benchmark("sparse-navigation", {"horizon": 5}),
    "multitask-ddpg": registry.make_benchmark("sparse-navigation", {"horizon": 5}),
    "multitask-dqn": registry.make_benchmark("tabular-mdp", {"episodes": 2, "states": 3, "actions": 4, "horizon": 3}),
}
NAMES = tuple(BENCHMARKS)


def make(name: str, **fields: Any) -> Any:
    return registry.make_algorithm(name, None, BENCHMARKS[name].spec, {**SMALL, **fields})


@cache
def meta_batch(name: str) -> tuple[Any, Any, Any]:
    algorithm = make(name)
    return algorithm, *collected(algorithm, BENCHMARKS[name], noise=0.3)


@cache
def updated(name: str) -> tuple[Any, Any]:
    algorithm, state, trials = meta_batch(name)
    return jax.jit(algorithm.update)(state, trials, jax.random.key(0))


@cache
def stepping(name: str) -> Any:
    return jax.jit(meta_batch(name)[0].gradient_step)


sample = jax.jit(buffers.sample, static_argnums=2)


def transitions(name: str) -> Any:
    """A batch from the replay, in which some transitions terminate."""
    batch = sample(updated(name)[0].ring, jax.random.key(3), 7)
    return batch._replace(terminated=np.array([0, 1, 0, 0, 1, 0, 0], np.float32))


def layers(params: Any, *inputs: Any) -> np.ndarray:
    """A network of two layers in NumPy."""
    first, last = (jax.tree.map(lambda p: np.asarray(p, np.float64), layer) for layer in params)
    x = np.concatenate([np.asarray(i, np.float64) for i in inputs], axis=-1)
    return np.maximum(x @ first.weight + first.bias, 0) @ last.weight + last.bias


def assert_same(left: Any, right: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, left, right)


def moves(loss: Any, tree: Any) -> list[bool]:
    """Which of the branches of `tree` the loss has a slope in."""
    return [any(np.any(leaf != 0) for leaf in jax.tree.leaves(branch)) for branch in jax.jit(jax.grad(loss))(tree)]


def test_the_losses_of_soft_actor_critic_by_hand() -> None:
    algorithm, state, _ = meta_batch("multitask-sac")
    params, key, b = state.params, jax.random.key(4), transitions("multitask-sac")
    alpha = np.exp(float(params.log_temperature))
    assert abs(np.log(alpha)) > 0.01

    def drawn(observation: Any) -> tuple[np.ndarray, np.ndarray]:
        mean, log_std = np.split(layers(params.policy, observation), 2, axis=-1)
        noise = np.asarray(jax.random.normal(key, mean.shape))
        action = np.tanh(mean + np.exp(log_std) * noise)
        logs = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - action**2)
        return action, logs.sum(-1)

    action, logs = drawn(b.next_observation)
    lower = np.min([layers(p, b.next_observation, action)[:, 0] for p in params.targets], axis=0)
    goal = np.asarray(b.reward) + 0.9 * (1 - np.asarray(b.terminated)) * (lower - alpha * logs)
    expected = sum(np.mean((layers(p, b.observation, b.action)[:, 0] - goal) ** 2) for p in params.critics)
    np.testing.assert_allclose(jax.jit(algorithm.critic_loss)(params.critics, params, b, key), expected, rtol=1e-4)
    action, logs = drawn(b.observation)
    lower = np.min([layers(p, b.observation, action)[:, 0] for p in params.critics], axis=0)
    given = (params.policy, params.critics, params.log_temperature, b.observation, key)
    found, found_logs = jax.jit(algorithm.policy_loss)(*given)
    np.testing.assert_allclose(found, np.mean(alpha * logs - lower), rtol=1e-4)
    np.testing.assert_allclose(found_logs, logs, rtol=1e-3, atol=1e-4)
    assert algorithm.target_entropy == -2.0
    # Of all parameters the critics' loss teaches the critics alone, whose goal is held constant.
    assert moves(lambda p: algorithm.critic_loss(params.critics, p, b, key), params) == [False] * 4


def test_the_losses_of_a_deterministic_policy_by_hand() -> None:
    algorithm, state, _ = meta_batch("multitask-ddpg")
    (online, _), key, b = state.params, jax.random.key(4), transitions("multitask-ddpg")
    target = jax.tree.map(lambda x: x + 0.05, state.params.target)
    action = np.tanh(layers(target.policy, b.next_observation))
    noise = np.clip(0.2 * np.asarray(jax.random.normal(key, action.shape)), -0.5, 0.5)

    def error(critics: Any, targets: Any, action: np.ndarray) -> Any:
        lower = np.min([layers(p, b.next_observation, action)[:, 0] for p in targets], axis=0)
        goal = np.asarray(b.reward) + 0.9 * (1 - np.asarray(b.terminated)) * lower
        return sum(np.mean((layers(p, b.observation, b.action)[:, 0] - goal) ** 2) for p in critics)

    twin = error(online.critics, target.critics, np.clip(action + noise, -1, 1))
    np.testing.assert_allclose(jax.jit(algorithm.critic_loss)(online.critics, target, b, key), twin, rtol=1e-4)
    plain, one = make("multitask-ddpg", twin=False), target._replace(critics=target.critics[:1])
    single = error(online.critics[:1], one.critics, action)
    np.testing.assert_allclose(jax.jit(plain.critic_loss)(online.critics[:1], one, b, key), single, rtol=1e-4)
    assert single < 0.9 * twin
    value = layers(online.critics[0], b.observation, np.tanh(layers(online.policy, b.observation)))
    found = jax.jit(algorithm.policy_loss)(online.policy, online.critics, b.observation)
    np.testing.assert_allclose(found, -value.mean(), rtol=1e-4)
    assert moves(lambda t: algorithm.critic_loss(online.critics, t, b, key), target) == [False] * 2


@pytest.mark.parametrize(("double", "dueling"), [(False, False), (True, False), (True, True)])
def test_the_loss_of_q_learning_by_hand(double: bool, dueling: bool) -> None:
    algorithm = make("multitask-dqn", double=double, dueling=dueling)
    params, other = (jax.jit(algorithm.init_params)(jax.random.key(k)).online for k in (0, 1))
    b = transitions("multitask-dqn")
    b = b._replace(
        reward=np.asarray(b.reward) + np.array([0, 4, 0, -4, 0, 0, 0], np.float32)
    )  # two beyond the quadratic part

    def values(params: Any, observation: Any) -> np.ndarray:
        outputs = layers(params, observation)
        value, advantage = outputs[:, :1], outputs[:, 1:]
        return value + advantage - advantage.mean(-1, keepdims=True) if dueling else outputs

    assert values(params, b.observation).shape == (7, 4)
    ours, theirs = (values(p, b.next_observation) for p in (params, other))
    best = np.argmax(ours if double else theirs, axis=-1)
    assert np.any(np.argmax(ours, -1) != np.argmax(theirs, -1))
    goal = np.asarray(b.reward) + 0.9 * (1 - np.asarray(b.terminated)) * theirs[np.arange(7), best]
    error = np.abs(values(params, b.observation)[np.arange(7), b.action] - goal)
    assert (error > 1).sum() >= 2 and (error < 1).sum() >= 2
    expected = np.mean(np.where(error < 1, error**2 / 2, error - 0.5))
    found, slope = jax.jit(jax.value_and_grad(lambda t: algorithm.loss(params, t, b)[0]))(other)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert_same(slope, jax.tree.map(np.zeros_like, slope))


@pytest.mark.parametrize("name", NAMES)
def test_targets_move_by_their_rate(name: str) -> None:
    _, state, _ = meta_batch(name)
    params, moments = state.params, state.moments
    pick = {
        "multitask-sac": lambda p: (p.critics, p.targets),
        "multitask-ddpg": lambda p: p,
        "multitask-dqn": lambda p: p[:2],
    }[name]
    for steps in (1, 2):
        before = pick(params)[1]
        after, moments, _ = stepping(name)(params, moments, transitions(name), jax.random.key(steps))
        if name == "multitask-ddpg" and steps == 1:  # twin critics learn twice as often as the rest
            assert_same((after.online.policy, after.target), (params.online.policy, params.target))
            assert any(
                np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (params.online, after.online)), strict=True)
            )
        else:
            expected = jax.tree.map(lambda t, q: 0.9 * t + 0.1 * q, before, pick(after)[0])
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), pick(after)[1], expected)
            assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (before, pick(after)[1])), strict=True))
        params = after


def test_ddpg_has_one_critic_and_no_delay() -> None:
    algorithm = make("multitask-ddpg", twin=False)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    assert len(state.params.online.critics) == 1 and len(meta_batch("multitask-ddpg")[1].params.online.critics) == 2
    args = (state.params, state.moments, transitions("multitask-ddpg"), jax.random.key(1))
    params, moments, _ = jax.jit(algorithm.gradient_step)(*args)
    assert np.any(params.online.policy[0].weight != state.params.online.policy[0].weight)
    assert int(moments.steps) == 1


def test_the_temperature_learns_by_its_own_loss() -> None:
    algorithm, state, _ = meta_batch("multitask-sac")
    given = (state.params, state.moments, transitions("multitask-sac"), jax.random.key(0))
    params, _, metrics = stepping("multitask-sac")(*given)
    assert metrics["entropy"] > algorithm.target_entropy  # more than is asked for: the first step of Adam is its size
    np.testing.assert_allclose(params.log_temperature, state.params.log_temperature - 1e-3, rtol=1e-3)
    np.testing.assert_allclose(metrics["temperature"], np.exp(params.log_temperature), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_replay_holds_what_was_collected(name: str) -> None:
    """From all tasks, with the reward for training and the true successors."""
    _, _, trials = meta_batch(name)
    ring, rollouts = updated(name)[0].ring, trials.rollouts
    count = rollouts.reward.size
    assert int(ring.added) == count == 3 * 2 * (6 if name == "multitask-dqn" else 5)
    np.testing.assert_array_equal(ring.items.reward[:count], rollouts.shaped.reshape(-1))
    np.testing.assert_array_equal(ring.items.terminated[:count], rollouts.terminated.reshape(-1))
    assert not np.any(ring.items.terminated)  # time limits only
    if name == "multitask-dqn":
        states = np.argmax(ring.items.observation[:count], -1), np.argmax(ring.items.next_observation[:count], -1)
        np.testing.assert_array_equal(states[0], rollouts.timestep.observation.reshape(-1))
        np.testing.assert_array_equal(states[1], rollouts.next_observation.reshape(-1))
        np.testing.assert_array_equal(ring.items.action[:count], rollouts.decision.action.reshape(-1))
    else:
        np.testing.assert_array_equal(ring.items.next_observation[:count], rollouts.next_observation.reshape(-1, 2))
        np.testing.assert_allclose(ring.items.action[:count], rollouts.decision.action.reshape(-1, 2), atol=1e-6)
        assert (ring.items.reward[:count] < 0).all()  # the dense reward


@pytest.mark.parametrize("name", NAMES)
def test_fine_tuning_changes_only_the_copy(name: str) -> None:
    algorithm, state, trials = meta_batch(name)
    rollout, key = jax.tree.map(lambda x: x[0, 0], trials.rollouts), jax.random.key(2)
    before = jax.tree.map(np.array, state.params)
    born, adapt = (jax.jit(f) for f in (algorithm.begin, algorithm.adapt))
    begun = born(state.params, key, Birth())
    assert_same(begun.params, state.params)
    assert_same(begun.moments, jax.tree.map(np.zeros_like, state.moments))
    assert int(begun.own.added) == 0 and begun.own.capacity == 15
    found = adapt(state.params, begun, rollout, key)
    # The task's own transitions, with the reward that is perceived, and `fine_tuning_steps` batches of them.
    count = rollout.reward.size
    assert int(found.own.added) == count
    np.testing.assert_array_equal(found.own.items.reward[:count], rollout.reward.reshape(-1))
    params, moments = begun.params, begun.moments
    for each in jax.random.split(key, 4):
        batch_key, step_key = jax.random.split(each)
        batch = sample(found.own, batch_key, 7)
        params, moments, _ = stepping(name)(params, moments, batch, step_key)
    if name == "multitask-dqn":
        params = params._replace(epsilon=np.float32(0.05))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found.params, params)
    changed = [np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (found.params, before)), strict=True)]
    assert all(changed)
    assert_same(state.params, before)
    assert_same(born(state.params, key, Birth()), begun)  # on the next task everything begins again
    later = adapt(state.params, found, rollout, key)
    assert int(later.own.added) == 2 * count  # a lifetime's rounds add up


@pytest.mark.parametrize("name", NAMES)
def test_without_steps_only_the_ring_changes(name: str) -> None:
    algorithm, (_, state, trials) = make(name, fine_tuning_steps=0), meta_batch(name)
    begun = jax.jit(algorithm.begin)(state.params, jax.random.key(0), Birth())
    rollout = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    found = jax.jit(algorithm.adapt)(state.params, begun, rollout, jax.random.key(0))
    still = (lambda p: p[:2]) if name == "multitask-dqn" else (lambda p: p)
    assert_same((still(found.params), found.moments), (still(begun.params), begun.moments))
    assert int(found.own.added) == rollout.reward.size


def test_epsilon_falls_in_training_and_is_the_last_one_after_a_round() -> None:
    algorithm, state, trials = meta_batch("multitask-dqn")
    algorithm = make("multitask-dqn", epsilon=0.9, final_epsilon=0.1, epsilon_decay=10)
    update, found = jax.jit(algorithm.update), jax.jit(algorithm.init)(jax.random.key(0))
    assert found.params.epsilon == np.float32(0.9)
    for expected in (0.82, 0.74):
        found, _ = update(found, trials, jax.random.key(1))
        np.testing.assert_allclose(found.params.epsilon, expected, rtol=1e-6)
    for iteration, expected in ((5, 0.5), (10, 0.1), (300, 0.1)):
        np.testing.assert_allclose(annealed(0.9, 0.1, 10, jnp.int32(iteration)), expected, rtol=1e-6)
    begun = jax.jit(algorithm.begin)(found.params, jax.random.key(0), Birth())
    rollout = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    later = jax.jit(algorithm.adapt)(found.params, begun, rollout, jax.random.key(0))
    np.testing.assert_allclose([begun.params.epsilon, later.params.epsilon], [0.74, 0.1], rtol=1e-6)
    # ε of the actions are uniform over all four, the others the best one.
    timestep = jax.tree.map(lambda x: x[0, 0], rollout.timestep)
    keys = jax.random.split(jax.random.key(5), 4000)
    act = jax.jit(jax.vmap(lambda key: algorithm.act(found.params, begun, (), timestep, key)[0].action))
    observation = jax.nn.one_hot(timestep.observation, 3)
    best = int(jnp.argmax(algorithm.values(found.params.online, observation)))
    shares = np.bincount(np.asarray(act(keys)), minlength=4) / 4000
    np.testing.assert_allclose(shares, np.where(np.arange(4) == best, 0.26 + 0.74 / 4, 0.74 / 4), atol=0.025)


def test_a_deterministic_policy_explores_with_noise_of_its_size() -> None:
    algorithm, state, trials = meta_batch("multitask-ddpg")
    timestep = jax.tree.map(lambda x: x[0, 0, 0, 2], trials.rollouts.timestep)
    policy = jax.tree.map(lambda x: 0.1 * x, state.params.online.policy)  # away from the bounds
    params: Any = state.params._replace(online=state.params.online._replace(policy=policy))
    begun = jax.jit(algorithm.begin)(params, jax.random.key(0), Birth())
    act = jax.jit(jax.vmap(lambda key: algorithm.act(params, begun, (), timestep, key)[0].action))
    actions = act(jax.random.split(jax.random.key(5), 4000))
    np.testing.assert_allclose(actions.mean(0), algorithm.policy(policy, timestep.observation), atol=0.01)
    np.testing.assert_allclose(actions.std(0), 0.1, rtol=0.05)
    loud = make("multitask-ddpg", noise=5.0).act(params, begun, (), timestep, jax.random.key(1))[0].action
    assert np.all(np.abs(loud) <= 1)


@pytest.mark.parametrize("name", ["multitask-sac", "multitask-ddpg"])
def test_fine_tuning_finds_the_side_of_the_goal(name: str) -> None:
    """A probe of their own: a goal to the right or to the left, which a shared policy cannot know."""
    benchmark = registry.make_benchmark("sparse-navigation", {"dense": True, "horizon": 5})
    goals = jnp.asarray([[0.5, 0.0], [-0.5, 0.0]])
    sides = TaskSet(benchmark.train.tasks._replace(goal=goals, dense=jnp.ones((2,), bool)))  # type: ignore[attr-defined]
    benchmark = benchmark._replace(train=sides, test=sides)
    fields = {"tasks": 8, "streams": 4, "hidden": (32,), "gradient_steps": 20, "batch": 64, "capacity": 2000}
    fields |= {"discount": 0.8, "learning_rate": 3e-3, "target_rate": 0.05, "fine_tuning_steps": 100}
    fields |= {"initial_temperature": 0.1} if name == "multitask-sac" else {}
    algorithm = registry.make_algorithm(name, None, benchmark.spec, fields)
    progress = jax.jit(lambda root: begin(algorithm, living(algorithm, benchmark), root))(root_keys(0, 1))
    run = jax.jit(many(meta_iteration(algorithm, living(algorithm, benchmark)), 30))
    progress, _ = run(progress, root_keys(0, 1), np.int32(30))
    protocol = Protocol(tasks=10, rounds=6, streams=4)
    by_round = evaluate(algorithm, benchmark, sides, progress.state.params, protocol).returns.mean(axis=(0, 2, 3))
    # Straight to the goal: −(.4 + .3 + .2 + .1 + 0) = −1; staying, or gaining at one what is lost at the other: −2.5.
    print(f"{name}, two sides: {by_round}")
    assert -2.8 < by_round[0] < -2.2 and -1.35 < by_round[-1] <= -1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"capacity": 29}, "capacity is 29; it must satisfy 3[06] ≤ capacity"),
        ({"fine_tuning_capacity": 9}, "fine-tuning-capacity is 9; it must satisfy 1[02] ≤ fine-tuning-capacity"),
        ({"fine_tuning_steps": -1}, "fine-tuning-steps is -1"),
        ({"gradient_steps": 0}, "gradient-steps is 0"),
        ({"target_rate": 1.5}, "target-rate is 1.5"),
        ({"hidden": (4, 0)}, "hidden is 0"),
        ({"discount": 1.1}, "discount is 1.1"),
    ],
)
def test_bad_settings_are_refused(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(name, **fields)


def test_actions_of_another_kind_are_refused_with_the_name_of_what_would_do() -> None:
    discrete, box = BENCHMARKS["multitask-dqn"].spec, BENCHMARKS["multitask-sac"].spec
    for name in ("multitask-sac", "multitask-ddpg"):
        with pytest.raises(UserError, match=rf"{name} needs continuous actions .* Discrete\(4.*\); multitask-dqn is"):
            registry.make_algorithm(name, None, discrete, {})
    with pytest.raises(UserError, match=r"multitask-dqn needs discrete actions .* Box.*; multitask-sac and"):
        registry.make_algorithm("multitask-dqn", None, box, {})
    unbounded = box._replace(action_space=gymnasium.spaces.Box(-np.inf, np.inf, (2,)))
    with pytest.raises(UserError, match="multitask-sac needs bounded actions"):
        registry.make_algorithm("multitask-sac", None, unbounded, {})
    for name, fields in {
        "multitask-sac": {"initial_temperature": 0.0},
        "multitask-ddpg": {"noise": -0.1},
        "multitask-dqn": {"final_epsilon": 1.2},
    }.items():
        with pytest.raises(UserError, match=f"{next(iter(fields)).replace('_', '-')} is"):
            make(name, **fields)


def test_what_does_not_fit_is_refused_before_it_is_made() -> None:
    with pytest.raises(UserError, match="a buffer of 100000000000 items needs .* GiB"):
        jax.eval_shape(make("multitask-sac", capacity=10**11).init, jax.random.key(0))
    algorithm, state, trials = meta_batch("multitask-sac")
    longer = jax.tree.map(
        lambda x: jnp.concatenate([x[0, 0]] * 2, axis=1), trials.rollouts._replace(last=(), memory=())
    )
    begun = jax.jit(algorithm.begin)(state.params, jax.random.key(0), Birth())
    with pytest.raises(UserError, match="fine-tuning-capacity is 15, and a round of this task has 20 transitions"):
        algorithm.adapt(state.params, begun, longer, jax.random.key(0))
