"""What lives are worth, episode by episode: of lives that are kept in full, and of lives that are longer than that, of
which one window after the other is lived and reduced to sums."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..types import Agent, Array, Key, Params, Plan, Rollout, Streams, Tasks, Trial
from .collect import begin_lives, live_on
from .episodes import episode_index, episode_sums
from .keys import life_keys


class Scores(NamedTuple):
    """Of every episode, [N, R, B, E], as in `run.evaluate.Evaluation`."""

    returns: Any
    success: Any
    final_success: Any
    entropy: Any
    diverged: Any


class Sums(NamedTuple):
    """Sums over the steps of every episode; float32 [..., E]."""

    reward: Array
    success: Array  # steps that were one
    final_success: Array  # last steps that were one
    information: Array  # −log π(a), in nats; NaN where the agent stores none
    steps: Array
    broken: Array  # steps of a life that had stopped being made of numbers

    def scores(self) -> Scores:
        entropy = self.information / self.steps
        return Scores(self.reward, jnp.minimum(self.success, 1.0), self.final_success, entropy, self.broken > 0)


def scores_of(trials: Trial, episodes: int) -> Scores:
    """Scores of the first E episodes of every round of whole lives."""
    rollouts = trials.rollouts
    broken, _ = _broken(trials, jnp.zeros(trials.age.shape, bool))
    return _sums(rollouts, broken, episode_index(rollouts), episodes).scores()


def whole_lives(
    agent: Agent, streams: Streams, tasks: Tasks, plan: Plan, params: Params, episodes: int, key: Key
) -> Scores:
    """Scores [N, 1, B, E] of the first E episodes of lives in which streams run on from round to round. A window of
    `plan.rounds` is in memory at a time, however long the lives are."""
    birth_key, rounds_key = life_keys(key)
    lives = begin_lives(agent, streams, tasks, plan, params, birth_key, judged=True)
    none = jnp.zeros((plan.tasks, plan.streams, episodes), jnp.float32)
    begun = jnp.zeros((plan.tasks, plan.streams), jnp.int32)

    def window(carry: Any, keys: Key) -> tuple[Any, None]:
        lives, before, begun, sums = carry
        trials, lives = live_on(agent, streams, plan, params, lives, keys)
        broken, after = _broken(trials, before)
        rollouts, broken = jax.tree.map(_one_after_the_other, (trials.rollouts, broken))
        index = begun[..., None] + episode_index(rollouts)
        ended = jnp.logical_or(rollouts.terminated, rollouts.truncated)
        new = _sums(rollouts, broken, index, episodes)
        sums = jax.tree.map(jnp.add, sums, new)
        return (lives, after, begun + jnp.sum(ended, axis=-1, dtype=jnp.int32), sums), None

    of_rounds = jax.random.split(rounds_key, (plan.lifetime // plan.rounds, plan.rounds))
    carry = (lives, jnp.zeros((plan.tasks,), bool), begun, Sums(*[none] * len(Sums._fields)))
    *_, sums = jax.lax.scan(window, carry, of_rounds)[0]
    return jax.tree.map(lambda x: x[:, None], sums.scores())


def _one_after_the_other(leaf: Array) -> Array:
    """[N, R, B, T, …] -> [N, B, R·T, …]: the rounds of a stream that runs on."""
    swapped = jnp.swapaxes(leaf, 1, 2)
    return swapped.reshape(*swapped.shape[:2], -1, *leaf.shape[4:])


def _broken(trials: Trial, before: Array) -> tuple[Array, Array]:
    """At which steps [N, R, B, T] a life had stopped being made of numbers, and whether it has in the end [N]; `before`
    [N] says for which that was so from the start."""
    bad = ~jnp.isfinite(trials.rollouts.reward)
    ends = jnp.any(bad, axis=(2, 3)) | ~trials.sound
    so_far = jnp.cumsum(ends, axis=1) > 0
    earlier = jnp.concatenate([before[:, None], so_far[:, :-1] | before[:, None]], axis=1) | ~trials.sound
    return (jnp.cumsum(bad, axis=-1) > 0) | earlier[..., None, None], so_far[:, -1] | before


def _sums(rollouts: Rollout, broken: Array, index: Array, episodes: int) -> Sums:
    reached = rollouts.success.astype(jnp.float32)
    logs = getattr(rollouts.decision.extras, "log_probability", None)
    unknown = jnp.full(rollouts.reward.shape, jnp.nan, jnp.float32)
    each = Sums(
        rollouts.reward,
        reached,
        reached * (rollouts.terminated | rollouts.truncated),
        unknown if logs is None else -logs.astype(jnp.float32),
        jnp.ones_like(rollouts.reward),
        broken.astype(jnp.float32),
    )
    return jax.tree.map(lambda values: episode_sums(values, index, episodes), each)
