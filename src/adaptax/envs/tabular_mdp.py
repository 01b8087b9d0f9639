"""Random tabular Markov decision processes (Duan et al. 2016, RL², §3.2; Osband et al. 2013).

P(·|s, a) ~ Dirichlet(1, …, 1), mean rewards R(s, a) ~ N(1, 1), rewards N(R(s, a), 1); an episode starts in
state 0 and lasts `horizon` steps. With the process known the best undiscounted return is about 21.9 per
episode of 10 steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.splits import disjoint_splits
from adaptax.known import Published
from adaptax.ranges import check_range
from adaptax.types import Array, Benchmark, Key, Outcome, Spec

# Duan et al. 2016, figure 3's table: n episodes of 10 steps. PSRL's own figures assume a prior mean of 0.
_COLUMNS = ("Random", "PSRL", "OPSRL", "UCRL2", "BEB", "ε-greedy", "Greedy", "RL² paper")
_TABLE = {
    10: (100.1, 138.1, 144.1, 146.6, 150.2, 132.8, 134.8, 156.2),
    25: (250.2, 408.8, 425.2, 424.1, 427.8, 377.3, 368.8, 445.7),
    50: (499.7, 904.4, 930.7, 918.9, 917.8, 823.3, 769.3, 936.1),
    75: (749.9, 1417.1, 1449.2, 1427.6, 1422.6, 1293.9, 1172.9, 1428.8),
    100: (999.4, 1939.5, 1973.9, 1942.1, 1935.1, 1778.2, 1578.5, 1913.7),
}


class MDPTask(NamedTuple):
    """One process with S states and A actions. The distribution functions are stored, not the probabilities,
    because stepping inverts them."""

    rewards: Array  # float32 [S, A]; mean reward
    cumulative: Array  # float32 [S, A, S]; P(next state ≤ s' | s, a)

    @property
    def transitions(self) -> Array:
        """P(s' | s, a): float32 [S, A, S]."""
        return jnp.diff(self.cumulative, axis=-1, prepend=jnp.float32(0))


def mdp_task(rewards: Array, transitions: Array) -> MDPTask:
    """The task with mean rewards [S, A] and transition probabilities [S, A, S]."""
    cumulative = jnp.cumsum(jnp.asarray(transitions, jnp.float32), axis=-1)
    return MDPTask(jnp.asarray(rewards, jnp.float32), cumulative)


@dataclass(frozen=True)
class TabularMDP:
    """A process whose observation, and state, is the number of the state it is in: int32 []."""

    states: int
    actions: int
    horizon: int
    episodes: int

    @property
    def spec(self) -> Spec:
        observation_space = gymnasium.spaces.Discrete(self.states, dtype=np.int32)
        action_space = gymnasium.spaces.Discrete(self.actions, dtype=np.int32)
        return Spec(observation_space, action_space, self.horizon, self.episodes)

    def reset(self, task: MDPTask, key: Key) -> tuple[Array, Array]:
        start = jnp.zeros((), jnp.int32)
        return start, start

    def step(self, task: MDPTask, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        # One block of threefry gives two words: one uniform on (-1, 1) for the transition, one for the noise.
        low = np.nextafter(np.float32(-1), np.float32(0))
        move, noise = jax.random.uniform(key, (2,), jnp.float32, minval=low)
        reward = task.rewards[state, action] + jnp.float32(np.sqrt(2)) * jax.lax.erf_inv(noise)
        below = task.cumulative[state, action] <= 0.5 * (move + 1.0)
        # Rounding may leave the last value of the distribution function a little below 1.
        successor = jnp.minimum(jnp.sum(below, dtype=jnp.int32), self.states - 1)
        return successor, Outcome(successor, reward)


def tabular_mdp(episodes: int = 10, states: int = 10, actions: int = 5, horizon: int = 10) -> Benchmark:
    """Random processes of `states` states and `actions` actions, `episodes` episodes of `horizon` steps per
    trial.

    Duan et al. (2016), Table 2: 10 states, 5 actions, horizon 10, and 10, 25, 50, 75 or 100 episodes.
    """
    for name, value in (("episodes", episodes), ("states", states), ("horizon", horizon)):
        check_range(name, value, 1)
    check_range("actions", actions, 2)
    from adaptax.render import table as drawn
    from adaptax.strategies import tabular_mdp as strategies

    def draw(key: Key) -> MDPTask:
        key_rewards, key_transitions = jax.random.split(key)
        # Drawn flat: XLA takes seconds, not tenths, to compile the generator for a shape of three axes.
        rewards = 1.0 + jax.random.normal(key_rewards, (states * actions,), jnp.float32)
        # Normalised exponentials are Dirichlet(1, …, 1).
        weights = jax.random.exponential(key_transitions, (states * actions * states,), jnp.float32)
        weights = weights.reshape(states, actions, states)
        transitions = weights / jnp.sum(weights, axis=-1, keepdims=True)
        return mdp_task(rewards.reshape(states, actions), transitions)

    splits = disjoint_splits(draw)
    describe = (
        f"undiscounted return over {episodes} episodes of {horizon} steps in unseen processes "
        f"({states} states, {actions} actions)"
    )

    def published(split: str, protocol: Any) -> list[Published]:
        trial = (protocol.rounds, protocol.episodes) == (1, episodes) and not protocol.deterministic
        row = _TABLE.get(episodes, ()) if trial and (states, actions, horizon) == (10, 5, 10) else ()
        return [Published(name, "Duan et al. 2016", total) for name, total in zip(_COLUMNS, row, strict=False)]

    return Benchmark(
        TabularMDP(states, actions, horizon, episodes),
        *splits,
        describe=describe,
        references={
            "posterior-sampling": strategies.posterior_sampling,
            "known-mdp": strategies.KnownProcess,
        },
        best="known-mdp",
        picture=drawn.tabular_mdp,
        published=published,
    )
