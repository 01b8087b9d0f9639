"""Every family against environment steps: `python benchmarks/families.py`.

Two panels: the dense point robot (half circle, 20 held-out goals) and random tabular MDPs of 10 episodes. Each agent is
judged on held-out tasks at five points of its training, in the protocol that is its own: the return of the last episode
after as much experience of the task as the table says. Multi-task policies, fine-tuned, show what is gained by learning
to learn. One setting an agent, not tuned one by one. `--only NAME …` trains and judges some agents anew and keeps the
others' numbers.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import common
import numpy as np
from common import RESULTS, RUNS, arguments, document, row, seeds_of, write

from adaptax import provenance, registry
from adaptax.run.evaluate import Protocol, evaluate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "families"
PATH = RESULTS / f"{NAME}.json"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "families.png"
POINTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of the iterations, at which agents are judged


class Agent(NamedTuple):
    """What is trained, for how many meta-iterations, and how it is judged (fields of `Protocol`)."""

    algorithm: str
    iterations: int
    judged: dict[str, int]
    hyperparameters: dict[str, Any] = {}


class Panel(NamedTuple):
    """One benchmark, its agents by label, the tasks that judge them, and the strategies that bound them."""

    title: str
    benchmark: str
    settings: dict[str, Any]
    tasks: int
    agents: dict[str, Agent]
    bounds: tuple[str, ...]


_ROUNDS = {"rounds": 2, "streams": 20}  # 20 episodes, one adaptation, and the return after it
_MANY_ROUNDS = {"rounds": 6, "streams": 4}  # as many, and five adaptations
_MINIBATCH = {"tasks": 20, "streams": 20}
_TRIALS = {"tasks": 256, "hidden": 64, "learning_rate": 3e-3, "epochs": 2, "minibatches": 8}
_COLLECTED = {"tasks": 5, "rounds": 4, "streams": 2, "gradient_steps": 100, "exploration": 2}
_PAST_TRIALS = {  # the defaults of `navigation`
    **{"tasks": 8, "batch": 16, "discount": 0.9, "learning_rate": 2e-3, "entropy": -2.0},
    **{"temperature_learning_rate": 3e-3, "judged_by_mean": False, "episodes": 4},
}
POINT = Panel(
    "Dense point robot: last episode on unseen goals",
    "sparse-navigation",
    {"dense": True, "goals": "paper"},
    20,
    {
        "MAML": Agent("maml-trpo", 100, _ROUNDS, {**_MINIBATCH, "step_size": 0.5}),
        "ProMP": Agent("promp", 100, _ROUNDS, {**_MINIBATCH, "step_size": 0.5}),
        "RL²": Agent("rl2", 150, {"episodes": 4}, {**_TRIALS, "episodes": 4}),
        "RL²-SAC": Agent("rl2-sac", 300, {"episodes": 4}, _PAST_TRIALS),
        "VariBAD": Agent("varibad", 1200, {"episodes": 4}, {"episodes": 4, "decay": 1200}),
        "PEARL": Agent("pearl", 400, {"rounds": 4, "streams": 2}, {**_COLLECTED, "context": 80}),
        "multi-task PPO": Agent("multitask-ppo", 100, _ROUNDS, _MINIBATCH),
        "multi-task SAC": Agent("multitask-sac", 100, _MANY_ROUNDS),
    },
    ("known-goal",),
)
_EPISODES = {"episodes": 10}
MDP = Panel(
    "Tabular MDP: last episode in unseen processes",
    "tabular-mdp",
    {"episodes": 10},
    1000,
    {
        "MAML": Agent("maml-trpo", 60, {"rounds": 2, "streams": 9}, {"tasks": 40, "streams": 9, "steps": 10}),
        "ProMP": Agent("promp", 60, {"rounds": 2, "streams": 9}, {"tasks": 40, "streams": 9, "steps": 10}),
        "RL²": Agent("rl2", 100, _EPISODES, {"decay": 100}),
        "RL²-DQN": Agent("rl2-dqn", 300, _EPISODES, {"tasks": 32, "batch": 64, "epsilon_decay": 200, "discount": 0.99}),
        "VariBAD": Agent("varibad", 1200, _EPISODES, {"tasks": 64, "decay": 1200}),
        "multi-task PPO": Agent(
            "multitask-ppo", 60, {"rounds": 2, "streams": 9}, {"tasks": 40, "streams": 9, "steps": 10}
        ),
        "multi-task DQN": Agent("multitask-dqn", 120, {"rounds": 4, "streams": 3}),
    },
    ("random", "known-mdp"),
)
PANELS = {"point": POINT, "mdp": MDP}
# Of the palette: an agent of one panel has that of its kin in the other, and the baselines those of whom they resemble.
COLOURS = {"MAML": 0, "ProMP": 1, "RL²": 2, "RL²-SAC": 3, "RL²-DQN": 3, "VariBAD": 4, "PEARL": 5}
COLOURS |= {"multi-task PPO": 2, "multi-task SAC": 5, "multi-task DQN": 5}
EACH = {f"{key}: {label}": (panel, agent) for key, panel in PANELS.items() for label, agent in panel.agents.items()}


def judged(name: str, options: Any) -> dict[str, Any]:
    """The last episode's return [points, seeds, tasks] summed up, by environment steps of training."""
    panel, agent = EACH[name]
    iterations = options.iterations or agent.iterations
    returns, steps, seconds = [], [], []
    for point in POINTS:
        found = []
        for seed in seeds_of(options):
            out = RUNS / f"{NAME}-{panel.benchmark}-{name.split(': ')[1].lower().replace(' ', '-')}-seed{seed}"
            trained, last = common.trained(
                out,
                agent.algorithm,
                panel.benchmark,
                options,
                max(1, round(point * iterations)),
                seed,
                settings=panel.settings,
                hyperparameters=agent.hyperparameters,
                log_every=max(1, iterations // 100),
            )
            on, protocol = trained.benchmark, Protocol(tasks=panel.tasks, seed=1, **agent.judged)
            result = evaluate(trained.algorithm, on, on.test, trained.params, protocol).returns
            found.append(result[:, -1, :, -1].astype(np.float64).mean(axis=-1))
        steps.append(last["environment_steps"])
        seconds.append(last["seconds"])
        returns.append(np.stack(found))
        print(f"{name}: {returns[-1].mean():.2f} after {steps[-1]} steps, {seconds[-1]:.0f} s", flush=True)
    protocol = Protocol(tasks=panel.tasks, **agent.judged)
    before = (protocol.rounds - 1) * protocol.streams + protocol.episodes - 1
    return {
        "environment_steps": steps,
        "seconds": seconds[-1],
        "row": row(f"{name}, last episode after {before} others and {steps[-1] / 1e6:.2g} M steps", returns[-1]),
        "return": [values.mean(axis=1).round(3).tolist() for values in returns],  # [points, seeds]
    }


def bounds(panel: Panel) -> dict[str, float]:
    """The last episode of those who know, or know nothing."""
    on = registry.make_benchmark(panel.benchmark, panel.settings)
    strategies = registry.make_strategies(panel.benchmark, on.spec)
    protocol = Protocol(tasks=panel.tasks, seed=1)
    return {
        name: float(evaluate(strategies[name](), on, on.test, (), protocol).returns.mean()) for name in panel.bounds
    }


def figure(details: dict[str, Any], limits: dict[str, dict[str, float]]) -> Figure:
    from adaptax.report.style import Label, label_lines, new_figure, styled

    with styled():
        drawn = new_figure(10.4, 4.4)
        for (key, panel), axes in zip(PANELS.items(), drawn.subplots(1, len(PANELS)), strict=True):
            labels = [_line(axes, panel, key, label, details) for label in panel.agents if f"{key}: {label}" in details]
            for name, level in limits[key].items():
                axes.axhline(level, color="#8C8C8C", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
                labels.append(Label(name.replace("-", " "), level, "#6B6B6B"))
            axes.set(xscale="log", xlabel="environment steps of training", ylabel="return of the episode")
            axes.set_title(panel.title)
            axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
            label_lines(axes, labels)
    return drawn


def _line(axes: Axes, panel: Panel, key: str, label: str, details: dict[str, Any]) -> Any:
    """One agent's mean over seeds by steps, dashed for the multi-task baselines, and where its label goes."""
    from adaptax.report.style import PALETTE, Label

    found = details[f"{key}: {label}"]
    colour = PALETTE[COLOURS[label]]
    mean = np.array(found["return"]).mean(axis=1)
    style = "--" if label.startswith("multi-task") else "-"
    axes.plot(found["environment_steps"], mean, style, color=colour, linewidth=1.5, marker="o", markersize=3)
    return Label(label, float(mean[-1]), colour)


def main() -> None:
    from adaptax.report.style import save

    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--only", nargs="+", choices=list(EACH), default=list(EACH), metavar="NAME", help="some agents")
    parser.add_argument("--draw", action="store_true", help="measure nothing; draw the figure from the result file")
    options = parser.parse_args()
    if options.evaluate_only:
        parser.error("agents are judged while they are trained; --draw makes the figure anew")
    details = json.loads(PATH.read_text())["details"] if PATH.exists() else {}
    limits = {key: bounds(panel) for key, panel in PANELS.items()}
    for name in [] if options.draw else options.only:
        made_by = {"command": shlex.join(["python", *sys.argv]), "git": provenance.git_revision()}
        details[name] = judged(name, options) | made_by
        kept = [details[each] for each in EACH if each in details]
        result = document(
            NAME,
            "All families, dense point robot and tabular MDP",
            "return of the last episode",
            None,
            seeds=seeds_of(options),
            tasks=None,
            steps=max(found["environment_steps"][-1] for found in kept),
            seconds=float(sum(found["seconds"] for found in kept)),
            note=NOTE,
        )
        write({**result, "rows": [found["row"] for found in kept], "details": details})
    save(figure(details, limits), FIGURE)


NOTE = (
    "each agent in the protocol that is its own, with the experience of the task that its row names; one setting an "
    "agent, not tuned one by one, and budgets of a few minutes"
)

if __name__ == "__main__":
    main()
