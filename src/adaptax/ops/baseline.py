"""The linear feature baseline (Duan et al. 2016, rllab), fitted per task and round on the batch that it predicts."""

import jax
import jax.numpy as jnp

from ..types import Array, Rollout
from . import returns
from .observations import Kept, summary


def features(observations: Array, steps: Array) -> Array:
    """[clip(o, ±10), its square, t/100, (t/100)², (t/100)³, 1] for observations [..., D] and steps t [...]."""
    clipped = jnp.clip(observations, -10.0, 10.0)
    time = steps.astype(jnp.float32)[..., None] / 100.0
    return jnp.concatenate([clipped, jnp.square(clipped), time, time**2, time**3, jnp.ones_like(time)], axis=-1)


def fit_predict(inputs: Array, targets: Array, regularization: float = 1e-5) -> Array:
    """Ridge regression of `targets` [...] on `inputs` [..., F], predicted on the same points: [...].

    As in the sources, the penalty is multiplied by ten (five times at most) while the solution is not finite.
    """
    flat, wanted = inputs.reshape(-1, inputs.shape[-1]), targets.reshape(-1)
    gram, moment = flat.T @ flat, flat.T @ wanted
    penalties = regularization * 10.0 ** jnp.arange(6, dtype=gram.dtype)
    identity = jnp.eye(gram.shape[0], dtype=gram.dtype)
    solutions = jax.vmap(lambda penalty: jnp.linalg.solve(gram + penalty * identity, moment))(penalties)
    finite = jnp.all(jnp.isfinite(solutions), axis=-1)
    chosen = jnp.where(jnp.any(finite), solutions[jnp.argmax(finite)], 0.0)
    return (inputs @ chosen).reshape(targets.shape)


def advantages(rollout: Rollout, observation: Kept, discount: float, trace: float) -> Array:
    """Standardised advantages [B, T] of one round over the baseline fitted on it, for observations [B, T] as
    they are kept; of images and tokens it sees a `summary`.

    As in the authors' code of MAML and its descendants, what would follow a time limit is not bootstrapped: the
    baseline sees the time, and the objective is the finite-horizon return.
    """

    def over_time(x: Array) -> Array:  # [B, T] <-> [T, B]
        return jnp.swapaxes(x, 0, 1)

    first, reward = over_time(rollout.timestep.first), over_time(rollout.reward)
    ended = over_time(rollout.terminated | rollout.truncated)
    reached = returns.discounted_returns(reward, ended, discount)
    inputs = features(summary(observation), over_time(returns.steps_since(first)))
    values = over_time(fit_predict(inputs, over_time(reached)))
    following = jnp.concatenate([values[1:], jnp.zeros_like(values[:1])])
    advantage = returns.generalized_advantages(reward, values, following, ended, ended, discount, trace)
    return over_time(returns.standardize(advantage))
