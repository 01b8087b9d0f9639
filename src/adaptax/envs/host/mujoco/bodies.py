"""Walker and hopper whose bodies differ: masses, inertias, dampings and frictions are scaled at random.

The tasks are those of rand_param_envs (Rothfuss), on which PEARL reports: every entry of `body_mass`, `body_inertia`
and `geom_friction` is multiplied by 1.5^u, of `dof_damping` by 1.3^u, with u ~ U(−3, 3) for itself. As there, what
MuJoCo derives from them when it compiles a model is left as it is. That code runs MuJoCo 1.31 with model files of its
own; ours are Gymnasium's. The variant `pearl` has its time steps, 5 × 4 ms (walker) and 4 × 4 ms (hopper), where
Gymnasium has 4 × 2 ms for both.
"""

from __future__ import annotations

from typing import Literal

from adaptax.types import Array, Benchmark

from . import tasks
from .build import Backend, chosen, locomotion, reached
from .robots import HOPPER, WALKER, Motion, Robot, hopper_stands, legs, load_model, walker_stands
from .rules import Rules
from .tasks import BodyTask

Variant = Literal["pearl", "gymnasium"]
LIMIT = 3.0  # of u
TRAINING, TEST = 40, 10  # PEARL's numbers of tasks
WALKED, HOPPED = 160.1, 176.3  # per episode of 200 steps, by benchmarks/told.py
TOLD = "multi-task SAC that is told the body, {} M steps, one seed (benchmarks/told.py)"

WALKERS = {"pearl": WALKER._replace(frame_skip=5, timestep=0.004), "gymnasium": WALKER}
HOPPERS = {"pearl": HOPPER._replace(timestep=0.004), "gymnasium": HOPPER}


def forwards(motion: Motion, task: BodyTask) -> Array:
    return motion.velocity[0]


def walker_params(
    variant: Variant = "pearl",
    horizon: int = 200,
    episodes: int = 1,
    training_tasks: int = TRAINING,
    backend: Backend = "host",
) -> Benchmark:
    """Walker2D with a body of its own in every task: v + 1 − 0.001 ‖a‖² a step; terminates when it falls.

    `training_tasks` bodies to train on (0: drawn afresh) and 10 to test on. Raises a `UserError` for a setting out of
    its range.
    """
    robot = chosen(WALKERS, variant)
    rules = Rules(robot, legs, forwards, control_cost=1e-3, alive=1.0, stands=walker_stands)
    made = _with_bodies("walker-params", robot, rules, horizon, episodes, training_tasks, backend)
    return reached(made, WALKED, TOLD.format("0.1")) if (variant, horizon) == ("pearl", 200) else made


def hopper_params(
    variant: Variant = "pearl",
    horizon: int = 200,
    episodes: int = 1,
    training_tasks: int = TRAINING,
    backend: Backend = "host",
) -> Benchmark:
    """Hopper with a body of its own in every task: v + 1 − 0.001 ‖a‖² a step; terminates when it falls.

    `training_tasks` bodies to train on (0: drawn afresh) and 10 to test on. Raises a `UserError` for a setting out of
    its range.
    """
    robot = chosen(HOPPERS, variant)
    rules = Rules(robot, legs, forwards, control_cost=1e-3, alive=1.0, stands=hopper_stands)
    made = _with_bodies("hopper-params", robot, rules, horizon, episodes, training_tasks, backend)
    return reached(made, HOPPED, TOLD.format("0.12")) if (variant, horizon) == ("pearl", 200) else made


def _with_bodies(
    name: str, robot: Robot, rules: Rules, horizon: int, episodes: int, training_tasks: int, backend: Backend
) -> Benchmark:
    splits = tasks.split_tasks(tasks.draw_body(load_model(robot), LIMIT), training_tasks, TEST)
    return locomotion(name, rules, splits, horizon, episodes, backend, on="10 unseen bodies")
