"""Names: algorithms, benchmarks, reference strategies, imported on demand; the defaults of a pair; published figures.

One line here makes a file known to the command line, the contract tests and the documentation. Third parties join
through the entry-point groups `adaptax.algorithms` and `adaptax.benchmarks`, whose objects are what the targets here
are: an algorithm's dataclass (its first field `spec`), and a function that makes a `Benchmark`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from .nets import NETWORKS
from .strategies import STRATEGIES
from .types import Algorithm, Benchmark, Spec, UserError


class Entry(NamedTuple):
    """Where a name leads (`module:attribute`), one line about it, and the fields that the name fixes."""

    target: str
    line: str
    fixed: Mapping[str, Any] = {}

    def load(self) -> Any:
        module, attribute = self.target.split(":")
        return getattr(import_module(module), attribute)


ALGORITHMS = {
    "rl2": Entry("adaptax.algorithms.rl2:RL2", "RL²: a recurrent policy learns to learn (Duan et al. 2016), with PPO"),
    "rl2-sac": Entry(
        "adaptax.algorithms.rl2_sac:RL2SAC", "RL² by soft actor-critic on past trials (Grigsby et al. 2024)"
    ),
    "rl2-dqn": Entry(
        "adaptax.algorithms.rl2_dqn:RL2DQN", "RL² by a double dueling DQN on past trials (Liu et al. 2021)"
    ),
    "maml": Entry(
        "adaptax.algorithms.maml:MAML",
        "MAML: an initialisation that one gradient step adapts (Finn et al. 2017)",
    ),
    "maml-trpo": Entry("adaptax.algorithms.maml_trpo:MAMLTRPO", "MAML with its outer step, TRPO (Finn et al. 2017)"),
    "boil": Entry(
        "adaptax.algorithms.maml_trpo:MAMLTRPO",
        "BOIL: all but the head adapts (Oh et al. 2021), with TRPO",
        {"adapt_only_body": True},
    ),
    "e-maml": Entry(
        "adaptax.algorithms.maml_trpo:MAMLTRPO",
        "E-MAML: what was explored is credited too (Stadie et al. 2018), with TRPO",
        {"exploration_credit": True},
    ),
    "cavia": Entry(
        "adaptax.algorithms.maml_trpo:MAMLTRPO",
        "CAVIA: only a context input adapts (Zintgraf et al. 2019), with TRPO",
        {"adapt_only_context": True},
    ),
    "promp": Entry(
        "adaptax.algorithms.promp:ProMP",
        "ProMP: the inner step is credited for its data; proximal outer steps (Rothfuss et al. 2019)",
    ),
    "maesn": Entry(
        "adaptax.algorithms.maesn:MAESN",
        "MAESN: an episode's latent explores, its distribution adapts (Gupta et al. 2018), with TRPO",
    ),
    "reptile": Entry(
        "adaptax.algorithms.reptile:Reptile",
        "Reptile: an initialisation that moves towards adapted parameters (Nichol et al. 2018)",
    ),
    "mmaml": Entry(
        "adaptax.algorithms.mmaml:MMAML",
        "MMAML: an encoding of the first round modulates the initialisation (Vuorio et al. 2019)",
    ),
    "gmps": Entry(
        "adaptax.algorithms.gmps:GMPS",
        "GMPS: an initialisation whose inner step imitates experts of the training tasks (Mendonca et al. 2019)",
    ),
    "task-model": Entry(
        "adaptax.algorithms.task_model:TaskModel",
        "task model: a probing round chooses where adaptation starts and how far it steps",
    ),
    "multitask-ppo": Entry(
        "adaptax.algorithms.multitask_ppo:MultitaskPPO",
        "multi-task PPO: one policy for all tasks, fine-tuned on a new one; the baseline of meta-learning",
    ),
    "multitask-sac": Entry("adaptax.algorithms.multitask_sac:MultitaskSAC", "multi-task SAC: a replay of all tasks"),
    "multitask-ddpg": Entry("adaptax.algorithms.multitask_ddpg:MultitaskDDPG", "multi-task TD3 or DDPG, with a replay"),
    "multitask-dqn": Entry("adaptax.algorithms.multitask_dqn:MultitaskDQN", "multi-task DQN: a replay of all tasks"),
    "varibad": Entry(
        "adaptax.algorithms.varibad:VariBAD",
        "VariBAD: a policy on a variational belief about the task (Zintgraf et al. 2020), with PPO",
    ),
    "hyperx": Entry(
        "adaptax.algorithms.varibad:VariBAD",
        "HyperX: VariBAD with bonuses for new states and beliefs (Zintgraf et al. 2021)",
        {"explore": True},
    ),
    "pearl": Entry(
        "adaptax.algorithms.pearl:PEARL",
        "PEARL: soft actor-critic on a latent inferred from the task's transitions (Rakelly et al. 2019)",
    ),
    "fomaml": Entry("adaptax.algorithms.maml:MAML", "first-order MAML (Finn et al. 2017)", {"first_order": True}),
    "anil": Entry(
        "adaptax.algorithms.maml:MAML",
        "ANIL: only the head adapts (Raghu et al. 2020)",
        {"adapt_only_head": True},
    ),
    "meta-sgd": Entry(
        "adaptax.algorithms.maml:MAML",
        "Meta-SGD: learned step sizes (Li et al. 2017)",
        {"learn_step_sizes": True},
    ),
}

BENCHMARKS = {
    "bandit": Entry("adaptax.envs.bandit:bandit", "Bernoulli bandits (RL² paper)"),
    "gaussian-bandit": Entry(
        "adaptax.envs.gaussian_bandit:gaussian_bandit", "bandits with Gaussian rewards (DPT paper)"
    ),
    "tabular-mdp": Entry("adaptax.envs.tabular_mdp:tabular_mdp", "random tabular MDPs (RL² paper)"),
    "navigation": Entry("adaptax.envs.navigation:navigation", "2-D navigation to a hidden goal, dense (MAML paper)"),
    "sparse-navigation": Entry(
        "adaptax.envs.sparse_navigation:sparse_navigation",
        "point robot, goals on a half circle, sparse (PEARL paper)",
    ),
    "clustered-navigation": Entry(
        "adaptax.envs.clustered_navigation:clustered_navigation", "2-D navigation, hidden goals in clusters, dense"
    ),
    "gridnavi": Entry("adaptax.envs.gridnavi:gridnavi", "5×5 grid with a hidden goal (VariBAD paper)"),
    "rooms": Entry("adaptax.envs.rooms:rooms", "three rooms with three hidden goals in turn (HyperX paper)"),
    "treasure": Entry("adaptax.envs.treasure:treasure", "a treasure that is seen from a costly hill (HyperX paper)"),
    "corner": Entry("adaptax.envs.corner:corner", "four corners, one of them the hidden goal, sparse (ProMP paper)"),
    "momentum-corner": Entry(
        "adaptax.envs.corner:momentum_corner", "four corners, actions accelerate, sparse (ProMP paper)"
    ),
    "toy-1d": Entry("adaptax.envs.toy:toy_1d", "a hidden goal on the line, for two-parameter policies (ProMP paper)"),
    "cart-pole": Entry(
        "adaptax.envs.host.classic:cart_pole", "Gymnasium's CartPole, unknown pole and motor (on the host)"
    ),
    "pendulum": Entry(
        "adaptax.envs.host.classic:pendulum", "Gymnasium's Pendulum, unknown rod and gravity (on the host)"
    ),
}


class Defaults(NamedTuple):
    """What a pair of algorithm and benchmark starts from, where it differs from the dataclass: hyper-parameters,
    meta-iterations, and how it is judged (fields of `run.evaluate.Protocol`). `spread`: on a CPU, giving each core its
    own tasks was measured to pay."""

    hyperparameters: Mapping[str, Any] = {}
    iterations: int = 500
    evaluation: Mapping[str, Any] = {}
    spread: bool = False


_TRUST_REGION = ("maml-trpo", "boil", "e-maml")
_BY_GRADIENT = (
    *("maml", "fomaml", "anil", "meta-sgd", *_TRUST_REGION, "cavia"),
    *("promp", "maesn", "gmps", "mmaml", "reptile", "task-model", "multitask-ppo"),
    *("multitask-sac", "multitask-ddpg", "multitask-dqn"),
)
_GRADIENT = {"rounds": 4, "streams": 20}
_ON_HOST = {"rounds": 4, "streams": 5, "tasks": 20}
# Fresh trials instead of passes over old ones: collecting one costs a quarter of a pass over it.
_TRIALS = {"tasks": 1024, "epochs": 1, "minibatches": 32, "hidden": 64, "learning_rate": 3e-3, "discount": 0.99}
_PULLS = {**_TRIALS, "trace": 0.9, "entropy": 0.1, "decay": 600}
_PAIRS = {**_TRIALS, "trace": 0.3, "entropy": 0.03, "decay": 600, "network": "lstm", "head_hidden": 128, "pairs": True}
_POINT = Defaults({"step_size": 0.5}, 300, {"rounds": 4, "streams": 40, "tasks": 40}, spread=True)
_CLUSTERED = {"hidden": (64, 64), "streams": 10, "epochs": 5, "learning_rate": 3e-3, "decay": 250}
_MODULATED = {**_CLUSTERED, "tasks": 20, "inner_steps": 0, "step_size": 0.02, "probing_step_size": 0.02}
# The published schedule of collection; fewer and smaller gradient steps of smaller networks (docs/algorithms/pearl.md).
_PEARL = {
    **{"tasks": 10, "rounds": 10, "context_rounds": 0, "streams": 5, "exploration": 5, "gradient_steps": 500},
    **{"batch": 32, "context": 400, "hidden": (128, 128), "encoder_hidden": (64, 64)},
    **{"prior_weight": 1.0, "discount": 0.9, "reward_scale": 100.0, "learning_rate": 1e-3},
}
# The agent comes to rely on its own noise to find out where the goal is, so it keeps it when judged.
_PAST_TRIALS = {"tasks": 8, "batch": 16, "discount": 0.9, "learning_rate": 2e-3, "judged_by_mean": False}
_PAST_TRIALS |= {"entropy": -2.0, "temperature_learning_rate": 3e-3}
_GUIDED = {"tasks": 40, "streams": 5, "step_size": 0.5, "expert_iterations": 40}
_REPLAY = {"discount": 0.95, "batch": 128, "hidden": (64, 64), "fine_tuning_steps": 500, "fine_tuning_capacity": 20_000}
_VALUES = {"batch": 128, "hidden": (64, 64)}
_FINE_TUNED = {"rounds": 8, "streams": 20, "tasks": 40}
_EACH = {"rounds": 8, "streams": 1, "episodes": 1}
# The authors' sizes. Their PPO, made for 100 M steps, takes smaller steps (docs/algorithms/hyperx.md).
_ROOMS = {
    **{"tasks": 32, "cells": (15, 3), "latent": 10, "hidden": 128, "decoder_hidden": (64, 64), "policy_hidden": (64,)},
    **{"model_updates": 1, "epochs": 4, "clip": 0.2, "learning_rate": 2e-3, "entropy": 0.03, "discount": 0.98},
}
_TREASURE = {
    **{"tasks": 24, "latent": 25, "hidden": 128, "decoder_hidden": (64, 32), "policy_hidden": (128, 128, 128)},
    **{"model_updates": 1, "model_batch": 15, "prior_weight": 1.0, "capacity": 10_000},
    **{"minibatches": 8, "entropy": 0.001, "discount": 0.97, "trace": 0.9},
}
_CELLS = {"cells": (5, 5), "reward_model": "bernoulli", "prior_weight": 0.01}
DEFAULTS: dict[tuple[str, str], Defaults] = {
    ("rl2", "bandit"): Defaults(_PULLS, 600, {"tasks": 1000}, spread=True),
    ("rl2", "tabular-mdp"): Defaults(_PAIRS, 600, {"tasks": 1000}, spread=True),
    ("rl2", "gridnavi"): Defaults({"discount": 0.95, "entropy": 0.01}, 500, {"tasks": 210}),
    # For 10 pulls of 5 arms; what was measured of the three is in docs/algorithms/rl2-off-policy.md.
    ("rl2-dqn", "bandit"): Defaults({"tasks": 64, "batch": 128}, 300, {"tasks": 1000}),
    ("rl2-dqn", "gridnavi"): Defaults({"discount": 0.95, "epsilon_decay": 500}, 750, {"tasks": 210}),
    ("rl2-sac", "navigation"): Defaults(_PAST_TRIALS, 300, {"tasks": 40}),
    ("varibad", "gridnavi"): Defaults(_CELLS, 5000, {"tasks": 210}),
    ("hyperx", "gridnavi"): Defaults({**_CELLS, "anneal": 5000}, 5000, {"tasks": 210}),
    ("varibad", "rooms"): Defaults(_ROOMS, 2000, {"tasks": 480}),
    ("hyperx", "rooms"): Defaults({**_ROOMS, "novelty_weight": 10.0, "anneal": 2000}, 2000, {"tasks": 480}),
    ("varibad", "treasure"): Defaults(_TREASURE, 2000, {"tasks": 100}),
    ("hyperx", "treasure"): Defaults({**_TREASURE, "anneal": 2000}, 2000, {"tasks": 100}),
    **{(name, "navigation"): _POINT for name in ("maml", "fomaml", "anil", "meta-sgd", *_TRUST_REGION, "promp")},
    ("cavia", "navigation"): _POINT._replace(hyperparameters={"step_size": 1.0, "discount": 0.95}),
    **{(name, "navigation"): _POINT._replace(hyperparameters={}) for name in ("reptile", "multitask-ppo")},
    ("multitask-sac", "navigation"): Defaults(_REPLAY, 100, _FINE_TUNED),
    ("multitask-ddpg", "navigation"): Defaults({**_REPLAY, "noise": 0.3}, 100, _FINE_TUNED),
    ("multitask-sac", "sparse-navigation"): Defaults({**_REPLAY, "discount": 0.9}, 60, {**_FINE_TUNED, "tasks": 20}),
    ("multitask-dqn", "gridnavi"): Defaults({**_VALUES, "discount": 0.95}, 120, {**_EACH, "tasks": 210}),
    ("multitask-dqn", "tabular-mdp"): Defaults({**_VALUES, "discount": 0.9}, 120, {**_EACH, "tasks": 100}),
    # With learned step sizes the prior comes to cover less of the half circle (docs/algorithms/maesn.md).
    ("maesn", "sparse-navigation"): Defaults(
        {"learn_step_sizes": False, "later_step_scale": 0.9}, 300, {"rounds": 16, "streams": 20, "tasks": 20}
    ),
    ("mmaml", "clustered-navigation"): Defaults(_MODULATED, 250, {"rounds": 4, "streams": 10}),
    ("gmps", "sparse-navigation"): Defaults(_GUIDED, 60, _GRADIENT),
    ("pearl", "sparse-navigation"): Defaults(_PEARL, 240, {"rounds": 20, "streams": 1, "tasks": 20}),
    # Environments on the host take a hundred times as long to step as those in JAX.
    **{(name, on): Defaults(evaluation=_ON_HOST) for name in _BY_GRADIENT for on in ("cart-pole", "pendulum")},
    ("task-model", "clustered-navigation"): Defaults(_CLUSTERED, 250, {"rounds": 4, "streams": 10}),
}


def defaults(algorithm: str, benchmark: str) -> Defaults:
    """The defaults of a pair."""
    found = DEFAULTS.get((algorithm, benchmark))
    if found is None:
        found = Defaults(evaluation=_GRADIENT if algorithm in _BY_GRADIENT else {})
    return found


def algorithm_entry(name: str) -> Entry:
    return _find("algorithm", name, _joined(ALGORITHMS, "adaptax.algorithms"))


def benchmark_entry(name: str) -> Entry:
    return _find("benchmark", name, _joined(BENCHMARKS, "adaptax.benchmarks"))


def all_algorithms() -> dict[str, Entry]:
    return _joined(ALGORITHMS, "adaptax.algorithms")


def all_benchmarks() -> dict[str, Entry]:
    return _joined(BENCHMARKS, "adaptax.benchmarks")


def all_networks() -> dict[str, Entry]:
    return {name: Entry(target, line) for name, (target, line) in NETWORKS.items()}


def make_benchmark(name: str, settings: Mapping[str, Any]) -> Benchmark:
    """The benchmark called `name` with `settings`, which are the keywords of the function behind it."""
    build = benchmark_entry(name).load()
    _check_names(f"benchmark {name}", settings, inspect.signature(build).parameters)
    return build(**settings)


def make_algorithm(name: str, benchmark: str | None, spec: Spec, hyperparameters: Mapping[str, Any]) -> Algorithm:
    """The algorithm called `name` for an environment like `spec`; `benchmark` names whose defaults to start from."""
    entry = algorithm_entry(name)
    build = entry.load()
    names = [field.name for field in fields(build) if field.name != "spec" and field.name not in entry.fixed]
    _check_names(f"algorithm {name}", hyperparameters, names)
    start = defaults(name, benchmark).hyperparameters if benchmark else {}
    return build(spec=spec, **{**start, **hyperparameters, **entry.fixed})


def make_strategies(benchmark: str, spec: Spec) -> dict[str, Callable[[], Any]]:
    """The benchmark's reference strategies by name, each still to be made (Gittins' table takes seconds)."""
    found = STRATEGIES.get(benchmark, {})
    return {name: (lambda target=target: Entry(target, "").load()(spec)) for name, target in found.items()}


def _joined(ours: Mapping[str, Entry], group: str) -> dict[str, Entry]:
    theirs = {
        point.name: Entry(point.value, f"from {point.value.split(':')[0]}") for point in entry_points(group=group)
    }
    return {**theirs, **ours}


def _find(kind: str, name: str, known: Mapping[str, Entry]) -> Entry:
    if name not in known:
        raise UserError(f"there is no {kind} {name!r}; {_closest(name, known)} (adaptax list shows them all)")
    return known[name]


def _check_names(whose: str, given: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in given:
        if name not in known:
            raise UserError(f"{whose} has no setting {name!r}; {_closest(name, known)}")


def _closest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    return f"the closest are {', '.join(near)}" if near else f"there are {', '.join(sorted(names))}"
