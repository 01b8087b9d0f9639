"""Which algorithm masters which probe: trained for seconds, judged against an optimum known by hand."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from probes import AFTER_A_ROUND, PROBES, Probe, finite
from records import RECORDS

from adaptax.names import registry
from adaptax.run.evaluate import evaluate, protocol_of
from adaptax.run.iterate import begin, many, meta_iteration
from adaptax.run.source import living
from adaptax.run.train import root_keys
from adaptax.types import Algorithm

# The same agents with another value of a field, only in the whole suite: each further memory, where one is needed.
VARIED = [
    ("varibad", which, {"network": network}) for network in ("lstm", "transformer") for which in ("exploring", "border")
]
CASES = [
    pytest.param(
        name, which, marks=[pytest.mark.slow] * (record.variant or record.long or which != (record.decides or which))
    )
    for name, record in RECORDS.items()
    for which in record.probes
]


def test_every_algorithm_has_a_record_and_masters_a_probe_if_one_can_be_put_to_it() -> None:
    assert set(RECORDS) == set(registry.ALGORITHMS)
    for record in RECORDS.values():
        assert (record.trained is None) == (not record.probes)
        assert record.decides is None or record.decides in record.probes


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
    probe, trained = PROBES[which], RECORDS[name].trained
    assert trained
    iterations, hyperparameters = trained
    if RECORDS[name].finite:
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
