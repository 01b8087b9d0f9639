"""VariBAD and RL² on GridNavi with all 21 goals, as published: `python benchmarks/varibad_gridnavi.py`.

Both train on trials of 4 episodes for as many environment steps, and are judged on the same trials of 6 episodes: by
episode, beside the Bayes-optimal agent. A figure shows what the first seed's belief expects of every cell while it
explores.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import jax
import jax.numpy as jnp
import numpy as np
from common import RUNS, arguments, document, row, seeds_of, write

from adaptax import api, registry
from adaptax.run.collect import collect, streams_of
from adaptax.run.evaluate import Protocol, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME, ON = "varibad_gridnavi", "gridnavi"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "varibad-belief.png"

AGENTS: dict[str, tuple[str, int, dict[str, Any]]] = {  # both for the published 20 M steps
    "VariBAD": ("varibad", 20_833, {"decay": 20_833}),
    "RL²": ("rl2", 1302, {"decay": 1302}),
}
TRAINED, JUDGED = 4, 6  # episodes per trial
OPTIMUM = (4.0, *[11.0714] * (JUDGED - 1))
TARGET = 0.95 * sum(OPTIMUM[:TRAINED])
PROTOCOL = Protocol(tasks=420, episodes=JUDGED, seed=1)


def measured(name: str, seed: int, options: Any) -> tuple[api.Trained, np.ndarray, dict[str, Any]]:
    """The trained agent, its returns [tasks, episodes], and the last row of its metrics."""
    algorithm, iterations, own = AGENTS[name]
    out = RUNS / f"{NAME}-{algorithm}-seed{seed}"
    given = {"settings": {"goals": "paper", "episodes": TRAINED}, "hyperparameters": own}
    agent, last = common.trained(out, algorithm, ON, options, options.iterations or iterations, seed, **given)
    longer = registry.make_benchmark(ON, {"goals": "paper", "episodes": JUDGED})
    found = evaluate(agent.algorithm, longer, longer.test, agent.params, PROTOCOL)
    returns = found.returns[:, 0, 0].astype(np.float64)
    print(f"{name}, seed {seed}: {returns.mean(axis=0).round(2)} in {last['seconds']:.0f} s", flush=True)
    return agent, returns, last


def rows_of(name: str, returns: np.ndarray) -> list[dict[str, Any]]:
    """By episode, of returns [seeds, tasks, episodes]."""
    values = {f"{name}, episode {e + 1}": (returns[:, :, e], OPTIMUM[e]) for e in range(JUDGED)}
    values[f"{name}, episodes 1 to {TRAINED}"] = (returns[:, :, :TRAINED].sum(axis=2), sum(OPTIMUM[:TRAINED]))
    return [
        row(label, each, bounds=[{"name": "Bayes-optimal", "value": best}]) for label, (each, best) in values.items()
    ]


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    seeds = seeds_of(options)
    found = {name: [measured(name, seed, options) for seed in seeds] for name in AGENTS}
    returns = {name: np.stack([returns for _, returns, _ in each]) for name, each in found.items()}
    rows = [row for name in AGENTS for row in rows_of(name, returns[name])]
    later = returns["VariBAD"][:, :, 4:].mean(axis=2) - returns["VariBAD"][:, :, 3]
    rows.append(row("VariBAD, mean of episodes 5 and 6 − episode 4", later))
    lasts = [last for _, _, last in found["VariBAD"]]
    result = document(
        NAME,
        "VariBAD, GridNavi, all 21 goals, 4 episodes",
        "total return per trial",
        returns["VariBAD"][:, :, :TRAINED].sum(axis=2),
        seeds=seeds,
        tasks=PROTOCOL.tasks,
        steps=lasts[0]["environment_steps"],
        seconds=float(np.mean([last["seconds"] for last in lasts])),
        note=NOTE,
        target=f">= {TARGET:.2f}",
        bounds=[("Bayes-optimal", sum(OPTIMUM[:TRAINED]))],
    )
    details = {
        "steps_per_second_at_the_end": [last["steps_per_second"] for last in lasts],
        "per_episode": {k: v.mean(1).tolist() for k, v in returns.items()},
    }
    write({**result, "rows": rows, "details": details})
    draw(found["VariBAD"][0][0])


NOTE = (
    "the paper's protocol: training and judgement are on the same 21 goals, so this measures exploration, not "
    "generalisation. Agents act by chance as they do in training, and trained on 4 episodes, for as many environment "
    "steps"
)


def draw(agent: api.Trained, task: int = 12, steps: tuple[int, ...] = (0, 2, 4, 6, 8, 10, 12, 14, 29)) -> None:
    """What the belief expects of every cell, by step of a trial: the chance of a reward, over 500 latents."""
    from adaptax.report.style import save

    algorithm, on = agent.algorithm, agent.benchmark
    one = jax.tree.map(lambda x: x[task : task + 1], on.test.tasks)  # type: ignore[attr-defined]
    plan = algorithm.plan._replace(tasks=1)

    @jax.jit
    def live(params: Any) -> Any:
        trials = collect(
            algorithm, streams_of(on.environment), type(on.test)(one), plan, params, None, jax.random.key(3)
        )[0]
        rollout = jax.tree.map(lambda x: x[0, 0, 0], trials.rollouts)
        mean, log_std = jnp.split(rollout.decision.extras.belief, 2, axis=-1)
        latents = mean + jnp.exp(log_std) * jax.random.normal(jax.random.key(4), (500, *mean.shape))
        each = jax.nn.sigmoid(algorithm.belief_model.by_place(params.model, latents))  # type: ignore[attr-defined]
        chance = jnp.mean(each, axis=0)
        return rollout.timestep.observation, chance.reshape(-1, 5, 5)

    places, chance = (np.asarray(x) for x in live(agent.params))
    save(figure(places, chance, np.asarray(one.goal)[0], steps), FIGURE)


def figure(places: np.ndarray, chance: np.ndarray, goal: np.ndarray, steps: tuple[int, ...]) -> Figure:
    """One panel a step: cells shaded by their chance, the path so far in this episode, and the goal."""
    from adaptax.report.style import INK, PALETTE, new_figure, styled

    with styled():
        drawn = new_figure(9.6, 1.75)
        panels = drawn.subplots(1, len(steps))
        for step, axes in zip(steps, panels, strict=True):
            axes.imshow(chance[step].T, origin="lower", cmap="Blues", vmin=0, vmax=1)
            begun = 15 * (step // 15)
            path = places[begun : step + 1]
            axes.plot(path[:, 0], path[:, 1], color=PALETTE[1], linewidth=1.4)
            axes.plot(*path[-1], "o", color=PALETTE[1], markersize=4)
            axes.plot(*goal, "*", color=INK, markersize=8)
            axes.set(xticks=[], yticks=[])
            episode, within = divmod(step, 15)
            axes.set_title(f"episode {episode + 1}\nstep {within}", fontsize=8, weight="normal", loc="center", pad=4)
        drawn.suptitle(
            "Chance that a step there pays, by VariBAD's belief (star: the goal)",
            x=0.01,
            ha="left",
            fontsize=9,
        )
    return drawn


if __name__ == "__main__":
    main()
