"""MAML in eighty lines of plain JAX, beside the library's own: the same numbers.

Between the two rulers stands all of MAML for 2-D navigation: Gaussian policy, linear baseline, inner policy-gradient
step, the gradient through it by `jax.grad` of `jax.grad`, and Adam. It takes only the environment from the library.
Below the second ruler both take the same steps: from the same parameters, on the same trials.

python examples/03_maml_in_eighty_lines.py [--iterations 3]
"""

import argparse
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import adaptax
from adaptax.run.collect import collect, streams_of

# ------------------------------------------------------------------------------------------------ MAML, in plain JAX
TASKS, STREAMS, STEPS, DISCOUNT = 20, 20, 100, 0.99
STEP_SIZE, LEARNING_RATE, LARGEST_NORM, LOWEST_STD = 0.5, 1e-3, 1.0, 0.1


class Round(NamedTuple):  # STEPS × STREAMS transitions on one task, time first
    observation: jax.Array
    action: jax.Array
    log_probability: jax.Array
    reward: jax.Array
    first: jax.Array
    ended: jax.Array


def log_probability(policy, observation, action):
    log_std, x = jnp.maximum(policy["log_std"], jnp.log(LOWEST_STD)), observation
    for weight, bias in policy["layers"][:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = policy["layers"][-1]
    z = (action - x @ weight - bias) / jnp.exp(log_std)
    return jnp.sum(-0.5 * z**2 - log_std - 0.5 * jnp.log(2 * jnp.pi), axis=-1)


def advantages(data):
    """Discounted return minus a linear function of position and time, fitted on the same data; standardised."""

    def back(later, now):
        value = now[0] + DISCOUNT * jnp.where(now[1], 0.0, later)
        return value, value

    _, reached = jax.lax.scan(back, jnp.zeros_like(data.reward[0]), (data.reward, data.ended), reverse=True)
    clock = jnp.arange(data.reward.shape[0])[:, None]
    since = clock - jax.lax.cummax(jnp.where(data.first, clock, 0), axis=0)
    t, s = since[..., None] / 100.0, jnp.clip(data.observation, -10, 10)
    x = jnp.concatenate([s, s**2, t, t**2, t**3, jnp.ones_like(t)], axis=-1).reshape(reached.size, -1)
    weights = jnp.linalg.solve(x.T @ x + 1e-5 * jnp.eye(x.shape[1]), x.T @ reached.ravel())
    left = reached - (x @ weights).reshape(reached.shape)
    return (left - left.mean()) / (left.std() + 1e-8)


def inner_loss(policy, data):
    return -jnp.mean(log_probability(policy, data.observation, data.action) * advantages(data))


def adapt(policy, data):
    return jax.tree.map(lambda p, g: p - STEP_SIZE * g, policy, jax.grad(inner_loss)(policy, data))


def outer_loss(policy, before, after):
    """Of one task: how good the policy adapted on `before` is, by importance sampling on what it did in `after`."""
    logs = log_probability(adapt(policy, before), after.observation, after.action)
    return -jnp.mean(jnp.exp(logs - after.log_probability) * advantages(after))


@jax.jit
def meta_gradient(policy, before, after):
    def mean_loss(policy):  # task by task: the baseline's fit amplifies rounding, which depends on the shapes
        return jnp.mean(jax.lax.map(lambda task: outer_loss(policy, *task), (before, after)))

    return jax.grad(mean_loss)(policy)


@jax.jit
def adam(policy, gradient, first_moment, second_moment, count):
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, LARGEST_NORM / norm), gradient)
    first_moment = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first_moment, gradient)
    second_moment = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second_moment, gradient)

    def step(p, m, v):
        return p - LEARNING_RATE * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)

    return jax.tree.map(step, policy, first_moment, second_moment), first_moment, second_moment


# -------------------------------------------------------------------------------------------- beside the library's own
def plain(policy: Any) -> dict[str, Any]:
    """The library's parameters as the dictionary above."""
    return {"layers": [tuple(layer) for layer in policy.network], "log_std": policy.log_std}


def rounds(trials: Any) -> tuple[Round, Round]:
    """The library's trials [tasks, 2 rounds, streams, steps] as the rounds before and after adaptation."""
    r = trials.rollouts
    ended = r.terminated | r.truncated
    logs = r.decision.extras.log_probability
    both = Round(r.timestep.observation, r.decision.action, logs, r.reward, r.timestep.first, ended)
    time_first = jax.tree.map(lambda x: jnp.swapaxes(x, 2, 3), both)
    return jax.tree.map(lambda x: x[:, 0], time_first), jax.tree.map(lambda x: x[:, 1], time_first)


def apart(one: Any, other: Any) -> float:
    """The largest difference between two trees of arrays."""
    differences = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), one, other)
    return max(jax.tree.leaves(differences))


def main(iterations: int) -> list[tuple[float, float]]:
    """Prints a row per meta-iteration, and returns its last two columns."""
    benchmark = adaptax.benchmark("navigation")
    library = adaptax.algorithm("maml", on="navigation")
    assert (library.tasks, library.streams, library.step_size) == (TASKS, STREAMS, STEP_SIZE)
    streams = streams_of(benchmark.environment)
    gather = jax.jit(partial(collect, library, streams, benchmark.train, library.plan))
    update = jax.jit(library.update)

    state = library.init(jax.random.key(0))
    worst = []
    print("          |  return, adaptation |  norm of meta-gradient | largest difference between the two in")
    print("iteration |   before     after  |   library        here  | meta-gradient   stepped parameters")
    for iteration in range(1, iterations + 1):
        trials, _, _ = gather(state.params, None, jax.random.key(iteration))
        before, after = rounds(trials)
        gradient = meta_gradient(plain(state.params.policy), before, after)
        first, second = (plain(optax.tree.get(state.optimizer, name)) for name in ("mu", "nu"))
        policy, moment, _ = adam(plain(state.params.policy), gradient, first, second, iteration)

        state, metrics = update(state, trials, jax.random.key(0))
        theirs = plain(optax.tree.get(state.optimizer, "mu"))
        # Adam's first moment is 0.9 of the old one and 0.1 of the gradient.
        worst.append((10 * apart(theirs, moment), apart(plain(state.params.policy), policy)))
        returns = [float(jnp.mean(jnp.sum(r.reward, axis=1))) for r in (before, after)]
        norms = float(metrics["gradient_norm"]), float(optax.tree.norm(gradient))
        row = (iteration, *returns, *norms, *worst[-1])
        print("{:9d} | {:8.2f}  {:8.2f}  |  {:8.6f}    {:8.6f}  | {:13.1e} {:20.1e}".format(*row))
    same = all(max(row) < 1e-4 for row in worst)  # float32: about 1e-6 is usual
    print("the same numbers" if same else "THE NUMBERS DIFFER")
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=3, help="meta-iterations")
    main(parser.parse_args().iterations)
