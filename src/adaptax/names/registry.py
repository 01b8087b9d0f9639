"""Names: algorithms, benchmarks and networks, imported on demand.

One line here makes a file known to the command line, the contract tests and the documentation. Third parties join
through the entry-point groups `adaptax.algorithms` and `adaptax.benchmarks`, whose objects are what the targets here
are: an algorithm's dataclass (its first field `spec`), and a function that makes a `Benchmark`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from ..nets import NETWORKS
from ..types import Algorithm, Benchmark, Spec, UserError
from .defaults import defaults


class UnknownName(UserError):
    """A name that nothing is registered under, or a setting that what is named does not have."""


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
        {"adapts": "body"},
    ),
    "e-maml": Entry(
        "adaptax.algorithms.maml_trpo:MAMLTRPO",
        "E-MAML: what was explored is credited too (Stadie et al. 2018), with TRPO",
        {"exploration_credit": True},
    ),
    "cavia": Entry(
        "adaptax.algorithms.maml_trpo:MAMLTRPO",
        "CAVIA: only a context input adapts (Zintgraf et al. 2019), with TRPO",
        {"adapts": "context"},
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
        {"adapts": "head"},
    ),
    "meta-sgd": Entry(
        "adaptax.algorithms.maml:MAML",
        "Meta-SGD: learned step sizes (Li et al. 2017)",
        {"learn_step_sizes": True},
    ),
}

_FAMILIES, _BODIES = "adaptax.envs.host.mujoco.families", "adaptax.envs.host.mujoco.bodies"
_META_WORLD = "adaptax.envs.host.metaworld"
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
    "half-cheetah-velocity": Entry(f"{_FAMILIES}:half_cheetah_velocity", "cheetah at a hidden velocity (MAML paper)"),
    "half-cheetah-direction": Entry(f"{_FAMILIES}:half_cheetah_direction", "cheetah forwards or back (MAML paper)"),
    "ant-velocity": Entry(f"{_FAMILIES}:ant_velocity", "ant at a hidden velocity (MAML paper)"),
    "ant-direction": Entry(f"{_FAMILIES}:ant_direction", "ant in a hidden direction (MAML paper)"),
    "ant-goal": Entry(f"{_FAMILIES}:ant_goal", "ant to a hidden place (ProMP paper)"),
    "humanoid-direction": Entry(f"{_FAMILIES}:humanoid_direction", "humanoid in a hidden direction (ProMP paper)"),
    "walker-params": Entry(f"{_BODIES}:walker_params", "Walker2D whose body differs (PEARL paper)"),
    "hopper-params": Entry(f"{_BODIES}:hopper_params", "hopper whose body differs (PEARL paper)"),
    "metaworld-ml1": Entry(f"{_META_WORLD}:metaworld_ml1", "Meta-World: one family, unseen goals (Yu et al. 2020)"),
    "metaworld-ml10": Entry(f"{_META_WORLD}:metaworld_ml10", "Meta-World: ten training families, five others"),
    "metaworld-ml45": Entry(f"{_META_WORLD}:metaworld_ml45", "Meta-World: 45 training families, five others"),
}


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
    return checked(build(**settings))


def checked(benchmark: Benchmark) -> Benchmark:
    """`benchmark`, unless its best reference is none of those that it has."""
    known = ["random", *benchmark.references, *(one.name for one in benchmark.known)]
    if benchmark.best not in (None, *known):
        raise UserError(f"the benchmark's best reference is {benchmark.best!r}; it must be one of {', '.join(known)}")
    return benchmark


def make_algorithm(name: str, benchmark: str | None, spec: Spec, hyperparameters: Mapping[str, Any]) -> Algorithm:
    """The algorithm called `name` for an environment like `spec`; `benchmark` names whose defaults to start from."""
    entry = algorithm_entry(name)
    build = entry.load()
    names = [field.name for field in fields(build) if field.name != "spec" and field.name not in entry.fixed]
    _check_names(f"algorithm {name}", hyperparameters, names)
    start = defaults(name, benchmark).hyperparameters if benchmark else {}
    return build(spec=spec, **{**start, **hyperparameters, **entry.fixed})


def _joined(ours: Mapping[str, Entry], group: str) -> dict[str, Entry]:
    theirs = {
        point.name: Entry(point.value, f"from {point.value.split(':')[0]}") for point in entry_points(group=group)
    }
    return {**theirs, **ours}


def _find(kind: str, name: str, known: Mapping[str, Entry]) -> Entry:
    if name not in known:
        raise UnknownName(f"there is no {kind} {name!r}; {_closest(name, known)} (adaptax list shows them all)")
    return known[name]


def _check_names(whose: str, given: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in given:
        if name not in known:
            raise UnknownName(f"{whose} has no setting {name!r}; {_closest(name, known)}")


def _closest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    return f"the closest are {', '.join(near)}" if near else f"there are {', '.join(sorted(names))}"
