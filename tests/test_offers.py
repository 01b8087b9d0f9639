"""What agents and environments offer besides their protocols, as `isinstance` sees it in every version of Python."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import adaptax
from adaptax import Algorithm, Outcome, Spec
from adaptax.envs.filmed import CanBeFilmed, ShowsItself
from adaptax.names.evaluation import strategies_of
from adaptax.offers import Believing, beliefs_of, is_informed
from adaptax.run.collect import Batched, streams_of
from adaptax.run.deterministic import Deterministic
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.run.record import Watched
from adaptax.types import Streams


def varibad(**changed: Any) -> Any:
    small = {"tasks": 2, "hidden": 4, "latent": 2, "decoder_hidden": (4,), "policy_hidden": (4,)}
    return adaptax.algorithm("varibad", adaptax.benchmark("gridnavi", episodes=1), **{**small, **changed})


def test_what_leaves_nothing_to_chance_passes_for_its_algorithm() -> None:
    """Looked up without `__getattr__`, as from Python 3.12 on."""
    agent = Deterministic(varibad())
    for name in ("plan", "init", "update", "begin", "start", "act", "adapt", "believed"):
        assert inspect.getattr_static(agent, name, None) is not None, name
    assert isinstance(agent, Algorithm) and isinstance(agent, Believing)
    assert agent.plan == agent.algorithm.plan


def test_a_deterministic_evaluation_tells_what_was_believed() -> None:
    on, protocol = adaptax.benchmark("gridnavi", episodes=1), Protocol(tasks=1, deterministic=True)
    agent = varibad(cells=(5, 5))
    params = jax.jit(agent.init)(jax.random.key(0)).params
    found = evaluate(agent, on, on.test, params, protocol)
    assert found.beliefs is not None and found.beliefs.shape == (1, 1, 1, 15, 5, 5)


def test_an_agent_without_beliefs_has_none_to_tell() -> None:
    agent = adaptax.algorithm("rl2", "bandit")
    key = jax.random.key(0)
    assert not isinstance(agent, Believing)
    assert beliefs_of(agent, (), (), key) is None and beliefs_of(Deterministic(agent), (), (), key) is None


def test_who_is_told_the_task() -> None:
    on = adaptax.benchmark("bandit")
    made = {name: make(on.spec) for name, make in strategies_of(on).items()}
    assert {name for name, agent in made.items() if is_informed(agent)} == {"known-arms"}
    assert not is_informed(adaptax.algorithm("rl2", on))


class Still:
    spec = Spec(gymnasium.spaces.Box(0, 1, (1,), np.float32), gymnasium.spaces.Discrete(2), 3)

    def reset(self, task: Any, key: Any) -> Any:
        return (), jnp.zeros((1,))

    def step(self, task: Any, state: Any, action: Any, key: Any) -> Any:
        return (), Outcome(jnp.zeros((1,)), jnp.float32(0))


class Drawn(Still):
    def frame(self, task: Any, state: Any) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


def test_an_environment_steps_all_streams_only_if_it_says_so() -> None:
    one = Still()
    batched = streams_of(one)
    assert isinstance(batched, Batched) and isinstance(batched, Streams)
    assert streams_of(batched) is batched
    assert isinstance(streams_of(Watched(batched)), Watched)
    hosted = adaptax.benchmark("cart-pole").environment
    assert streams_of(hosted) is hosted


def test_which_environments_can_be_seen() -> None:
    found = [
        (isinstance(where, ShowsItself), isinstance(where, CanBeFilmed))
        for where in (Still(), Drawn(), adaptax.benchmark("cart-pole").environment)
    ]
    assert found == [(False, False), (True, False), (False, True)]
