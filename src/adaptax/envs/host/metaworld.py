"""Meta-World's ML1, ML10 and ML45 (Yu et al. 2020; version 3): a Sawyer arm has to reach, push, open and close.

Families, goals and their order are Meta-World's own, by its benchmark classes and `set_task`: 50 goals of each family.
The goal is not observed. ML1 trains and tests on different goals of one family; ML10 and ML45 test on five families
that training does not know. Meta-World has no goals for validation: here those are goals of the training families that
another seed draws.

There is one simulator for each stream and family that is in use, of 21 MB each; a stream that goes over to a task of
another family hands its simulator back.
"""

from __future__ import annotations

import difflib
import itertools
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import gymnasium
import numpy as np

from adaptax.envs.host.callback import Host
from adaptax.envs.host.opengl import load_mujoco, require_opengl
from adaptax.envs.host.streams import MODE, GymnasiumStreams, Sides, Tasked
from adaptax.envs.host.tasks import form_of, listed
from adaptax.ranges import check_range
from adaptax.spaces import action_side, observation_side
from adaptax.types import Benchmark, Spec, UserError

LONGEST = 500  # steps after which Meta-World truncates an episode
OBSERVED = 39  # hand, gripper and two objects, now and a step ago, and three zeros for the hidden goal
DRAWN = 6  # numbers, at most, that are drawn for a goal
Rewards = Literal["v1", "v2"]


class MetaWorldTask(NamedTuple):
    """One goal of one family."""

    goal: int  # its place among all goals of the benchmark
    family: int  # the family's place in alphabetical order
    drawn: np.ndarray  # float32 [6], m: where the object starts and the goal is, as the family reads it; zeros after


def metaworld_ml1(
    family: str = "reach-v3",
    seed: int = 0,
    rewards: Rewards = "v2",
    horizon: int = LONGEST,
    episodes: int = 1,
) -> Benchmark:
    """Goals of one family: 50 for training and 50 others for testing. `seed` draws them; `rewards` is the version of
    Meta-World's reward function. Raises a `UserError` for an unknown family."""
    meta_world = _meta_world()
    known = meta_world.ML1.ENV_NAMES
    name = family if family in known or family.endswith("-v3") else f"{family}-v3"
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or known
        raise UserError(f"family is {family!r}, which Meta-World has not; it has {', '.join(close)}")
    # Its own test goals are drawn with the next seed.
    found = [_draw(partial(meta_world.ML1, name), seed), _draw(partial(meta_world.ML1, name), seed + 2)]
    on = f"50 unseen goals of {name}"
    return _benchmark("metaworld-ml1", found, rewards, horizon, episodes, on)


def metaworld_ml10(seed: int = 0, rewards: Rewards = "v2", horizon: int = LONGEST, episodes: int = 1) -> Benchmark:
    """Ten training families, five others for testing; 50 goals of each. `seed` draws the goals."""
    return _of_families("ML10", seed, rewards, horizon, episodes)


def metaworld_ml45(seed: int = 0, rewards: Rewards = "v2", horizon: int = LONGEST, episodes: int = 1) -> Benchmark:
    """45 training families, five others for testing; 50 goals of each. `seed` draws the goals."""
    return _of_families("ML45", seed, rewards, horizon, episodes)


def _of_families(kind: str, seed: int, rewards: Rewards, horizon: int, episodes: int) -> Benchmark:
    make = getattr(_meta_world(), kind)
    found = [_draw(make, seed), _draw(make, seed + 1)]
    on = "50 goals of each of five unseen families"
    return _benchmark(f"metaworld-{kind.lower()}", found, rewards, horizon, episodes, on)


def _benchmark(name: str, found: Sequence[Any], rewards: Rewards, horizon: int, episodes: int, on: str) -> Benchmark:
    """The benchmark of Meta-World's `found[0]`, with the training goals of `found[1]` for validation."""
    from adaptax.strategies.scripted import Scripted

    if rewards not in ("v1", "v2"):
        raise UserError(f"rewards is {rewards!r}; it must be 'v1' or 'v2'")
    check_range("horizon", horizon, 1, LONGEST)
    check_range("episodes", episodes, 1)
    own, other = found
    goals = [*own.train_tasks, *other.train_tasks, *own.test_tasks]
    classes = {**own.train_classes, **own.test_classes}
    robots = Robots(classes, goals, rewards)
    families = {name: place for place, name in enumerate(sorted(classes))}
    tasks = [MetaWorldTask(k, families[goal.env_name], _drawn(goal)) for k, goal in enumerate(goals)]
    form = form_of(tasks)
    ends = np.cumsum([0, len(own.train_tasks), len(other.train_tasks), len(own.test_tasks)])
    train, validation, test = (listed(form, _in_turn(tasks[i:j])) for i, j in itertools.pairwise(ends))
    make = partial(_stream, robots)
    one = make()
    sides = Sides(observation_side(one.observation_space), action_side(one.action_space))
    spec = Spec(sides.observation.space, sides.action.space, horizon, episodes)
    streams = GymnasiumStreams(make, spec, sides, form, Host(name))
    return Benchmark(
        streams,
        train,
        validation,
        test,
        describe=f"return per episode of {horizon} steps on {on}",
        judged_by_success=True,
        references={"scripts": partial(Scripted, choose=Scripts(robots))},
        best="scripts",
    )


class Robots:
    """All goals of a benchmark, and the simulators of this process: each is lent to one stream at a time. `drawn`: they
    can draw themselves."""

    def __init__(
        self, classes: dict[str, Callable[..., Any]], goals: Sequence[Any], rewards: str, drawn: bool = False
    ) -> None:
        self.classes, self.goals, self.rewards, self.drawn = classes, goals, rewards, drawn
        self._idle: dict[str, list[Any]] = {family: [] for family in classes}

    def __reduce__(self) -> Any:
        """A copy in another process makes simulators of its own."""
        return Robots, (self.classes, self.goals, self.rewards, self.drawn)

    def lend(self, family: str) -> Any:
        idle = self._idle[family]
        if idle:
            return idle.pop()
        from adaptax.envs.host.sawyer import quick  # imports Meta-World

        drawn = {"render_mode": MODE, "camera_name": "corner2"} if self.drawn else {}
        return quick(self.classes[family])(reward_function_version=self.rewards, **drawn)

    def take_back(self, family: str, robot: Any) -> None:
        self._idle[family].append(robot)


class Scripts:
    """Meta-World's own scripted policies, one for each family, which are told the goal that agents do not see."""

    def __init__(self, robots: Robots) -> None:
        self._robots = robots
        self._places: dict[int, np.ndarray] = {}

    def __call__(self, tasks: MetaWorldTask, observations: np.ndarray) -> np.ndarray:
        """Actions float32 [..., 4] for `tasks` [...] and observations [..., 39]."""
        from metaworld.policies import ENV_POLICY_MAP

        actions = np.zeros((*observations.shape[:-1], 4), np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of actions beyond the box
            for place in np.ndindex(observations.shape[:-1]):
                number = int(np.asarray(tasks.goal)[place])
                seen = observations[place].astype(np.float64)
                seen[-3:] = self._place(number)
                actions[place] = ENV_POLICY_MAP[self._robots.goals[number].env_name]().get_action(seen)
        return np.clip(actions, -1.0, 1.0)

    def _place(self, number: int) -> np.ndarray:
        """Where the goal of this number is, float64 [3]: a robot of the family is asked once."""
        if number not in self._places:
            goal = self._robots.goals[number]
            robot = self._robots.lend(goal.env_name)
            robot.set_task(goal)
            robot.reset()
            self._places[number] = np.array(robot._target_pos)
            self._robots.take_back(goal.env_name, robot)
        return self._places[number]


class RobotStream(gymnasium.Env):
    """An environment that can be any family."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [MODE], "render_fps": 80}

    def __init__(self, robots: Robots) -> None:
        self.render_mode = MODE if robots.drawn else None
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVED,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._robots, self._family = robots, ""
        self._robot: Any = None

    def set_task(self, task: MetaWorldTask) -> None:
        goals = self._robots.goals
        if not 0 <= task.goal < len(goals):
            raise UserError(f"goal is {task.goal}; it is the place of one of {len(goals)} goals, 0 to {len(goals) - 1}")
        goal = goals[task.goal]
        if goal.env_name != self._family:
            if self._robot is not None:
                self._robots.take_back(self._family, self._robot)
            self._robot, self._family = self._robots.lend(goal.env_name), goal.env_name
        self._robot.set_task(goal)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._robot.reset()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        return self._robot.step(action)

    def render(self) -> np.ndarray:
        return self._robot.render()[::-1, ::-1]  # its cameras stand on their heads


def _stream(robots: Robots, render_mode: str | None = None) -> Tasked:
    def apply(environment: Any, task: MetaWorldTask) -> None:
        environment.unwrapped.set_task(task)

    if render_mode is not None:
        require_opengl()
        robots = Robots(robots.classes, robots.goals, robots.rewards, drawn=True)
    return Tasked(RobotStream(robots), apply)


def _drawn(goal: Any) -> np.ndarray:
    drawn = np.asarray(pickle.loads(goal.data)["rand_vec"], np.float32)
    return np.pad(drawn, (0, DRAWN - len(drawn)))


def _in_turn(tasks: Sequence[MetaWorldTask]) -> list[MetaWorldTask]:
    """A goal of each family, then another of each: an evaluation on the first few is one on all families."""
    families = {task.family: [t for t in tasks if t.family == task.family] for task in tasks}
    return [task for group in zip(*families.values(), strict=True) for task in group]


def _draw(make: Callable[..., Any], seed: int) -> Any:
    check_range("seed", seed, 0)
    with _short_reset():
        return make(seed=seed)


@contextmanager
def _short_reset() -> Iterator[None]:
    """One step in place of 50 in which the arm goes to its start: they take nearly all of the time in which goals are
    drawn, and have no part in them."""
    from metaworld.sawyer_xyz_env import SawyerXYZEnv

    whole = SawyerXYZEnv._reset_hand
    SawyerXYZEnv._reset_hand = lambda self, steps=1: whole(self, 1)
    try:
        yield
    finally:
        SawyerXYZEnv._reset_hand = whole


def _meta_world() -> Any:
    try:
        load_mujoco()  # says what is wrong with MUJOCO_GL, if anything is
        import metaworld
    except ImportError as error:
        raise UserError(f'Meta-World is not installed ({error}): pip install "adaptax[metaworld]"') from error
    return metaworld
