"""Reference strategies for the four corners: random actions, and with momentum a known goal (`navigation` has the one
without).

Without momentum a known goal is not the most that can be collected: the reward does not charge for steps back over
the border of the goal's quadrant (see `adaptax.envs.corner`). The return of a direct walk is how much nearer the
point has come to the goal since it was last in the middle, ‖s‖₁ < ½: 2.47 to 2.77, depending on the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from adaptax.ranges import check_range
from adaptax.strategies.navigation import RandomMoves, action_edge
from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep


@dataclass(frozen=True)
class Brake:
    """Brings the point to rest at the goal, which it knows (`params` is the task), in the fewest steps that each
    axis by itself allows. Overshooting might pay a little more. Observations are position and velocity, float32 [4];
    `push` is the largest change of velocity along an axis, for which the edge of the action box stands.

    Along an axis at the distance e, the speed v after this step is as high as still lets the point halt at the
    goal, losing at most p = `push` a step: v + (v − p) + … = e with m terms, p m(m − 1)/2 ≤ e ≤ p m(m + 1)/2. The
    same rule then asks for v − p, v − 2p and so on: the point is at the goal after m steps, and at rest there in
    the next.
    """

    spec: Spec
    push: float
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Array:
        return params.goal

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: Array, memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        offset, velocity = adapted - timestep.observation[:2], timestep.observation[2:]
        distance = jnp.abs(offset)
        # At the upper end of its range of e, m and m + 1 give the same speed: rounding does not matter.
        steps = jnp.maximum(jnp.ceil((jnp.sqrt(1.0 + 8.0 * distance / self.push) - 1.0) / 2.0), 1.0)
        speed = distance / steps + self.push * (steps - 1.0) / 2.0
        change = jnp.sign(offset) * speed - velocity
        return Decision(jnp.clip(change / self.push, -1.0, 1.0) * action_edge(self.spec)), ()

    def adapt(self, params: Params, adapted: Array, rollout: Rollout, key: Key) -> Array:
        return adapted


def random(spec: Spec, deviation: float = 1.0) -> RandomMoves:
    """Independent normal actions of standard deviation `deviation` in the agent's units, 0 or more. With 1, the
    untrained Gaussian policy with its mean at zero, which moves by a tenth of what it could in the published box."""
    check_range("deviation", deviation, 0.0)
    return RandomMoves(spec, deviation / float(action_edge(spec)[0]))
