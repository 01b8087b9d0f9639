"""An agent that lives on one real environment: it acts step by step, and adapts between rounds.

It lives the life of an evaluation (`run.collect`), drawn from the same keys. What the collector has side by
side comes one after the other here: the B streams of a round are B stretches of T steps, each with its own memory, and
after the last of them the agent adapts on them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from ..ops.distributions import zero_action
from ..run import checkpoint
from ..run.evaluate import Protocol, check_context, life_key
from ..run.keys import birth_keys, life_keys
from ..spaces import NO_SIDES, Sides, check_environment, executed, perceived, zeros
from ..types import (
    Agent,
    Algorithm,
    Key,
    Params,
    Rollout,
    Spec,
    Timestep,
    UserError,
    judged_birth,
)
from .frozen import Frozen, FrozenState
from .programs import act_on_key_data, keys_of_round
from .seen import Counts, Episode, Standing, apart, ended, mask_of, nothing_seen, rollout_of, stacked, write

FILE = "file of an adapted agent"


class LiveAgent:
    """An agent that acts and adapts on one environment: `episode` does it all, `act`, `observe` and `adapt` are for
    those who own the loop, `predict` uses what it has become without changing it.

    A round is `streams` times `episodes` whole episodes of at most `horizon` steps. Where episodes end early, others
    follow until the steps are used up, unless the agent's trials are so many episodes (`Plan.episodes`): then the round
    is over with the last one. Where the agent learns within episodes (`Protocol.steps`), a
    round ends, and the agent adapts, in the middle of one, which goes on."""

    def __init__(
        self,
        agent: Agent,
        params: Params,
        spec: Spec,
        protocol: Protocol,
        environment: Any = None,
        identity: Mapping[str, Any] | None = None,
        sides: Sides = NO_SIDES,
    ) -> None:
        """`identity` says, in a file of this agent, what it belongs to; `sides` how the environment's spaces look to
        the agent. Nothing is compiled before `environment` has been found to fit `spec`."""
        check_context(agent, replace(protocol, rounds=1), spec.horizon)
        if environment is not None:
            check_environment(spec, environment, sides)
        self.environment, self.spec, self.protocol, self._sides = environment, spec, protocol, sides
        self._agent, self._params, self._identity = agent, params, dict(identity or {})
        self._plan = protocol.plan(spec.horizon)._replace(tasks=1)
        plan = agent.plan if isinstance(agent, Algorithm) else self._plan
        self._context, self._by_episodes = plan.context, plan.episodes is not None
        self._act, self._adapt, self._decision = jax.jit(partial(act_on_key_data, agent)), jax.jit(agent.adapt), None
        self._frozen = Frozen(agent, params, spec, _frozen_key(protocol.seed), sides)
        self._begin_life(Counts())

    # --- what it is ---

    @property
    def rounds(self) -> int:
        """Rounds lived on this task, with an adaptation after each."""
        return self._counts.rounds

    @property
    def full(self) -> bool:
        """Whether the round's steps are used up, so that the agent has to adapt before it acts again."""
        return self._counts.stream == self._plan.streams

    # --- the whole loop ---

    def episode(self) -> Episode:
        """Live one episode in the environment; if it is the last of a round, adapt."""
        environment = self.environment
        if environment is None:
            raise UserError("this agent was given no environment: pass one, agent(environment), or use act and observe")
        self.interrupt()
        rounds, total, steps, success = self.rounds, 0.0, 0, False
        observation, info = environment.reset(seed=self._next_seed())
        over, adapts = "", False
        while not over:
            action = self.act(observation, info.get("action_mask") if self.spec.masked else None)
            observation, reward, terminated, truncated, info = environment.step(action)
            reached = bool(info.get("success", info.get("is_success", False)))
            over = self._observe(reward, terminated, truncated, observation, reached)
            total, steps, success = total + float(reward), steps + 1, success or reached
            adapts = self.full
            if adapts:
                self.adapt()
        return Episode(total, steps, over, success, rounds, adapts)

    def round(self) -> list[Episode]:
        """Live the episodes that are left of this round, and adapt."""
        episodes = [self.episode()]
        while not episodes[-1].adapted:
            episodes.append(self.episode())
        return episodes

    def begin(self) -> None:
        """Begin a new life: everything about the task is forgotten."""
        self._begin_life(Counts(life=self._counts.life + 1, episodes=self._counts.episodes))

    # --- for those who own the loop ---

    def act(self, observation: Any, allowed: Any = None) -> Any:
        """The action for this observation, within the bounds of the action space, or of those `allowed`, bool [n]."""
        counts, plan = self._counts, self._plan
        if self.full:
            raise UserError(f"the round's {plan.streams} × {plan.steps} steps are used up: call adapt, or begin")
        if self._decided is not None:
            raise UserError(
                "act was called twice: tell the agent by observe what came of its last action, or interrupt"
            )
        if self._context is not None and counts.rounds * plan.steps + counts.step >= self._context:
            raise UserError(
                f"the agent's memory holds {self._context} steps, which are used up: begin starts a new life"
            )
        b, t = counts.stream, counts.step
        observation = perceived(self.spec.observation_space, observation, self._sides.observation)
        timestep = self._timestep(b, observation, allowed)
        decision, memory = self._act(self._params, self._adapted, self._memories[b], timestep, self._act_keys[t, b])
        decision = jax.tree.map(np.asarray, decision)  # a third of the time that `device_get` takes
        self._decided = timestep, decision, memory
        return executed(self.spec.action_space, decision.action, self._sides.action)

    def observe(
        self, reward: float, terminated: bool, truncated: bool, next_observation: Any, success: bool = False
    ) -> bool:
        """Tell what came of the last action. True: the episode is over, so the environment has to be reset, and if
        `full` the agent has to adapt; besides the two kinds of end, the horizon of training and the end of a round
        make an episode end."""
        return bool(self._observe(reward, terminated, truncated, next_observation, success))

    def adapt(self) -> None:
        """Adapt on the round, whose steps must be used up, and begin the next one."""
        counts, plan = self._counts, self._plan
        if not self.full:
            lived = counts.stream * plan.steps + counts.step
            raise UserError(
                f"the round has {lived} of its {plan.streams * plan.steps} steps, and the agent adapts on a whole one; "
                "agent(…, streams=…, episodes=…) makes rounds shorter"
            )
        self._adapted = self._adapt(self._params, self._adapted, self._rollout(), self._adapt_key)
        self._begin_round(counts._replace(rounds=counts.rounds + 1, stream=0))

    def interrupt(self) -> None:
        """The episode cannot go on: what was seen of it counts, as if it had been truncated."""
        counts = self._counts
        self._decided = None
        if counts.elapsed:
            stream, step = divmod(counts.stream * self._plan.steps + counts.step - 1, self._plan.steps)
            if stream >= 0:  # otherwise that was in another round
                self._seen.truncated[stream, step] = True
            self._counts = self._next_stream(counts._replace(elapsed=0))

    def compile(self) -> None:
        """Compile now what `act` and `adapt` would compile when they are first called."""
        timestep = jax.tree.map(lambda x: x[0, 0], self._seen.timestep)
        self._act(self._params, self._adapted, self._memories[0], timestep, self._act_keys[0, 0])
        self._adapt(self._params, self._adapted, self._rollout(), self._adapt_key)

    def predict(
        self,
        observation: Any,
        state: FrozenState | None = None,
        episode_start: Any = None,
        deterministic: bool = False,
        *,
        reward: Any = None,
        allowed: Any = None,
    ) -> tuple[Any, FrozenState]:
        """Act as the agent does now, without adapting: see `live.frozen.Frozen.predict`."""
        return self._frozen.predict(self._adapted, observation, state, episode_start, deterministic, reward, allowed)

    def as_it_stands(self) -> FrozenState:
        """The state from which `predict` goes on where the first stream's last step left off."""
        counts, plan = self._counts, self._plan
        seen = counts.rounds * plan.steps + (plan.steps if counts.stream else counts.step)
        return FrozenState(stacked(self._memories[:1]), self._actions[:1].copy(), seen)

    def twin(self, seed: int) -> Self:
        """Another agent, at the beginning of a life that is drawn from `seed`. What was compiled is shared."""
        twin = copy(self)
        twin.protocol, twin._frozen = replace(self.protocol, seed=seed), self._frozen.twin(_frozen_key(seed))
        twin._begin_life(Counts())
        return twin

    # --- files ---

    def save(self, path: str | Path) -> None:
        """Write all that the agent is now to a safetensors file, from which it goes on as if it had never stopped. An
        episode that is under way will count as truncated."""
        details = {**self._identity, "rounds": self.rounds, **_shape(self.protocol)}
        checkpoint.write_file(Path(path), self._standing(), iteration=self.rounds, details=details, what=FILE)

    def restore(self, path: str | Path) -> Self:
        """Become what `save` wrote. Raises a `UserError` if it was another run's agent, or lived in other rounds."""
        details = saved_details(path)
        for name, value in {**self._identity, **_shape(self.protocol)}.items():
            if details.get(name) != value:
                raise UserError(f"{path} was saved by an agent with {name} {details.get(name)!r}, not {value!r}")
        standing = checkpoint.read_file(Path(path), self._standing(), FILE)
        counts = Counts(*map(int, standing.counts))
        self._begin_life(counts)
        self._adapted, self._actions, self._rewards = standing.adapted, standing.action, standing.reward
        self._memories = apart(standing.memory, self._plan.streams)
        self._begin_round(counts)
        self._begun, self._seen = standing.begun, standing.seen
        self.interrupt()
        return self

    # --- inside ---

    def _begin_life(self, counts: Counts) -> None:
        key = life_key(self.protocol.seed)
        birth_key, self._rounds_key = life_keys(jax.random.fold_in(key, counts.life) if counts.life else key)
        birth = judged_birth(self._plan.lifetime)
        self._adapted = jax.jit(self._agent.begin)(self._params, birth_keys(birth_key, 1).begin[0], birth)
        streams, nothing = self._plan.streams, np.asarray(zero_action(self.spec.action_space))
        self._memories = [jax.jit(self._agent.start)(self._params)] * streams
        self._actions, self._rewards = np.stack([nothing] * streams), np.zeros((streams,), np.float32)
        self._begin_round(counts)

    def _begin_round(self, counts: Counts) -> None:
        self._counts, self._decided = counts, None
        self._begun = stacked(self._memories)
        later, number = divmod(counts.rounds, self._plan.lifetime)  # a life may outlast that of the protocol
        key = jax.random.fold_in(self._rounds_key, later) if later else self._rounds_key
        act_keys, self._adapt_key = keys_of_round(self._plan, jax.random.split(key, self._plan.lifetime)[number])
        self._act_keys = np.asarray(act_keys)
        if self._decision is None:
            timestep = self._timestep(0, zeros(self.spec.observation_space))
            given = (self._params, self._adapted, self._memories[0], timestep, self._act_keys[0, 0])
            self._decision, _ = jax.eval_shape(self._act, *given)
        self._seen = nothing_seen(self.spec, self._plan, self._decision)

    def _timestep(self, stream: int, observation: Any, allowed: Any = None) -> Timestep:
        first: Any = np.bool_(self._counts.elapsed == 0)
        return Timestep(observation, self._actions[stream], self._rewards[stream], first, mask_of(self.spec, allowed))

    def _observe(self, reward: float, terminated: bool, truncated: bool, next_observation: Any, success: bool) -> str:
        """How the episode ended, as in `Episode.end`; empty while it goes on."""
        if self._decided is None:
            raise UserError("observe was called without an act before it")
        following = perceived(self.spec.observation_space, next_observation, self._sides.observation)
        pay = np.float32(reward)
        if not np.isfinite(pay):
            raise UserError(f"the reward is {reward}; it must be finite")
        counts, (timestep, decision, memory) = self._counts, self._decided
        b, t, elapsed = counts.stream, counts.step, counts.elapsed + 1
        terminated = bool(terminated)
        truncated = not terminated and (bool(truncated) or elapsed >= self.spec.horizon)
        write(self._seen, b, t, timestep, decision, pay, terminated, truncated, bool(success), following)
        self._memories[b], self._actions[b], self._rewards[b], self._decided = memory, decision.action, pay, None
        last = t + 1 == self._plan.steps
        cut = last and self._plan.restart
        elapsed = 0 if terminated or truncated or cut else elapsed
        counts = counts._replace(stream=b + last, step=0 if last else t + 1, elapsed=elapsed)
        self._counts = counts if last else self._next_stream(counts)
        return "terminated" if terminated else "truncated" if truncated else "cut" if cut else ""

    def _next_stream(self, counts: Counts) -> Counts:
        """`counts`, or those of the next stream if this one has had all episodes of a trial."""
        over = self._by_episodes and ended(self._seen, counts.stream) >= self.protocol.episodes
        return counts._replace(stream=counts.stream + 1, step=0) if over else counts

    def _rollout(self) -> Rollout:
        return rollout_of(self._seen, self._actions.copy(), self._rewards.copy(), self._begun)

    def _standing(self) -> Standing:
        return Standing(
            self._counts, self._adapted, self._begun, stacked(self._memories), self._actions, self._rewards, self._seen
        )

    def _next_seed(self) -> int:
        """For the environment's next episode: fixed by the seed, so that an agent from a file meets the same ones."""
        self._counts = self._counts._replace(episodes=self._counts.episodes + 1)
        place = [self.protocol.seed, self._counts.life, self._counts.episodes]
        return int(np.random.SeedSequence(place).generate_state(1)[0])


def saved_details(path: str | Path) -> dict[str, Any]:
    """What a file of `LiveAgent.save` says of the agent, without its arrays."""
    return checkpoint.read_details(Path(path), FILE)


def _frozen_key(seed: int) -> Key:
    return jax.random.fold_in(life_key(seed), 2**32 - 1)


def _shape(protocol: Protocol) -> dict[str, int | None]:
    return {name: getattr(protocol, name) for name in ("streams", "episodes", "steps", "seed")}
