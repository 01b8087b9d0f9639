"""A trained agent in Meta-World's protocol is N live agents, whatever it is told by which way."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run.hosted import HostedNavigation
from run.test_live import MAML, trained

from adaptax import Timestep, Trained, UserError
from adaptax.live.metaworld import MetaWorldAgent

HORIZON = 6  # of these agents' training
GOALS = np.array([[0.5, -0.2], [-0.4, 0.3]], np.float32)
RL2 = trained("rl2", "navigation")


class Told(NamedTuple):
    """As `metaworld.evaluation.Timestep`."""

    observation: Any
    action: Any
    reward: Any
    terminated: Any
    truncated: Any
    aux_policy_outputs: Any


class Vector:
    """Environments that begin anew in the step that ends an episode, and tell no more of its end, as Meta-World's do.
    `recurrent`: they observe action, reward and end, too."""

    def __init__(self, recurrent: bool) -> None:
        self.environments = [HostedNavigation(goal) for goal in GOALS]
        self.recurrent, self.steps = recurrent, 0

    def reset(self) -> np.ndarray:
        self.steps = 0
        return np.stack([self._seen(e.reset()[0]) for e in self.environments])

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.steps += 1
        over = self.steps % HORIZON == 0
        seen, rewards = [], []
        for environment, action in zip(self.environments, actions, strict=True):
            observation, reward, *_ = environment.step(action)
            seen.append(self._seen(environment.reset()[0]) if over else self._seen(observation, action, reward))
            rewards.append(reward)
        return np.stack(seen), np.asarray(rewards), np.full(len(GOALS), over)

    def _seen(self, observation: Any, action: Any = (0.0, 0.0), reward: float = 0.0) -> np.ndarray:
        more = [action, [reward / 10, 0.0]] if self.recurrent else []
        return np.concatenate([observation, *more]).astype(np.float64)


def adapted(agent: Trained, episodes: int, vector: Vector) -> tuple[MetaWorldAgent, np.ndarray, list[Any]]:
    """The agent after as many episodes of adaptation, what it observes next, and what it was told."""
    ours, told = agent.meta_world_agent(len(GOALS), adaptation_episodes=episodes), []
    ours.init()
    observations = vector.reset()
    for _ in range(episodes * HORIZON):
        actions, auxiliary = ours.adapt_action(observations)
        assert auxiliary == {}
        following, rewards, over = vector.step(actions)
        told.append((observations, actions, rewards, over))
        ours.step(Told(observations, actions, rewards, np.zeros_like(over), over, auxiliary))
        observations = following
    ours.adapt()
    return ours, observations, told


def test_gradient_steps_are_those_of_live_agents() -> None:
    """Three episodes are one round of three streams; after them each agent is as one that lived alone."""
    ours, observations, told = adapted(MAML, 3, Vector(recurrent=False))
    for n in range(len(GOALS)):
        live = MAML.agent(streams=3, episodes=1, seed=n)
        live.begin()  # `init` begins a new life, too
        for t, (seen, actions, rewards, over) in enumerate(told):
            np.testing.assert_array_equal(live.act(seen[n].astype(np.float32)), actions[n])
            after = seen if over[n] else told[t + 1][0]
            live.observe(rewards[n], False, over[n], after[n].astype(np.float32))
        live.adapt()
        jax.tree.map(np.testing.assert_array_equal, ours._agents[n]._adapted, live._adapted)
        ours.reset(np.ones(len(GOALS), bool))
        action = ours.eval_action(observations)[n]
        for _ in range(n + 1):  # as often as it was asked
            alone = live.predict(observations[n].astype(np.float32))[0]
        np.testing.assert_array_equal(action, alone)
    first, second = (jax.tree.leaves(agent._adapted)[0] for agent in ours._agents)
    assert np.abs(first - second).max() > 1e-4  # their goals differ


def test_a_memory_goes_on_where_it_is_judged() -> None:
    vector = Vector(recurrent=True)
    ours, observations, told = adapted(RL2, 2, vector)
    ours.reset(np.ones(len(GOALS), bool))
    for n, agent in enumerate(ours._agents):
        before, acted = agent._memories[0], agent._actions[0]
        timestep = Timestep(
            jnp.asarray(observations[n][:2], jnp.float32), acted, jnp.float32(observations[n][4] * 10), jnp.bool_(True)
        )
        _, expected = RL2.algorithm.act(RL2.params, agent._adapted, before, timestep, jax.random.key(0))
        if n == 0:
            actions = ours.eval_action(observations)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x[0], y, atol=1e-6), ours._states[n].memory, expected)  # type: ignore[union-attr]
        assert float(np.abs(jax.tree.leaves(before)[0]).max()) > 0  # two episodes are remembered
    assert actions.shape == (2, 2) and len(told) == 2 * HORIZON
    memory = ours._agents[0]._memories[0]
    ours.init()
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y), ours._agents[0]._memories[0], RL2.start())
    assert any((np.asarray(x) != 0).any() for x in jax.tree.leaves(memory))


def test_a_policy_that_is_fine_tuned_needs_no_rewards_where_it_is_judged() -> None:
    """In training it never adapts, but it has no memory: its episodes are streams, and it adapts on them."""
    policy = trained("multitask-ppo", "navigation")
    ours, observations, _ = adapted(policy, 2, Vector(recurrent=False))
    ours.reset(np.ones(len(GOALS), bool))
    assert ours.eval_action(observations).shape == (2, 2)
    assert ours._agents[0].protocol.streams == 2 and ours._agents[0].rounds == 1


def test_misuse_is_one_sentence() -> None:
    with pytest.raises(UserError, match="adaptation-episodes is 0"):
        MAML.meta_world_agent(2, adaptation_episodes=0)
    with pytest.raises(UserError, match="environments is 0"):
        MAML.meta_world_agent(0)
    agent = MAML.meta_world_agent(2, adaptation_episodes=1)
    with pytest.raises(
        UserError, match=r"the observations are \[2, 3\]; 2 environments of 2 numbers each are due, or of 6"
    ):
        agent.adapt_action(np.zeros((2, 3)))
    with pytest.raises(UserError, match="the round has 0 of its 6 steps"):
        agent.adapt()
    ours, observations, _ = adapted(RL2, 1, Vector(recurrent=False))
    with pytest.raises(UserError, match="recurrent_info_in_obs=True"):
        ours.eval_action(observations)
