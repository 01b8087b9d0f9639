"""Meta-World's robots, stepped to the same bits in half the time.

A fifth of a step of Meta-World is physics; most of the rest looks things up by name, reads contacts one by one, turns
one matrix into a quaternion by a routine for many, and bounds single numbers by NumPy. And its reset moves the hand to
its start for 50 steps twice, the same way each time on a goal. `quick` makes a class that does only what shows, out of
one of Meta-World's. Tests compare it with Meta-World's own in all families, bit by bit; Meta-World's version is pinned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.utils import reward_utils

from adaptax.envs.host.opengl import load_mujoco

mujoco = load_mujoco()
AT_MARGIN = 0.1  # Meta-World's `value_at_margin` unless told
LONG_TAIL = float(np.sqrt(1 / AT_MARGIN - 1))
WHOLE = mujoco.mjtState.mjSTATE_INTEGRATION  # all that what follows depends on
DOWN = np.array([1, 0, 1, 0])  # the hand's orientation, as a quaternion
SEEN = 18  # numbers of an observation that are of now
Base: Any = SawyerXYZEnv if TYPE_CHECKING else object


def quaternion(matrix: Any) -> np.ndarray:
    """The unit quaternion (x, y, z, w) of an orthonormal matrix [3, 3], in the order of SciPy's operations (Markley
    2008)."""
    (a, b, c), (d, e, f), (g, h, i) = np.asarray(matrix, np.float64).tolist()
    trace = a + e + i
    largest = max(a, e, i, trace)
    if a == largest:
        found = 1 - trace + 2 * a, d + b, g + c, h - f
    elif e == largest:
        found = d + b, 1 - trace + 2 * e, h + f, c - g
    elif i == largest:
        found = g + c, h + f, 1 - trace + 2 * i, d - b
    else:
        found = h - f, c - g, d - b, 1 + trace
    x, y, z, w = found
    length = math.sqrt(x * x + y * y + z * z + w * w)
    return np.array([x / length, y / length, z / length, w / length])


class Rotation(NamedTuple):
    """Of SciPy's class what Meta-World uses."""

    matrix: Any

    @classmethod
    def from_matrix(cls, matrix: Any) -> Rotation:
        return cls(matrix)

    def as_quat(self) -> np.ndarray:
        return quaternion(self.matrix)


def tolerance(
    x: Any,
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: Any = 0.0,
    sigmoid: Any = "gaussian",
    value_at_margin: float = AT_MARGIN,
) -> Any:
    """Meta-World's, quicker for single numbers and the tail that most of its rewards have."""
    usual = sigmoid == "long_tail" and value_at_margin == AT_MARGIN and bounds[0] <= bounds[1] and margin > 0
    if not usual or not isinstance(x, float):
        return reward_utils.tolerance(x, bounds, margin, sigmoid, value_at_margin)
    lower, upper = bounds
    if lower <= x <= upper:
        return 1.0
    outside = float(lower - x if x < lower else x - upper) / float(margin)
    return 1 / ((outside * LONG_TAIL) ** 2 + 1)


INSTEAD = {"Rotation": Rotation, "reward_utils": SimpleNamespace(**{**vars(reward_utils), "tolerance": tolerance})}


class Quick(Base):
    """Comes before a class of Meta-World's, and overrides what all families share."""

    _hands: dict[bytes, np.ndarray]  # of the family: by a goal's numbers, the state before the hand's last step to it
    _moves_hand = True

    def __init__(self, **options: Any) -> None:
        self._places: dict[tuple[str, str], np.ndarray] = {}
        super().__init__(**options)

    def _at(self, kind: str, name: str) -> np.ndarray:
        """Where a `body` or `site` is: a view [3] of the simulator's own memory."""
        try:
            return self._places[kind, name]
        except KeyError:
            return self._places.setdefault((kind, name), getattr(self.data, kind)(name).xpos)

    def get_body_com(self, body_name: str) -> np.ndarray:
        return self._at("body", body_name)

    def get_endeff_pos(self) -> np.ndarray:
        return self._at("body", "hand")

    def _get_site_pos(self, site_name: str) -> np.ndarray:
        return self._at("site", site_name).copy()

    @property
    def tcp_center(self) -> np.ndarray:
        return (self._at("site", "rightEndEffector") + self._at("site", "leftEndEffector")) / 2.0

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        if len(action) != 4 or self.curr_path_length >= self.max_path_length:
            return super().step(action)  # says what is wrong
        self.set_xyz_action(action[:3])
        self.data.ctrl[:] = action[-1], -action[-1]
        mujoco.mj_step(self.model, self.data, nstep=self.frame_skip)
        self.curr_path_length += 1
        for site, place in self._target_site_config:
            self._at("site", site)[:] = place[:3]
        mujoco.mj_forward(self.model, self.data)
        space = self.sawyer_observation_space
        self._last_stable_obs = np.minimum(np.maximum(self._get_obs(), space.low), space.high)
        reward, info = self.evaluate_state(self._last_stable_obs, action)
        truncated = self.curr_path_length == self.max_path_length
        return self._last_stable_obs.copy(), reward, False, truncated, info

    def set_xyz_action(self, action: Any) -> None:
        moved = self.data.mocap_pos + np.minimum(np.maximum(action, -1), 1) * self.action_scale
        moved[0] = np.minimum(np.maximum(moved[0], self.mocap_low), self.mocap_high)
        self.data.mocap_pos = moved
        self.data.mocap_quat = DOWN

    def touching_object(self, object_geom_id: int) -> bool:
        contacts = self.data.contact
        touching = contacts.geom.tolist()

        def force(pad: str) -> Any:
            of_pad = self.data.geom(pad).id
            pairs = (k for k, pair in enumerate(touching) if of_pad in pair and object_geom_id in pair)
            return sum(self.data.efc_force[contacts.efc_address[k]] for k in pairs)

        return force("leftpad_geom") > 0 and force("rightpad_geom") > 0

    def _get_curr_obs_combined_no_goal(self) -> np.ndarray:
        seen = np.zeros(4 + self._obs_obj_max_len)
        seen[:3] = self._at("body", "hand")
        apart = self._at("body", "rightclaw") - self._at("body", "leftclaw")
        seen[3] = min(max(math.sqrt(apart.dot(apart)) / 0.1, 0.0), 1.0)
        places, turns = self._get_pos_objects(), self._get_quat_objects()
        for k in range(min(len(places) // 3, len(turns) // 4)):
            start = 4 + 7 * k
            seen[start : start + 3] = places[3 * k : 3 * k + 3]
            seen[start + 3 : start + 7] = turns[4 * k : 4 * k + 4]
        return seen

    def _get_obs(self) -> np.ndarray:
        now, goal = self._get_curr_obs_combined_no_goal(), self._get_pos_goal()
        seen = np.concatenate((now, self._prev_obs, np.zeros(len(goal)) if self._partially_observable else goal))
        self._prev_obs = now
        return seen

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Meta-World lays the scene out twice, and clears the state between: of the first time remains what it does to
        the model, in which the hand has no part."""
        self.curr_path_length = 0
        self._moves_hand = False
        self.reset_model()
        self._moves_hand = True
        mujoco.mj_resetData(self.model, self.data)
        seen = self.reset_model()
        self._prev_obs = seen[:SEEN].copy()
        seen[SEEN : 2 * SEEN] = self._prev_obs
        return seen, {}

    def _reset_hand(self, steps: int = 50) -> None:
        """As it was on this goal before. The last step is made each time: what is looked at next lags behind the state
        by a part of it."""
        if not self._moves_hand:
            self.init_tcp = self.tcp_center
            return
        goal = np.asarray(self._last_rand_vec).tobytes()
        if goal in self._hands:
            mujoco.mj_setState(self.model, self.data, self._hands[goal], WHOLE)
        else:
            super()._reset_hand(steps - 1)
            state = np.empty(mujoco.mj_stateSize(self.model, WHOLE))
            mujoco.mj_getState(self.model, self.data, state, WHOLE)
            self._hands[goal] = state
        super()._reset_hand(1)


@cache
def quick(family: Callable[..., Any]) -> Callable[..., Any]:
    """A class like Meta-World's `family`, quicker and with the same numbers."""
    return type(family.__name__, (Quick, family), {"_hands": {}, **dict(_methods(family))})


def _methods(family: Any) -> Iterator[tuple[str, Any]]:
    """Methods that use what there is a quicker one `INSTEAD` of, with that; what a class overrides comes last."""
    classes = family.__mro__[: family.__mro__.index(SawyerXYZEnv) + 1]
    for name, method in (item for owner in reversed(classes) for item in vars(owner).items()):
        function = getattr(method, "__func__", method)  # of a static method
        if not isinstance(function, FunctionType):
            continue
        if "func" in function.__code__.co_freevars:  # is a method that asserts that a task is set
            function = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))["func"]
            function = function.cell_contents
        used = {name: value for name, value in INSTEAD.items() if name in function.__code__.co_names}
        if used:
            own = {**function.__globals__, **used}
            parts = function.__code__, own, function.__name__, function.__defaults__, function.__closure__
            quicker = FunctionType(*parts)
            quicker.__kwdefaults__ = function.__kwdefaults__
            yield name, staticmethod(quicker) if isinstance(method, staticmethod) else quicker
