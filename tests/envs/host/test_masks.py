"""What a Gymnasium environment says in `info["action_mask"]` reaches the agent."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces

import adaptax
from adaptax import UserError
from adaptax.run.collect import collect
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.strategies.random_actions import RandomActions

ACTIONS = 3


class Wheel(gymnasium.Env):
    """A wheel of three places. Place 0 allows action 0, place 1 actions 1 and 2, place 2 actions 0 and 2; an action
    turns the wheel to the place of its number plus `shift`. What is not allowed raises."""

    observation_space = spaces.Discrete(ACTIONS)
    action_space = spaces.Discrete(ACTIONS, start=5)
    shift = 0
    masks = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 1]], np.int8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.count = int(self.np_random.integers(ACTIONS)), 0
        return np.int64(self.place), self.info()

    def step(self, action: Any) -> Any:
        chosen = int(action) - 5
        if not self.masks[self.place][chosen]:
            raise ValueError(f"action {chosen} in place {self.place}")
        self.place, self.count = (chosen + self.shift) % ACTIONS, self.count + 1
        return np.int64(self.place), 1.0, self.count == 4, False, self.info()

    def info(self) -> dict[str, Any]:
        return {"action_mask": self.masks[self.place].copy()}


class Forgetful(Wheel):
    """Says it at resets alone."""

    def step(self, action: Any) -> Any:
        return *super().step(action)[:4], {}


class Wide(Wheel):
    """Says it of four actions, and has three."""

    def info(self) -> dict[str, Any]:
        return {"action_mask": np.ones(4, np.int8)}


class Several(Wheel):
    """Has combinations of actions, of which nothing is known to be masked."""

    action_space = spaces.MultiDiscrete([2, 2])

    def step(self, action: Any) -> Any:
        return np.int64(0), 0.0, True, False, self.info()


def wheels(environment: Any = Wheel) -> adaptax.Benchmark:
    tasks = [{"shift": 0}, {"shift": 1}, {"shift": 2}]
    given: Any = {"train": tasks, "validation": tasks, "test": tasks, "attributes": True}
    return adaptax.from_gymnasium(environment, horizon=6, episodes=2, name="wheel", check=False, **given)


def test_masks_are_those_of_the_environment_and_kept_to() -> None:
    """Random play takes every action that is allowed and no other; the environment would raise."""
    on = wheels()
    assert on.spec.masked and not wheels(Several).spec.masked
    plan = Protocol(tasks=3, streams=4, episodes=2).plan(on.spec.horizon)
    agent = RandomActions(on.spec)

    @jax.jit
    def run(key: Any) -> Any:
        return collect(agent, on.environment, on.test, plan, None, None, key)[0]

    rollouts = jax.device_get(run(jax.random.key(0))).rollouts
    assert on.environment.failure() is None
    places, mask, action = rollouts.timestep.observation, rollouts.timestep.allowed, rollouts.decision.action
    np.testing.assert_array_equal(mask, Wheel.masks.astype(bool)[places])
    assert np.take_along_axis(mask, action[..., None], -1).all()
    assert {(int(p), int(a)) for p, a in zip(places.ravel(), action.ravel(), strict=True)} == {
        (0, 0), (1, 1), (1, 2), (2, 0), (2, 2)
    }  # fmt: skip
    np.testing.assert_array_equal(rollouts.next_allowed, Wheel.masks.astype(bool)[rollouts.next_observation])


def test_agents_learn_and_live_where_masks_come_from_the_host(tmp_path: Any) -> None:
    on = wheels()
    settings = {"tasks": 3, "hidden": 8, "minibatches": 1}
    agent = adaptax.train("rl2", on, out=tmp_path, iterations=2, hyperparameters=settings)
    found = evaluate(agent.algorithm, on, on.test, agent.params, Protocol(tasks=3, episodes=2))
    np.testing.assert_array_equal(found.returns, 4.0)
    environment: Any = Wheel()
    live = agent.agent(environment, episodes=2)
    assert [live.episode().total for _ in range(6)] == [4.0] * 6


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Forgetful, "info has no action_mask here, and had one at the first reset: it must be in every step's"),
        (Wide, "info's action_mask has the shape [4]; for 3 actions it must be [3]"),
    ],
)
def test_masks_that_cannot_be_used_are_named_at_the_start(kind: Any, words: str) -> None:
    with pytest.raises(UserError, match="wheel cannot be used on the task shift=0") as caught:
        wheels(kind)
    assert words in str(caught.value)
