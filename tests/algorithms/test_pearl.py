"""PEARL: which loss teaches what, what the rings hold, how z is drawn, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.meta_batch import collected

from adaptax import buffers
from adaptax.names import registry
from adaptax.run.collect import collect, streams_of
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.run.iterate import begin, many, meta_iteration
from adaptax.run.source import living
from adaptax.run.train import root_keys
from adaptax.tasks import TaskSet
from adaptax.types import Birth, UserError, judged_birth

SMALL: dict[str, Any] = {
    "tasks": 4,
    "rounds": 3,
    "context_rounds": 2,
    "streams": 2,
    "exploration": 2,
    "latent": 3,
    "encoder_hidden": (6,),
    "hidden": (6,),
    "gradient_steps": 3,
    "meta_batch": 5,
    "batch": 7,
    "context": 9,
    "capacity": 40,
    "discount": 0.9,
    "reward_scale": 10.0,
    "prior_weight": 0.7,
}
# The reward is perceived sparse (and here nearly always 0), the one to learn from is dense.
ON = registry.make_benchmark("sparse-navigation", {"horizon": 5})

JUDGED = judged_birth(rounds=1)


def make(**fields: Any) -> Any:
    return registry.make_algorithm("pearl", None, ON.spec, {**SMALL, **fields})


@cache
def meta_batch() -> tuple[Any, Any, Any]:
    algorithm = make()
    return algorithm, *collected(algorithm, ON, noise=0.3)


@cache
def sampled() -> tuple[Any, Any]:
    """Transitions [M, B] and contexts [M, C, I] after one update."""
    algorithm, state, trials = meta_batch()
    after, _ = jax.jit(algorithm.update)(state, trials, jax.random.key(0))
    index = trials.birth.index[jnp.array([0, 1, 2, 3, 0])]
    batch = buffers.sample_by_task(after.transitions, jax.random.key(1), index, 7)
    return batch, buffers.sample_by_task(after.contexts, jax.random.key(2), index, 9)


def layers(params: Any, x: np.ndarray) -> np.ndarray:
    """A network of two layers in NumPy."""
    first, last = (jax.tree.map(lambda p: np.asarray(p, np.float64), layer) for layer in params)
    return np.maximum(x @ first.weight + first.bias, 0) @ last.weight + last.bias


def test_the_critics_loss_by_hand() -> None:
    """Squared errors are averaged over transitions and added up over critics; the divergence is a sum over tasks."""
    algorithm, state, _ = meta_batch()
    batch, context = jax.tree.map(lambda x: np.asarray(x, np.float64), sampled())
    params, key = state.params, jax.random.key(3)
    target = jax.tree.map(lambda x: x + 0.05, state.target)
    learned = (params.encoder, params.actor_critic.critics)
    keys = jax.random.split(key, 5)

    def mean_loss(algorithm: Any) -> Any:
        losses, (latent, metrics) = jax.vmap(partial(algorithm.critic_loss, target, learned))(*sampled(), keys)
        return jnp.mean(losses), latent, jax.tree.map(jnp.mean, metrics)

    found, latent, metrics = mean_loss(algorithm)
    outputs = layers(params.encoder, context)
    mean, variance = outputs[..., :3], np.logaddexp(0, outputs[..., 3:])
    variance_of_belief = 1 / np.sum(1 / variance, axis=1)
    centre = variance_of_belief * np.sum(mean / variance, axis=1)
    noise = np.stack([jax.random.normal(k, (3,)) for k in keys])
    z = centre + np.sqrt(variance_of_belief) * noise
    z = np.broadcast_to(z[:, None], (5, 7, 3))  # one z for all transitions of a task
    np.testing.assert_allclose(latent, z, rtol=1e-4, atol=1e-5)
    following = 10 * layers(target, np.concatenate([batch.next_observation, z], -1))[..., 0]
    goal = 10 * batch.reward + 0.9 * (1 - batch.terminated) * following
    inputs = np.concatenate([batch.observation, batch.action, z], -1)
    error = sum(np.mean((10 * layers(p, inputs)[..., 0] - goal) ** 2) for p in params.actor_critic.critics)
    divergence = np.sum(0.5 * (variance_of_belief + centre**2 - 1 - np.log(variance_of_belief)))
    np.testing.assert_allclose(found, error + 0.7 * divergence, rtol=1e-4)
    np.testing.assert_allclose(metrics["belief_divergence"], divergence / 5, rtol=1e-4)
    alone, latent, metrics = mean_loss(replace(algorithm, deterministic=True))
    np.testing.assert_allclose(latent, np.broadcast_to(centre[:, None], z.shape), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone, metrics["critic_error"])


def test_which_loss_teaches_what() -> None:
    """Encoder and critics learn from the critics' loss alone, policy and value from theirs; V̄ is held constant, z̄ too
    wherever it does not enter Q."""
    algorithm, state, _ = meta_batch()
    (encoder, (policy, critics, value)), key = state.params, jax.random.key(3)
    batch, context = jax.tree.map(lambda x: x[0], sampled())

    def of(encoder: Any, policy: Any, critics: Any, value: Any, target: Any) -> tuple[Any, Any]:
        first, (latent, _) = algorithm.critic_loss(target, (encoder, critics), batch, context, key)
        return first, algorithm.actor_loss(critics, (policy, value), batch.observation, latent, key)[0]

    given = (encoder, policy, critics, value, state.target)

    def moved(which: int) -> list[bool]:
        slopes = jax.grad(lambda *p: of(*p)[which], argnums=(0, 1, 2, 3, 4))(*given)
        return [any(np.any(leaf != 0) for leaf in jax.tree.leaves(slope)) for slope in slopes]

    assert moved(0) == [True, False, True, False, True]  # a target that the gradient step does not differentiate
    # The encoder does not see the losses of policy and value: z̄ is constant. (The critics' slope is not taken there.)
    assert moved(1) == [False, True, True, True, False]
    # The encoder learns from the critics' error through z, and differently with the prior's weight.
    rest = (batch, context, key)
    free = replace(algorithm, prior_weight=0.0)
    slope, held = (
        jax.grad(lambda e, a=a: a.critic_loss(state.target, (e, critics), *rest)[0])(encoder) for a in (free, algorithm)
    )
    assert all(np.any(a != b) and np.any(a != 0) for a, b in zip(*map(jax.tree.leaves, (slope, held)), strict=True))


def test_the_losses_of_policy_and_value_by_hand() -> None:
    algorithm, state, _ = meta_batch()
    (_, (policy, critics, value)), key = state.params, jax.random.key(4)
    observation = sampled()[0].observation[0]
    latent = jax.random.normal(jax.random.key(5), (7, 3))
    found, _ = algorithm.actor_loss(critics, (policy, value), observation, latent, key)
    state_, z = np.asarray(observation, np.float64), np.asarray(latent, np.float64)
    outputs = layers(policy, np.concatenate([state_, z], -1))
    mean, log_std = outputs[..., :2], np.clip(outputs[..., 2:], -20, 2)
    noise = np.asarray(jax.random.normal(key, mean.shape))
    action = np.tanh(mean + np.exp(log_std) * noise)
    logs = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - action**2)
    logs = logs.sum(-1)
    lower = np.min([10 * layers(p, np.concatenate([state_, action, z], -1))[..., 0] for p in critics], axis=0)
    error = np.mean((10 * layers(value, np.concatenate([state_, z], -1))[..., 0] - (lower - logs)) ** 2)
    expected = np.mean(logs - lower) + 1e-3 * np.mean(mean**2) + 1e-3 * np.mean(log_std**2) + error
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    # The value's loss moves the value only: nothing of it reaches the policy.
    slopes = [
        jax.grad(lambda p, v=v: algorithm.actor_loss(critics, (p, v), observation, latent, key)[0])(policy)
        for v in (value, jax.tree.map(lambda x: x + 1.0, value))
    ]
    jax.tree.map(np.testing.assert_array_equal, *slopes)


def test_the_rings_hold_what_they_should() -> None:
    algorithm, state, trials = meta_batch()
    index = jnp.asarray([6, 2, 6, 9], jnp.int32)
    trials = trials._replace(birth=trials.birth._replace(index=index))
    rewards = jnp.arange(trials.rollouts.reward.size, dtype=jnp.float32).reshape(trials.rollouts.reward.shape)
    trials = trials._replace(rollouts=trials.rollouts._replace(reward=rewards))
    update = jax.jit(algorithm.update)
    after, _ = update(state, trials, jax.random.key(0))
    np.testing.assert_array_equal(np.flatnonzero(after.transitions.added), [2, 6, 9])
    assert after.transitions.added[6] == 60 and after.transitions.held[6] == 40 and after.transitions.added[2] == 30
    assert after.contexts.capacity == 20  # two rounds of two streams of five steps
    np.testing.assert_array_equal(after.contexts.added[jnp.array([2, 6, 9])], 20)
    rollouts = trials.rollouts
    # All transitions with the dense reward; contexts of the first two rounds of the last trial with the perceived one.
    np.testing.assert_array_equal(after.transitions.items.reward[2, :30], rollouts.shaped[1].reshape(-1))
    np.testing.assert_array_equal(after.transitions.items.observation[2, 10], rollouts.timestep.observation[1, 1, 0, 0])
    assert (rollouts.shaped < 0).all()
    np.testing.assert_array_equal(after.contexts.items[6, :, 4], rewards[2, :2].reshape(-1))
    np.testing.assert_array_equal(after.contexts.items[2, :, 4], rewards[1, :2].reshape(-1))
    np.testing.assert_allclose(
        after.contexts.items[9, :, 2:4], rollouts.decision.action[3, :2].reshape(-1, 2), atol=1e-6
    )
    again, _ = update(after, trials, jax.random.key(1))
    np.testing.assert_array_equal(again.contexts.added[jnp.array([2, 6, 9])], 20)
    np.testing.assert_array_equal(again.transitions.added[jnp.array([2, 6, 9])], [60, 120, 60])


def test_only_tasks_with_data_are_learned_from() -> None:
    """What the rings of other tasks hold makes no difference."""
    algorithm, state, trials = meta_batch()
    after, metrics = jax.jit(algorithm.update)(state, trials, jax.random.key(0))
    empty = np.flatnonzero(np.asarray(after.contexts.added) == 0)
    assert len(empty) >= 66

    def spoilt(ring: Any) -> Any:
        return ring._replace(items=jax.tree.map(lambda x: x.at[empty].set(jnp.nan), ring.items))

    broken = state._replace(transitions=spoilt(state.transitions), contexts=spoilt(state.contexts))
    found, others = jax.jit(algorithm.update)(broken, trials, jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, (found.params, others), (after.params, metrics))


def test_a_latent_lasts_an_episode() -> None:
    """z is drawn at the first step and remembered; from the prior for two episodes, then from the product of all
    factors; in training the action is drawn, when judged it is the policy's mean."""
    algorithm, state, trials = meta_batch()
    params, key = state.params, jax.random.key(0)
    rollouts = jax.tree.map(lambda x: x[0], trials.rollouts)
    adapted = algorithm.begin(params, key, JUDGED)
    trained = algorithm.begin(params, key, Birth(jnp.int32(3)))
    assert bool(adapted.judged) and not bool(trained.judged)
    prior = algorithm.belief(adapted)
    np.testing.assert_array_equal((prior.mean, prior.log_std), 0)
    one = jax.tree.map(lambda x: x[0, :1], rollouts)  # an episode
    early = algorithm.adapt(params, adapted, one, key)
    assert int(early.episodes) == 1
    np.testing.assert_array_equal(algorithm.belief(early).mean, 0)
    later = algorithm.adapt(params, early, jax.tree.map(lambda x: x[0, 1:], rollouts), key)
    assert int(later.episodes) == 2
    patient = replace(algorithm, judged_exploration=3)  # on new tasks, not in training
    np.testing.assert_array_equal(patient.belief(later).mean, 0)
    np.testing.assert_array_equal(
        patient.belief(later._replace(judged=jnp.asarray(False))).mean, algorithm.belief(later).mean
    )
    both = jax.tree.map(lambda x: x[0], rollouts)
    at_once = algorithm.adapt(params, adapted, both, key)
    read = algorithm._read(both).reshape(-1, 5)
    expected = algorithm._encoder.product(params.encoder, read).distribution()
    for found in (later, at_once):
        np.testing.assert_allclose(algorithm.belief(found).mean, expected.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(algorithm.belief(found).log_std, expected.log_std, rtol=1e-4, atol=1e-5)
    timestep = jax.tree.map(lambda x: x[0, 0, 0], rollouts.timestep)
    act, start = jax.jit(algorithm.act), algorithm.start(params)
    keys = jax.random.split(key, 2)
    decisions, latents = zip(*(act(params, later, start, timestep, k) for k in keys), strict=True)
    assert np.all(latents[0] != latents[1])
    following = timestep._replace(first=jnp.asarray(False))
    kept = [act(params, later, latents[0], following, k) for k in keys]
    np.testing.assert_array_equal(kept[0][1], latents[0])
    np.testing.assert_array_equal(kept[0][0].action, kept[1][0].action)  # judged: the mean, whatever the key
    policy = algorithm._actor_critic.policy(params.actor_critic.policy, timestep.observation, latents[0])
    np.testing.assert_allclose(decisions[0].action, policy.mode(), rtol=1e-5)
    drawn = [act(params, trained, latents[0], following, k)[0].action for k in keys]
    assert np.all(drawn[0] != drawn[1])
    noisy = replace(algorithm, judged_by_mean=False)
    drawn = [noisy.act(params, later, latents[0], following, k)[0].action for k in keys]
    assert np.all(drawn[0] != drawn[1])
    # The mean once it acts on what it found, drawn actions before.
    searching = replace(algorithm, explore_by_mean=False)
    for found, same in ((later, True), (early, False)):
        once, again = (searching.act(params, found, latents[0], following, k)[0].action for k in keys)
        assert np.all((once == again) == same)
    certain = replace(algorithm, deterministic=True).act(params, later, start, timestep, key)[1]
    np.testing.assert_allclose(certain, expected.mean, rtol=1e-4, atol=1e-5)


def test_the_search_goes_on_until_a_reward() -> None:
    """With `explore_until_rewarded` z comes from the prior as long as nothing but zeros was perceived, on a training
    task as on a new one, and never for fewer episodes than without it."""
    _, state, trials = meta_batch()
    params, key = state.params, jax.random.key(0)
    plain, algorithm = make(), make(explore_until_rewarded=True)
    both = jax.tree.map(lambda x: x[0, 0], trials.rollouts)  # two episodes: enough for `exploration`
    silent = both._replace(reward=jnp.zeros_like(both.reward))
    rewarded = both._replace(reward=jnp.zeros_like(both.reward).at[1, 3].set(-0.1))
    for birth in (JUDGED, Birth(jnp.int32(3))):
        begun = algorithm.begin(params, key, birth)
        empty, found = (algorithm.adapt(params, begun, rollout, key) for rollout in (silent, rewarded))
        assert not bool(empty.rewarded) and bool(found.rewarded)
        np.testing.assert_array_equal(algorithm.belief(empty).mean, 0)
        np.testing.assert_array_equal(algorithm.belief(empty).log_std, 0)
        assert np.all(algorithm.belief(found).mean != 0)
        # The reward of an earlier round is not forgotten, and without the field nothing is waited for.
        assert bool(algorithm.adapt(params, found, silent, key).rewarded)
        assert np.all(plain.belief(empty).mean != 0)
        early = algorithm.adapt(params, begun, jax.tree.map(lambda x: x[1:], rewarded), key)
        np.testing.assert_array_equal(algorithm.belief(early).mean, 0)  # one episode of two


def test_the_step_size_decays_to_zero() -> None:
    """After `decay` meta-iterations nothing moves but the slow copy of the value."""
    _, _, trials = meta_batch()
    algorithm = make(decay=2)
    update, states = jax.jit(algorithm.update), [algorithm.init(jax.random.key(1))]
    for step in range(3):
        states.append(update(states[-1], trials, jax.random.key(step))[0])
    lengths = []
    for before, after in zip(states, states[1:], strict=False):
        moved = jax.tree.map(lambda a, b: float(np.abs(b - a).sum()), before.params, after.params)
        lengths.append(sum(jax.tree.leaves(moved)))
    # Three steps in each of the first two, of 1, 5/6, 4/6 and of 3/6, 2/6, 1/6 times the step size.
    assert 0.25 < lengths[1] / lengths[0] < 0.6
    assert lengths[2] == 0.0


def test_the_collector_gives_each_episode_its_latent() -> None:
    algorithm, state, trials = meta_batch()
    streams = streams_of(ON.environment)
    trial = jax.jit(lambda p: collect(algorithm, streams, ON.train, algorithm.plan, p, None, jax.random.key(1))[0])
    memory = np.asarray(trial(state.params).rollouts.memory)  # what was remembered when each round began [N, R, B, Z]
    assert (memory[:, 0] == 0).all() and (memory[:, 1:] != 0).all()
    assert np.ptp(memory[:, 1], axis=1).min() > 0  # streams of a round have latents of their own
    assert trials.rollouts.reward.shape == (4, 3, 2, 5)


def test_two_goals_are_told_apart() -> None:
    """A probe of its own: a goal nearby to the right or further off to the left, which the first reward tells."""
    benchmark = registry.make_benchmark("sparse-navigation", {"dense": True, "horizon": 5})
    goals = jnp.asarray([[0.5, 0.0], [-1.0, 0.0]])
    sides = TaskSet(benchmark.train.tasks._replace(goal=goals, dense=jnp.ones((2,), bool)))  # type: ignore[attr-defined]
    benchmark = benchmark._replace(train=sides, test=sides)
    fields = {"tasks": 4, "rounds": 3, "context_rounds": None, "streams": 2, "exploration": 2, "hidden": (32,)}
    fields |= {"encoder_hidden": (16,), "gradient_steps": 50, "meta_batch": 8, "batch": 32, "context": 20}
    fields |= {"capacity": 400, "discount": 0.9, "reward_scale": 20.0, "learning_rate": 3e-3, "target_rate": 0.02}
    algorithm = registry.make_algorithm("pearl", None, benchmark.spec, fields)
    progress = jax.jit(lambda root: begin(algorithm, living(algorithm, benchmark), root))(root_keys(0, 1))
    run = jax.jit(many(meta_iteration(algorithm, living(algorithm, benchmark)), 40))
    progress, _ = run(progress, root_keys(0, 1), np.int32(40))
    found = evaluate(algorithm, benchmark, sides, progress.state.params, Protocol(tasks=20, rounds=6)).returns
    # Straight to the goals −(.4 + .3 + .2 + .1 + 0) = −1 and −(.9 + .8 + .7 + .6 + .5) = −3.5; staying −2.5 and −5, and
    # whoever does not tell them apart gains at one what is lost at the other.
    by_task = found[:, -1, 0, 0].reshape(10, 2).mean(axis=0)
    print(f"two goals: {by_task}")
    assert -2.2 < by_task[0] <= -0.99 and -4.7 < by_task[1] <= -3.49 and by_task.sum() > -6.3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"context": 21}, "context is 21, but a meta-iteration collects 20 transitions of a task to draw it from"),
        ({"capacity": 29}, "capacity is 29; it must satisfy 30 ≤ capacity"),
        ({"context_rounds": 4}, "context-rounds is 4; it must satisfy 1 ≤ context-rounds ≤ 3"),
        ({"target_rate": 1.5}, "target-rate is 1.5"),
        ({"discount": 1.1}, "discount is 1.1"),
        ({"hidden": (0,)}, "hidden is 0"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**fields)


def test_bad_benchmarks_are_refused() -> None:
    bandit = registry.make_benchmark("bandit", {})
    with pytest.raises(UserError, match="PEARL needs continuous actions"):
        registry.make_algorithm("pearl", None, bandit.spec, {})
    navigation = registry.make_benchmark("navigation", {})
    with pytest.raises(UserError, match="keeps data of every training task, so it needs a benchmark with a finite"):
        registry.make_algorithm("pearl", None, navigation.spec, {})
    wide = ON.spec._replace(action_space=gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32))
    with pytest.raises(UserError, match="PEARL needs bounded actions"):
        registry.make_algorithm("pearl", None, wide, SMALL)
    with pytest.raises(UserError, match="a buffer of 1000000000 items for each of 70 tasks needs .* GiB"):
        jax.eval_shape(make(capacity=10**9).init, jax.random.key(0))
