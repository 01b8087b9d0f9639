"""Reference strategies for random tabular processes: random, the known process, and posterior sampling
(PSRL).

Planning is undiscounted value iteration over the steps that remain in the episode,

    Q_h(s, a) = R(s, a) + Σ_s' P(s' | s, a) max_a' Q_{h+1}(s', a'),   Q_H = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp

from adaptax.ops.gamma import gamma
from adaptax.ranges import check_range
from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep


def plan(rewards: Array, transitions: Array, horizon: int) -> Array:
    """Q: float32 [horizon, S, A], of mean rewards [S, A] and transition probabilities [S, A, S]."""

    def backward(value: Array, _: None) -> tuple[Array, Array]:
        action_value = rewards + jnp.einsum("ijk,k->ij", transitions, value)
        return jnp.max(action_value, axis=1), action_value

    last = jnp.zeros(rewards.shape[:1], jnp.float32)
    return jax.lax.scan(backward, last, None, length=horizon, reverse=True)[1]


def _next_step(step: Array, first: Array, horizon: int) -> Array:
    """The step within the episode that is about to be taken: int32 []."""
    # The bound only matters in streams whose episodes outlast the plan.
    return jnp.where(first, 0, jnp.minimum(step, horizon - 1)).astype(jnp.int32)


@dataclass(frozen=True)
class KnownProcess:
    """Acts optimally in the process, which it knows (`params` is the task): about 21.9 per episode."""

    spec: Spec
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Array:
        return plan(params.rewards, params.transitions, self.spec.horizon)

    def start(self, params: Params) -> Array:
        return jnp.zeros((), jnp.int32)

    def act(
        self, params: Params, adapted: Array, memory: Array, timestep: Timestep, key: Key
    ) -> tuple[Decision, Array]:
        step = _next_step(memory, timestep.first, self.spec.horizon)
        return Decision(jnp.argmax(adapted[step, timestep.observation]).astype(jnp.int32)), step + 1

    def adapt(self, params: Params, adapted: Array, rollout: Rollout, key: Key) -> Array:
        return adapted


class Posterior(NamedTuple):
    """What PSRL remembers: sufficient statistics, and the plan of the current episode."""

    visits: Array  # float32 [S, A, S]; transitions seen
    tries: Array  # float32 [S, A]
    total: Array  # float32 [S, A]; sum of rewards
    action_values: Array  # float32 [H, S, A]
    step: Array  # int32 []
    previous: Array  # int32 []; the state in which the last action was taken
    started: Array  # bool []; false before the first action


@dataclass(frozen=True)
class PosteriorSampling:
    """PSRL (Strens 2000; Osband et al. 2013): plan, once per episode, in a process drawn from the posterior.

    Priors Dirichlet(1, …, 1) and R(s, a) ~ N(`prior_mean`, 1), reward noise N(0, 1). The truth is a prior
    mean of 1; the published column (138.1 in 10 episodes) is that of prior mean 0, which is the default for
    that reason (with 1: 132.3). The successor of an episode's last step is not perceived, so its transition
    is not counted.
    """

    spec: Spec
    prior_mean: float = 0.0
    informed: ClassVar[bool] = False

    def begin(self, params: Params, key: Key, birth: Birth) -> tuple[()]:
        return ()

    def start(self, params: Params) -> Posterior:
        states, actions = (
            gymnasium.spaces.flatdim(self.spec.observation_space),
            gymnasium.spaces.flatdim(self.spec.action_space),
        )
        table = jnp.zeros((states, actions), jnp.float32)
        return Posterior(
            visits=jnp.zeros((states, actions, states), jnp.float32),
            tries=table,
            total=table,
            action_values=jnp.zeros((self.spec.horizon, states, actions), jnp.float32),
            step=jnp.zeros((), jnp.int32),
            previous=jnp.zeros((), jnp.int32),
            started=jnp.zeros((), jnp.bool_),
        )

    def act(
        self, params: Params, adapted: tuple[()], memory: Posterior, timestep: Timestep, key: Key
    ) -> tuple[Decision, Posterior]:
        seen = memory.started.astype(jnp.float32)
        moved = (memory.started & ~timestep.first).astype(jnp.float32)
        place = (memory.previous, timestep.action)
        memory = memory._replace(
            visits=memory.visits.at[(*place, timestep.observation)].add(moved),
            tries=memory.tries.at[place].add(seen),
            total=memory.total.at[place].add(seen * timestep.reward),
        )
        # A loop of at most one turn, not a `cond`: under `vmap` a loop runs while any stream asks for it, but
        # a `cond` would draw a process at every step of every stream.
        _, action_values = jax.lax.while_loop(
            lambda carry: carry[0],
            lambda carry: (jnp.zeros((), jnp.bool_), self.draw(memory, key)),
            (timestep.first, memory.action_values),
        )
        step = _next_step(memory.step, timestep.first, self.spec.horizon)
        action = jnp.argmax(action_values[step, timestep.observation]).astype(jnp.int32)
        memory = memory._replace(
            action_values=action_values,
            step=step + 1,
            previous=timestep.observation,
            started=jnp.ones((), jnp.bool_),
        )
        return Decision(action), memory

    def draw(self, memory: Posterior, key: Key) -> Array:
        """The plan in one process drawn from the posterior: float32 [H, S, A]."""
        key_rewards, key_transitions = jax.random.split(key)
        mean = (self.prior_mean + memory.total) / (1.0 + memory.tries)
        deviation = jax.lax.rsqrt(1.0 + memory.tries)
        rewards = mean + deviation * jax.random.normal(key_rewards, mean.shape, jnp.float32)
        weights = gamma(key_transitions, 1.0 + memory.visits)
        transitions = weights / jnp.sum(weights, axis=-1, keepdims=True)
        return plan(rewards, transitions, self.spec.horizon)

    def adapt(self, params: Params, adapted: tuple[()], rollout: Rollout, key: Key) -> tuple[()]:
        return adapted


def posterior_sampling(spec: Spec, prior_mean: float = 0.0) -> PosteriorSampling:
    """PSRL with reward prior N(`prior_mean`, 1): 0 as published, 1 as the tasks really are."""
    check_range("prior_mean", prior_mean)
    return PosteriorSampling(spec, prior_mean)
