"""What every registered algorithm owes the loop, shrunk to milliseconds of work: mostly compilation.

A new algorithm is picked up from the registry. It may have to say below which leaves of its parameters stay still and
how its policy is recomputed; everything else it owes as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.names import registry
from adaptax.run import checkpoint
from adaptax.run.collect import collect, streams_of
from adaptax.run.iterate import Progress, begin, many, meta_iteration
from adaptax.run.shard import mesh_of
from adaptax.run.source import living
from adaptax.run.train import Settings, root_keys, train
from adaptax.tasks import TaskSet
from adaptax.types import Algorithm, Benchmark, Birth, Trial

pytestmark = pytest.mark.usefixtures("quick_compilation")

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
OWN: dict[str, dict[str, Any]] = {}
OWN["reptile"] = {"step_size": 0.01}  # Adam's steps are of this size whatever the gradient, rounding included
OWN["gmps"] = {"expert_iterations": 1, "expert_epochs": 2, "adam_steps": 2, "batch": 8, "capacity": 32}
OWN["pearl"] = {"exploration": 2, "gradient_steps": 2, "meta_batch": 3, "batch": 8, "context": 6, "capacity": 40}
OWN["pearl"] |= {"encoder_hidden": (8,), "learning_rate": 1e-3}
_REPLAY = {"gradient_steps": 2, "batch": 8, "capacity": 64, "fine_tuning_steps": 2, "fine_tuning_capacity": 24}
OWN |= dict.fromkeys(("multitask-sac", "multitask-ddpg", "multitask-dqn"), _REPLAY)
_PAST = {"head_hidden": (8,), "gradient_steps": 2, "batch": 8, "capacity": 20}
OWN |= {"rl2-sac": {**_PAST, "episodes": 2}, "rl2-dqn": _PAST}
OWN["mmaml"] = {"encoder_hidden": 4}  # among thousands of weights some gradient is near zero: see above
# Algorithms that keep something of every training task: they get a few tasks of a benchmark that draws them afresh.
FINITE = ("maesn", "gmps", "pearl")
# Algorithms for continuous actions alone: a bandit is none of theirs. And for discrete ones alone.
CONTINUOUS = ("pearl", "rl2-sac", "multitask-sac", "multitask-ddpg")
DISCRETE_ALONE = ("rl2-dqn", "multitask-dqn")
BEFORE = {"gmps": 1}  # iterations before what is tested begins: those of the experts are tested in tests/algorithms
ALGORITHMS = list(registry.ALGORITHMS)
DISCRETE = [name for name in ALGORITHMS if name not in CONTINUOUS]


def home(name: str) -> str:
    """The benchmark on which an algorithm is tested first."""
    return "tabular-mdp" if name in DISCRETE_ALONE else "navigation"


# Variants by a value of an algorithm that is tested anyway: where compilation is long, only in the whole suite.
VARIANTS = ("fomaml", "anil", "meta-sgd", "boil", "e-maml", "cavia", "hyperx")
VARIANTS += ("multitask-ddpg",)  # all but the losses of multitask-sac


def unless_variant(name: str, *rest: Any) -> Any:
    # A bandit's discrete actions and short rounds go through the same code in all: two are enough outside the suite.
    slow = name in VARIANTS or (rest[:1] == ("bandit",) and name not in ("rl2", "maml"))
    return pytest.param(name, *rest, marks=[pytest.mark.slow] if slow else [])


# Going on from a checkpoint is the loop's work: outside the whole suite, one with a memory, one with two seeds, and one
# whose state is more than parameters, optimizer and iteration (rings).
KEEPING = (("rl2", "navigation", 1), ("maml", "bandit", 2), ("pearl", "navigation", 2))


def unless_usual(name: str, on: str, seeds: int) -> Any:
    return pytest.param(name, on, seeds, marks=[] if (name, on, seeds) in KEEPING else [pytest.mark.slow])


# On two devices: those whose update goes over the tasks in a way of its own; the others share `mean_gradient`.
ON_DEVICES = [pytest.param(name, marks=[] if name in ("rl2", "maml") else [pytest.mark.slow]) for name in ALGORITHMS]
EVERY = [
    *(unless_variant(name, home(name)) for name in ALGORITHMS),
    *(unless_variant(name, "bandit") for name in DISCRETE),
    *(pytest.param(*pair, marks=[pytest.mark.slow] * (FIELDS[pair]["network"] == "transformer")) for pair in FIELDS),
]

# Algorithms whose `adapt` gives the policy of the next round: log-probabilities under what it returned.
ADAPTED_POLICY = (
    *("maml", "fomaml", "anil", "meta-sgd"),
    *("maml-trpo", "boil", "e-maml", "cavia"),
    *("promp", "gmps", "reptile", "mmaml", "task-model", "multitask-ppo"),
)

# Leaves of the parameters that `update` leaves as they are, by the beginning of their path: what is not learned.
STILL: dict[str, tuple[str, ...]] = {name: (".step_sizes",) for name in ("maml", "fomaml", "anil")}
STILL["cavia"] = (".context",)  # every lifetime begins with zeros
STILL["maesn"] = (".policy.context",)  # the latent takes its place
STILL["gmps"] = (".experts", ".imitating")  # after their phase
# On a bandit a feed-forward network without initial biases sees a constant zero: only its last bias can move.
DEAD = tuple(f"{p}.network[{leaf}" for p in (".policy", ".step_sizes", "") for leaf in ("0]", "1].weight"))
STILL_ON = {(name, "bandit"): DEAD for name in ADAPTED_POLICY}
STILL_ON["gmps", "bandit"] = (*DEAD, ".policy.context", ".step_sizes.context")
STILL_ON["promp", "bandit"] = (".network[0].weight",)  # tanh units have a slope at zero, so that their biases move
STILL_ON["mmaml", "bandit"] = (".policy.network[0]", ".policy.network[1].weight", ".encoder", ".modulators")
STILL_ON["multitask-dqn", "bandit"] = tuple(
    f".{p}{leaf}" for p in ("online", "target") for leaf in ("[0]", "[1].weight")
)
STILL_ON["task-model", "bandit"] = tuple(f".{p}.network[0].weight" for p in ("policy", "offsets"))  # offsets are biases

# Algorithms whose `divergence` is that of the step they take, which a search limits (tests/algorithms).
SEARCHING = ("maml-trpo", "boil", "e-maml", "cavia", "maesn")
# Algorithms that learn from old data, whatever policy collected them.
OFF_POLICY = ("pearl", "rl2-sac", "rl2-dqn", "multitask-sac", "multitask-ddpg", "multitask-dqn")


class Case(NamedTuple):
    algorithm: Algorithm
    benchmark: Benchmark
    progress: Progress
    trials: Trial


def make(name: str, on: str, **hyperparameters: Any) -> tuple[Algorithm, Benchmark]:
    benchmark = registry.make_benchmark(on, SETTINGS[on])
    if name in FINITE:
        benchmark = benchmark._replace(train=TaskSet(benchmark.train.sample(jax.random.key(5), 6)[1]))
    known = {f.name: f.default for f in fields(registry.algorithm_entry(name).load())}
    wanted = {**SHRUNK, **OWN.get(name, {}), **FIELDS.get((name, on), {}), **hyperparameters}
    shrunk = {k: v for k, v in wanted.items() if k in known}
    if "hidden" in known:
        shrunk["hidden"] = (8,) if isinstance(known["hidden"], tuple) else 8
    return registry.make_algorithm(name, None, benchmark.spec, shrunk), benchmark


def collector(algorithm: Algorithm, benchmark: Benchmark) -> Callable[..., Any]:
    streams = streams_of(benchmark.environment)

    def run(progress: Progress, key: Any) -> Trial:
        params, lives = progress.state.params, progress.carried
        return collect(algorithm, streams, benchmark.train, algorithm.plan, params, lives, key)[0]

    return jax.jit(run)


@cache
def case(name: str, on: str) -> Case:
    algorithm, benchmark = make(name, on)
    progress = jax.jit(lambda root: begin(algorithm, living(algorithm, benchmark), root))(root_keys(0, 1))
    if name in BEFORE:
        iterate = many(meta_iteration(algorithm, living(algorithm, benchmark)), BEFORE[name])
        progress, _ = jax.jit(iterate)(progress, root_keys(0, 1), np.int32(BEFORE[name]))
    trials = collector(algorithm, benchmark)(progress, jax.random.key(1))
    return Case(algorithm, benchmark, progress, trials)


@cache
def updated(name: str, on: str) -> tuple[Any, Any, int]:
    """State and metrics after two updates, and how often `update` was traced."""
    algorithm, _, progress, trials = case(name, on)
    traces = []

    def counted(state: Any, trials: Trial, key: Any) -> Any:
        traces.append(1)
        return algorithm.update(state, trials, key)

    update = jax.jit(counted)
    state, _ = update(progress.state, trials, jax.random.key(2))
    state, metrics = update(state, trials, jax.random.key(3))
    return state, metrics, len(traces)


def bits(leaf: Any) -> np.ndarray:
    key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if key else leaf)


def assert_same(left: Any, right: Any) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(bits(a), bits(b)), left, right)


def assert_close(left: Any, right: Any, relative: float, absolute: float) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)

    def compare(path: Any, a: Any, b: Any) -> None:
        where = jax.tree_util.keystr(path)
        np.testing.assert_allclose(bits(a), bits(b), rtol=relative, atol=absolute, err_msg=where)

    jax.tree_util.tree_map_with_path(compare, left, right)


@pytest.mark.parametrize(("name", "on"), EVERY)
def test_update_keeps_the_form_of_the_state_and_compiles_once(name: str, on: str) -> None:
    before, (after, metrics, traces) = case(name, on).progress.state, updated(name, on)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    for (path, old), new in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True):
        where = jax.tree_util.keystr(path)
        assert jax.typeof(new) == jax.typeof(old), where  # shape, dtype and weak type
        assert not old.weak_type, where
    assert traces == 1
    assert before.iteration.dtype == jnp.int32 and int(after.iteration) == int(before.iteration) + 2
    for name_, value in metrics.items():
        assert value.shape == () and np.isfinite(value), name_
    for leaf in jax.tree.leaves(after):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize(("name", "on"), [*EVERY, ("meta-sgd", "tabular-mdp")])
def test_every_parameter_that_should_move_moves(name: str, on: str) -> None:
    before, after = case(name, on).progress.state.params, updated(name, on)[0].params
    still = STILL.get(name, ()) + STILL_ON.get((name, on), ())
    for (path, old), new in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True):
        where = jax.tree_util.keystr(path)
        if old.size:
            assert np.any(old != new) != where.startswith(still or "none"), where


@pytest.mark.parametrize(
    ("name", "on"),
    [
        *(unless_variant(n, "navigation") for n in ALGORITHMS if n not in (*SEARCHING, *OFF_POLICY)),
        *(pair for pair in FIELDS if pair[0] != "varibad"),  # whose policy reads stored beliefs, whatever made them
    ],
)
def test_the_update_sees_the_policy_that_acted(name: str, on: str) -> None:
    """With one epoch in one piece the recomputed probability ratio is exactly 1, after adaptation and memory: a
    divergence of 0. (Without the inner step it would be 1e-3 here, with a wrong memory more.)"""
    algorithm, _ = make(name, on, epochs=1, minibatches=1, adam_steps=1)
    _, _, progress, trials = case(name, on)
    _, metrics = jax.jit(algorithm.update)(progress.state, trials, jax.random.key(2))
    assert 0 <= metrics["divergence"] < 1e-9


@pytest.mark.parametrize(
    ("name", "on"),
    [
        *(unless_variant(n, "navigation") for n in ADAPTED_POLICY),
        # A bandit shows a network without initial biases a constant zero: neither its body nor its context can adapt.
        *(unless_variant(n, "bandit") for n in ADAPTED_POLICY if n not in ("boil", "cavia")),
    ],
)
def test_the_meta_gradient_replays_the_deployed_adapt(name: str, on: str) -> None:
    """`begin`, then `adapt` on each round with its key, gives the very parameters that the next round acted with: its
    log-probabilities are the stored ones, and the unadapted policy's are not."""
    algorithm, _, progress, trials = case(name, on)
    agent: Any = algorithm
    params = progress.state.params

    def worst(adapted: Any, rollout: Any) -> float:
        def logs(adapted: Any, rollout: Any) -> Any:
            policy = agent._policy.distribution(adapted.policy, rollout.timestep.observation)
            return policy.log_probability(rollout.decision.action)

        found = jax.jit(jax.vmap(logs))(adapted, rollout)
        return float(np.abs(found - rollout.decision.extras.log_probability).max())

    adapted = jax.vmap(agent.begin, (None, 0, 0))(params, trials.birth_key, trials.birth)
    assert_same(adapted, trials.start)
    for r in range(agent.plan.rounds):
        rollout = jax.tree.map(lambda x, r=r: x[:, r], trials.rollouts)
        assert worst(adapted, rollout) < 1e-5
        if r:
            assert worst(trials.start, rollout) > 1e-2
        adapted = jax.jit(jax.vmap(agent.adapt, (None, 0, 0, 0)))(params, adapted, rollout, trials.keys[:, r])


@pytest.mark.slow  # operation by operation a second-order update takes a minute, and the fastest one half of that
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_without_jit(name: str) -> None:
    algorithm, _, progress, trials = case(name, home(name))
    with jax.disable_jit():
        found, metrics = algorithm.update(progress.state, trials, jax.random.key(2))
    expected, others = jax.jit(algorithm.update)(progress.state, trials, jax.random.key(2))
    # Adam's step is g/|g|: a gradient of rounding size moves as far as any other, so a few entries may differ.
    assert_close(metrics, others, 1e-3, 1e-5)
    assert_close(found.params, expected.params, 1e-3, 2e-5)


@pytest.mark.parametrize("name", ON_DEVICES)
def test_one_device_is_two_devices(name: str) -> None:
    algorithm, benchmark, progress, _ = case(name, home(name))
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
        *(unless_usual(name, home(name), 1) for name in DISCRETE),
        *(unless_usual(name, "bandit", 2) for name in DISCRETE),
        *(unless_usual(name, "navigation", 2) for name in CONTINUOUS),
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
    algorithm, _, progress, trials = case(name, on)
    params, key = progress.state.params, jax.random.key(4)
    adapted = algorithm.begin(params, key, Birth())
    memory = algorithm.start(params)
    rollout = jax.tree.map(lambda x: x[0, 0], trials.rollouts)
    timestep = jax.tree.map(lambda x: x[0, 1], rollout.timestep)
    given = (params, adapted, memory, timestep, rollout)
    before = jax.tree.map(lambda x: bits(x).copy(), given)
    act, adapt = jax.jit(algorithm.act), jax.jit(algorithm.adapt)
    acted = [act(params, adapted, memory, timestep, key) for _ in range(2)]
    learnt = [adapt(params, adapted, rollout, key) for _ in range(2)]
    assert_same(*acted)
    assert_same(*learnt)
    # What they return goes back in: the same types, or the collector's scan would not close.
    assert jax.tree.map(jax.typeof, learnt[0]) == jax.tree.map(jax.typeof, adapted)
    assert jax.tree.map(jax.typeof, acted[0][1]) == jax.tree.map(jax.typeof, memory)
    assert_same(jax.tree.map(bits, given), before)
    # Without a key nothing is left to chance: `predict(deterministic=True)`.
    sure = jax.jit(lambda *given: algorithm.act(*given, None))(params, adapted, memory, timestep)  # type: ignore[arg-type]
    assert jax.tree.map(jax.typeof, sure) == jax.tree.map(jax.typeof, acted[0])
