"""How much of MuJoCo's own rate is left in our collector: `python benchmarks/speed.py --only simulator`.

256 half-cheetahs on all cores, once in the collector with a policy of two hidden layers of 100 units acting, once in
bare calls of MuJoCo's batched rollout from the same states with the same actions: contacts cost time, so both have to
move alike. The two take turns, and medians are compared, so that what else runs on the machine slows both.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

TASKS, STREAMS, STEPS = 16, 16, 200
HIDDEN = (100, 100)
TURNS = 7


def main() -> None:
    """Print the rates as JSON."""
    import jax
    import numpy as np

    from adaptax.names import registry
    from adaptax.run.collect import collect, streams_of
    from adaptax.types import Plan

    on = registry.make_benchmark("half-cheetah-velocity", {})
    algorithm: Any = registry.make_algorithm(
        "maml", None, on.spec, {"tasks": TASKS, "streams": STREAMS, "hidden": HIDDEN}
    )
    params = algorithm.init(jax.random.key(0)).params
    plan = Plan(TASKS, 1, STREAMS, STEPS, lifetime=1)
    streams = streams_of(on.environment)
    run = jax.jit(lambda key: collect(algorithm, streams, on.train, plan, params, None, key)[0].rollouts)
    simulator = on.environment.simulator
    jax.block_until_ready(run(jax.random.key(0)))
    ours, bare = [], []
    for turn in range(TURNS):
        began = time.perf_counter()
        rollouts = jax.block_until_ready(run(jax.random.key(turn)))
        ours.append(TASKS * STREAMS * STEPS / (time.perf_counter() - began))
        actions = np.clip(rollouts.decision.action, -1.0, 1.0).reshape(TASKS * STREAMS, STEPS, -1)
        seen = np.asarray(rollouts.timestep.observation)[:, 0, :, 0].reshape(TASKS * STREAMS, -1)
        starts = np.concatenate([np.zeros((len(seen), 1)), seen[:, 17:18], seen[:, :17]], axis=1)  # time, x, the rest
        bare.append(bare_rate(simulator, starts, actions.astype(np.float64)))
    print(
        json.dumps(
            {
                "steps_per_second": statistics.median(ours),
                "bare_steps_per_second": statistics.median(bare),
                "share": statistics.median(one / other for one, other in zip(ours, bare, strict=True)),
                "threads": simulator.threads,
                "environment_steps": TASKS * STREAMS * STEPS,
            }
        )
    )


def bare_rate(simulator: Any, state: Any, controls: Any) -> float:
    """Steps per second of the rollout alone, from states [streams, S] with controls [streams, T, nu]."""
    import mujoco
    import mujoco.rollout
    import numpy as np

    model, substeps = simulator.model, simulator.robot.frame_skip
    count, steps = controls.shape[:2]
    data = [mujoco.MjData(model) for _ in range(simulator.threads)]
    out, sensors = np.empty((count, substeps, simulator.size)), np.empty((count, substeps, 0))
    given = {"skip_checks": True, "nstep": substeps, "state": out, "sensordata": sensors, "persistent_pool": True}
    began = time.perf_counter()
    for step in range(steps):
        control = np.repeat(controls[:, step : step + 1], substeps, axis=1)
        mujoco.rollout.rollout([model] * count, data, state, control, **given)
        state = np.ascontiguousarray(out[:, -1])
    return count * steps / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
