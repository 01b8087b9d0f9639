"""How well DiCE, Loaded DiCE and LVC estimate a return's derivatives: `python benchmarks/dice_derivatives.py`.

The demonstration of Farquhar et al. 2019 on a random MDP whose expected return, and so its derivatives of every order,
are known exactly: 5 states, 4 actions, a tabular softmax policy, trajectories of 50 steps. Each seed draws 4⁸
trajectories, and smaller batches are the first of them; all estimators see the same ones. What is measured is the
correlation of all entries of an estimated derivative (20, 20², 20³) with the exact one. The authors go to 4⁶
trajectories, and take 20 entries of each derivative.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import RESULTS, document, write

from adaptax.ops.dice import dice, loaded_dice
from adaptax.ops.returns import generalized_advantages
from adaptax.report.statistics import mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESULT = RESULTS / "surrogate_derivatives.json"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "dice_derivatives.png"
STATES, ACTIONS, STEPS, DISCOUNT = 5, 4, 50, 0.95
CHUNK = 16  # trajectories differentiated at once: more leave the cache
SIZES = tuple(4**n for n in range(3, 9))
TABLED = 4**6  # the batch whose correlations are rows of the result
ORDERS = ("1st", "2nd", "3rd")

Array = jax.Array
Derivatives = tuple[Array, Array, Array]  # [20], [20, 20], [20, 20, 20], in front of them axes of batches


class Estimator(NamedTuple):
    """DiCE where `decay` is None, else Loaded DiCE; λ is `decay`, and τ, the trace of the advantages, is `trace`.

    Values are exact. τ = 1 takes the sampled return less the value of its first state, τ = 0 the one-step difference.
    """

    name: str
    decay: float | None
    trace: float
    baseline: bool = True

    @property
    def kept(self) -> float:
        """λ; that of DiCE, which credits every action with all that follows, is 1."""
        return 1.0 if self.decay is None else self.decay


ESTIMATORS = (
    Estimator("DiCE", None, 1.0, baseline=False),
    Estimator("DiCE, baseline V", None, 1.0),
    Estimator("loaded DiCE, λ = 1, τ = 1", 1.0, 1.0),
    Estimator("loaded DiCE, λ = 1, τ = 0", 1.0, 0.0),
    Estimator("LVC (λ = 0, τ = 1)", 0.0, 1.0),
)


class Problem(NamedTuple):
    """The MDP, the policy's parameters and the values of its states."""

    moves: Array  # [s, a, s']
    rewards: Array  # [s]
    logits: Array  # [s, a]
    values: Array  # [s]


class Batch(NamedTuple):
    """Trajectories [T, B]; `successors` are the states after each step."""

    states: Array
    actions: Array
    successors: Array


def problem(seed: int) -> Problem:
    """Of each state and action, a random share of the states can follow, with random chances. R ~ 10 (N(0, 1) + 5)."""
    random = np.random.default_rng(seed)
    shape = (STATES, ACTIONS, STATES)
    possible = random.random(shape) > random.random((STATES, ACTIONS, 1))
    possible |= np.eye(STATES, dtype=bool)[random.integers(STATES, size=(STATES, ACTIONS))]  # one at least
    chances = possible * random.random(shape)
    moves = jnp.asarray(chances / chances.sum(2, keepdims=True))
    rewards = jnp.asarray(10 * (random.normal(size=STATES) + 5))
    logits = jnp.asarray(random.normal(size=(STATES, ACTIONS)))
    return Problem(moves, rewards, logits, state_values(moves, rewards, logits))


def state_values(moves: Array, rewards: Array, logits: Array) -> Array:
    """V = (I − γ P_π)⁻¹ R. A state pays when an action is taken in it."""
    kernel = jnp.einsum("sa,sax->sx", jax.nn.softmax(logits), moves)
    return jnp.linalg.solve(jnp.eye(STATES) - DISCOUNT * kernel, rewards)


def exact(world: Problem) -> Derivatives:
    """Of the expected return from a uniformly drawn state on, without end."""
    return three_derivatives(lambda x: state_values(world.moves, world.rewards, table(x)).mean())(flat(world))


def limit(world: Problem, decay: float) -> Derivatives:
    """What an infinite batch gives with λ = 0 or λ = 1, and with DiCE: the expectation of the surrogate itself.

    Both are Σ γ^t E[A(s_t, a_t)] over 50 steps, with advantages and values of the policy that acted. With λ = 1 the
    states are those that the changed policy visits, with λ = 0 those that the unchanged one does.
    """

    def expected(x: Array) -> Array:
        chosen, acted = jax.nn.softmax(table(x)), jax.nn.softmax(world.logits)
        visits = chosen if decay else acted
        gains = world.rewards[:, None] + DISCOUNT * world.moves @ world.values - world.values[:, None]
        occupied, total = jnp.full(STATES, 1 / STATES), jnp.zeros(())
        for t in range(STEPS):
            total += DISCOUNT**t * jnp.sum(occupied[:, None] * chosen * gains)
            occupied = jnp.einsum("s,sa,sax->x", occupied, visits, world.moves)
        return total

    return three_derivatives(expected)(flat(world))


def sample(world: Problem, count: int, seed: int) -> Batch:
    """`count` trajectories of the policy."""
    start_key, walk_key = jax.random.split(jax.random.key(seed))

    def step(states: Array, key: Array) -> tuple[Array, Batch]:
        action_key, move_key = jax.random.split(key)
        actions = jax.random.categorical(action_key, world.logits[states])
        successors = jax.random.categorical(move_key, jnp.log(world.moves[states, actions]))
        return successors, Batch(states, actions, successors)

    start = jax.random.randint(start_key, (count,), 0, STATES)
    return jax.lax.scan(step, start, jax.random.split(walk_key, STEPS))[1]


def objective(estimator: Estimator, world: Problem, batch: Batch, x: Array) -> Array:
    """The surrogate of the expected return. What follows the last step is worth V."""
    logs = jax.nn.log_softmax(table(x))[batch.states, batch.actions]
    rewards, after = world.rewards[batch.states], world.values[batch.successors]
    last = jnp.broadcast_to(jnp.arange(STEPS)[:, None] == STEPS - 1, rewards.shape)
    values = world.values[batch.states]
    if estimator.decay is None:
        paid = rewards + jnp.where(last, DISCOUNT * after, 0.0)
        return -STEPS * dice(logs, paid, DISCOUNT, values if estimator.baseline else None)
    never = jnp.zeros_like(last)
    gains = generalized_advantages(rewards, values, after, never, last, DISCOUNT, estimator.trace)
    return -STEPS * loaded_dice(logs, gains, DISCOUNT, estimator.decay)


def estimate(estimator: Estimator, world: Problem, batch: Batch) -> Derivatives:
    """The derivatives, each [K, …], from K chunks of a batch."""
    chunks = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(STEPS, -1, CHUNK), 1, 0), batch)

    def one(chunk: Batch) -> Derivatives:
        return three_derivatives(lambda x: objective(estimator, world, chunk, x))(flat(world))

    return jax.lax.map(one, chunks)


def three_derivatives(function: Any) -> Any:
    """x ↦ the first three derivatives at x of a function of a vector."""

    def first(x: Array) -> tuple[Array, Array]:
        slope = jax.grad(function)(x)
        return slope, slope

    def second(x: Array) -> tuple[Array, tuple[Array, Array]]:
        curvature, slope = jax.jacfwd(first, has_aux=True)(x)
        return curvature, (slope, curvature)

    def third(x: Array) -> Derivatives:
        bend, (slope, curvature) = jax.jacfwd(second, has_aux=True)(x)
        return slope, curvature, bend

    return third


def table(x: Array) -> Array:
    return x.reshape(STATES, ACTIONS)


def flat(world: Problem) -> Array:
    return world.logits.reshape(-1)


def correlation(found: Any, true: Any) -> float:
    return float(np.corrcoef(np.ravel(found), np.ravel(true))[0, 1])


def measure(world: Problem, seeds: range) -> np.ndarray:
    """Correlations [estimator, order, size, seed] with the exact derivatives."""
    true = jax.jit(exact)(world)
    draw = jax.jit(sample, static_argnames="count")
    estimates = [jax.jit(lambda world, batch, e=e: estimate(e, world, batch)) for e in ESTIMATORS]
    result = np.zeros((len(ESTIMATORS), len(ORDERS), len(SIZES), len(seeds)))
    for s, seed in enumerate(seeds):
        batch = draw(world, count=SIZES[-1], seed=seed)
        for e, compiled in enumerate(estimates):
            for o, parts in enumerate(compiled(world, batch)):
                for n, size in enumerate(SIZES):
                    result[e, o, n, s] = correlation(np.asarray(parts)[: size // CHUNK].mean(0), true[o])
    return result


def limits(world: Problem) -> dict[float, list[float]]:
    """The correlations of an infinite batch, by λ; DiCE's are those of λ = 1."""
    true = jax.jit(exact)(world)
    reached = {decay: jax.jit(lambda world, decay=decay: limit(world, decay))(world) for decay in (0.0, 1.0)}
    return {decay: [correlation(f, t) for f, t in zip(found, true, strict=True)] for decay, found in reached.items()}


def result_of(found: np.ndarray, bounds: dict[float, list[float]], seeds: range, seconds: float) -> dict[str, Any]:
    """The result file: rows for one batch size, all the rest under `details`."""
    over_seeds = mean_interval(found)
    rows, details = [], []
    for e, estimator in enumerate(ESTIMATORS):
        for o, order in enumerate(ORDERS):
            named = {"estimator": estimator.name, "derivative": order, "infinite_batch": bounds[estimator.kept][o]}
            numbers = {"mean": over_seeds.mean[e, o].tolist(), "ci95": over_seeds.half[e, o].tolist()}
            details.append({**named, **numbers, "per_seed": found[e, o].T.tolist()})
    tabled = SIZES.index(TABLED)
    for o, order in list(enumerate(ORDERS))[1:]:
        for e, estimator in enumerate(ESTIMATORS):
            value, half = float(over_seeds.mean[e, o, tabled]), float(over_seeds.half[e, o, tabled])
            bound = {"name": "infinite batch", "value": round(bounds[estimator.kept][o], 3)}
            label = f"{order} derivative, {estimator.name}, {TABLED} trajectories"
            rows.append({"label": label, "value": value, "ci95": half, "published": None, "bounds": [bound]})
    result = document(
        "surrogate_derivatives",
        "Derivatives of the return, random MDP, DiCE and its relatives",
        "correlation with the exact derivative",
        None,
        seeds=seeds,
        tasks=None,
        steps=SIZES[-1] * STEPS,
        seconds=seconds / len(seeds),
        note="no training: each seed draws trajectories of a fixed policy on one MDP; ± is over seeds.",
    )
    return {**result, "rows": rows, "details": {"trajectories": list(SIZES), "correlations": details}}


def figure(result: dict[str, Any]) -> Figure:
    """One panel an order, from the result file: correlation against batch size, a line an estimator."""
    from adaptax.report.style import INK, PALETTE, SOFT, Label, label_lines, new_figure, styled

    sizes, found = result["details"]["trajectories"], result["details"]["correlations"]
    names = [e.name for e in ESTIMATORS]
    with styled():
        drawn = new_figure(10.4, 3.9)
        panels = drawn.subplots(1, len(ORDERS), sharey=True)
        for order, axes in zip(ORDERS, panels, strict=True):
            prepare(axes, f"{order} derivative", sizes)
            for line in (line for line in found if line["derivative"] == order):
                colour = PALETTE[names.index(line["estimator"])]
                mean, half = np.array(line["mean"]), np.array(line["ci95"])
                axes.fill_between(sizes, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)
                axes.plot(sizes, mean, color=colour, linewidth=1.6, marker="o", markersize=3, clip_on=False)
                if line["estimator"] == names[-1] and order != ORDERS[0]:
                    axes.axhline(line["infinite_batch"], color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        same = "With τ = 1 or baseline V:\nthe same estimate,\nthree lines in one"
        style = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.7}
        third = len(sizes) // 3
        place = (sizes[third], found[-len(ORDERS)]["mean"][third])
        panels[0].annotate(
            same, place, (sizes[0] * 1.5, 0.57), color=INK, fontsize=8, va="top", ha="left", arrowprops=style
        )
        panels[0].set_ylabel("correlation with the exact derivative")
        last = {line["estimator"]: line for line in found if line["derivative"] == ORDERS[-1]}
        labels = [Label(unbroken(n), last[n]["mean"][-1], PALETTE[k]) for k, n in enumerate(names)]
        label_lines(panels[-1], [*labels, Label("LVC, infinite batch", last[names[-1]]["infinite_batch"], SOFT)])
    return drawn


def prepare(axes: Axes, title: str, sizes: list[int]) -> None:
    """Title, scales, ticks and grid of a panel."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    from adaptax.report.style import GRID
    from adaptax.report.tables import fixed

    axes.set_title(title)
    axes.set(xscale="log", xlim=(sizes[0], sizes[-1]), ylim=(-0.3, 1.05), xlabel="trajectories in a batch")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.xaxis.set_major_locator(FixedLocator(sizes[1::2]))
    axes.xaxis.set_minor_locator(FixedLocator(sizes[::2]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value, 0)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def unbroken(name: str) -> str:
    """No line break around an equals sign."""
    return name.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def show(result: dict[str, Any]) -> None:
    """The correlations as text."""
    print(f"{'trajectories':32}", *(f"{size:>14}" for size in result["details"]["trajectories"]), "  infinite")
    for line in result["details"]["correlations"]:
        cells = [f"{mean:6.3f} ± {half:.3f}" for mean, half in zip(line["mean"], line["ci95"], strict=True)]
        print(f"{line['derivative']} {line['estimator']:28}", *cells, f"{line['infinite_batch']:9.4f}")
    print(f"{result['seconds']:.0f} s a seed")


def main() -> None:
    from adaptax.report.style import save

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds")
    parser.add_argument("--problem", type=int, default=0, help="seed of the MDP and policy; only 0 writes files")
    parser.add_argument("--draw", action="store_true", help="measure nothing; draw the figure from the result file")
    options = parser.parse_args()
    if options.draw:
        save(figure(json.loads(RESULT.read_text("utf-8"))), FIGURE)
        return
    jax.config.update("jax_enable_x64", True)
    world, seeds = problem(options.problem), range(options.seed, options.seed + options.seeds)
    began = time.perf_counter()
    found, bounds = measure(world, seeds), limits(world)
    result = result_of(found, bounds, seeds, time.perf_counter() - began)
    show(result)
    if options.problem == 0:
        write(result)
        save(figure(result), FIGURE)


if __name__ == "__main__":
    main()
