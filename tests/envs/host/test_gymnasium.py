"""The Gymnasium wrapper adds nothing to an environment and takes nothing away, and says early what it cannot use."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from envs.host.faulty import FAULTS, Faulty
from gymnasium import spaces

import adaptax
from adaptax import TaskDistribution, TaskSet, UserError
from adaptax.envs.host import classic
from adaptax.spaces import COMBINATIONS, action_side, observation_side


class Gain(NamedTuple):
    gain: Any
    steps: Any


class Asked(gymnasium.Env):
    """Observes the task that `reset` was given, ends by itself after `steps`, and succeeds with action 1."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.MultiDiscrete([2, 3], start=[0, 5])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.given = options or {}
        self.count = 0
        return np.asarray([self.given.get("gain", 0.0), self.np_random.random()]), {}

    def step(self, action: np.ndarray) -> Any:
        self.count += 1
        over = self.count >= self.given.get("steps", 1)
        observation = np.asarray(action, np.float64)
        return observation, 1.5, over, False, {"is_success": bool(action[0])}


def tasks(*gains: float) -> list[dict[str, Any]]:
    return [{"gain": gain, "steps": 2} for gain in gains]


def asked(**settings: Any) -> adaptax.Benchmark:
    lists = {"train": tasks(0.5, 1.5), "validation": tasks(2.5), "test": tasks(-0.1)}
    return adaptax.from_gymnasium(Asked, **{**lists, "options": True, "horizon": 5, "name": "asked", **settings})


def play(on: adaptax.Benchmark, given: Any, actions: np.ndarray, key: Any) -> list[Any]:
    """First observations, and what each of the steps [T, N, B] returned, without resets."""
    streams = on.environment

    @jax.jit
    def run(actions: Any) -> Any:
        state, first = streams.first_streams(given, jax.random.split(key, actions.shape[1:3]))

        def step(state: Any, action: Any) -> Any:
            return streams.step_streams(given, state, action, jax.random.split(key, actions.shape[1:3]))

        return first, jax.lax.scan(step, state, actions)[1]

    result = jax.device_get(run(jnp.asarray(actions)))
    if failure := streams.failure():
        raise failure
    return list(result)


@pytest.mark.parametrize(
    ("name", "id", "apply"),
    [("cart-pole", "CartPole-v1", classic.set_cart_pole), ("pendulum", "Pendulum-v1", classic.set_pendulum)],
)
def test_episodes_are_those_of_the_bare_environment(name: str, id: str, apply: Any) -> None:
    """Bit for bit, with the same seeds and actions, each stream on its own task; tasks differ."""
    on, key = adaptax.benchmark(name), jax.random.key(7)
    _, given = on.train.sample(jax.random.key(1), 3)
    space, shape = on.spec.action_space, (6, 3, 2)
    actions = np.random.default_rng(0).uniform(-3, 3, (*shape, 1)).astype(np.float32)
    if isinstance(space, spaces.Discrete):
        actions = (actions[..., 0] > 0).astype(np.int32)
    first, outcome = play(on, given, actions, key)
    seeds = np.asarray(jax.vmap(jax.vmap(jax.random.bits))(jax.random.split(key, (3, 2)))) >> 1
    for n, b in np.ndindex(3, 2):
        bare = gymnasium.make(id)
        apply(bare, jax.tree.map(lambda x, n=n: float(x[n]), given))
        observation, _ = bare.reset(seed=int(seeds[n, b]))
        np.testing.assert_array_equal(first[n, b], observation)
        for t in range(6):
            action = actions[t, n, b]
            legal = int(action) if isinstance(space, spaces.Discrete) else np.clip(action, space.low, space.high)
            observation, reward, terminated, truncated, _ = bare.step(legal)
            np.testing.assert_array_equal(outcome.observation[t, n, b], observation)
            assert outcome.reward[t, n, b] == np.float32(reward)
            assert (outcome.terminated[t, n, b], outcome.truncated[t, n, b]) == (terminated, truncated)
    assert len(np.unique(outcome.observation[-1, :, 0, -1])) == 3


def test_a_time_limit_of_the_environment_truncates() -> None:
    on = adaptax.from_gymnasium(
        lambda: gymnasium.wrappers.TimeLimit(Faulty({}), 3),
        sample=lambda generator: {"rate": generator.uniform(1, 2)},
        attributes=True,
        horizon=10,
    )
    _, given = on.test.sample(jax.random.key(0), 2)
    _, outcome = play(on, given, np.zeros((3, 2, 1), np.int32), jax.random.key(0))
    np.testing.assert_array_equal(outcome.truncated[:, :, 0], [[False] * 2] * 2 + [[True] * 2])
    assert not outcome.terminated.any() and not outcome.success.any()


def test_options_several_choices_and_success() -> None:
    """A dictionary of numbers comes back as one; the combinations of [2, 3] are counted row by row."""
    on = asked()
    assert on.spec.action_space == spaces.Discrete(6) and on.spec.training_tasks == 2
    assert on.spec.observation_space == spaces.Box(-np.inf, np.inf, (2,), np.float32)
    _, given = on.train.enumerate(jax.random.key(0), 2)
    actions = np.asarray([[[4], [2]], [[0], [5]]], np.int32)
    first, outcome = play(on, given, actions, jax.random.key(3))
    np.testing.assert_array_equal(first[:, 0, 0], [0.5, 1.5])
    np.testing.assert_array_equal(outcome.observation[:, :, 0], [[[1, 6], [0, 7]], [[0, 5], [1, 7]]])
    np.testing.assert_array_equal(outcome.terminated[:, :, 0], [[False, False], [True, True]])
    np.testing.assert_array_equal(outcome.success[:, :, 0], [[True, False], [False, True]])
    np.testing.assert_array_equal(outcome.reward, np.full((2, 2, 1), 1.5))


def test_tasks_come_back_in_the_form_they_had() -> None:
    seen: list[Any] = []

    def look(environment: gymnasium.Env, task: Any) -> None:
        seen.append(task)

    def sample(generator: np.random.Generator) -> Any:
        return {"gain": generator.normal(), "steps": int(generator.integers(1, 4)), "goal": generator.normal(size=2)}

    on = asked(train=None, validation=None, test=None, sample=sample, options=False, set_task=look)
    seen.clear()
    for count in (2, 3):
        _, given = on.train.sample(jax.random.key(0), count)
        play(on, given, np.zeros((1, count, 1), np.int32), jax.random.key(0))
    for task in seen:
        assert type(task) is dict and list(task) == ["gain", "steps", "goal"]
        assert type(task["gain"]) is float and type(task["steps"]) is int and task["goal"].dtype == np.float64
    assert [task["gain"] for task in seen[:2]] == [task["gain"] for task in seen[2:4]]  # the same key, the same tasks
    drawn = [split.sample(jax.random.key(0), 2)[1].gain for split in (on.train, on.validation, on.test)]
    assert len(np.unique(drawn)) == 6  # and other ones in every split

    seen.clear()
    asked(
        **{name: [Gain(gain, 1)] for name, gain in (("train", 0.5), ("validation", 1), ("test", 2))},
        options=False,
        set_task=look,
    )
    assert {type(task) for task in seen} == {Gain} and {type(task.gain) for task in seen} == {float}


def test_a_task_that_cannot_be_drawn_later_is_said() -> None:
    empty: list[str] = []

    def sample(generator: np.random.Generator) -> dict[str, Any]:
        if empty:
            raise LookupError("the urn is empty")
        return {"gain": generator.uniform(), "steps": 2}

    on = asked(sample=sample, train=None, validation=None, test=None)
    empty.append("yes")
    jax.block_until_ready(on.train.sample(jax.random.key(0), 3))
    failure = on.environment.failure()
    assert str(failure) == "asked: no task could be drawn: LookupError: the urn is empty"


def test_tasks_of_adaptax_serve_too() -> None:
    some = TaskSet(Gain(jnp.asarray([0.5, 0.75], jnp.float32), jnp.asarray([1, 2], jnp.int32)))
    drawn = TaskDistribution(lambda key: Gain(jax.random.uniform(key), jnp.asarray(1, jnp.int32)))
    on = asked(train=some, validation=drawn, test=drawn)
    assert on.spec.training_tasks == 2 and on.test is drawn


def test_spaces() -> None:
    counted = observation_side(spaces.Discrete(3, start=2))
    assert counted.space == spaces.Discrete(3) and counted.convert(4) == 2
    with pytest.raises(UserError, match="5, which is not in its space"):
        counted.convert(5)
    image = observation_side(spaces.Box(0, 255, (2, 2), np.uint8))
    assert image.space.dtype == np.float32 and image.convert(np.full((2, 2), 7, np.uint8)).dtype == np.float32
    both = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(-1, 1, (2,), np.float32)})
    kept = observation_side(both)
    assert kept.space == both
    seen = kept.convert({"b": np.asarray([0.5, -0.5], np.float32), "a": 1})
    assert list(seen) == ["a", "b"] and seen["a"] == 1
    np.testing.assert_array_equal(seen["b"], [0.5, -0.5])
    with pytest.raises(UserError, match="has no entry 'b'"):
        kept.convert({"a": 1})
    with pytest.raises(UserError, match=r"Sequence.* is not served; Box, Discrete"):
        observation_side(spaces.Dict({"a": spaces.Sequence(spaces.Discrete(2))}))


def test_images_stay_bytes_tokens_count_from_zero_and_the_rest_is_flat() -> None:
    pixels, words = spaces.Box(0, 255, (3, 2, 1), np.uint8), spaces.MultiDiscrete([7, 7], start=[2, 2])
    side = observation_side(spaces.Tuple((pixels, words, spaces.MultiBinary(2), spaces.MultiDiscrete([2, 3]))))
    image = np.arange(6, dtype=np.uint8).reshape(3, 2, 1)
    seen = side.convert((image, np.asarray([2, 8]), np.asarray([1, 0], np.int8), np.asarray([1, 2])))
    assert seen[0].dtype == np.uint8 and seen[1].dtype == np.int32 and all(x.dtype == np.float32 for x in seen[2:])
    for found, expected in zip(seen, (image, [0, 6], [1, 0], [0, 1, 0, 0, 1]), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert all(one.contains(x) for one, x in zip(side.space, seen, strict=True))
    with pytest.raises(UserError, match="which is not in its space"):
        side.convert((image, np.asarray([2, 9]), np.asarray([1, 0], np.int8), np.asarray([1, 2])))


def test_actions_are_converted() -> None:

    assert action_side(spaces.Discrete(3, start=-1)).convert(np.int32(0)) == -1
    box = spaces.Box(np.asarray([[-1.0], [-2.0]]), np.asarray([[1.0], [2.0]]), dtype=np.float64)
    arm = action_side(box)
    assert arm.space.shape == (2,)
    moved = arm.convert(np.asarray([-3.0, 1.5], np.float32))
    np.testing.assert_array_equal(moved, [[-1.0], [1.5]])
    assert box.contains(moved)
    with pytest.raises(UserError, match="the agent's action is"):
        arm.convert(np.asarray([np.nan, 0.0], np.float32))
    keys = action_side(spaces.MultiBinary(3))
    assert keys.space == spaces.Discrete(8)
    np.testing.assert_array_equal(keys.convert(np.int32(5)), [1, 0, 1])
    with pytest.raises(UserError, match=f"1e.06 combinations.*{COMBINATIONS} are the most"):
        action_side(spaces.MultiDiscrete([1000, 1000]))
    with pytest.raises(UserError, match="is not served"):
        action_side(spaces.Box(0, 9, (1,), np.int64))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"options": False}, "say how a task is applied by exactly one of"),
        ({"attributes": True}, "say how a task is applied by exactly one of"),
        ({"options": False, "attributes": True}, "asked cannot be used on the task gain=0.5, steps=2: AttributeError"),
        ({"test": None}, "asked: give either sample=…, or all of train=…, validation=… and test=…"),
        ({"sample": dict}, "asked: give either sample=…"),
        ({"test": []}, "asked: train, validation and test must all be lists of at least one task"),
        ({"test": [{"gain": 1.0}]}, "asked: a task has the fields gain; the first one has gain, steps"),
        ({"test": [{"gain": [1.0, 2.0], "steps": 1}]}, r"the field gain of a task has the shape \[2\], not \[\]"),
        ({"test": [{"gain": np.nan, "steps": 1}]}, "the field gain of a task is nan; it must be finite"),
        ({"test": [{"gain": "much", "steps": 1}]}, "the field gain of a task is 'much'; it must be a number"),
        ({"test": [0.5]}, "a task is 0.5; it must be a dictionary or a NamedTuple of numbers and arrays"),
        ({"test": [{"class": 1, "steps": 1}] * 2, "train": [{"class": 1, "steps": 1}] * 2}, "asked: "),
        ({"horizon": None}, "asked has no time limit of its own"),
        ({"horizon": 0}, "horizon is 0; it must satisfy"),
    ],
)
def test_what_cannot_be_used_is_said_at_the_start(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        asked(**settings)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_wrong_value_is_said_at_the_start(kind: str) -> None:
    with pytest.raises(UserError, match="Faulty cannot be used on the task rate=1.: "):
        faulty(lambda: Faulty({"step": 1, "do": FAULTS[kind][0]}))


def test_an_environment_that_cannot_be_made_or_that_gymnasium_refuses() -> None:
    with pytest.raises(UserError, match="Nowhere-v0 cannot be made: NameNotFound"):
        faulty("Nowhere-v0", name="Nowhere-v0")
    with pytest.raises(UserError, match="Faulty is a dict; it must be a gymnasium.Env"):
        faulty(dict)
    with pytest.raises(UserError, match="horizon is 900, but CartPole-v1 ends every episode after 500 steps"):
        faulty(lambda: gymnasium.make("CartPole-v1"), horizon=900, name="CartPole-v1")

    class Blind(Faulty):
        observation_space = None  # type: ignore[assignment]

    with pytest.raises(UserError, match="blind: the observation space is None; it must be a gymnasium.Space"):
        faulty(lambda: Blind({}), name="blind")

    class Random(Faulty):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return super().reset(seed=None, options=options)

    with pytest.raises(UserError, match="Faulty does not pass Gymnasium's checker: AssertionError"):
        faulty(lambda: Random({}))
    faulty(lambda: Random({}), check=False)


def test_each_stream_needs_an_environment_of_its_own() -> None:
    one = Faulty({})
    on = faulty(lambda: one)
    _, given = on.train.enumerate(jax.random.key(0), 1)
    with pytest.raises(UserError, match="stream 1: the function that makes environments returned one twice"):
        play(on, given, np.zeros((1, 1, 2), np.int32), jax.random.key(0))


def faulty(make: Any, **settings: Any) -> adaptax.Benchmark:
    rates = {name: [{"rate": 1.0}] for name in ("train", "validation", "test")}
    return adaptax.from_gymnasium(make, **{**rates, "attributes": True, "horizon": 4, "name": "Faulty", **settings})
