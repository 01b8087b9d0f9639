"""Off-policy RL²: Q-values of a stored trial, targets by hand, what a gradient step moves, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected

from adaptax.names import registry
from adaptax.nets.trial_encoder import PastTrial, time_first
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.run.iterate import begin, many, meta_iteration
from adaptax.run.source import living
from adaptax.run.train import root_keys
from adaptax.tasks import TaskDistribution
from adaptax.types import Benchmark, Birth, Outcome, Spec, UserError, judged_birth

SMALL: dict[str, Any] = {"tasks": 3, "streams": 2, "hidden": 5, "head_hidden": (6,), "gradient_steps": 3, "batch": 4}
SMALL |= {"capacity": 10, "discount": 0.9, "target_rate": 0.2}
OWN: dict[str, dict[str, Any]] = {
    "rl2-dqn": {"epsilon": 0.9, "final_epsilon": 0.1, "epsilon_decay": 4, "judged_epsilon": 0.02},
    "rl2-sac": {"episodes": 2},
}
ON = {
    "rl2-dqn": registry.make_benchmark("tabular-mdp", {"episodes": 2, "states": 3, "actions": 3, "horizon": 3}),
    "rl2-sac": registry.make_benchmark("navigation", {"horizon": 3}),
}
DISCRETE, CONTINUOUS = ON["rl2-dqn"], ON["rl2-sac"]

JUDGED = judged_birth(rounds=1)


def make(name: str, **fields: Any) -> Any:
    return registry.make_algorithm(name, None, ON[name].spec, {**SMALL, **OWN[name], **fields})


@cache
def meta_batch(name: str) -> tuple[Any, Any, Any, Any]:
    """An algorithm, a state with shaken parameters, and what it collected: trials, and their past [T, S, ...]."""
    algorithm = make(name)
    state, trials = collected(algorithm, ON[name], noise=0.3)
    rollouts = jax.tree.map(lambda x: x[:, 0], trials.rollouts)
    return algorithm, state, trials, time_first(algorithm._encoder.past(rollouts))


@cache
def update_of(name: str) -> Any:
    return jax.jit(meta_batch(name)[0].update)


# --- rl2-dqn ---


def test_the_unrolled_values_of_a_stored_trial_are_those_that_acted() -> None:
    """The values unrolled over a stored trial are those of the recurrence of `act`, step by step, and a greedy agent
    takes the best action by them."""
    algorithm, state, trials, past = meta_batch("rl2-dqn")
    params, greedy = state.params, jnp.float32(0.0)
    found = np.asarray(jax.jit(algorithm.values)(params.values, past))

    @jax.jit
    def step(memory: Any, told: Any) -> tuple[Any, Any, Any]:
        hidden, _ = algorithm._encoder.step(params.values.recurrence, memory, told)
        values = algorithm._values(params.values, hidden, algorithm._encoder.keep(told.observation))
        return values, *algorithm.act(params, greedy, memory, told, jax.random.key(0))

    memory = algorithm.start(params)
    for t in range(6):
        told = jax.tree.map(lambda x, t=t: x[2, 0, 1, t], trials.rollouts.timestep)
        values, decision, memory = step(memory, told)
        np.testing.assert_allclose(found[t, 5], values, rtol=1e-4, atol=1e-5)
        assert decision.action == found[t, 5].argmax() and decision.action.dtype == jnp.int32
    assert np.ptp(found, axis=0).min() > 1e-3  # what happens makes a difference


def trial_of(reward: list[float], first: list[int]) -> PastTrial:
    """One trial [T, 1] of the given rewards; observations and actions are zeros."""
    steps = len(reward)
    return PastTrial(
        jnp.zeros((steps, 1), jnp.int32),
        jnp.zeros((steps, 1), jnp.int32),
        jnp.asarray(reward, jnp.float32)[:, None],
        jnp.asarray(first, bool)[:, None],
    )


@pytest.mark.parametrize(("double", "exploration"), [(True, 0), (False, 0), (True, 1)])
def test_the_targets_of_a_tiny_trial_by_hand(double: bool, exploration: int) -> None:
    """Two episodes of two steps: the value after the first episode counts, after the last step there is none."""
    algorithm = make("rl2-dqn", double=double, exploration_episodes=exploration)
    online = jnp.asarray([[9.0, 9, 9], [0, 1, 0], [5, 0, 0], [0, 0, 3]])[:, None]
    lagging = jnp.asarray([[9.0, 9, 9], [4, 2, 1], [3, 7, 1], [6, 5, 8]])[:, None]
    found = algorithm.targets(trial_of([1, 10, 100, 1000], [1, 0, 1, 0]), online, lagging)
    following = [2, 3, 8] if double else [4, 7, 8]  # the last at the trial's end is not one of them
    rewards = [0, 0, 100, 1000] if exploration else [1, 10, 100, 1000]
    expected = [r + 0.9 * v for r, v in zip(rewards, [*following, 0], strict=True)]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)


def test_the_loss_is_relative_to_the_variance_of_the_targets() -> None:
    algorithm, state, _, past = meta_batch("rl2-dqn")
    values = state.params.values
    target = jax.tree.map(lambda x: x + 0.1, values)
    unrolled = jax.jit(algorithm.values)
    online, lagging = (np.asarray(unrolled(v, past), np.float64) for v in (values, target))
    best = online.argmax(-1)
    following = np.take_along_axis(lagging, best[..., None], -1)[..., 0]
    goal = np.asarray(past.reward) + 0.9 * np.concatenate([following[1:], np.zeros((1, 6))])
    chosen = np.take_along_axis(online, np.asarray(past.action)[..., None], -1)[..., 0]
    (found, metrics), slope = jax.jit(jax.value_and_grad(algorithm.loss, argnums=1, has_aux=True))(values, target, past)
    np.testing.assert_allclose(found, np.mean((chosen - goal) ** 2) / np.var(goal), rtol=1e-4)
    np.testing.assert_allclose(metrics["value"], chosen.mean(), rtol=1e-4)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(slope))  # the targets are constants


@pytest.mark.parametrize("dueling", [True, False])
def test_the_head_is_one_of_values_and_advantages_or_of_values_alone(dueling: bool) -> None:
    algorithm = make("rl2-dqn", dueling=dueling)
    params = algorithm.init(jax.random.key(0)).params.values
    hidden, observation = (jax.random.normal(jax.random.key(1), (7, n)) for n in (5, 3))
    x = np.concatenate([hidden, observation], -1)
    first, last = params.head
    outputs = np.maximum(x @ first.weight + first.bias, 0) @ last.weight + last.bias
    assert outputs.shape == (7, 4 if dueling else 3)
    if dueling:
        outputs = outputs[:, :1] + outputs[:, 1:] - outputs[:, 1:].mean(-1, keepdims=True)
    unit = sum(0.9**t for t in range(6))
    np.testing.assert_allclose(algorithm._values(params, hidden, observation), unit * outputs, rtol=1e-4, atol=1e-6)


def test_the_chance_of_a_random_action_falls_linearly() -> None:
    algorithm, state, trials, _ = meta_batch("rl2-dqn")
    found = []
    for iteration in range(6):
        state, metrics = update_of("rl2-dqn")(state, trials, jax.random.key(iteration))
        if found:
            np.testing.assert_allclose(metrics["epsilon"], found[-1])  # that of the trials it learned from
        found.append(float(state.params.epsilon))
    np.testing.assert_allclose(found, [0.7, 0.5, 0.3, 0.1, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(algorithm._epsilon(jnp.int32(0)), 0.9, rtol=1e-6)
    for birth, expected in ((Birth(), 0.1), (Birth(jnp.int32(3)), 0.1), (JUDGED, 0.02)):
        chance = algorithm.begin(state.params, jax.random.key(0), birth)
        np.testing.assert_allclose(chance, expected, rtol=1e-6)


def test_a_random_action_is_any_of_all() -> None:
    algorithm, state, *_ = meta_batch("rl2-dqn")
    params = state.params
    memory, told = algorithm.start(params), algorithm._encoder.timesteps(trial_of([0.0], [1]))
    told = jax.tree.map(lambda x: x[0, 0], told)
    keys = jax.random.split(jax.random.key(3), 3000)

    act = jax.jit(jax.vmap(lambda chance, key: algorithm.act(params, chance, memory, told, key)[0].action, (None, 0)))

    def chosen(chance: float) -> np.ndarray:
        return np.bincount(act(jnp.float32(chance), keys), minlength=3) / len(keys)

    best = chosen(0.0).argmax()
    assert chosen(0.0)[best] == 1.0
    expected = np.full(3, 0.6 / 3)
    expected[best] += 0.4
    np.testing.assert_allclose(chosen(0.6), expected, atol=0.04)  # four standard errors


# --- rl2-sac ---


def test_the_soft_targets_of_a_stored_trial_by_hand() -> None:
    """The lower of the target's critics less α log π, of the step after, over the border of two episodes; no value
    after the trial's last step."""
    algorithm, state, _, past = meta_batch("rl2-sac")
    target = jax.tree.map(lambda x: x + 0.05, state.target)
    action = jnp.tanh(jax.random.normal(jax.random.key(1), (6, 6, 2)))
    logs = jax.random.normal(jax.random.key(2), (6, 6))
    found = jax.jit(algorithm.targets)(target, past, action, logs, 0.3)
    hidden = jax.jit(algorithm._encoder.encode)(target.recurrence, past)
    unit = sum(0.9**t for t in range(6))
    inputs = np.concatenate([past.observation, action, hidden], -1)
    values = []
    for first, last in target.critics:
        values.append(unit * (np.maximum(inputs @ first.weight + first.bias, 0) @ last.weight + last.bias)[..., 0])
    following = np.minimum(*values) - 0.3 * np.asarray(logs)
    expected = np.asarray(past.reward) + 0.9 * np.concatenate([following[1:], np.zeros((1, 6))])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[-1], past.reward[-1])
    assert not np.allclose(found[2], past.reward[2]) and bool(past.first[3].all())  # an episode ends there


def test_the_terms_of_the_joint_loss_by_hand() -> None:
    algorithm, state, _, past = meta_batch("rl2-sac")
    algorithm = replace(algorithm, actor_weight=0.7)
    params, key = state.params._replace(log_temperature=jnp.log(jnp.float32(0.3))), jax.random.key(4)
    heads, nets = params.actor_critic, algorithm._actor_critic
    hidden = jax.jit(algorithm._encoder.encode)(params.recurrence, past)
    action, logs = nets.policy(heads.policy, past.observation, hidden).sample_with_log_probability(key)
    goal = np.asarray(jax.jit(algorithm.targets)(state.target, past, action, logs, 0.3), np.float64)
    taken = nets.critics(heads.critics, past.observation, past.action, hidden)  # the box is (−1, 1) here
    error = sum(np.mean((np.asarray(value, np.float64) - goal) ** 2) for value in taken) / goal.var()
    lower = np.minimum(*nets.critics(heads.critics, past.observation, action, hidden))
    improvement = np.mean(0.3 * np.asarray(logs) - lower) / goal.std()
    temperature = -0.3 * (np.mean(logs) - 2.0)  # two dimensions, each with an entropy of −1
    found, metrics = jax.jit(algorithm.loss)(params, state.target, past, key)
    np.testing.assert_allclose(found, error + 0.7 * improvement + temperature, rtol=1e-4)
    np.testing.assert_allclose(metrics["critic_error"], error, rtol=1e-4)
    np.testing.assert_allclose(metrics["temperature"], 0.3, rtol=1e-6)


def test_which_term_teaches_what() -> None:
    """The policy's term moves policy and recurrence, not the critics; the temperature follows its own term alone."""
    algorithm, state, _, past = meta_batch("rl2-sac")
    others = (algorithm, replace(algorithm, actor_weight=2.0))

    @jax.jit
    def slopes_of(params: Any, target: Any) -> Any:
        key = jax.random.key(4)
        return [jax.grad(lambda *p, a=a: a.loss(*p, past, key)[0], argnums=(0, 1))(params, target) for a in others]

    (first, toward_target), (second, _) = slopes_of(state.params, state.target)
    slopes = (first, second)

    def differ(part: Any) -> bool:
        pairs = zip(*(jax.tree.leaves(part(slope)) for slope in slopes), strict=True)
        return any(not np.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in pairs)

    assert differ(lambda s: s.recurrence) and differ(lambda s: s.actor_critic.policy)
    assert not differ(lambda s: s.actor_critic.critics) and not differ(lambda s: s.log_temperature)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(toward_target))  # the targets are constants


def test_actions_are_drawn_in_training_and_the_mean_is_taken_when_judged() -> None:
    algorithm, state, _, past = meta_batch("rl2-sac")
    params = state.params
    told = jax.tree.map(lambda x: x[0, 0], algorithm._encoder.timesteps(past))
    memory = algorithm.start(params)
    hidden, _ = algorithm._encoder.step(params.recurrence, memory, told)
    mean = algorithm._actor_critic.policy(params.actor_critic.policy, told.observation, hidden).mode()

    act = jax.jit(jax.vmap(lambda mean, key: algorithm.act(params, mean, memory, told, key)[0].action, (None, 0)))

    def actions(birth: Birth) -> np.ndarray:
        adapted = algorithm.begin(params, jax.random.key(0), birth)
        return np.asarray(act(adapted, jax.random.split(jax.random.key(5), 50)))

    np.testing.assert_allclose(actions(JUDGED), np.broadcast_to(mean, (50, 2)), atol=1e-6)
    for birth in (Birth(), Birth(jnp.int32(0))):
        assert (actions(birth).std(axis=0) > 0.01).all()
    drawing = replace(algorithm, judged_by_mean=False)
    assert algorithm.begin(params, jax.random.key(0), JUDGED) and not drawing.begin(params, jax.random.key(0), JUDGED)


class Sign:
    """The action times the task's hidden sign is paid, four steps an episode of one step each."""

    spec = Spec(
        gymnasium.spaces.Box(0, 1, (1,), np.float32), gymnasium.spaces.Box(-1, 1, (1,), np.float32), 1, episodes=4
    )

    def reset(self, task: Any, key: Any) -> Any:
        return (), jnp.ones(1, jnp.float32)

    def step(self, task: Any, state: Any, action: Any, key: Any) -> Any:
        return (), Outcome(jnp.ones(1, jnp.float32), task * action[0])


def test_soft_actor_critic_learns_to_try_and_to_remember() -> None:
    """Blind once, whatever is tried then tells the sign: 0 + 1 + 1 + 1; without a memory 0."""
    tasks = TaskDistribution(lambda key: jax.random.rademacher(key, (), jnp.float32))
    on = Benchmark(Sign(), tasks, tasks, tasks)
    fields = {"tasks": 16, "hidden": 16, "head_hidden": (32,), "batch": 64, "learning_rate": 3e-3, "discount": 1.0}
    algorithm = registry.make_algorithm("rl2-sac", None, on.spec, {**fields, "capacity": 2000, "gradient_steps": 10})
    root = root_keys(0, 1)
    progress = jax.jit(lambda root: begin(algorithm, living(algorithm, on), root))(root)
    progress, metrics = jax.jit(many(meta_iteration(algorithm, living(algorithm, on)), 100))(
        progress, root, np.int32(100)
    )
    returns = evaluate(algorithm, on, on.test, progress.state.params, Protocol(400, episodes=4)).returns[:, 0, 0]
    print(metrics["return"][0], returns.mean(axis=0))
    assert abs(metrics["return"][0]) < 1.0
    assert abs(returns.mean(axis=0)[0]) < 0.2
    assert (returns.mean(axis=0)[1:] > 0.85).all()


# --- both ---


@pytest.mark.parametrize("name", ["rl2-dqn", "rl2-sac"])
def test_the_target_network_follows_at_its_rate(name: str) -> None:
    algorithm, state, _, past = meta_batch(name)
    learns = state.params.values if name == "rl2-dqn" else state.params
    optimizer = state.optimizer if name == "rl2-dqn" else state.optimizers
    rest = () if name == "rl2-dqn" else (jax.random.key(0),)
    step = jax.jit(algorithm.gradient_step)
    (stepped, target, _), _ = step((learns, state.target, optimizer), past, *rest)
    followed = stepped if name == "rl2-dqn" else (stepped.recurrence, stepped.actor_critic.critics)
    moved = 0.0
    leaves = zip(*map(jax.tree.leaves, (target, state.target, followed)), strict=True)
    for new, old, latest in leaves:
        np.testing.assert_allclose(new, 0.8 * old + 0.2 * latest, rtol=1e-5, atol=1e-6)
        moved += float(np.abs(new - old).sum())
    assert moved > 0.1


@pytest.mark.parametrize("name", ["rl2-dqn", "rl2-sac"])
def test_the_ring_keeps_whole_trials_over_the_oldest(name: str) -> None:
    _, state, trials, _ = meta_batch(name)  # six trials, for a ring of ten
    rewards = []
    for iteration in range(2):
        reward = jnp.arange(trials.rollouts.reward.size, dtype=jnp.float32).reshape(trials.rollouts.reward.shape)
        reward += 1000 * iteration
        rewards.append(np.asarray(reward).reshape(6, -1))
        changed = trials._replace(rollouts=trials.rollouts._replace(reward=reward))
        state, _ = update_of(name)(state, changed, jax.random.key(iteration))
    held = np.asarray(state.ring.items.reward)
    assert int(state.ring.added) == 12
    np.testing.assert_array_equal(held, np.concatenate([rewards[1][4:], rewards[0][2:], rewards[1][:4]]))


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match=r"rl2-dqn needs discrete actions; .*Box.*; rl2-sac and rl2 take continuous"):
        registry.make_algorithm("rl2-dqn", None, CONTINUOUS.spec, {})
    with pytest.raises(UserError, match=r"rl2-sac needs continuous actions; .*Discrete\(3.*; rl2-dqn and rl2 take"):
        registry.make_algorithm("rl2-sac", None, DISCRETE.spec, {})
    unbounded = CONTINUOUS.spec._replace(action_space=gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32))
    with pytest.raises(UserError, match="rl2-sac needs bounded actions"):
        registry.make_algorithm("rl2-sac", None, unbounded, {})
    for name in ("rl2-dqn", "rl2-sac"):
        for field, value, message in (
            ("batch", 11, "batch is 11; it must satisfy 1 ≤ batch ≤ 10"),
            ("capacity", 5, "capacity is 5; it must satisfy 6 ≤ capacity"),
            ("target_rate", 0.0, "target-rate is 0.0; it must satisfy 0 < target-rate"),
            ("target_rate", 1.5, "target-rate is 1.5"),
            ("discount", 1.1, "discount is 1.1"),
            ("gradient_steps", 0, "gradient-steps is 0"),
            ("exploration_episodes", 4, "exploration-episodes is 4"),
            ("head_hidden", (0,), "head-hidden is 0"),
            ("network", "mlp", "network is 'mlp'; the recurrent networks are"),
        ):
            with pytest.raises(UserError, match=message):
                make(name, **{field: value})
        with pytest.raises(UserError, match="a buffer of 1000000000000 items needs"):
            jax.eval_shape(make(name, capacity=10**12).init, jax.random.key(0))
    for field, value in (("epsilon", 1.1), ("final_epsilon", -0.1), ("judged_epsilon", 2.0), ("epsilon_decay", 0)):
        with pytest.raises(UserError, match=f"{field.replace('_', '-')} is {value}"):
            make("rl2-dqn", **{field: value})
    for field in ("temperature", "actor_weight"):
        with pytest.raises(UserError, match=f"{field.replace('_', '-')} is 0"):
            make("rl2-sac", **{field: 0})


def test_a_trial_longer_than_the_context_is_refused() -> None:
    algorithm = make("rl2-dqn", network="transformer")
    assert algorithm.plan.context == 6 and make("rl2-sac").plan.context is None
    with pytest.raises(UserError, match="a trial of 9 steps, but the agent's memory holds 6"):
        evaluate(algorithm, DISCRETE, DISCRETE.test, None, Protocol(2, episodes=3))
