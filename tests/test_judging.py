"""Result files of an evaluation, and what a report makes of them."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import adaptax
from adaptax import Trained
from adaptax.names import evaluation as judging
from adaptax.report.beliefs import beliefs
from adaptax.report.read import read_evaluation
from adaptax.run.evaluate import Protocol

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_beliefs_about_the_rooms_are_drawn_where_the_rooms_are(tmp_path: Path) -> None:
    on = adaptax.benchmark("rooms")
    small = {"tasks": 4, "hidden": 4, "latent": 2, "decoder_hidden": (4,), "policy_hidden": (4,)}
    algorithm = adaptax.algorithm("varibad", on, cells=(15, 3), **small)
    params = algorithm.init(jax.random.key(0)).params
    config = {"algorithm": "varibad", "benchmark": "rooms", "benchmark_settings": {"episodes": 1, "goals": "held-out"}}
    config |= {"seed": 0, "seeds": 1, "environment_steps_per_iteration": 200}
    agent = Trained(algorithm, on, params, jax.tree.map(lambda x: x[None], params), config, 0)
    evaluation = read_evaluation(judging.evaluate_run(agent, tmp_path, "test", Protocol(tasks=2), references=False))
    np.testing.assert_array_equal(evaluation.beliefs_lowest, [-7, -1])
    assert evaluation.beliefs is not None and evaluation.beliefs.shape == (1, 2, 1, 1, 50, 15, 3)
    figure = beliefs(evaluation)
    assert figure is not None and tuple(figure.axes[0].images[0].get_extent()) == (-7.5, 7.5, -1.5, 1.5)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2", "3"]
