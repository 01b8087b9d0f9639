"""Gymnasium's CartPole and Pendulum with physics that differ from task to task. They need no further package.

A cart's motor may pull either way (the sign of `force`), so that no policy without a memory, or an adaptation, can
balance both kinds. A pendulum is heavy or light, long or short, on planets of different gravity.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from adaptax.envs.host.gymnasium import from_gymnasium
from adaptax.envs.splits import disjoint_splits
from adaptax.ranges import check_range
from adaptax.tasks import TaskSet
from adaptax.types import Array, Benchmark, Key, Tasks


class CartPoleTask(NamedTuple):
    """One cart and pole; float32 []."""

    length: Array  # half the pole's length, m
    mass: Array  # of the pole, kg
    force: Array  # of the motor under action 1, N; action 0 pulls the other way


class PendulumTask(NamedTuple):
    """One pendulum; float32 []."""

    length: Array  # m
    mass: Array  # kg
    gravity: Array  # m/s²


def cart_pole(horizon: int = 200, episodes: int = 2, training_tasks: int = 0) -> Benchmark:
    """CartPole-v1 with poles of U[0.25, 1) × 2 m and U[0.05, 0.5) kg, and motors of ±U[5, 15) N; 1 a step until the
    pole falls or the cart leaves the track, at most `horizon`. Training has as many tasks as `training_tasks` says (0:
    without bound)."""

    from adaptax.render import classic as drawn
    from adaptax.strategies import classic as strategies

    def draw(key: Key) -> CartPoleTask:
        length_key, mass_key, force_key, sign_key = jax.random.split(key, 4)
        force = jax.random.uniform(force_key, (), jnp.float32, 5.0, 15.0)
        return CartPoleTask(
            jax.random.uniform(length_key, (), jnp.float32, 0.25, 1.0),
            jax.random.uniform(mass_key, (), jnp.float32, 0.05, 0.5),
            jnp.where(jax.random.bernoulli(sign_key), force, -force),
        )

    train, validation, test = _splits(draw, training_tasks)
    made = from_gymnasium(
        "CartPole-v1",
        train=train,
        validation=validation,
        test=test,
        set_task=set_cart_pole,
        horizon=horizon,
        episodes=episodes,
        name="cart-pole",
        describe=f"steps balanced per episode, at most {horizon}, on unseen carts and poles",
    )
    controller = partial(strategies.Balance, gravity=9.8, cart_mass=1.0, seconds=0.02)
    return made._replace(references={"known-cart": controller}, best="known-cart", picture=drawn.cart_pole)


def pendulum(horizon: int = 200, episodes: int = 2, training_tasks: int = 0) -> Benchmark:
    """Pendulum-v1 with rods of U[0.5, 1.5) m and U[0.5, 1.5) kg under a gravity of U[5, 15) m/s²; a step costs
    θ² + 0.1 θ'² + 0.001 u², and an episode has `horizon` steps. Training has as many tasks as `training_tasks` says
    (0: without bound)."""

    from adaptax.render import classic as drawn
    from adaptax.strategies import classic as strategies

    def draw(key: Key) -> PendulumTask:
        length_key, mass_key, gravity_key = jax.random.split(key, 3)
        return PendulumTask(
            jax.random.uniform(length_key, (), jnp.float32, 0.5, 1.5),
            jax.random.uniform(mass_key, (), jnp.float32, 0.5, 1.5),
            jax.random.uniform(gravity_key, (), jnp.float32, 5.0, 15.0),
        )

    train, validation, test = _splits(draw, training_tasks)
    made = from_gymnasium(
        "Pendulum-v1",
        train=train,
        validation=validation,
        test=test,
        set_task=set_pendulum,
        horizon=horizon,
        episodes=episodes,
        name="pendulum",
        describe=f"return per episode of {horizon} steps on unseen pendulums",
    )
    controller = partial(strategies.SwingUp, torque=2.0, fastest=8.0, seconds=0.05)
    return made._replace(references={"known-rod": controller}, best="known-rod", picture=drawn.pendulum)


def _splits(draw: Callable[[Key], Any], training_tasks: int) -> tuple[Tasks, Tasks, Tasks]:
    check_range("training_tasks", training_tasks, 0)
    train, validation, test = disjoint_splits(draw)
    some = TaskSet(train.sample(jax.random.key(0), training_tasks)[1]) if training_tasks else train
    return some, validation, test


def set_cart_pole(environment: Any, task: CartPoleTask) -> None:
    """Give a CartPole this physics, the two numbers included that it works out from its pole when it is made."""
    pole = environment.unwrapped
    pole.length, pole.masspole, pole.force_mag = task.length, task.mass, task.force
    pole.total_mass = pole.masspole + pole.masscart
    pole.polemass_length = pole.masspole * pole.length


def set_pendulum(environment: Any, task: PendulumTask) -> None:
    rod = environment.unwrapped
    rod.l, rod.m, rod.g = task.length, task.mass, task.gravity
