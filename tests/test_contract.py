"""What every registered algorithm owes the loop, shrunk to milliseconds of work: mostly compilation.

A new algorithm is picked up from the registry; its record (`records.py`) says how it is shrunk and what is its own. All
that is computed of a case is one program, whose results the tests look at.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from records import RECORDS

from adaptax.names import registry
from adaptax.run import checkpoint
from adaptax.run.iterate import Progress, begin, meta_iteration
from adaptax.run.shard import mesh_of
from adaptax.run.source import living
from adaptax.run.train import Settings, root_keys, train
from adaptax.tasks import TaskSet
from adaptax.types import Algorithm, Benchmark, Birth, Trial

SETTINGS = {
    "bandit": {"arms": 3, "pulls": 4},
    "gaussian-bandit": {"arms": 3, "pulls": 4},
    "navigation": {"horizon": 5},
    "tabular-mdp": {"episodes": 2, "states": 3, "actions": 2, "horizon": 2},
}
# Fields that no registered name fixes and that change what an algorithm computes, tested where they are meant for.
FIELDS = {
    ("rl2", "tabular-mdp"): {"network": "lstm", "pairs": True, "head_hidden": 4},
    ("rl2", "gaussian-bandit"): {"network": "transformer", "exploration_episodes": 1},
    ("varibad", "gaussian-bandit"): {"network": "transformer"},
}
SHRUNK = {"tasks": 4, "streams": 2, "epochs": 2, "minibatches": 2, "step_size": 0.5}
# A few well-conditioned iterations: many, on a batch of a few steps, amplify rounding.
SHRUNK |= {"conjugate_gradients": 2, "damping": 0.1}
ALGORITHMS = list(registry.ALGORITHMS)


def unless_slow(name: str, on: str) -> Any:
    """Outside the whole suite a bandit's discrete actions and short rounds, which go through the same code in all, are
    for two algorithms; variants, and what attends to a whole trial, are for none."""
    record = RECORDS[name]
    slow = record.variant or FIELDS.get((name, on), {}).get("network") == "transformer"
    slow |= on == "bandit" and not record.leading
    return pytest.param(name, on, marks=[pytest.mark.slow] * slow)


EVERY = [unless_slow(name, on) for name in ALGORITHMS for on in RECORDS[name].benchmarks]
EVERY += [unless_slow(*pair) for pair in FIELDS]
REPLAYING = [name for name in ALGORITHMS if RECORDS[name].replays]
# Going on from a checkpoint is the loop's work: outside the whole suite, one with a memory, one with two seeds, and one
# whose state is more than parameters, optimizer and iteration (rings).
KEEPING = (("rl2", "navigation", 1), ("maml", "bandit", 2), ("pearl", "navigation", 2))


class Case(NamedTuple):
    algorithm: Algorithm
    benchmark: Benchmark
    progress: Progress  # when what is tested begins
    trials: Trial
    after: Any  # the state after two updates, and what the second one measured
    metrics: Any


def make(name: str, on: str, **hyperparameters: Any) -> tuple[Algorithm, Benchmark]:
    benchmark = registry.make_benchmark(on, SETTINGS[on])
    if RECORDS[name].finite:
        benchmark = benchmark._replace(train=TaskSet(benchmark.train.sample(jax.random.key(5), 6)[1]))
    known = {f.name: f.default for f in fields(registry.algorithm_entry(name).load())}
    wanted = {**SHRUNK, **RECORDS[name].shrunk, **FIELDS.get((name, on), {}), **hyperparameters}
    shrunk = {k: v for k, v in wanted.items() if k in known}
    if "hidden" in known:
        shrunk["hidden"] = (8,) if isinstance(known["hidden"], tuple) else 8
    return registry.make_algorithm(name, None, benchmark.spec, shrunk), benchmark


@cache
def case(name: str, on: str) -> Case:
    """Begun, and two meta-iterations after those that are `before`, of which nothing is asked here."""
    algorithm, benchmark = make(name, on)
    source, before = living(algorithm, benchmark), RECORDS[name].before

    def iterate(progress: Progress, key: Any) -> Any:
        draw_key, update_key = jax.random.split(key)
        trials, carried, _ = source.draw(progress.state.params, progress.carried, draw_key)
        state, metrics = algorithm.update(progress.state, trials, update_key)
        return Progress(state, carried), (progress, trials, metrics)

    @jax.jit
    def run(root: Any) -> Any:
        keys = jax.random.split(jax.random.fold_in(root, 1), before + 2)
        last, history = jax.lax.scan(iterate, begin(algorithm, source, root), keys)
        (progress, trials), metrics = jax.tree.map(lambda x: x[before], history[:2]), history[2]
        return progress, trials, last.state, jax.tree.map(lambda x: x[-1], metrics)

    return Case(algorithm, benchmark, *run(root_keys(0, 1)))


def bits(leaf: Any) -> np.ndarray:
    key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if key else leaf)


def assert_same(left: Any, right: Any) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(bits(a), bits(b)), left, right)


def kinds(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


def assert_close(left: Any, right: Any, relative: float, absolute: float) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)

    def compare(path: Any, a: Any, b: Any) -> None:
        where = jax.tree_util.keystr(path)
        np.testing.assert_allclose(bits(a), bits(b), rtol=relative, atol=absolute, err_msg=where)

    jax.tree_util.tree_map_with_path(compare, left, right)


@pytest.mark.parametrize(("name", "on"), EVERY)
def test_update_keeps_the_form_of_the_state(name: str, on: str) -> None:
    """And so compiles once. A loop would hide a weak type that becomes another: what goes in is held against what comes
    out of a single update."""
    algorithm, _, progress, trials, after, metrics = case(name, on)
    before = progress.state
    traced, _ = jax.eval_shape(algorithm.update, before, trials, jax.random.key(2))
    assert jax.tree.structure(traced) == jax.tree.structure(before)
    for (path, old), new in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(traced), strict=True):
        where = jax.tree_util.keystr(path)
        assert (new.shape, new.dtype, new.weak_type) == (old.shape, old.dtype, False), where
        assert not old.weak_type, where
    assert before.iteration.dtype == jnp.int32 and int(after.iteration) == int(before.iteration) + 2
    for name_, value in metrics.items():
        assert value.shape == () and np.isfinite(value), name_
    for leaf in jax.tree.leaves(after):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize(("name", "on"), [*EVERY, unless_slow("meta-sgd", "tabular-mdp")])
def test_every_parameter_that_should_move_moves(name: str, on: str) -> None:
    before, after = case(name, on).progress.state.params, case(name, on).after.params
    still = RECORDS[name].still + RECORDS[name].still_on_bandit * (on == "bandit")
    for (path, old), new in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True):
        where = jax.tree_util.keystr(path)
        if old.size:
            assert np.any(old != new) != where.startswith(still or "none"), where


@pytest.mark.parametrize(
    ("name", "on"),
    [
        *(unless_slow(name, "navigation") for name in ALGORITHMS if RECORDS[name].divergence),
        *(unless_slow(*pair) for pair in FIELDS if pair[0] != "varibad"),  # it reads stored beliefs, whoever made them
    ],
)
def test_the_update_sees_the_policy_that_acted(name: str, on: str) -> None:
    """With one epoch in one piece the recomputed probability ratio is exactly 1, after adaptation and memory: a
    divergence of 0. (Without the inner step it would be 1e-3 here, with a wrong memory more.)"""
    algorithm, _ = make(name, on, epochs=1, minibatches=1, adam_steps=1)
    _, _, progress, trials, *_ = case(name, on)

    # The divergence alone: what only the new parameters need is not compiled.
    metrics = jax.jit(lambda *given: algorithm.update(*given)[1])(progress.state, trials, jax.random.key(2))
    assert 0 <= metrics["divergence"] < 1e-9


@pytest.mark.parametrize(
    ("name", "on"),
    [
        *(unless_slow(name, "navigation") for name in REPLAYING),
        # A bandit shows a network without initial biases a constant zero: neither its body nor its context can adapt.
        *(unless_slow(name, "bandit") for name in REPLAYING if name not in ("boil", "cavia")),
    ],
)
def test_the_meta_gradient_replays_the_deployed_adapt(name: str, on: str) -> None:
    """`begin`, then `adapt` on each round with its key, gives the very parameters that the next round acted with: its
    log-probabilities are the stored ones, and the unadapted policy's are not."""
    _, _, progress, trials, *_ = case(name, on)
    agent: Any = case(name, on).algorithm

    def worst(adapted: Any, rollout: Any) -> Any:
        policy = agent._policy.distribution(adapted.policy, rollout.timestep.observation)
        found = policy.log_probability(rollout.decision.action)
        return jnp.abs(found - rollout.decision.extras.log_probability).max()

    def replay(params: Any, trial: Any) -> Any:
        start = adapted = agent.begin(params, trial.birth_key, trial.birth)
        errors = []
        for r in range(agent.plan.rounds):
            rollout = jax.tree.map(lambda x, r=r: x[r], trial.rollouts)
            errors.append((worst(adapted, rollout), worst(trial.start, rollout)))
            if r < agent.plan.rounds - 1:
                adapted = agent.adapt(params, adapted, rollout, trial.keys[r])
        return start, errors

    start, errors = jax.jit(jax.vmap(replay, (None, 0)))(progress.state.params, trials)
    assert_same(start, trials.start)
    for r, (adapted, unadapted) in enumerate(errors):
        assert adapted.max() < 1e-5
        assert r == 0 or unadapted.max() > 1e-2


@pytest.mark.slow  # operation by operation a second-order update takes a minute, and the fastest one half of that
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_without_jit(name: str) -> None:
    algorithm, _, progress, trials, *_ = case(name, RECORDS[name].benchmarks[0])
    with jax.disable_jit():
        found, metrics = algorithm.update(progress.state, trials, jax.random.key(2))
    expected, others = jax.jit(algorithm.update)(progress.state, trials, jax.random.key(2))
    # Adam's step is g/|g|: a gradient of rounding size moves as far as any other, so a few entries may differ.
    assert_close(metrics, others, 1e-3, 1e-5)
    assert_close(found.params, expected.params, 1e-3, 2e-5)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (not RECORDS[name].leading)) for name in ALGORITHMS]
)
def test_one_device_is_two_devices(name: str) -> None:
    """An update that goes over the tasks in a way of its own; the others share `mean_gradient`."""
    algorithm, benchmark, progress, *_ = case(name, RECORDS[name].benchmarks[0])
    results = []
    for devices in (1, 2):
        with mesh_of(devices, algorithm.plan.tasks):
            iterate = jax.jit(meta_iteration(algorithm, living(algorithm, benchmark)))
            after, metrics = iterate(progress, root_keys(0, 1))
            results.append(jax.device_get((after.state.params, metrics)))
    assert_close(results[0], results[1], 1e-5, 1e-6)


def restored(directory: Path, algorithm: Algorithm, benchmark: Benchmark, seeds: int) -> Progress:
    roots = root_keys(0, seeds)
    start = (lambda root: begin(algorithm, living(algorithm, benchmark), root)) if seeds == 1 else None
    start = start or jax.vmap(lambda root: begin(algorithm, living(algorithm, benchmark), root))
    return checkpoint.restore(directory / "checkpoints", jax.eval_shape(start, roots))[0]


@pytest.mark.parametrize(
    ("name", "on", "seeds"),
    [
        pytest.param(name, on, seeds, marks=[pytest.mark.slow] * ((name, on, seeds) not in KEEPING))
        for name in ALGORITHMS
        for on, seeds in ((RECORDS[name].benchmarks[0], 1), (RECORDS[name].benchmarks[-1], 2))
    ],
)
def test_three_and_three_resumed_iterations_are_six(tmp_path: Path, name: str, on: str, seeds: int) -> None:
    algorithm, benchmark, *_ = case(name, on)

    def go(where: str, iterations: int, resume: bool = False) -> Progress:
        settings = Settings(iterations, seeds=seeds, log_every=3, quiet=True)
        train(algorithm, benchmark, settings, tmp_path / where, resume=resume)
        return restored(tmp_path / where, algorithm, benchmark, seeds)

    whole, half = go("whole", 6), go("pieces", 3)
    assert_same(go("pieces", 6, resume=True), whole)
    moved = [np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (whole.state, half.state)), strict=True)]
    assert any(moved)
    if seeds == 2:  # and the seeds are two different runs
        first, second = (jax.tree.map(lambda x, k=k: x[k], whole.state.params) for k in range(2))
        assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True))


@pytest.mark.parametrize(("name", "on"), EVERY)
def test_act_and_adapt_are_pure(name: str, on: str) -> None:
    """Traced twice they are the same program, without effects: nothing but what is given goes in."""
    algorithm, _, progress, trials, *_ = case(name, on)
    params, key = progress.state.params, jax.random.key(4)
    adapted = jax.eval_shape(algorithm.begin, params, key, Birth())
    memory = jax.eval_shape(algorithm.start, params)
    rollout = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    timestep = jax.tree.map(lambda x: x[0, 1], rollout.timestep)

    def traced(function: Any, *given: Any) -> tuple[Any, Any]:
        first, second = (jax.make_jaxpr(lambda *given: function(*given), return_shape=True)(*given) for _ in range(2))
        assert str(first[0]) == str(second[0])
        assert_same(first[0].consts, second[0].consts)
        assert not first[0].effects
        return first

    (_, acted), (_, learnt) = (
        traced(algorithm.act, params, adapted, memory, timestep, key),
        traced(algorithm.adapt, params, adapted, rollout, key),
    )
    # What they return goes back in: the same types, or the collector's scan would not close.
    assert kinds(learnt) == kinds(adapted)
    assert kinds(acted[1]) == kinds(memory)
    # Without a key nothing is left to chance: `predict(deterministic=True)`.
    program, sure = traced(lambda *given: algorithm.act(*given, None), params, adapted, memory, timestep)  # type: ignore[arg-type]
    assert kinds(sure) == kinds(acted)
    assert "random_bits" not in str(program)
