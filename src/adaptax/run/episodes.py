"""The episodes within a round: which steps belong to which, and sums over them."""

import jax
import jax.numpy as jnp

from ..types import Array, Metrics, Plan, Rollout


def episodes_per_round(plan: Plan, horizon: int) -> int:
    """E: as many whole episodes as fit in a round whatever their length (1 when a round is shorter than one)."""
    return max(1, plan.steps // horizon)


def counted(rollout: Rollout, episodes: int) -> Array:
    """Which steps [..., T] belong to the first E episodes of their stream's round.

    Returns are those of the first E episodes: were they averaged over whatever ended within T steps, episodes
    that end early would count more often than others.
    """
    return episode_index(rollout) < episodes


def episode_index(rollout: Rollout) -> Array:
    """Which episode of its stream's round each step [..., T] belongs to, counted from 0: int32."""
    ended = jnp.logical_or(rollout.terminated, rollout.truncated).astype(jnp.int32)
    return jnp.cumsum(ended, axis=-1) - ended


def episode_sums(values: Array, index: Array, episodes: int) -> Array:
    """Sums of `values` [..., T] over each of the first E episodes, to which `index` [..., T] gives them: [..., E]."""

    def one(values: Array, index: Array) -> Array:
        return jnp.zeros((episodes + 1,), jnp.float32).at[jnp.minimum(index, episodes)].add(values)[:-1]

    steps = values.shape[-1]
    flat = jax.vmap(one)(values.reshape(-1, steps), index.reshape(-1, steps))
    return flat.reshape(*values.shape[:-1], episodes)


def round_returns(rollouts: Rollout, episodes: int | None) -> Metrics:
    """Mean over tasks and streams of each round's return (the sum over its first E episodes; None: over all its steps);
    leaves [N, R, B, T]."""
    reward = rollouts.reward if episodes is None else rollouts.reward * counted(rollouts, episodes)
    by_round = jnp.mean(jnp.sum(reward, axis=-1), axis=(0, 2))
    rounds = by_round.shape[0]
    each = {f"return/round_{r}": by_round[r] for r in range(rounds)} if 1 < rounds <= 10 else {}
    return {"return": by_round[-1], **each}
