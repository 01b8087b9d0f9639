"""Reference strategies for CartPole and Pendulum: controllers that are told a task's masses, lengths and forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from adaptax.types import Array, Birth, Decision, Key, Params, Rollout, Spec, Timestep

ITERATIONS = 500  # of the Riccati equation, which has then converged in float32
ANGLES, SPEEDS, TORQUES = 51, 51, 5  # of the table of a pendulum's costs: 1 % worse than 201 × 201 × 9
SWINGS = 100  # steps that the table looks ahead
TRIED = 21  # torques among which a swing chooses


class Balancing(NamedTuple):
    """What is worked out of a cart's physics."""

    gains: Array  # float32 [4]; the force to the right is minus their product with the observation
    force: Array  # float32 []; of the motor under action 1


@dataclass(frozen=True)
class Balance:
    """Balances a pole whose cart, motor and lengths it knows (`params` is the task), by the signs of the forces that a
    linear-quadratic regulator asks for.

    `gravity` is in m/s², `cart_mass` in kg, and a step takes `seconds`. Observations are the cart's place and velocity
    and the pole's angle and angular velocity, float32 [4]. The regulator is that of the cart linearised about the
    upright pole, in steps of Euler's; the squares of place and angle cost 1, that of the force 0.01.
    """

    spec: Spec
    gravity: float
    cart_mass: float
    seconds: float
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Balancing:
        total = self.cart_mass + params.mass
        # θ'' = (g θ − F/total) / span and x'' = F/total − m l θ''/total
        span = params.length * (4.0 / 3.0 - params.mass / total)
        ratio = params.mass * params.length / total
        falls, pushes = self.gravity / span, -1.0 / (total * span)
        zero, one = jnp.float32(0.0), jnp.float32(1.0)
        slope = jnp.stack(
            [
                jnp.stack([zero, one, zero, zero]),
                jnp.stack([zero, zero, -ratio * falls, zero]),
                jnp.stack([zero, zero, zero, one]),
                jnp.stack([zero, zero, falls, zero]),
            ]
        )
        steps = jnp.eye(4, dtype=jnp.float32) + self.seconds * slope
        forced = self.seconds * jnp.stack([zero, 1.0 / total - ratio * pushes, zero, pushes])
        costs = jnp.diag(jnp.asarray([1.0, 0.0, 1.0, 0.0], jnp.float32))

        def gains(value: Array) -> Array:
            return (forced @ value @ steps) / (0.01 + forced @ value @ forced)

        def backward(_: int, value: Array) -> Array:
            return costs + steps.T @ value @ (steps - jnp.outer(forced, gains(value)))

        return Balancing(gains(jax.lax.fori_loop(0, ITERATIONS, backward, costs)), params.force)

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: Balancing, memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        wanted = -jnp.dot(adapted.gains, timestep.observation)
        return Decision((wanted * adapted.force > 0.0).astype(jnp.int32)), ()

    def adapt(self, params: Params, adapted: Balancing, rollout: Rollout, key: Key) -> Balancing:
        return adapted


class Swinging(NamedTuple):
    """What is worked out of a pendulum's physics: float32 []; `costs` float32 [angles, speeds]."""

    pull: Array  # angular acceleration by gravity, at a right angle
    push: Array  # by a torque of 1
    costs: Array  # of the next SWINGS steps


@dataclass(frozen=True)
class SwingUp:
    """Swings up a pendulum that it knows (`params` is the task), and holds it, by dynamic programming on a grid of
    angles and speeds.

    The largest torque is `torque` (N m), no speed exceeds `fastest` (rad/s), and a step takes `seconds`. Observations
    are (cos θ, sin θ, θ'), and a step costs θ² + 0.1 θ'² + 0.001 u².
    """

    spec: Spec
    torque: float
    fastest: float
    seconds: float
    informed: ClassVar[bool] = True

    def begin(self, params: Params, key: Key, birth: Birth) -> Swinging:
        pull = 1.5 * params.gravity / params.length
        task = Swinging(pull, 3.0 / (params.mass * params.length**2), jnp.zeros((ANGLES, SPEEDS), jnp.float32))
        angles = jnp.arange(ANGLES, dtype=jnp.float32) * (2.0 * jnp.pi / ANGLES)
        speeds = jnp.linspace(-self.fastest, self.fastest, SPEEDS, dtype=jnp.float32)
        torques = jnp.linspace(-self.torque, self.torque, TORQUES, dtype=jnp.float32)
        after = self.after(task, *jnp.meshgrid(angles, speeds, torques, indexing="ij"))

        def backward(_: int, costs: Array) -> Array:
            return jnp.min(after.cost + after.read(costs), axis=-1)

        return task._replace(costs=jax.lax.fori_loop(0, SWINGS, backward, task.costs))

    def after(self, task: Swinging, angle: Array, speed: Array, torque: Array) -> Step:
        """A step's cost, and where on the grid it leads."""
        faster = speed + self.seconds * (task.pull * jnp.sin(angle) + task.push * torque)
        faster = jnp.clip(faster, -self.fastest, self.fastest)
        upright = jnp.mod(angle + jnp.pi, 2.0 * jnp.pi) - jnp.pi
        cost = upright**2 + 0.1 * speed**2 + 0.001 * torque**2
        row = jnp.mod(angle + self.seconds * faster, 2.0 * jnp.pi) * (ANGLES / (2.0 * jnp.pi))
        return Step(cost, row, (faster + self.fastest) * ((SPEEDS - 1) / (2.0 * self.fastest)))

    def start(self, params: Params) -> tuple[()]:
        return ()

    def act(
        self, params: Params, adapted: Swinging, memory: tuple[()], timestep: Timestep, key: Key
    ) -> tuple[Decision, tuple[()]]:
        cosine, sine, speed = timestep.observation
        torques = jnp.linspace(-self.torque, self.torque, TRIED, dtype=jnp.float32)
        after = self.after(adapted, jnp.arctan2(sine, cosine), speed, torques)
        return Decision(torques[jnp.argmin(after.cost + after.read(adapted.costs))][None]), ()

    def adapt(self, params: Params, adapted: Swinging, rollout: Rollout, key: Key) -> Swinging:
        return adapted


class Step(NamedTuple):
    """One step of a pendulum; all of one shape."""

    cost: Array
    row: Array  # among the angles, which go round
    column: Array  # among the speeds

    def read(self, costs: Array) -> Array:
        """The table's value where the step leads, between four of its entries."""
        row, column = jnp.floor(self.row), jnp.clip(jnp.floor(self.column), 0, SPEEDS - 2)
        down, right = self.row - row, self.column - column
        i, j = row.astype(jnp.int32) % ANGLES, column.astype(jnp.int32)
        k = (i + 1) % ANGLES
        upper = (1.0 - right) * costs[i, j] + right * costs[i, j + 1]
        lower = (1.0 - right) * costs[k, j] + right * costs[k, j + 1]
        return (1.0 - down) * upper + down * lower
