"""Result files of an evaluation, and what a report makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import adaptax
from adaptax import Trained, UserError
from adaptax.names.config import Config
from adaptax.names.results import RunEvaluator
from adaptax.report.beliefs import beliefs
from adaptax.report.read import read_evaluation
from adaptax.run.evaluate import Protocol


def test_beliefs_about_the_rooms_are_drawn_where_the_rooms_are(tmp_path: Path) -> None:
    on = adaptax.benchmark("rooms")
    small = {"tasks": 4, "hidden": 4, "latent": 2, "decoder_hidden": (4,), "policy_hidden": (4,)}
    algorithm = adaptax.algorithm("varibad", on, cells=(15, 3), **small)
    params = algorithm.init(jax.random.key(0)).params
    config = Config(algorithm="varibad", benchmark="rooms", benchmark_settings={"episodes": 1, "goals": "held-out"})
    agent = Trained(algorithm, on, params, jax.tree.map(lambda x: x[None], params), config, 0)
    evaluator = RunEvaluator(agent.algorithm, agent.benchmark, Protocol(tasks=2), references=False)
    evaluation = read_evaluation(evaluator.write(agent, tmp_path, "test"))
    np.testing.assert_array_equal(evaluation.beliefs_lowest, [-7, -1])
    assert evaluation.beliefs is not None and evaluation.beliefs.shape == (1, 2, 1, 1, 50, 15, 3)
    figure = beliefs(evaluation)
    assert figure is not None and tuple(figure.axes[0].images[0].get_extent()) == (-7.5, 7.5, -1.5, 1.5)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2", "3"]


def test_none_leaves_a_count_out_and_0_is_refused(tmp_path: Path) -> None:
    on = adaptax.benchmark("bandit", arms=2, pulls=3)
    algorithm = adaptax.algorithm("maml", on, tasks=2, hidden=(4,))
    agent = Trained(algorithm, on, (), (), Config(algorithm="maml", benchmark="bandit"), 0)
    found = agent.protocol(tasks=7, rounds=None, seed=5, deterministic=True)
    assert (found.tasks, found.rounds, found.seed, found.deterministic) == (7, agent.protocol().rounds, 5, True)
    asked: tuple[Callable[[], Any], ...] = (
        lambda: agent.evaluate(rounds=0),
        lambda: agent.agent(streams=0),
        lambda: agent.agent(episodes=0),
        lambda: agent.render("none.webp", rounds=0),
        lambda: adaptax.adapt_to(agent, {"probabilities": [0.1, 0.9]}, episodes=0),
        lambda: adaptax.train("maml", "bandit", out=tmp_path, iterations=0),
        lambda: adaptax.train("maml", "bandit", out=tmp_path, log_every=0),
        lambda: adaptax.train("maml", "bandit", out=tmp_path, devices=0),
    )
    for ask in asked:
        with pytest.raises(UserError, match="is 0; it must satisfy 1 ≤"):
            ask()
