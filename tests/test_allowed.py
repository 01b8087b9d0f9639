"""Discrete actions that cannot always be chosen: no agent ever chooses one, and learns from what it could choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from records import RECORDS
from test_contract import SHRUNK

from adaptax import Benchmark, Outcome, Spec, TaskSet, UserError
from adaptax.live.agent import LiveAgent
from adaptax.names import registry
from adaptax.ops.distributions import FORBIDDEN, Categorical
from adaptax.run.collect import collect, streams_of
from adaptax.run.deterministic import Deterministic
from adaptax.run.evaluate import Protocol, evaluate
from adaptax.strategies.random_actions import RandomActions

ACTIONS, PENALTY = 4, -100.0


class Wheel(NamedTuple):
    best: Any


@dataclass(frozen=True)
class Turning:
    """A wheel of four places, each of which allows two neighbouring actions or one; an action turns it. The best action
    of the task pays 1, one that is not allowed −100."""

    spec = Spec(
        gymnasium.spaces.Box(0.0, 3.0, (1,), np.float32), gymnasium.spaces.Discrete(ACTIONS), horizon=3, episodes=2
    )

    def reset(self, task: Wheel, key: Any) -> Any:
        place = jax.random.randint(key, (), 0, ACTIONS)
        return place, place[None].astype(jnp.float32)

    def step(self, task: Wheel, state: Any, action: Any, key: Any) -> Any:
        pay = jnp.where(may(task, state)[action], jnp.float32(action == task.best), PENALTY)
        place = (state + action + 1) % ACTIONS
        return place, Outcome(place[None].astype(jnp.float32), pay)


class Masked(Turning):
    def allowed(self, task: Wheel, state: Any) -> Any:
        return may(task, state)


class Free(Turning):
    """Says that everything is allowed."""

    def allowed(self, task: Wheel, state: Any) -> Any:
        return jnp.ones((ACTIONS,), bool)


def may(task: Wheel, state: Any) -> Any:
    turned = (jnp.arange(ACTIONS) - state) % ACTIONS
    return (turned == 0) | ((turned == 1) & (task.best > 1))


def benchmark(environment: Any) -> Benchmark:
    tasks = TaskSet(Wheel(jnp.arange(ACTIONS)))
    return Benchmark(environment, tasks, tasks, tasks)


def make(name: str, on: Benchmark) -> Any:
    known = registry.algorithm_entry(name).load().__dataclass_fields__
    wanted = {**SHRUNK, **RECORDS[name].shrunk, "hidden": (8,)}
    if not isinstance(known["hidden"].default, tuple):
        wanted["hidden"] = 8
    wanted = {k: v for k, v in wanted.items() if k in known}
    if "capacity" in wanted:
        wanted["capacity"] = 100
    return registry.make_algorithm(name, None, on.spec, wanted)


DISCRETE = [name for name, record in RECORDS.items() if record.trained is not None]
QUICK = ("rl2", "maml", "varibad", "multitask-ppo", "multitask-dqn", "rl2-dqn")
EVERY = [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in DISCRETE]


def lived(algorithm: Any, on: Benchmark, *judged: Any) -> tuple[Any, Any, list[Any]]:
    """The first meta-iteration's trials, the state after it, and the trials in which agents are evaluated then."""
    streams, plan = streams_of(on.environment), algorithm.plan

    @jax.jit
    def run(key: Any) -> Any:
        state = algorithm.init(key)
        trials, _, _ = collect(algorithm, streams, on.train, plan, state.params, None, jax.random.key(1))
        state, _ = algorithm.update(state, trials, jax.random.key(2))
        later = jax.random.key(3)
        found = [collect(a, streams, on.test, plan, state.params, None, later, judged=True)[0] for a in judged]
        return trials, state, found

    return run(jax.random.key(0))


def assert_allowed(trials: Any) -> None:
    rollouts = trials.rollouts
    mask, action = np.asarray(rollouts.timestep.allowed), np.asarray(rollouts.decision.action)
    assert mask.shape == (*action.shape, ACTIONS) and set(np.unique(mask.sum(-1))) == {1, 2}
    assert np.take_along_axis(mask, action[..., None], -1).all()
    assert np.asarray(rollouts.reward).min() == 0


@pytest.mark.parametrize("name", EVERY)
def test_no_algorithm_ever_takes_what_is_not_allowed(name: str) -> None:
    on = benchmark(Masked())
    algorithm = make(name, on)
    trials, state, judged = lived(algorithm, on, algorithm, Deterministic(algorithm))
    for some in (trials, *judged):
        assert_allowed(some)
    finite = [np.isfinite(x).all() for x in jax.tree.leaves(state.params) if x.dtype == np.float32]
    assert all(finite)
    extras, mask = trials.rollouts.decision.extras, np.asarray(trials.rollouts.timestep.allowed)
    if hasattr(extras, "distribution"):
        logits = np.asarray(extras.distribution.logits)
        assert ((logits == np.float32(FORBIDDEN)) == ~mask).all()
        due = Categorical(extras.distribution.logits).log_probability(trials.rollouts.decision.action)
        np.testing.assert_allclose(extras.log_probability, due, atol=1e-6)
    elif hasattr(extras, "log_probability"):  # at first about as likely as one another
        np.testing.assert_allclose(np.exp(extras.log_probability), 1 / mask.sum(-1), atol=0.1)
        assert (np.asarray(extras.log_probability)[mask.sum(-1) == 1] == 0).all()


@pytest.mark.slow
def test_gmps_imitates_what_is_allowed() -> None:
    """Its ring keeps the masks of states, so that an expert shows what it may do there."""
    on = benchmark(Masked())
    algorithm = make("gmps", on)
    trials, state, _ = lived(algorithm, on)
    assert bool(state.params.imitating)
    state, metrics = jax.jit(algorithm.update)(state, trials, jax.random.key(4))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state.params, metrics)))
    index = trials.birth.index[0]
    shown = jax.jit(algorithm.demonstrate)(state.params.experts, state.states, index, jax.random.key(5))
    turned = (np.arange(ACTIONS) - np.asarray(shown.observation)) % ACTIONS
    np.testing.assert_array_equal(shown.allowed, (turned == 0) | ((turned == 1) & (np.asarray(index) > 1)))
    assert np.take_along_axis(np.asarray(shown.allowed), np.asarray(shown.action)[:, None], -1).all()


def test_random_play_takes_what_is_allowed() -> None:
    on = benchmark(Masked())
    found = evaluate(RandomActions(on.spec), on, on.test, (), Protocol(tasks=4, streams=20, episodes=2))
    assert found.returns.min() == 0 and 0 < found.returns.mean() < 3


def test_masks_tell_of_the_state_before_and_after_a_reset() -> None:
    """At an episode's end the true successor's mask is not that of what follows."""
    on = benchmark(Masked())
    plan = Protocol(tasks=4, streams=8, episodes=2).plan(3)
    agent, streams = RandomActions(on.spec), streams_of(on.environment)
    trials, _, tasks = jax.jit(lambda key: collect(agent, streams, on.test, plan, (), None, key))(jax.random.key(0))
    rollouts = jax.tree.map(lambda x: np.asarray(x)[:, 0], trials.rollouts)
    best = np.asarray(tasks.best)[:, None, None]

    def due(observation: Any) -> Any:
        turned = (np.arange(ACTIONS) - observation) % ACTIONS
        return (turned == 0) | ((turned == 1) & (best[..., None] > 1))

    np.testing.assert_array_equal(rollouts.timestep.allowed, due(rollouts.timestep.observation))
    np.testing.assert_array_equal(rollouts.next_allowed, due(rollouts.next_observation))
    np.testing.assert_array_equal(rollouts.last.allowed[:, :, None], due(rollouts.last.observation[:, :, None]))
    ended = rollouts.truncated[:, :, :-1]
    same = (rollouts.next_allowed[:, :, :-1] == rollouts.timestep.allowed[:, :, 1:]).all(-1)
    assert ended.any() and same[~ended].all() and not same[ended].all()


@pytest.mark.parametrize("name", ["rl2", "maml"])
def test_where_all_is_allowed_nothing_changes(name: str) -> None:
    with_mask, without = (lived(make(name, on), on)[1] for on in map(benchmark, (Free(), Turning())))
    jax.tree.map(np.testing.assert_array_equal, with_mask, without)


def test_without_a_mask_there_is_no_array() -> None:
    on = benchmark(Turning())
    algorithm = make("multitask-dqn", on)
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    assert not on.spec.masked and state.ring.items.next_allowed is None
    trials, _, _ = jax.eval_shape(
        lambda key: collect(RandomActions(on.spec), streams_of(on.environment), on.test, algorithm.plan, (), None, key),
        jax.random.key(0),
    )
    rollouts = trials.rollouts
    assert rollouts.timestep.allowed is rollouts.last.allowed is rollouts.next_allowed is None


# --- one real environment ---


def live(name: str, environment: Any) -> LiveAgent:
    on = benchmark(environment)
    agent = make(name, on)
    return LiveAgent(agent, agent.init(jax.random.key(0)).params, on.spec, Protocol(1, 1, 1, 2, seed=3))


@pytest.mark.parametrize("name", ["rl2", "multitask-dqn"])
def test_a_live_agent_is_told_what_is_allowed(name: str) -> None:
    agent, rng = live(name, Masked()), np.random.default_rng(0)
    masks = []
    for step in range(6):
        mask = np.zeros(ACTIONS, bool)
        mask[rng.choice(ACTIONS, 2, replace=False)] = True
        masks.append(mask)
        assert mask[agent.act(np.zeros(1, np.float32), mask)]
        agent.observe(0.0, False, False, np.zeros(1, np.float32))
        assert step % 3 == 2 or not agent.full
    rollout = agent._rollout()
    np.testing.assert_array_equal(rollout.timestep.allowed[0], masks)
    due = [*masks[1:3], np.ones(ACTIONS), *masks[4:6], np.ones(ACTIONS)]  # nobody told what follows an end
    np.testing.assert_array_equal(rollout.next_allowed[0], due)
    agent.adapt()
    assert agent.rounds == 1
    agent.act(np.zeros(1, np.float32))  # all are allowed
    assert agent._decided[0].allowed.all()


def test_predict_is_told_what_is_allowed() -> None:
    agent = live("rl2", Masked())
    observations, only = np.zeros((3, 1), np.float32), np.eye(ACTIONS, dtype=bool)[[2, 0, 3]]
    for certain in (False, True):
        found, _ = agent.predict(observations, deterministic=certain, allowed=only)
        np.testing.assert_array_equal(found, [2, 0, 3])
        assert agent.predict(observations[0], deterministic=certain, allowed=only[2])[0] == 3
    with pytest.raises(UserError, match=r"allowed has the shape \[4\]; it must be \[3, 4\]"):
        agent.predict(observations, allowed=only[0])
    with pytest.raises(UserError, match=r"allowed has the shape \[3\]; it must be \[4\]"):
        agent.act(observations[0], [True, True, False])
    with pytest.raises(UserError, match="trained where all were"):
        live("rl2", Turning()).act(observations[0], only[0])


# --- what is refused ---


def test_an_algorithm_that_was_not_made_for_masks_refuses_to_keep_them() -> None:
    on = benchmark(Masked())
    unaware = make("rl2-dqn", benchmark(Turning()))
    with pytest.raises(UserError, match="make it for the benchmark"):
        lived(unaware, on)


class Wrong(Masked):
    def allowed(self, task: Wheel, state: Any) -> Any:
        return jnp.ones((3,), bool)


class Continuous(Masked):
    spec = Turning.spec._replace(action_space=gymnasium.spaces.Box(-1, 1, (1,), np.float32))


@pytest.mark.parametrize(
    ("environment", "said"),
    [(Wrong(), r"returns bool \[3\], and its 4 actions need bool \[4\]"), (Continuous(), "for Discrete actions")],
)
def test_masks_that_do_not_fit_the_actions(environment: Any, said: str) -> None:
    on = benchmark(environment)
    with pytest.raises(UserError, match=said):
        evaluate(RandomActions(on.spec), on, on.test, (), Protocol(tasks=2))
