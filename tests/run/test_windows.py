"""Lives that are longer than what is kept, and lives that stop being made of numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.live.agent import LiveAgent
from adaptax.run.evaluate import Evaluation, Protocol, evaluate, protocol_of
from adaptax.run.iterate import begin, many, meta_iteration
from adaptax.run.source import check_plan, living
from adaptax.run.train import root_keys
from adaptax.tasks import TaskDistribution
from adaptax.types import Benchmark, Decision, Outcome, Plan, Spec, UserError

HORIZON = 50
STEPS = 20  # the agent updates itself every so many steps: not a divisor of the horizon


class Lever(NamedTuple):
    """Which of two levers pays, and how much."""

    right: Any
    pays: Any


class Levers:
    """Episodes of 50 pulls of one of two levers."""

    spec = Spec(gymnasium.spaces.Discrete(1), gymnasium.spaces.Discrete(2), HORIZON)

    def reset(self, task: Lever, key: Any) -> Any:
        return jnp.int32(0), jnp.int32(0)

    def step(self, task: Lever, state: Any, action: Any, key: Any) -> Any:
        return state + 1, Outcome(jnp.int32(0), task.pays * (action == task.right))


def lever(key: Any) -> Lever:
    return Lever(jax.random.randint(key, (), 0, 2), jnp.float32(1.0))


LEVERS = Benchmark(Levers(), TaskDistribution(lever), TaskDistribution(lever), TaskDistribution(lever))


class State(NamedTuple):
    params: Any
    iteration: Any


class Learnt(NamedTuple):
    logit: Any
    rounds: Any


class Extras(NamedTuple):
    log_probability: Any


@dataclass(frozen=True)
class Updates:
    """A learner that takes a policy-gradient step every 20 steps of its life; the meta-parameter is the step size."""

    lifetime: int = 150
    """Rounds: 3 000 steps."""
    poison: int = 10**9
    """The round at the end of which a life of odd key is no longer made of numbers."""

    @property
    def plan(self) -> Plan:
        return Plan(8, 5, 2, STEPS, lifetime=self.lifetime, restart=False)

    def begin(self, params: Any, key: Any, birth: Any) -> Learnt:
        ill = jax.random.bits(key) % 2 == 1
        return Learnt(jnp.float32(0), jnp.where(ill, 0, -(10**8)).astype(jnp.int32))

    def start(self, params: Any) -> Any:
        return ()

    def act(self, params: Any, adapted: Learnt, memory: Any, timestep: Any, key: Any) -> Any:
        logits = jnp.stack([jnp.zeros(()), adapted.logit])
        action = jax.random.categorical(key, logits)
        return Decision(action, Extras(jax.nn.log_softmax(logits)[action])), memory

    def adapt(self, params: Any, adapted: Learnt, rollout: Any, key: Any) -> Learnt:
        chosen = rollout.decision.action - jax.nn.sigmoid(adapted.logit)
        logit = adapted.logit + params * jnp.mean(rollout.reward * chosen)
        rounds = adapted.rounds + 1
        return Learnt(jnp.where(rounds == self.poison, jnp.nan, logit), rounds)

    def init(self, key: Any) -> State:
        return State(jnp.float32(5.0), jnp.int32(0))

    def update(self, state: State, trials: Any, key: Any) -> Any:
        """Params take up what was seen, so that a NaN would be seen in them."""
        seen = jnp.mean(trials.rollouts.reward) + jnp.mean(trials.start.logit)
        return State(state.params + 0 * seen, state.iteration + 1), {"seen": seen}


def evaluated(agent: Any, protocol: Protocol) -> Evaluation:
    return evaluate(agent, LEVERS, LEVERS.test, jnp.float32(5.0), protocol)


def test_an_agent_is_evaluated_as_it_was_trained() -> None:
    """It updates itself every 20 steps, in the middle of episodes, and lives for 3 000 steps: 60 episodes."""
    agent = Updates()
    protocol = protocol_of(agent.plan, LEVERS, tasks=40)
    assert (protocol.rounds, protocol.streams, protocol.steps, protocol.episodes) == (150, 2, 20, 60)
    found = evaluated(agent, protocol)
    assert found.returns.shape == (40, 1, 2, 60) and found.observations is None and not found.diverged.any()
    means = found.returns.mean(axis=(0, 1, 2))
    assert 25 < means[0] < 40 and means[-1] > 48  # it knows more within the first episode, and nearly all in the last
    assert found.entropy[..., 0].mean() > found.entropy[..., -1].mean() > 0
    # An agent that is updated once an episode only learns later.
    slower = evaluated(replace(agent, lifetime=60), Protocol(40, rounds=60, streams=2, episodes=1))
    assert slower.returns[:, 0].mean() < means[0] - 3


def test_no_result_depends_on_the_window() -> None:
    agent = Updates(lifetime=30)
    protocol = protocol_of(agent.plan, LEVERS, tasks=6)
    whole, pieces = (evaluated(agent, replace(protocol, window=window)) for window in (30, 2))
    for name in ("returns", "success", "final_success"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))
    np.testing.assert_allclose(whole.entropy, pieces.entropy, rtol=1e-5)  # the terms are added in another order


def test_memory_does_not_grow_with_the_life() -> None:
    """What the compiled evaluation holds besides its result is that of one window."""
    from adaptax.run.evaluate import _chunk

    def kept(lifetime: int) -> int:
        agent = Updates(lifetime=lifetime)
        protocol = protocol_of(agent.plan, LEVERS, tasks=4)
        _, tasks = LEVERS.test.enumerate(jax.random.key(0), 4)
        run = jax.jit(lambda tasks, key: _chunk(agent, LEVERS, protocol, 4, 1, jnp.float32(5.0), tasks, key))
        return run.lower(tasks, jax.random.key(0)).compile().memory_analysis().temp_size_in_bytes  # type: ignore[union-attr]

    more = 27_000 * 2 * 4  # steps: of ten times the life, in 2 streams on 4 tasks
    assert (
        kept(1500) < kept(150) + more
    )  # a step that was kept would take 40 bytes; the result itself takes half of one


def test_the_live_agent_lives_the_same_life() -> None:
    class Real:
        """Gymnasium's interface on the first task that is judged."""

        action_space = Levers.spec.action_space
        observation_space = Levers.spec.observation_space

        def __init__(self, task: Lever) -> None:
            self.task, self.steps = task, 0

        def reset(self, **_: Any) -> Any:
            self.steps = 0
            return 0, {}

        def step(self, action: Any) -> Any:
            self.steps += 1
            paid = float(self.task.pays * (action == self.task.right))
            return 0, paid, False, self.steps >= HORIZON, {}

    agent = Updates(lifetime=30)
    protocol = replace(protocol_of(agent.plan, LEVERS, tasks=1), streams=1)
    found = evaluated(agent, protocol)
    real = Real(jax.tree.map(lambda x: x[0], found.tasks))
    live = LiveAgent(agent, jnp.float32(5.0), LEVERS.spec, protocol, real)
    episodes = [live.episode() for _ in range(12)]
    assert [episode.steps for episode in episodes] == [HORIZON] * 12 and live.rounds == 30
    np.testing.assert_array_equal([episode.total for episode in episodes], found.returns[0, 0, 0])


def test_a_life_that_diverges_is_renewed_in_training() -> None:
    """The others go on, `update` sees no NaN, and the metrics say how many there were."""
    agent = Updates(lifetime=20, poison=7)
    source, root = living(agent, LEVERS), root_keys(0, 1)
    progress = jax.jit(lambda root: begin(agent, source, root))(root)
    progress, metrics = jax.jit(many(meta_iteration(agent, source), 40))(progress, root, np.int32(40))
    counts = np.asarray(metrics["diverged"])
    assert set(counts) <= set(range(9)) and counts.sum() > 5
    assert np.isfinite(metrics["seen"]).all() and np.isfinite(metrics["return"]).all()
    ages = np.asarray(progress.carried.age)
    ill = np.asarray(progress.carried.adapted.rounds) > -(10**7)
    assert (ages[~ill] <= 20).all() and ill.any() and not ill.all()
    # Without poison nothing is renewed early, and the same lives are lived until the first one diverges.
    healthy = replace(agent, poison=10**9)
    other = jax.jit(lambda root: begin(healthy, source, root))(root)
    sound = living(healthy, LEVERS)
    _, quiet = jax.jit(many(meta_iteration(healthy, sound), 40))(other, root, np.int32(40))
    assert not np.asarray(quiet["diverged"]).any()
    before = int(np.argmax(counts > 0))
    np.testing.assert_array_equal(metrics["return"][:before], quiet["return"][:before])


def test_where_all_lives_diverge_training_finds_it() -> None:
    from adaptax.run.source import _replaced

    class Few(NamedTuple):
        x: Any

    trials: Any = Few(jnp.asarray([1.0, jnp.nan, jnp.nan, 4.0]))
    np.testing.assert_array_equal(_replaced(trials, jnp.isnan(trials.x)).x, [1, 4, 4, 4])
    lost: Any = Few(jnp.full((3,), jnp.nan))
    assert np.isnan(_replaced(lost, jnp.isnan(lost.x)).x).all()


@pytest.mark.parametrize("whole", [False, True], ids=["windows", "whole episodes"])
def test_a_life_that_diverges_counts_as_random_play_from_there_on(whole: bool) -> None:
    agent = Updates(lifetime=20, poison=5)
    protocol = Protocol(30, rounds=20) if whole else protocol_of(agent.plan, LEVERS, tasks=30)
    found, sound = evaluated(agent, protocol), evaluated(replace(agent, poison=10**9), protocol)
    ill = found.diverged.any(axis=(1, 2, 3))
    assert 5 < ill.sum() < 25
    # Five rounds are sound: as many episodes, or two whole ones of the windows' 20 steps a round.
    first = 5 if whole else 2
    flat = found.diverged.reshape(30, -1) if whole else found.diverged[:, 0, 0]
    np.testing.assert_array_equal(flat[ill], np.broadcast_to(np.arange(flat.shape[1]) >= first, flat[ill].shape))
    np.testing.assert_array_equal(found.returns[~found.diverged], sound.returns[~found.diverged])
    assert np.isfinite(found.returns).all()
    np.testing.assert_allclose(found.returns[found.diverged].mean(), HORIZON / 2, atol=1.5)  # random play


def test_lives_of_differing_length_are_drawn_at_birth() -> None:
    @dataclass(frozen=True)
    class Short(Updates):
        @property
        def plan(self) -> Plan:
            return Plan(64, 5, 1, STEPS, lifetime=20, restart=False, shortest=10)

    agent = Short()
    source, root = living(agent, LEVERS), root_keys(0, 1)
    progress = jax.jit(lambda root: begin(agent, source, root))(root)
    iterate = jax.jit(meta_iteration(agent, source))
    lengths, ages = [], []
    for _ in range(12):
        progress, _ = iterate(progress, root)
        lengths.append(np.asarray(progress.carried.birth.rounds))
        ages.append(np.asarray(progress.carried.age))
        assert (ages[-1] <= lengths[-1]).all() and (ages[-1] > 0).all()
    assert set(np.concatenate(lengths)) == {10, 15, 20}
    for before, after, old, new in zip(ages, ages[1:], lengths, lengths[1:], strict=False):
        np.testing.assert_array_equal(after, np.where(before >= old, 5, before + 5))
        np.testing.assert_array_equal(new[before < old], old[before < old])


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Plan(2, 1, 1, 20, lifetime=0), "the plan's lifetime is 0; it must satisfy 1 ≤"),
        (Plan(2, 2, 1, 20, lifetime=3), "a lifetime of 3 rounds is not a multiple of the 2 of an iteration"),
        (Plan(2, 2, 1, 20, lifetime=4, shortest=3), "a shortest lifetime of 3 rounds is not a multiple of the 2"),
        (Plan(2, 2, 1, 20, lifetime=4, shortest=6), "the shortest lifetime is 6 rounds, but the longest is 4"),
        (Plan(2, 1, 1, 20, lifetime=4, context=79), "a life has 80 steps, but the agent's memory holds 79"),
        (Plan(2, 1, 1, 20, lifetime=2, restart=False), "a life has 40 steps, in which an episode of 50 need not end"),
    ],
)
def test_lives_that_cannot_be_lived_are_refused(plan: Plan, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_plan(plan, HORIZON)


def test_more_episodes_than_a_life_has_are_refused() -> None:
    with pytest.raises(UserError, match=r"a life of 10 rounds has 200 steps, in which 5 episodes of 50 need not end"):
        evaluated(Updates(), Protocol(4, rounds=10, steps=20, episodes=5))


def test_trials_of_another_shape_are_refused() -> None:
    agent = Updates()
    other = living(agent, LEVERS)._replace(plan=agent.plan._replace(streams=3))
    progress = jax.eval_shape(lambda root: begin(agent, other, root), root_keys(0, 1))
    with pytest.raises(UserError, match=r"trials of \[8, 5, 3, 20\] .*; the algorithm's plan says \[8, 5, 2, 20\]"):
        jax.eval_shape(meta_iteration(agent, other), progress, root_keys(0, 1))
