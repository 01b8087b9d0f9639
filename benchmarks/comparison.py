"""Several agents on several benchmarks against environment steps: what the recipes `families` and `half_cheetah` share.

Every agent is judged on held-out tasks at five points of its training, in the protocol that is its own.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import common
import numpy as np
from common import RESULTS, RUNS, arguments, document, row, seeds_of, write

from adaptax.names import provenance, registry
from adaptax.names.evaluation import strategies_of
from adaptax.run.evaluate import Protocol, evaluate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
POINTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of the iterations, at which agents are judged


class Agent(NamedTuple):
    """What is trained, for how many meta-iterations, and how it is judged (fields of `Protocol`)."""

    algorithm: str
    iterations: int
    judged: dict[str, int]
    hyperparameters: dict[str, Any] = {}


class Panel(NamedTuple):
    """One benchmark, its agents by label, the split and number of tasks that judge them, and the strategies that bound
    them."""

    title: str
    benchmark: str
    settings: dict[str, Any]
    tasks: int
    agents: dict[str, Agent]
    bounds: tuple[str, ...] = ()
    split: str = "test"


class Comparison(NamedTuple):
    """A recipe: its panels by key, and the colour of each label as a place in the palette.

    `adapting`: the figure shows the return before adaptation, too.
    """

    name: str
    title: str
    note: str
    panels: Mapping[str, Panel]
    colours: Mapping[str, int]
    adapting: bool = False

    @property
    def each(self) -> dict[str, tuple[Panel, Agent]]:
        """Every agent by "panel: label"."""
        return {
            f"{key}: {label}": (panel, agent)
            for key, panel in self.panels.items()
            for label, agent in panel.agents.items()
        }

    def judged(self, name: str, options: Any) -> dict[str, Any]:
        """Returns of the last episode, and of the first round's, by environment steps of training."""
        panel, agent = self.each[name]
        iterations = options.iterations or agent.iterations
        label = name.split(": ")[1].lower().replace(" ", "-")
        returns, before, steps, seconds = [], [], [], []
        for point in POINTS:
            found = []
            for seed in seeds_of(options):
                trained, last = common.trained(
                    RUNS / f"{self.name}-{panel.benchmark}-{label}-seed{seed}",
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
                result = evaluate(trained.algorithm, on, on.split(panel.split), trained.params, protocol).returns
                found.append(result.astype(np.float64))
            all_returns = np.stack(found)  # [seeds, tasks, rounds, streams, episodes]
            returns.append(all_returns[:, :, -1, :, -1].mean(axis=-1))
            before.append(all_returns[:, :, 0, :, 0].mean(axis=-1))
            steps.append(last["environment_steps"])
            seconds.append(last["seconds"])
            first, final = before[-1].mean(), returns[-1].mean()
            print(f"{name}: {first:.2f} -> {final:.2f} after {steps[-1]} steps, {seconds[-1]:.0f} s", flush=True)
        protocol = Protocol(tasks=panel.tasks, **agent.judged)
        others = (protocol.rounds - 1) * protocol.streams + protocol.episodes - 1
        rows = [row(f"{name}, last episode after {others} others and {steps[-1] / 1e6:.2g} M steps", returns[-1])]
        if self.adapting:
            rows.append(row(f"{name}, gain over the first episode", returns[-1] - before[-1]))
        return {
            "environment_steps": steps,
            "seconds": seconds[-1],
            "rows": rows,
            "return": [values.mean(axis=1).round(3).tolist() for values in returns],  # [points, seeds]
            "first": [values.mean(axis=1).round(3).tolist() for values in before],
        }

    def bounds(self, panel: Panel) -> dict[str, float]:
        """The last episode of those who know, or know nothing."""
        if not panel.bounds:
            return {}
        on = registry.make_benchmark(panel.benchmark, panel.settings)
        strategies = strategies_of(on)
        protocol, tasks = Protocol(tasks=panel.tasks, seed=1), on.split(panel.split)
        return {
            name: float(evaluate(strategies[name](on.spec), on, tasks, (), protocol).returns.mean())
            for name in panel.bounds
        }

    def figure(self, details: dict[str, Any], limits: dict[str, dict[str, float]]) -> Figure:
        from matplotlib.ticker import NullFormatter

        from adaptax.report.style import Label, label_lines, new_figure, styled

        with styled():
            drawn = new_figure(10.4, 4.4)
            for (key, panel), axes in zip(self.panels.items(), drawn.subplots(1, len(self.panels)), strict=True):
                found = [label for label in panel.agents if f"{key}: {label}" in details]
                labels = [self._line(axes, label, details[f"{key}: {label}"]) for label in found]
                for name, level in limits[key].items():
                    axes.axhline(level, color="#8C8C8C", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
                    labels.append(Label(name.replace("-", " "), level, "#6B6B6B"))
                axes.set(xscale="log", xlabel="environment steps of training", ylabel="return of the episode")
                axes.xaxis.set_minor_formatter(NullFormatter())  # over less than a decade they would overlap
                axes.set_title(panel.title)
                axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
                label_lines(axes, labels)
        return drawn

    def _line(self, axes: Axes, label: str, found: Mapping[str, Any]) -> Any:
        """One agent's mean over seeds by steps, dashed for the multi-task baselines, and where its label goes."""
        from adaptax.report.style import PALETTE, Label

        colour = PALETTE[self.colours[label]]
        mean = np.array(found["return"]).mean(axis=1)
        style, steps = "--" if label.startswith("multi-task") else "-", found["environment_steps"]
        axes.plot(steps, mean, style, color=colour, linewidth=1.5, marker="o", markersize=3)
        if self.adapting:
            axes.plot(steps, np.array(found["first"]).mean(axis=1), ":", color=colour, linewidth=1.2)
        return Label(label, float(mean[-1]), colour)

    def run(self, description: str) -> None:
        """The command line of the recipe."""
        from adaptax.report.style import save

        parser = arguments(description, seeds=1)
        parser.add_argument(
            "--only", nargs="+", choices=list(self.each), default=list(self.each), metavar="NAME", help="some agents"
        )
        parser.add_argument("--draw", action="store_true", help="measure nothing; draw the figure from the result file")
        options = parser.parse_args()
        if options.evaluate_only:
            parser.error("agents are judged while they are trained; --draw makes the figure anew")
        path = RESULTS / f"{self.name}.json"
        details = json.loads(path.read_text())["details"] if path.exists() else {}
        limits = {key: self.bounds(panel) for key, panel in self.panels.items()}
        for name in [] if options.draw else options.only:
            made_by = {"command": shlex.join(["python", *sys.argv]), "git": provenance.git_revision()}
            details[name] = self.judged(name, options) | made_by
            kept = [details[each] for each in self.each if each in details]
            result = document(
                self.name,
                self.title,
                "return of the last episode",
                None,
                seeds=seeds_of(options),
                tasks=None,
                steps=max(found["environment_steps"][-1] for found in kept),
                seconds=float(sum(found["seconds"] for found in kept)),
                note=self.note,
            )
            rows = [line for found in kept for line in found["rows"]]
            write({**result, "rows": rows, "details": details})
        save(self.figure(details, limits), FIGURES / f"{self.name}.png")
