"""Multi-task DDPG with fine-tuning (Lillicrap et al. 2016), by default as TD3 (Fujimoto et al. 2018, algorithm 1).

One policy μ for all tasks, trained without being told which one it faces on the transitions of all of them, and on a
new task trained further on that task's own (`replay`). Each gradient step, on a batch of (s, a, r, d, s'):

    critics    minimise Σ_i mean (Q_i(s, a) − y)²,  y = r + γ (1 − d) min_i Q'_i(s', a'),
               a' = clip(μ'(s') + clip(ε, −c, c), −1, 1),  ε ~ N(0, σ'²)
    policy     minimise −mean Q_1(s, μ(s))                                      every second step
    targets    Q'_i ← (1 − τ) Q'_i + τ Q_i and μ' ← (1 − τ) μ' + τ μ            every second step

with d only where an episode terminates. With `twin` off it is DDPG: one critic, a' = μ'(s'), and policy and targets in
every step. Agents act with μ(s) + N(0, σ²), kept in (−1, 1), on new tasks too: what is collected there is learned from.

Differences from the papers: normal noise also for DDPG (it has noise that is correlated in time), no uniform actions at
first, no weight decay, and what was collected is learned from in one piece after each iteration, not after each step.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import replay
from ..nets.network import Network
from ..nets.perception import Perception, perceiving
from ..nets.soft_actor_critic import near_zero
from ..ops import chance, distributions, squashed
from ..ops.averaging import polyak
from ..ops.descent import adam, step
from ..ops.observations import Kept, gather
from ..ops.temporal_difference import smoothed_action, soft_target
from ..ops.transitions import Transition
from ..ranges import above, at_least, at_most, between, check_ranges
from ..replay import Adapted, ReplayState
from ..types import Array, Birth, Decision, Key, Memory, Metrics, Params, Plan, Rollout, Spec, Timestep, Trial

DELAY = 2  # gradient steps of twin critics for one of the policy


class ActorCritic(NamedTuple):
    policy: Params
    critics: tuple[Params, ...]  # two, or one


class DDPGParams(NamedTuple):
    online: ActorCritic
    target: ActorCritic  # μ' and Q'


class Moments(NamedTuple):
    """Adam's states, and how many gradient steps were taken."""

    policy: Any
    critics: Any
    steps: Array  # int32 []


@dataclass(frozen=True)
class MultitaskDDPG:
    """A deterministic policy on all tasks at once, fine-tuned on a new one."""

    spec: Spec
    """What the environment looks like."""
    tasks: Annotated[int, at_least(1)] = 20
    """Tasks per iteration."""
    streams: Annotated[int, at_least(1)] = 4
    """Trajectories per task and round."""
    steps: Annotated[int | None, at_least(1)] = None
    """Environment steps per trajectory and round; None: one full-length trial of the benchmark's protocol."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (128, 128)
    """Hidden ReLU units of the layers of policy and critics."""
    twin: bool = True
    """Two critics, smoothed target actions and a delayed policy (TD3); without: DDPG."""
    noise: Annotated[float, at_least(0)] = 0.1
    """σ: standard deviation of what is added to actions in (−1, 1)."""
    target_noise: Annotated[float, at_least(0)] = 0.2
    """σ': the same of target actions (TD3)."""
    target_noise_clip: Annotated[float, at_least(0)] = 0.5
    """c: where that is cut off."""
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
    """τ: rate at which targets follow."""
    fine_tuning_steps: Annotated[int, at_least(0)] = 200
    """Gradient steps after each round of a new task."""
    fine_tuning_capacity: int = 10_000
    """Transitions that are kept of a new task, at least those of one round."""

    def __post_init__(self) -> None:
        replay.check_continuous(self.spec.action_space, "multitask-ddpg")
        check_ranges(self)
        replay.check(self)

    @property
    def plan(self) -> Plan:
        return replay.plan(self)

    @property
    def _networks(self) -> tuple[Network, Network]:
        """Policy and critic."""
        perception, action = self._perception, distributions.flat_size(self.spec.action_space)
        policy = near_zero((perception.size, *self.hidden, action))
        critic = near_zero((perception.size + action, *self.hidden, 1))
        return perceiving(perception, policy), perceiving(perception, critic)

    @property
    def _perception(self) -> Perception:
        return Perception(self.spec.observation_space)

    # --- how the agent faces one task ---

    def begin(self, params: DDPGParams, key: Key, birth: Birth) -> Adapted:
        return replay.begin(self, params)

    def start(self, params: DDPGParams) -> Memory:
        return ()

    def act(
        self, params: DDPGParams, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        action = self.policy(adapted.params.online.policy, self._perception.keep(timestep.observation))
        action = action + self.noise * chance.normal(key, action.shape)
        return Decision(squashed.to_space(self.spec.action_space, jnp.clip(action, -1.0, 1.0))), memory

    def adapt(self, params: DDPGParams, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        return replay.adapt(self, adapted, rollout, key)

    def policy(self, params: Params, observation: Kept) -> Array:
        """μ(s) in (−1, 1) at observations [...] as they are kept."""
        return jnp.tanh(self._networks[0].apply(params, (), observation)[0])

    def critics(self, params: tuple[Params, ...], observation: Kept, action: Array) -> tuple[Array, ...]:
        """Q_i [...] of actions in (−1, 1)."""
        inputs = gather(observation, action)
        return tuple(self._networks[1].apply(critic, (), inputs)[0][..., 0] for critic in params)

    # --- how the parameters learn from many tasks ---

    def init(self, key: Key) -> ReplayState:
        return replay.init(self, key)

    def update(self, state: ReplayState, trials: Trial, key: Key) -> tuple[ReplayState, Metrics]:
        return replay.update(self, state, trials, key)

    def init_params(self, key: Key) -> DDPGParams:
        policy_key, critic_key = jax.random.split(key)
        policy, critic = self._networks
        critics = tuple(critic.init(k) for k in jax.random.split(critic_key, 2 if self.twin else 1))
        online = ActorCritic(policy.init(policy_key), critics)
        return DDPGParams(online, online)

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.learning_rate)

    def init_moments(self, params: DDPGParams) -> Moments:
        init = self._optimizer.init
        return Moments(init(params.online.policy), init(params.online.critics), jnp.zeros((), jnp.int32))

    def learner_action(self, action: Array) -> Array:
        return squashed.from_space(self.spec.action_space, action)

    def gradient_step(
        self, params: DDPGParams, moments: Moments, batch: Transition, key: Key
    ) -> tuple[DDPGParams, Moments, Metrics]:
        (policy, critics), target = params
        error, slope = jax.value_and_grad(self.critic_loss)(critics, target, batch, key)
        critics, critic_moments = step(self._optimizer, critics, moments.critics, slope)
        loss, slope = jax.value_and_grad(self.policy_loss)(policy, critics, batch.observation)
        improved, policy_moments = step(self._optimizer, policy, moments.policy, slope)
        followed = polyak(target, ActorCritic(improved, critics), self.target_rate)
        steps = moments.steps + 1
        now = steps % DELAY == 0 if self.twin else jnp.asarray(True)
        policy, policy_moments, target = jax.tree.map(
            lambda new, old: jnp.where(now, new, old),
            (improved, policy_moments, followed),
            (policy, moments.policy, target),
        )
        metrics = {"critic_error": error, "value": -loss}
        return DDPGParams(ActorCritic(policy, critics), target), Moments(policy_moments, critic_moments, steps), metrics

    def critic_loss(self, critics: tuple[Params, ...], target: ActorCritic, batch: Transition, key: Key) -> Array:
        """The squared errors of the critics, added up; all else is constant."""
        action = self.policy(target.policy, batch.next_observation)
        if self.twin:
            action = smoothed_action(action, key, self.target_noise, self.target_noise_clip)
        following = self.critics(target.critics, batch.next_observation, action)
        goal = soft_target(batch.reward, batch.terminated, self.discount, following, 0.0, 0.0)
        values = self.critics(critics, batch.observation, batch.action)
        return sum((jnp.mean(jnp.square(value - goal)) for value in values), jnp.zeros(()))

    def policy_loss(self, policy: Params, critics: tuple[Params, ...], observation: Kept) -> Array:
        """−mean Q_1(s, μ(s)) at observations [B] as they are kept."""
        return -jnp.mean(self.critics(critics[:1], observation, self.policy(policy, observation))[0])
