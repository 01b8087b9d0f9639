"""Rhythms for robots that run along a line: `python benchmarks/gaits.py half-cheetah` (needs `[mujoco]`).

The cross-entropy method over the amplitude, phase and offset of every joint and one frequency, on MuJoCo alone: first
from one start a candidate, then, so that no start makes the robot fall, from five. What it prints stands in
`adaptax.envs.host.mujoco.gaits`, rounded. On two cores it takes a minute or two for each way of the half-cheetah.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np

from adaptax.envs.host.mujoco import robots
from adaptax.envs.host.mujoco.simulator import Simulator

HORIZON = 200


class Body(NamedTuple):
    """What is searched for, and how long."""

    robot: robots.Robot
    cost: float  # of a squared control
    broad: tuple[int, int, int]  # the first search: candidates, how many of them are kept, generations
    fine: tuple[int, int, int]


BODIES = {"half-cheetah": Body(robots.HALF_CHEETAH, 0.05, (64, 10, 120), (32, 8, 40))}


def returns(body: Body, sign: float, rows: np.ndarray, starts: int, generator: np.random.Generator) -> np.ndarray:
    """The mean return [C] of candidates [C, 1 + 3 J], each from so many starts; the body never falls."""
    robot, simulator = body.robot, Simulator(body.robot, threads=1)
    model, every = simulator.model, np.repeat(rows, starts, axis=0)
    noise = robot.noise
    positions = generator.uniform(-noise, noise, (1, len(every), model.nq))
    words, _ = simulator.begin(positions, noise * generator.normal(size=(1, len(every), model.nv)))
    total, alive = np.zeros(len(every)), np.ones(len(every), bool)
    for step in range(HORIZON):
        control = actions(every, step * simulator.timestep)
        words, motion = simulator.advance(words, control[None])
        forwards, sound = motion[0, :, model.nq + model.nv], motion[0, :, -1]
        total += alive * (sign * forwards - body.cost * (control**2).sum(axis=1))
        alive &= sound > 0
    return total.reshape(len(rows), starts).mean(axis=1)


def actions(rows: np.ndarray, seconds: float) -> np.ndarray:
    """The actions [C, J] of candidates after so many seconds."""
    amplitudes, phases, offsets = np.moveaxis(rows[:, 1:].reshape(len(rows), -1, 3), -1, 0)
    return np.clip(offsets + amplitudes * np.sin(2 * np.pi * rows[:, :1] * seconds + phases), -1, 1)


def search(body: Body, sign: float, seed: int) -> np.ndarray:
    joints = Simulator(body.robot).model.nu
    mean, deviation = np.r_[2.0, np.tile([0.6, 0, 0], joints)], np.r_[1.0, np.tile([0.4, 2.0, 0.4], joints)]
    for (count, kept, generations), starts in ((body.broad, 1), (body.fine, 5)):
        generator = np.random.default_rng(seed)
        for _ in range(generations):
            rows = mean + deviation * generator.normal(size=(count, len(mean)))
            rows[0] = mean
            rows[:, 0] = np.clip(rows[:, 0], 0.3, 6)
            best = rows[np.argsort(-returns(body, sign, rows, starts, generator))[:kept]]
            mean, deviation = 0.3 * mean + 0.7 * best.mean(axis=0), 0.3 * deviation + 0.7 * (best.std(axis=0) + 0.02)
        deviation = np.full(len(mean), 0.12)
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("body", choices=BODIES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    body = BODIES[options.body]
    for way, sign in (("forwards", 1.0), ("backwards", -1.0)):
        found = search(body, sign, options.seed)
        reached = returns(body, sign, found[None], 40, np.random.default_rng(options.seed))[0]
        print(f"{way}: {reached:.0f} per episode\n    frequency {found[0]:.3f}")
        for name, values in zip(("amplitudes", "phases", "offsets"), found[1:].reshape(-1, 3).T, strict=True):
            print(f"    {name} {', '.join(f'{value:.3f}' for value in values)}")


if __name__ == "__main__":
    main()
