"""Every family trains on an environment that is stepped on the host, through the command line and through a script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import adaptax
from adaptax import cli
from adaptax.names import registry
from adaptax.report import read_evaluation
from adaptax.run.collect import collect, streams_of
from adaptax.strategies.random_actions import RandomActions
from adaptax.types import Plan

ROOT = Path(__file__).parents[3]
SHRUNK: dict[str, dict[str, Any]] = {
    "rl2": {"tasks": 4, "hidden": 4, "epochs": 1, "minibatches": 2},
    "maml": {"tasks": 2, "streams": 2, "hidden": (4,), "epochs": 1},
    "pearl": {"tasks": 2, "rounds": 2, "streams": 1, "exploration": 2, "gradient_steps": 2, "batch": 8, "context": 4},
    "varibad": {"tasks": 4, "hidden": 4, "epochs": 1, "minibatches": 2},
    "multitask-sac": {"tasks": 2, "streams": 1, "gradient_steps": 2, "batch": 8, "fine_tuning_steps": 2},
}
SHRUNK["pearl"] |= {"meta_batch": 2, "capacity": 40, "hidden": (8,), "encoder_hidden": (8,)}
SHRUNK["multitask-sac"] |= {"capacity": 64, "fine_tuning_capacity": 64, "hidden": (8,)}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHRUNK)
def test_families_train_and_are_judged_on_the_host(name: str, tmp_path: Path) -> None:
    settings = {"horizon": 5, "training_tasks": 3}
    agent = adaptax.train(
        name, "pendulum", out=tmp_path, iterations=2, settings=settings, hyperparameters=SHRUNK[name], log_every=1
    )
    assert agent.iteration == 2
    returns = agent.evaluate(tasks=2).returns
    assert np.isfinite(returns).all() and (returns < 0).all() and returns.min() > -100  # a step costs 16.3 at most


@pytest.mark.slow
def test_the_command_line_trains_and_judges_on_the_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "train rl2 cart-pole --benchmark.horizon 10 --iterations 1 --tasks 4 --hidden 4 --minibatches 2 --quiet"
    assert cli.main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    judged = read_evaluation(tmp_path / "run" / "evaluation-test.json")
    assert judged.returns.min() >= 1 and judged.returns.max() <= 10
    assert [reference.name for reference in judged.references] == ["random"]
    assert "cart-pole" in capsys.readouterr().out
    assert registry.make_benchmark("cart-pole", {"training_tasks": 7}).spec.training_tasks == 7


def test_the_simulator_in_the_documentation_works() -> None:
    page = (ROOT / "docs" / "host.md").read_text("utf-8")
    code = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[-1]
    names: dict[str, Any] = {}
    exec(code, names)
    on, plan = names["kites"], Plan(tasks=2, rounds=1, streams=2, steps=25, lifetime=1)
    streams = streams_of(on.environment)
    run = jax.jit(lambda key: collect(RandomActions(on.spec), streams, on.train, plan, (), None, key)[0::2])
    trials, tasks = run(jax.random.key(1))
    assert streams.failure() is None
    rollouts = trials.rollouts
    heights = np.asarray(rollouts.next_observation[:, 0, :, :, 0], np.float64)
    moves = 0.1 * np.asarray(rollouts.decision.action[:, 0, :, :, 0]) + 0.01 * np.asarray(tasks.speed)[:, None, None]
    first, second = moves[..., :20].cumsum(axis=-1), moves[..., 20:].cumsum(axis=-1)
    np.testing.assert_allclose(heights, np.concatenate([first, second], axis=-1), atol=1e-5)
    np.testing.assert_allclose(rollouts.reward[:, 0], -np.abs(heights - 1), atol=1e-5)
    assert rollouts.truncated[..., 19].all() and rollouts.truncated.sum() == 4
