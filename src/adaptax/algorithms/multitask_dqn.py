"""Multi-task DQN with fine-tuning (Mnih et al. 2015, algorithm 1; double: van Hasselt et al. 2016; dueling: Wang et al.
2016).

One Q for all tasks, trained without being told which one it faces on the transitions of all of them, and on a new task
trained further on that task's own (`replay`). Each gradient step, on a batch of (s, a, r, d, s'):

    values     minimise mean h(Q(s, a) − y),  y = r + γ (1 − d) Q'(s', a'),  h(x) = x²/2 within ±1, |x| − ½ beyond
               a' = argmax Q(s', ·)  (`double`),  or argmax Q'(s', ·)
    target     Q' ← (1 − τ) Q' + τ Q

with d only where an episode terminates. With `dueling` Q = V + A − mean A, where V and A are outputs of one network.
Agents take a uniform action with probability ε, else the best one. ε falls linearly over the first `epsilon_decay`
iterations of training; it is a parameter, for `act` to know it, and so a new task's first round has the ε that training
ended with. After that it is the last one.

Differences from the papers: the target follows in every step instead of being copied now and then, Adam, dueling
without layers of their own for V and A, and what was collected is learned from in one piece after each iteration.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import optax

from .. import replay
from ..nets.mlp import mlp
from ..nets.network import Network
from ..nets.perception import Perception, perceiving
from ..ops import distributions
from ..ops.averaging import polyak
from ..ops.descent import adam, step
from ..ops.epsilon_greedy import annealed, epsilon_greedy
from ..ops.observations import Kept
from ..ops.temporal_difference import dueling, q_learning_target
from ..ops.transitions import Transition
from ..ranges import above, at_least, at_most, between, check_ranges
from ..replay import Adapted, ReplayState
from ..types import (
    Array,
    Birth,
    Decision,
    Key,
    Memory,
    Metrics,
    Params,
    Plan,
    Rollout,
    Spec,
    Timestep,
    Trial,
    UserError,
)


class DQNParams(NamedTuple):
    online: Params  # Q
    target: Params  # Q'
    epsilon: Array  # float32 []: the present chance of a random action


@dataclass(frozen=True)
class MultitaskDQN:
    """Q-learning on all tasks at once, fine-tuned on a new one."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 20
    """Tasks per iteration."""
    streams: Annotated[int, at_least(1)] = 4
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (128, 128)
    """Hidden ReLU units of the layers of Q."""
    double: bool = True
    """Let Q choose the action whose value Q' tells."""
    dueling: bool = True
    """Q as a value and the advantages of the actions."""
    epsilon: Annotated[float, between(0, 1)] = 1.0
    """Chance of a random action in the first iteration."""
    final_epsilon: Annotated[float, between(0, 1)] = 0.05
    """Chance of a random action once `epsilon_decay` iterations are over, and on a new task."""
    epsilon_decay: Annotated[int, at_least(1)] = 100
    """Iterations over which the chance falls linearly."""
    discount: Annotated[float, between(0, 1)] = 0.99
    """γ."""
    gradient_steps: Annotated[int, at_least(1)] = 200
    """Gradient steps in one iteration."""
    batch: Annotated[int, at_least(1)] = 256
    """Transitions in each of them."""
    capacity: int = 200_000
    """Transitions in the replay, at least those of one iteration."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Adam's step size, in training and on a new task."""
    target_rate: Annotated[float, above(0), at_most(1)] = 0.005
    """τ: rate at which the target Q' follows Q."""
    fine_tuning_steps: Annotated[int, at_least(0)] = 200
    """Gradient steps after each round of a new task."""
    fine_tuning_capacity: int = 10_000
    """Transitions that are kept of a new task, at least those of one round."""

    def __post_init__(self) -> None:
        if not isinstance(self.spec.action_space, gymnasium.spaces.Discrete):
            raise UserError(
                f"multitask-dqn needs discrete actions and the action space here is {self.spec.action_space}; "
                "multitask-sac and multitask-ddpg are the baselines for continuous ones"
            )
        check_ranges(self)
        replay.check(self)

    @property
    def plan(self) -> Plan:
        return replay.plan(self)

    @property
    def _network(self) -> Network:
        actions = distributions.outputs_needed(self.spec.action_space)
        return perceiving(self._perception, mlp((self._perception.size, *self.hidden, actions + self.dueling)))

    @property
    def _perception(self) -> Perception:
        return Perception(self.spec.observation_space)

    # --- how the agent faces one task ---

    def begin(self, params: DQNParams, key: Key, birth: Birth) -> Adapted:
        return replay.begin(self, params)

    def start(self, params: DQNParams) -> Memory:
        return ()

    def act(
        self, params: DQNParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        values = self.values(adapted.params.online, self._perception.keep(timestep.observation))
        return Decision(epsilon_greedy(values, adapted.params.epsilon, key, timestep.allowed)), memory

    def adapt(self, params: DQNParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        adapted = replay.adapt(self, adapted, rollout, key)
        last: Any = adapted.params._replace(epsilon=jnp.asarray(self.final_epsilon, jnp.float32))
        return adapted._replace(params=last)

    def values(self, params: Params, observation: Kept) -> Array:
        """Q(s, ·) [..., A] at observations [...] as they are kept."""
        outputs, _ = self._network.apply(params, (), observation)
        return dueling(outputs[..., :1], outputs[..., 1:]) if self.dueling else outputs

    # --- how the parameters learn from many tasks ---

    def init(self, key: Key) -> ReplayState:
        return replay.init(self, key)

    def update(self, state: ReplayState, trials: Trial, key: Key) -> tuple[ReplayState, Metrics]:
        state, metrics = replay.update(self, state, trials, key)
        epsilon = annealed(self.epsilon, self.final_epsilon, self.epsilon_decay, state.iteration)
        return state._replace(params=state.params._replace(epsilon=epsilon)), metrics

    def init_params(self, key: Key) -> DQNParams:
        online = self._network.init(key)
        return DQNParams(online, online, jnp.asarray(self.epsilon, jnp.float32))

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.learning_rate)

    def init_moments(self, params: DQNParams) -> Any:
        return self._optimizer.init(params.online)

    def learner_action(self, action: Array) -> Array:
        return action

    def gradient_step(
        self, params: DQNParams, moments: Any, batch: Transition, key: Key
    ) -> tuple[DQNParams, Any, Metrics]:
        (loss, metrics), slope = jax.value_and_grad(self.loss, has_aux=True)(params.online, params.target, batch)
        online, moments = step(self._optimizer, params.online, moments, slope)
        target = polyak(params.target, online, self.target_rate)
        return DQNParams(online, target, params.epsilon), moments, metrics | {"loss": loss}

    def loss(self, online: Params, target: Params, batch: Transition) -> tuple[Array, Metrics]:
        """The mean Huber loss on transitions [B]; the target is constant."""
        ours, theirs = (self.values(params, batch.next_observation) for params in (online, target))
        told = batch.reward, batch.terminated, self.discount
        goal = q_learning_target(*told, ours, theirs, self.double, batch.next_allowed)
        values = self.values(online, batch.observation)
        taken = jnp.take_along_axis(values, batch.action[..., None], axis=-1)[..., 0]
        return jnp.mean(optax.huber_loss(taken, goal)), {"value": jnp.mean(taken)}
