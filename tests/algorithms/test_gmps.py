"""GMPS: the experts and their gradient, the ring of states, the hand-over to imitation, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax import buffers
from adaptax.names import registry
from adaptax.names.config import make_config, name_benchmark, run, write_config
from adaptax.run.collect import collect, streams_of
from adaptax.run.iterate import begin, many, meta_iteration
from adaptax.run.source import living
from adaptax.run.train import Settings, root_keys, train
from adaptax.tasks import TaskSet
from adaptax.types import Birth, UserError

ON = registry.make_benchmark("sparse-navigation", {"dense": True, "horizon": 5})
SMALL: dict[str, Any] = {"tasks": 4, "streams": 2, "hidden": (8,), "context": 3, "expert_iterations": 2}
SMALL |= {"expert_epochs": 2, "adam_steps": 3, "batch": 6, "capacity": 25, "step_size": 0.3}


def make(**fields: Any) -> Any:
    return registry.make_algorithm("gmps", None, ON.spec, {**SMALL, **fields})


@cache
def programs() -> tuple[Any, Any, Any]:
    """The algorithm, and what trains it for up to three iterations and collects with it: compiled once."""
    algorithm = make()
    streams, plan = streams_of(ON.environment), algorithm.plan

    def gather(params: Any) -> Any:
        return collect(algorithm, streams, ON.train, plan, params, None, jax.random.key(1))[0]

    return algorithm, jax.jit(many(meta_iteration(algorithm, living(algorithm, ON)), 3)), jax.jit(gather)


@cache
def after(iterations: int) -> tuple[Any, Any, Any]:
    """The algorithm, its state after some iterations (the first two are those of the experts), and trials of it."""
    algorithm, run, gather = programs()
    progress = jax.jit(lambda root: begin(algorithm, living(algorithm, ON), root))(root_keys(0, 1))
    progress, _ = run(progress, root_keys(0, 1), np.int32(iterations))
    return algorithm, progress.state, gather(progress.state.params)


def batches(algorithm: Any, trials: Any) -> Any:
    return jax.jit(jax.vmap(jax.vmap(algorithm._batch)))(trials.rollouts)


@pytest.mark.slow
def test_experts_act_in_their_phase_and_only_on_training_tasks() -> None:
    algorithm, state, trials = after(0)
    params, key = state.params, jax.random.key(0)
    expert, stranger = algorithm.begin(params, key, Birth(jnp.int32(7))), algorithm.begin(params, key, Birth())
    assert bool(expert.expert) and not bool(stranger.expert)
    np.testing.assert_array_equal(expert.policy.context, params.experts.context[7])
    jax.tree.map(np.testing.assert_array_equal, expert.policy.network, params.experts.network)
    jax.tree.map(np.testing.assert_array_equal, stranger.policy, params.policy)
    rollout = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    kept, stepped = (algorithm.adapt(params, adapted, rollout, key) for adapted in (expert, stranger))
    jax.tree.map(np.testing.assert_array_equal, kept.policy, expert.policy)
    assert np.any(stepped.policy.network[0].weight != stranger.policy.network[0].weight)
    over = algorithm.begin(params._replace(imitating=jnp.asarray(True)), key, jnp.int32(7))
    jax.tree.map(np.testing.assert_array_equal, over.policy, params.policy)
    # Both rounds were acted by the experts: log-probabilities are theirs.
    for task, index in enumerate(trials.birth.index):
        rollouts = jax.tree.map(lambda x, n=task: x[n], trials.rollouts)
        acted = algorithm._policy.distribution(algorithm.expert(params.experts, index), rollouts.timestep.observation)
        stored = rollouts.decision.extras.log_probability
        np.testing.assert_allclose(acted.log_probability(rollouts.decision.action), stored, atol=1e-5)


def test_the_two_phases_move_what_they_should() -> None:
    def moved(old: Any, new: Any) -> bool:
        return any(np.any(a != b) for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True))

    params = {n: after(n)[1].params for n in (0, 1, 2, 3)}
    for n, imitates in ((0, False), (1, False), (2, True)):
        assert bool(params[n].imitating) == imitates
        assert moved(params[n].experts, params[n + 1].experts) != imitates
        assert moved(params[n].policy, params[n + 1].policy) == imitates
        assert moved(params[n].step_sizes, params[n + 1].step_sizes) == imitates


@pytest.mark.slow  # two gradients through imitation, a minute of compilation
def test_step_sizes_that_are_not_learned_have_no_gradient() -> None:
    algorithm, state, trials = after(2)
    params, before = state.params, jax.tree.map(lambda x: x[0, 0], batches(algorithm, trials))
    shown = algorithm.demonstrate(params.experts, state.states, trials.birth.index[0], jax.random.key(0))
    shown, learned = shown._replace(weight=jnp.float32(1)), (params.policy, params.step_sizes)
    for learns in (True, False):
        loss = replace(algorithm, learn_step_sizes=learns).loss
        slope = jax.grad(lambda learned, loss=loss: loss(learned, before, shown)[0])(learned)
        assert np.any(slope[0].log_std != 0)
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(slope[1])) == learns


def test_a_task_that_was_drawn_twice_counts_twice_for_its_expert() -> None:
    """The gradient of the mean over trials, against one trial at a time added up by hand."""
    algorithm, state, trials = after(0)
    rounds, index = batches(algorithm, trials), jnp.asarray([5, 5, 2, 5], jnp.int32)
    slope = jax.jit(jax.grad(lambda e, r, i: algorithm.expert_loss(e, r, i)[0]))
    total = np.zeros_like(state.params.experts.context)
    for task in range(4):
        policy = jax.tree.map(lambda x, n=task: x[n], rounds)
        found = np.asarray(slope(state.params.experts, policy, index[task]).context)
        others = np.delete(found, int(index[task]), axis=0)
        assert (others == 0).all() and np.any(found[int(index[task])] != 0)
        total[int(index[task])] += found[int(index[task])] / 4

    def mean_loss(experts: Any) -> Any:
        return jnp.mean(jax.vmap(algorithm.expert_loss, (None, 0, 0))(experts, rounds, index)[0])

    np.testing.assert_allclose(jax.grad(mean_loss)(state.params.experts).context, total, rtol=1e-5, atol=1e-7)


def test_demonstrations_are_the_experts_and_only_of_states_that_were_entered() -> None:
    algorithm, state, _ = after(2)
    experts = state.params.experts
    ring = buffers.TaskRing(jnp.full((70, 25, 2), 9.0), jnp.zeros((70,), jnp.int32))
    ring = buffers.add_by_task(ring, jnp.asarray([4]), jnp.asarray([[[0.1, 0.2], [0.3, 0.4]]]))
    shown = algorithm.demonstrate(experts, ring, jnp.int32(4), jax.random.key(0))
    np.testing.assert_allclose(shown.observation[:, 1] - shown.observation[:, 0], 0.1, rtol=1e-5)  # not a 9 among them
    assert (shown.observation < 1).all()
    hidden = np.concatenate([shown.observation, np.tile(experts.context[4], (6, 1))], axis=1)
    first, last = (jax.tree.map(np.asarray, layer) for layer in experts.network)
    expected = np.maximum(hidden @ first.weight + first.bias, 0) @ last.weight + last.bias
    np.testing.assert_allclose(shown.action, expected, rtol=1e-4, atol=1e-5)
    assert shown.weight == 1
    assert algorithm.demonstrate(experts, ring, jnp.int32(5), jax.random.key(0)).weight == 0  # nothing was entered


def test_a_task_without_states_teaches_nothing() -> None:
    algorithm, state, trials = after(2)
    params, before = state.params, jax.tree.map(lambda x: x[0, 0], batches(algorithm, trials))
    ring = state.states._replace(added=jnp.zeros_like(state.states.added))
    shown = algorithm.demonstrate(params.experts, ring, trials.birth.index[0], jax.random.key(0))
    slope = jax.grad(lambda p: algorithm.loss(p, before, shown)[0])((params.policy, params.step_sizes))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("relabel", [True, False])
def test_dagger_enters_the_states_of_the_adapted_policy(relabel: bool) -> None:
    algorithm, state, trials = after(2)
    algorithm = replace(algorithm, relabel=relabel)
    assert bool(state.params.imitating) and int(state.states.added.sum()) == 2 * 4 * 10
    found, _ = jax.jit(algorithm.update)(state, trials, jax.random.key(2))
    entered = np.asarray(found.states.added - state.states.added)
    np.testing.assert_array_equal(entered, 10 * relabel * np.bincount(trials.birth.index, minlength=70))
    if relabel:  # those of the round after the inner step
        task = int(trials.birth.index[0])
        places = (int(state.states.added[task]) + np.arange(10)) % 25
        visited = trials.rollouts.timestep.observation[0, -1].reshape(10, 2)
        np.testing.assert_array_equal(found.states.items[task, places], visited)


def test_the_loss_is_that_of_the_deployed_step() -> None:
    algorithm, state, trials = after(2)
    params, key = state.params, jax.random.key(0)
    shown = algorithm.demonstrate(params.experts, state.states, trials.birth.index[0], key)
    shown = shown._replace(weight=jnp.float32(1))
    first = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    adapted = algorithm.adapt(params, algorithm.begin(params, key, Birth()), first, key)
    logs = algorithm._policy.distribution(adapted.policy, shown.observation).log_probability(shown.action)
    before = jax.tree.map(lambda x: x[0, 0], batches(algorithm, trials))
    loss, metrics = algorithm.loss((params.policy, params.step_sizes), before, shown)
    assert float(loss) == pytest.approx(-float(logs.mean()), rel=1e-5)
    assert float(metrics["divergence"]) == pytest.approx(0, abs=1e-9)


def test_later_steps_are_scaled() -> None:
    algorithm, state, trials = after(2)
    params, key = state.params, jax.random.key(0)
    rollout = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    newborn = algorithm.begin(params, key, Birth())
    first = algorithm.adapt(params, newborn, rollout, key).policy
    later = algorithm.adapt(params, newborn._replace(steps=jnp.int32(1)), rollout, key).policy
    moves = ((first.log_std - params.policy.log_std), (later.log_std - params.policy.log_std))
    np.testing.assert_allclose(0.5 * moves[0], moves[1], rtol=1e-4, atol=1e-6)


def test_imitation_learns_what_an_expert_does() -> None:
    """With one training task θ' can imitate its expert exactly: the likelihood of the expert's action rises, and
    the return with it."""
    one = ON._replace(train=TaskSet(jax.tree.map(lambda x: x[:1], ON.train.tasks)))
    fields = {"expert_iterations": 20, "expert_learning_rate": 1e-2, "learning_rate": 5e-3, "streams": 10}
    algorithm = registry.make_algorithm("gmps", None, one.spec, {**SMALL, **fields, "capacity": 500, "hidden": (16,)})
    progress = jax.jit(lambda root: begin(algorithm, living(algorithm, one), root))(root_keys(0, 1))
    progress, metrics = jax.jit(many(meta_iteration(algorithm, living(algorithm, one)), 60))(
        progress, root_keys(0, 1), np.int32(60)
    )
    expert, learned = metrics["return"][19], metrics["return/round_1"]
    assert expert > metrics["return"][0] + 0.3
    assert metrics["loss"][59] < metrics["loss"][20] - 0.5
    assert learned[59] > learned[20] + 0.3 and learned[59] > expert - 0.3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"expert_iterations": 0}, "expert-iterations is 0; it must satisfy 1 ≤ expert-iterations"),
        ({"capacity": 9}, "capacity is 9; it must satisfy 10 ≤ capacity"),
        ({"inner_clip": 0.0}, "inner-clip is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"context": 0}, "context is 0"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**fields)


def test_a_benchmark_that_draws_its_tasks_afresh_is_refused() -> None:
    navigation = registry.make_benchmark("navigation", {})
    with pytest.raises(UserError, match="needs a benchmark with a finite training set, such as sparse-navigation"):
        registry.make_algorithm("gmps", None, navigation.spec, {})


def test_an_algorithm_made_for_other_tasks_is_refused(tmp_path: Path) -> None:
    more = registry.make_benchmark("sparse-navigation", {"goals": "paper"})
    with pytest.raises(UserError, match="keeps something of each of 70 training tasks, but the benchmark has 80"):
        train(make(), more, Settings(1, quiet=True), tmp_path, resume=False)


@pytest.mark.parametrize("other", [{"goals": "paper"}, {"dense": False}])
def test_experts_of_other_tasks_are_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    """A run directory holds the experts of its benchmark: it does not go on with another, even one of as many tasks."""
    begun, now = ({"dense": True, "horizon": 5, **more} for more in ({}, other))
    on, changed = (name_benchmark("sparse-navigation", settings) for settings in (begun, now))
    settings = Settings(1, quiet=True)
    write_config(tmp_path, make_config(make(), "gmps", on, settings))
    algorithm = replace(make(), spec=changed.value.spec)
    with pytest.raises(UserError, match="was begun with benchmark_settings"):
        run(algorithm, "gmps", changed, settings, tmp_path, resume=True)
