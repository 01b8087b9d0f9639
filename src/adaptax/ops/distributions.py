"""Action distributions. Parameters may carry any leading axes; an event is one action.

A sample without a key (None) is the mode: nothing is left to chance.
"""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..types import Array, Key, Spec, UserError

FORBIDDEN = -1e9  # in place of the logit, or of the value, of an action that cannot be chosen


class Categorical(NamedTuple):
    """Actions 0 … A−1 with unnormalised log-probabilities `logits` [..., A]."""

    logits: Array

    def sample(self, key: Key | None) -> Array:
        if key is None:
            return self.mode()
        # Inverse CDF: one uniform number an action instead of one Gumbel number an alternative.
        chances = jax.nn.softmax(self.logits)
        edges = jnp.cumsum(chances, axis=-1)
        level = jax.random.uniform(key, edges.shape[:-1] + (1,), edges.dtype) * edges[..., -1:]
        # The last one whose edge is reached and that has a chance: however sums are rounded, none without.
        reached = (edges[..., :-1] <= level) & (chances[..., 1:] > 0)
        numbers = jnp.arange(1, edges.shape[-1], dtype=jnp.int32)
        return jnp.max(jnp.where(reached, numbers, 0), axis=-1, initial=0)

    def mode(self) -> Array:
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)

    def log_probability(self, action: Array) -> Array:
        chosen = jax.nn.one_hot(action, self.logits.shape[-1], dtype=self.logits.dtype)
        return jnp.sum(chosen * jax.nn.log_softmax(self.logits), axis=-1)

    def entropy(self) -> Array:
        logs = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(logs) * logs, axis=-1)

    def divergence(self, other: "Categorical") -> Array:
        """KL(self ‖ other)."""
        logs, others = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return jnp.sum(jnp.exp(logs) * (logs - others), axis=-1)

    def curvature(self, tangent: Any) -> "Categorical":
        """The Hessian of KL(self ‖ ·) at itself, in its parameters, times `tangent`: (diag p − p pᵀ) v."""
        weights = jax.nn.softmax(self.logits)
        mean = jnp.sum(weights * tangent.logits, axis=-1, keepdims=True)
        return Categorical(weights * (tangent.logits - mean))


class DiagonalGaussian(NamedTuple):
    """Independent normal actions: `mean` and `log_std` [..., D]."""

    mean: Array
    log_std: Array

    def sample(self, key: Key | None) -> Array:
        if key is None:
            return self.mode()
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self.log_std) * noise

    def mode(self) -> Array:
        return self.mean

    def log_probability(self, action: Array) -> Array:
        standard = (action - self.mean) * jnp.exp(-self.log_std)
        constant = 0.5 * np.log(2 * np.pi)
        return jnp.sum(-0.5 * jnp.square(standard) - self.log_std - constant, axis=-1)

    def entropy(self) -> Array:
        spread = jnp.broadcast_to(self.log_std, self.mean.shape)
        return jnp.sum(spread + 0.5 * np.log(2 * np.pi * np.e), axis=-1)

    def divergence(self, other: "DiagonalGaussian") -> Array:
        """KL(self ‖ other)."""
        ratio = jnp.exp(2 * (self.log_std - other.log_std))
        shift = jnp.square((self.mean - other.mean) * jnp.exp(-other.log_std))
        return jnp.sum(other.log_std - self.log_std + 0.5 * (ratio + shift - 1), axis=-1)

    def curvature(self, tangent: Any) -> "DiagonalGaussian":
        """The Hessian of KL(self ‖ ·) at itself, in its parameters, times `tangent`: (v_μ / σ², 2 v_log σ)."""
        return DiagonalGaussian(tangent.mean * jnp.exp(-2 * self.log_std), 2 * tangent.log_std)


Distribution = Categorical | DiagonalGaussian


def outputs_needed(space: gymnasium.Space) -> int:
    """How many network outputs fix a distribution over `space`: A logits, or D means."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        return int(space.shape[0])
    raise UserError(f"the action space {space} is not served; Discrete and one-dimensional Box spaces are")


def initial_log_std(space: gymnasium.Space, value: float = 0.0) -> Array:
    """A state-independent log standard deviation [D] for a Box; empty [0] for a Discrete space."""
    size = 0 if isinstance(space, gymnasium.spaces.Discrete) else outputs_needed(space)
    return jnp.full((size,), value, jnp.float32)


def action_distribution(
    space: gymnasium.Space, outputs: Array, log_std: Array, allowed: Array | None = None
) -> Distribution:
    """The distribution that network `outputs` [..., A or D] and `log_std` [D] stand for, over the actions `allowed`
    [..., A] (None: all)."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return Categorical(only_allowed(outputs, allowed))
    return DiagonalGaussian(outputs, jnp.broadcast_to(log_std, outputs.shape))


def only_allowed(values: Array, allowed: Array | None) -> Array:
    """`values` [..., A] of actions, logits or Q-values, and one far below all others in place of that of an action
    that is not `allowed` [..., A], to which no gradient goes. None: all are. Where none is, all are.

    As a logit it is finite, so that 0 · log 0 is 0 in entropies and divergences, and its slope too.
    """
    if allowed is None:
        return values
    return jnp.where(allowed | ~jnp.any(allowed, axis=-1, keepdims=True), values, FORBIDDEN)


def uniform_action(count: int, key: Key, allowed: Array | None = None) -> Array:
    """One of `count` discrete actions, int32 [], each that is `allowed` [count] as likely as any other (None: all)."""
    if allowed is None:
        return jax.random.randint(key, (), 0, count, jnp.int32)
    return Categorical(only_allowed(jnp.zeros((count,), jnp.float32), allowed)).sample(key)


def checked_masks(space: gymnasium.Space, allowed: Array) -> Array:
    """`allowed` [N, B, n], if an environment with this action space may say so. Else it raises a `UserError`."""
    if not isinstance(space, gymnasium.spaces.Discrete):
        raise UserError(f"the environment's allowed is for Discrete actions, and its action space is {space}")
    if allowed.dtype != bool or allowed.shape[2:] != (space.n,):
        found = f"{allowed.dtype} {list(allowed.shape[2:])}"
        raise UserError(f"the environment's allowed returns {found}, and its {space.n} actions need bool [{space.n}]")
    return allowed


def kept_masks(spec: Spec, allowed: Array | None, leading: tuple[int, ...]) -> Array | None:
    """The masks [*leading, A] as a learner for `spec` keeps them: none unless `spec.masked`, and then, where none was
    given, those that allow all. Raises a `UserError` for masks of which `spec` does not know."""
    if spec.masked:
        return jnp.ones((*leading, outputs_needed(spec.action_space)), bool) if allowed is None else allowed
    if allowed is not None:
        raise UserError(
            "the environment says which actions are allowed, and the algorithm's spec does not: make it for the "
            "benchmark, or for the benchmark's spec, and not for that of its environment"
        )
    return None


def flat_size(space: gymnasium.Space) -> int:
    """The length of what `flatten` makes of one element of `space`."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gymnasium.spaces.Box):
        return int(np.prod(space.shape))
    raise UserError(f"the space {space} is not served; Discrete and Box spaces are")


def flatten(space: gymnasium.Space, value: Array) -> Array:
    """One-hot of a Discrete value, ravelled Box value: float32 [..., flat_size(space)]."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return jax.nn.one_hot(value, int(space.n), dtype=jnp.float32)
    rank = len(space.shape or ())
    return jnp.asarray(value, jnp.float32).reshape(*value.shape[: value.ndim - rank], flat_size(space))


def zero_action(space: gymnasium.Space) -> Array:
    """The action that a stream is told it took before its first step."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return jnp.zeros((), jnp.int32)
    return jnp.zeros(space.shape or (), jnp.float32)
