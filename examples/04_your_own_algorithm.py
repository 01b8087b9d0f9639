"""Your own algorithm, as a value: a frozen dataclass with the functions of the protocol, and no parents.

ContextSearch acts by a linear policy of the position s and a context z, which stands for a guess of the task:

    a ~ N(s W + z V + b, σ²),    z ~ N(m, ρ²), drawn when an episode starts.

It adapts by search: the new m is the mean of the streams' contexts, each weighted by how well its stream did, and ρ
shrinks. It meta-learns W, V and b by REINFORCE, so that for every task some context solves it. The library collects,
trains, checkpoints and judges it like any of its own.

python examples/04_your_own_algorithm.py [--iterations 200] [--out DIR]
"""

import argparse
import tempfile
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import adaptax
from adaptax import Birth, Decision, Plan, Rollout, Spec, Timestep, Trial, UserError


class Params(NamedTuple):
    position_weights: jax.Array  # W [D, A]
    context_weights: jax.Array  # V [C, A]
    bias: jax.Array  # b [A]


class Adapted(NamedTuple):
    mean: jax.Array  # m [C]
    spread: jax.Array  # ρ []


class State(NamedTuple):
    """All that a checkpoint holds. Every array has an explicit dtype."""

    params: Params
    optimizer: Any
    iteration: jax.Array


@dataclass(frozen=True)
class ContextSearch:
    """Search over a context for a policy that is linear in it."""

    spec: Spec
    tasks: int = 20
    streams: int = 20
    rounds: int = 2
    contexts: int = 2
    noise: float = 0.2
    temperature: float = 0.3
    learning_rate: float = 0.03

    def __post_init__(self) -> None:
        if len(self.spec.action_space.shape or ()) != 1 or len(self.spec.observation_space.shape or ()) != 1:
            raise UserError("ContextSearch needs one-dimensional Box spaces")

    @property
    def plan(self) -> Plan:
        return Plan(self.tasks, self.rounds, self.streams, steps=self.spec.horizon, lifetime=self.rounds)

    # How the agent faces one task: `begin` and `adapt` are written for one task, `start` and `act` for one stream.

    def begin(self, params: Params, key: jax.Array, birth: Birth) -> Adapted:
        return Adapted(jnp.zeros((self.contexts,), jnp.float32), jnp.ones((), jnp.float32))

    def start(self, params: Params) -> jax.Array:
        return jnp.zeros((self.contexts,), jnp.float32)

    def act(
        self, params: Params, adapted: Adapted, memory: jax.Array, timestep: Timestep, key: jax.Array
    ) -> tuple[Decision, jax.Array]:
        context_key, action_key = jax.random.split(key)
        drawn = adapted.mean + adapted.spread * jax.random.normal(context_key, memory.shape, jnp.float32)
        context = jnp.where(timestep.first, drawn, memory)
        mean = self.mean_action(params, timestep.observation, context)
        action = mean + self.noise * jax.random.normal(action_key, mean.shape, jnp.float32)
        return Decision(action, extras=context), context

    def adapt(self, params: Params, adapted: Adapted, rollout: Rollout, key: jax.Array) -> Adapted:
        returns = jnp.sum(rollout.reward, axis=1)  # [B]
        scaled = (returns - jnp.mean(returns)) / (jnp.std(returns) + 1e-8)
        weights = jax.nn.softmax(scaled / self.temperature)
        return Adapted(weights @ rollout.decision.extras[:, 0], 0.3 * adapted.spread)

    def mean_action(self, params: Params, observation: jax.Array, context: jax.Array) -> jax.Array:
        return observation @ params.position_weights + context @ params.context_weights + params.bias

    # How meta-parameters learn from many tasks: `update` is a pure function of the trials [N, R, B, T].

    def init(self, key: jax.Array) -> State:
        observations, actions = self.spec.observation_space.shape[0], self.spec.action_space.shape[0]
        params = Params(
            jnp.zeros((observations, actions), jnp.float32),
            0.3 * jax.random.normal(key, (self.contexts, actions), jnp.float32),
            jnp.zeros((actions,), jnp.float32),
        )
        return State(params, optax.adam(self.learning_rate).init(params), jnp.zeros((), jnp.int32))

    def update(self, state: State, trials: Trial, key: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        loss, gradient = jax.value_and_grad(self.loss)(state.params, trials.rollouts)
        step, optimizer = optax.adam(self.learning_rate).update(gradient, state.optimizer)
        params = optax.apply_updates(state.params, step)
        return State(params, optimizer, state.iteration + 1), {"loss": loss}

    def loss(self, params: Params, rollouts: Rollout) -> jax.Array:
        """REINFORCE: the reward to go, against its mean over the streams at the same step."""
        to_go = jnp.flip(jnp.cumsum(jnp.flip(rollouts.reward, -1), axis=-1), -1)
        advantage = to_go - jnp.mean(to_go, axis=2, keepdims=True)
        advantage = advantage / (jnp.std(advantage) + 1e-8)
        mean = self.mean_action(params, rollouts.timestep.observation, rollouts.decision.extras)
        logs = -0.5 * jnp.sum(jnp.square((rollouts.decision.action - mean) / self.noise), axis=-1)
        return -jnp.mean(logs * advantage)


def main(iterations: int, out: str) -> dict[str, list[float]]:
    on = adaptax.benchmark("navigation", horizon=20)
    algorithm = ContextSearch(on.spec)
    results = {}
    for name, count in (("hardly trained", 1), ("meta-trained", iterations)):
        agent = adaptax.train(algorithm, on, out=f"{out}/{name.replace(' ', '-')}", iterations=count)
        judged = agent.evaluate(tasks=100, rounds=4)  # goals that training cannot have drawn
        results[name] = judged.returns.mean(axis=(0, 2, 3)).tolist()
        print(f"{name:>14}, return by round:", *(f"{x:7.2f}" for x in results[name]))
    print("a new process loads it with: adaptax.load(run, algorithm=ContextSearch(on.spec), benchmark=on)")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=200, help="meta-iterations")
    parser.add_argument("--out", help="where the run directories go (default: a temporary place)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        main(options.iterations, options.out or place)
