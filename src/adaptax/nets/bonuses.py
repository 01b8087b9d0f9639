"""Bonuses for exploring hyper-states (Zintgraf et al. 2021, HyperX).

A hyper-state s⁺ = (s, μ, log σ) is a state with a belief about the task. A step that leads to s⁺_{t+1} is paid, besides
its reward r_t,

    novelty    ‖f(s⁺_{t+1}) − g(s⁺_{t+1})‖² / D           f a random network that stays, g one that learns to predict it
                                                          on the hyper-states of past trials (Burda et al. 2019)
    surprise   −log p_θ(r_t | s_t, a_t, s_{t+1}, m)       m ~ q_{t+1}, which has read r_t: what the decoder cannot say
                                                          though it was told, since the model has not learned it yet

Each bonus is divided by the running standard deviation of its discounted sums, and so is the reward in the authors'
code. Here the reward keeps its unit and the bonuses are measured in it, σ_r: PPO does not care about the unit, and
without bonuses nothing is changed.

    r⁺ = r + σ_r w (λ_h novelty / σ_h + λ_v surprise / σ_v),  w from 1 to 0 in training
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..ops import returns, running, weighted
from ..ops.descent import adam, step
from ..ops.running import Moments
from ..types import Array, Key, Metrics, Params
from .belief import Belief, BeliefParams, Story
from .mlp import mlp
from .network import Network


class BonusState(NamedTuple):
    """What the bonuses are paid by; the moments are those of discounted sums."""

    prior: Params  # of f
    predictor: Params  # of g
    optimizer: Any  # of g
    reward: Moments
    novelty: Moments
    surprise: Moments


class Bonuses(NamedTuple):
    """The bonuses of an agent with the belief `model`; what has a default is the same in all the authors' settings."""

    model: Belief
    novelty_weight: float  # λ_h
    surprise_weight: float  # λ_v
    discount: float  # of the sums
    hidden: Sequence[int] = (256, 256)  # units of f and g
    outputs: int = 128  # D
    prior_scale: float = 10.0  # by how much the weights of f are larger than those of a network at its beginning
    learning_rate: float = 1e-4  # Adam's step size for g
    batch: int = 128  # hyper-states in each step of g

    @property
    def _network(self) -> Network:
        return mlp((self.model.sizes[0] + 2 * self.model.latent, *self.hidden, self.outputs))

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.learning_rate)

    @property
    def trials(self) -> int:
        """How many trials the hyper-states of a step of g come from: as many as steps of each, about."""
        return max(1, round(self.batch**0.5))

    def init(self, key: Key) -> BonusState:
        prior_key, predictor_key = jax.random.split(key)
        prior = jax.tree.map(lambda x: self.prior_scale * x, self._network.init(prior_key))
        predictor = self._network.init(predictor_key)
        nothing = running.no_moments()
        return BonusState(prior, predictor, self._optimizer.init(predictor), nothing, nothing, nothing)

    def novelty(self, prior: Params, predictor: Params, reached: Array) -> Array:
        """How far the prediction is from f [...] at hyper-states [..., O + 2 Z]."""
        apply = self._network.apply
        return jnp.mean(jnp.square(apply(prior, (), reached)[0] - apply(predictor, (), reached)[0]), axis=-1)

    def surprise(self, params: BeliefParams, latent: Array, stories: Story) -> Array:
        """−log p(r_k | …, m_k) [S, T], up to a constant, for latents [S, T, Z] of each step of trials."""

        def one(latent: Array, step: Story) -> Array:
            return -self.model.log_likelihood(params, latent[None], jax.tree.map(lambda x: x[None], step))[0]

        return jax.vmap(jax.vmap(one))(latent, stories)

    def pay(
        self, state: BonusState, params: BeliefParams, stories: Story, past: Story, remaining: Array, key: Key
    ) -> tuple[Array, BonusState, Metrics]:
        """r⁺ [S, T] of the trials `stories`, the state after them and a step of g on the trials `past`, and the means
        of the bonuses; `remaining` is w."""
        paid_key, step_key = jax.random.split(key)
        rewards, state, metrics = self.rewards(state, params, stories, remaining, paid_key)
        return rewards, self.learn(state, params, past, step_key), metrics

    def rewards(
        self, state: BonusState, params: BeliefParams, stories: Story, remaining: Array, key: Key
    ) -> tuple[Array, BonusState, Metrics]:
        """r⁺ [S, T], the state with the moments after these trials, and the means of the bonuses."""
        after = self.model.after_each_step(params, stories)
        novelty = self.novelty(state.prior, state.predictor, self._hyperstates(params, stories, after))
        surprise = self.surprise(params, after.sample(key), stories)
        state = state._replace(
            reward=self._count(state.reward, stories.reward, stories.within),
            novelty=self._count(state.novelty, novelty, stories.within),
            surprise=self._count(state.surprise, surprise, stories.within),
        )
        paid = {
            "novelty": self.novelty_weight * novelty / running.deviation(state.novelty),
            "surprise": self.surprise_weight * surprise / running.deviation(state.surprise),
        }
        bonus = remaining * running.deviation(state.reward) * (paid["novelty"] + paid["surprise"])
        metrics = {"bonus": bonus, "novelty": novelty, "surprise": surprise}
        means = {name: weighted.mean(value, stories.within) for name, value in metrics.items()}
        return stories.reward + bonus, state, means

    def _count(self, moments: Moments, paid: Array, within: Array) -> Moments:
        """With the sums Σ_{k ≤ t} γ^{t−k} x_k at every step of trials [S, T]."""
        backwards = jnp.swapaxes(paid, 0, 1)[::-1]
        sums = returns.discounted_returns(backwards, jnp.zeros_like(backwards, bool), self.discount)
        return running.update(moments, sums, weight=jnp.swapaxes(within, 0, 1)[::-1])

    def learn(self, state: BonusState, params: BeliefParams, stories: Story, key: Key) -> BonusState:
        """With a step of g on some hyper-states of trials."""
        reached = self._hyperstates(params, stories, self.model.after_each_step(params, stories))
        reached = reached.reshape(-1, reached.shape[-1])
        places = jax.random.randint(key, (self.batch,), 0, reached.shape[0])
        chosen, within = reached[places], stories.within.ravel()[places]
        slope = jax.grad(lambda g: weighted.mean(self.novelty(state.prior, g, chosen), within))(state.predictor)
        predictor, optimizer = step(self._optimizer, state.predictor, state.optimizer, slope)
        return state._replace(predictor=predictor, optimizer=optimizer)

    def _hyperstates(self, params: BeliefParams, stories: Story, after: Any) -> Array:
        """s⁺_{t+1} [S, T, O + 2 Z]."""
        return jnp.concatenate([self.model.features(params, stories.reached), after.mean, after.log_std], axis=-1)
