"""An environment that goes wrong ends the work at hand with one sentence, and training with a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from envs.host.faulty import FAULTS, STEPS, Faulty, explode

import adaptax
from adaptax import Benchmark, UserError
from adaptax.algorithms.rl2 import RL2
from adaptax.run import checkpoint
from adaptax.run.collect import collect, streams_of
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.run.iterate import begin
from adaptax.run.source import living
from adaptax.run.train import Diverged, Settings, root_keys, train
from adaptax.strategies.random_actions import RandomActions
from adaptax.types import Plan

PLAN = Plan(tasks=2, rounds=1, streams=2, steps=2 * STEPS, lifetime=1)


def faulty(fault: dict[str, Any]) -> Benchmark:
    """Rates 1 to 3, in lists."""
    rates = [{"rate": rate} for rate in (1.0, 2.0, 3.0)]
    return adaptax.from_gymnasium(
        lambda: Faulty(fault),
        train=rates[:1],
        validation=rates[1:2],
        test=rates[2:],
        attributes=True,
        horizon=STEPS,
        episodes=2,
        name="counter",
    )


def broken(fault: dict[str, Any]) -> Benchmark:
    """In order when it is made, and then not."""
    later: dict[str, Any] = {}
    on = faulty(later)
    later.update(fault)
    return on


def test_every_fault_is_named_with_task_and_step() -> None:
    fault: dict[str, Any] = {}
    on = faulty(fault)
    streams = streams_of(on.environment)
    run = jax.jit(lambda key: collect(RandomActions(on.spec), streams, on.train, PLAN, (), None, key)[0])

    def attempt(spared: int, **what: Any) -> str | None:
        fault.clear()
        fault.update(what, spared=spared)
        jax.block_until_ready(run(jax.random.key(0)))
        failure = streams.failure()
        return None if failure is None else str(failure)

    assert attempt(0) is None
    for do, sentence in FAULTS.values():
        said = attempt(3, step=3, do=do)  # three streams are spared, the fourth is not
        assert said is not None and sentence in said
        assert "counter failed in step 3 of an episode on task 1 of the batch (rate=1.), stream 1: " in said
    said = attempt(0, reset=True)
    assert said == "counter failed in a reset on task 0 of the batch (rate=1.), stream 0: OSError: no such device"
    assert attempt(0) is None  # and with the cause gone, all goes on


def test_ctrl_c_during_a_step_stays_what_it_is() -> None:
    def interrupt(result: Any) -> Any:
        raise KeyboardInterrupt

    fault: dict[str, Any] = {}
    on = faulty(fault)
    fault.update(step=2, do=interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(RandomActions(on.spec), on, on.test, (), Protocol(tasks=2))


def test_an_evaluation_ends_with_the_fault() -> None:
    fault: dict[str, Any] = {}
    on = faulty(fault)
    fault.update(step=2, do=explode)
    with pytest.raises(UserError, match=r"step 2 .* \(rate=3.\), stream 0: RuntimeError: the gearbox is gone"):
        evaluate(RandomActions(on.spec), on, on.test, (), Protocol(tasks=2))


def test_training_stops_at_the_last_whole_iteration_and_resumes(tmp_path: Path) -> None:
    """An iteration is 4 streams × 8 steps, step 3 comes 8 times in it: the 21st comes in the third iteration."""
    algorithm = RL2(faulty({}).spec, tasks=2, streams=2, hidden=4, epochs=1, minibatches=1)

    def go(name: str, iterations: int, fault: dict[str, Any], resume: bool = False) -> None:
        settings = Settings(iterations, log_every=4, quiet=True)
        train(algorithm, broken(fault), settings, tmp_path / name, resume=resume)

    go("whole", 5, {})
    with pytest.raises(UserError) as error:
        go("broken", 5, {"step": 3, "do": explode, "spared": 20})
    assert isinstance(error.value.__cause__, Exception)
    said = "in step 3 of an episode on task 0 of the batch (rate=1.), stream 0: RuntimeError: the gearbox is gone"
    assert str(error.value) == f"counter failed {said}: training stopped, and the checkpoint of iteration 2 is kept"
    rows = [json.loads(row) for row in (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [2]
    go("broken", 5, {}, resume=True)
    on = faulty({})
    template = jax.eval_shape(lambda root: begin(algorithm, living(algorithm, on), root), root_keys(0, 1))
    whole, mended = (checkpoint.restore(tmp_path / n / "checkpoints", template)[0] for n in ("whole", "broken"))
    assert int(mended.state.iteration) == 5
    jax.tree.map(np.testing.assert_array_equal, whole, mended)


def test_a_fault_in_the_first_iteration_leaves_no_checkpoint(tmp_path: Path) -> None:
    algorithm = RL2(faulty({}).spec, tasks=2, streams=2, hidden=4, epochs=1, minibatches=1)
    with pytest.raises(UserError, match="training stopped, and no checkpoint was written yet"):
        train(algorithm, broken({"reset": True}), Settings(2, quiet=True), tmp_path, resume=False)
    assert checkpoint.latest(tmp_path / "checkpoints") is None


def test_parameters_that_are_not_finite_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is the training that went wrong, and the host only noticed first."""
    monkeypatch.setattr("adaptax.run.train._all_finite", lambda params: False)
    algorithm = RL2(faulty({}).spec, tasks=2, streams=2, hidden=4, epochs=1, minibatches=1)
    with pytest.raises(Diverged, match="a parameter is not finite at iteration 1"):
        train(
            algorithm, broken({"step": 3, "do": explode, "spared": 9}), Settings(3, quiet=True), tmp_path, resume=False
        )
    assert checkpoint.latest(tmp_path / "checkpoints") is None


def test_no_episode_is_begun_twice() -> None:
    fault: dict[str, Any] = {}
    on = faulty(fault)
    plan = Plan(tasks=1, rounds=3, streams=2, steps=STEPS, lifetime=3, restart=True)
    streams = streams_of(on.environment)
    resets: list[int] = []
    begin = Faulty.reset

    def counted(self: Faulty, **given: Any) -> Any:
        resets.append(1)
        return begin(self, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Faulty, "reset", counted)
        agent = RandomActions(on.spec)
        jax.block_until_ready(collect(agent, streams, on.train, plan, (), None, jax.random.key(0))[0])
    assert streams.failure() is None
    assert len(resets) == 2 * (1 + plan.rounds)  # for two streams: at first, and whenever an episode has ended
