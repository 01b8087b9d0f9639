"""Which algorithm masters which probe: trained for seconds, judged against an optimum known by hand."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from probes import AFTER_A_ROUND, PROBES, Probe, finite

from adaptax.names import registry
from adaptax.run.evaluate import evaluate, protocol_of
from adaptax.run.iterate import begin, many, meta_iteration
from adaptax.run.source import living
from adaptax.run.train import root_keys
from adaptax.types import Algorithm

GRADIENT = ("one task", "visible", "first reward", "nothing")
MUST_PASS = {
    "rl2": tuple(PROBES),
    "maml": GRADIENT,
    "fomaml": GRADIENT,
    "anil": GRADIENT,
    "meta-sgd": GRADIENT,
    "maml-trpo": GRADIENT,
    "boil": GRADIENT,
    "e-maml": GRADIENT,
    "cavia": GRADIENT,
    "promp": GRADIENT,
    "maesn": GRADIENT,
    "gmps": GRADIENT,
    "reptile": GRADIENT,
    "mmaml": GRADIENT,
    "task-model": GRADIENT,
    "varibad": tuple(PROBES),
    "hyperx": ("exploring",),  # the one that bonuses are about: without them it is VariBAD
    "multitask-ppo": ("one task", "visible", "nothing"),  # in training it never adapts
    "multitask-dqn": ("one task", "visible", "nothing"),  # as above
    "multitask-sac": (),
    "multitask-ddpg": (),
    "rl2-dqn": tuple(PROBES),
    "rl2-sac": (),
    "pearl": (),
}
# Algorithms that no probe can be put to, and why.
_BOXES = "its actions are continuous and those of the probes are not; tests/algorithms has one of its own"
UNPROBED = dict.fromkeys(("rl2-sac", "multitask-sac", "multitask-ddpg", "pearl"), _BOXES)
_RL2 = {"tasks": 128, "hidden": 32, "learning_rate": 5e-3, "minibatches": 2, "entropy": 0.03, "discount": 1.0}
_PAST = {"tasks": 16, "hidden": 32, "head_hidden": (32,), "capacity": 2000, "learning_rate": 3e-3, "discount": 1.0}
_TRUST = {"tasks": 16, "streams": 10, "hidden": (16,), "step_size": 0.5}
_SMALL = {"tasks": 16, "streams": 10, "hidden": (16,), "learning_rate": 1e-2, "step_size": 0.5}
_REPLAY = {"tasks": 16, "streams": 2, "hidden": (16,), "gradient_steps": 20, "batch": 32, "capacity": 2000}
_REPLAY |= {"learning_rate": 1e-2, "target_rate": 0.05, "epsilon_decay": 40, "final_epsilon": 0.0}
_BELIEF = {"tasks": 64, "model_batch": 64, "clip": 0.2, "learning_rate": 3e-3, "discount": 1.0, "prior_weight": 0.01}
SETTINGS: dict[str, tuple[int, dict[str, Any]]] = {  # iterations and hyper-parameters
    "rl2": (200, _RL2),
    "rl2-dqn": (100, {**_PAST, "target_rate": 0.05, "epsilon_decay": 60}),
    **{name: (60, _SMALL) for name in ("maml", "fomaml", "anil", "meta-sgd")},
    **{name: (60, _TRUST) for name in ("maml-trpo", "boil", "e-maml", "cavia")},
    "promp": (60, _SMALL),
    "mmaml": (60, _SMALL),
    "gmps": (60, {**_SMALL, "expert_iterations": 30, "expert_learning_rate": 1e-2, "batch": 40, "capacity": 400}),
    "task-model": (60, _SMALL),
    "maesn": (100, {"tasks": 16, "streams": 10, "hidden": (16,), "step_size": 0.5}),
    "multitask-ppo": (60, {k: v for k, v in _SMALL.items() if k != "step_size"}),
    "multitask-dqn": (60, _REPLAY),
    "varibad": (400, _BELIEF),
    "hyperx": (400, {**_BELIEF, "anneal": 300, "novelty_weight": 0.1, "surprise_weight": 0.1}),
    "reptile": (60, {"tasks": 16, "streams": 10, "hidden": (16,), "inner_steps": 2, "step_size": 0.1}),
}
# Only in the whole suite: variants by a value of an algorithm that is probed anyway, and those that compile longest.
SLOW = ("fomaml", "anil", "meta-sgd", "boil", "e-maml", "cavia", "hyperx", "gmps", "mmaml", "task-model")
FINITE = ("maesn", "gmps")  # algorithms that keep something of every task of a finite training set
# The probe that decides; the others only in the whole suite.
ONE_OF = {
    "varibad": "exploring",
    "rl2-dqn": "exploring",
    **dict.fromkeys(("maml-trpo", "promp", "maesn", "gmps", "mmaml"), "first reward"),
}
ONE_OF |= dict.fromkeys(("reptile", "task-model"), "first reward")
# The same agents with another value of a field, only in the whole suite: each further memory, where one is needed.
VARIED = [
    ("varibad", which, {"network": network}) for network in ("lstm", "transformer") for which in ("exploring", "border")
]
CASES = [
    pytest.param(name, which, marks=[pytest.mark.slow] if name in SLOW or ONE_OF.get(name, which) != which else [])
    for name, passes in MUST_PASS.items()
    for which in passes
]
pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_every_algorithm_says_what_it_must_pass() -> None:
    assert set(MUST_PASS) == set(SETTINGS) | set(UNPROBED) == set(registry.ALGORITHMS)
    assert {name for name, passes in MUST_PASS.items() if not passes} == set(UNPROBED)


def score(algorithm: Algorithm, probe: Probe, params: Any, tasks: int = 400) -> float:
    """Mean return of a stream in the last round of a lifetime, all episodes together."""
    protocol = protocol_of(algorithm.plan, probe.benchmark, tasks)
    result = evaluate(algorithm, probe.benchmark, probe.benchmark.test, params, protocol)
    return float(result.returns[:, -1].sum(axis=-1).mean())


@pytest.mark.parametrize(("name", "which"), CASES)
def test_probe(name: str, which: str) -> None:
    check(name, which, {})


@pytest.mark.slow
@pytest.mark.parametrize(("name", "which", "varied"), VARIED)
def test_probe_with_other_fields(name: str, which: str, varied: dict[str, Any]) -> None:
    check(name, which, varied)


def check(name: str, which: str, varied: dict[str, Any]) -> None:
    probe, (iterations, hyperparameters) = PROBES[which], SETTINGS[name]
    if name in FINITE:
        probe = finite(probe)
    algorithm = registry.make_algorithm(name, None, probe.benchmark.spec, {**hyperparameters, **varied})
    root = root_keys(0, 1)
    progress = jax.jit(lambda root: begin(algorithm, living(algorithm, probe.benchmark), root))(root)
    run = jax.jit(many(meta_iteration(algorithm, living(algorithm, probe.benchmark)), iterations))
    progress, metrics = run(progress, root, np.int32(iterations))
    before, after = float(metrics["return"][0]), score(algorithm, probe, progress.state.params)
    optimum = probe.optimum if algorithm.plan.rounds == 1 else AFTER_A_ROUND.get(which, probe.optimum)
    print(f"{name} {which}: {before:.3f} -> {after:.3f} of {optimum}")
    for values in metrics.values():
        assert np.isfinite(values).all()
    if which == "nothing":
        assert before == after == optimum
        return
    assert before < optimum - 0.4, "an untrained agent must not pass already"
    # Nine tenths of the way from what an agent without the skill gets, with noise of a few hundredths in 400 tasks.
    assert after > optimum - 0.1 * (optimum - probe.chance) - 0.05
    assert after < optimum + 0.15
