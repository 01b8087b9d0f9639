"""What a pair of algorithm and benchmark starts from. How the numbers were found is in the algorithms' pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Defaults(NamedTuple):
    """What a pair of algorithm and benchmark starts from, where it differs from the dataclass: hyper-parameters,
    meta-iterations, and how it is evaluated (fields of `run.evaluate.Protocol`). `spread`: on a CPU, giving each core
    its own tasks was measured to pay."""

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
_META_WORLD = ("metaworld-ml1", "metaworld-ml10", "metaworld-ml45")
_TEN_EPISODES = {"rounds": 3, "streams": 10, "tasks": 20}  # before each adaptation, as published
# Fresh trials instead of passes over old ones: collecting one costs a quarter of a pass over it.
_TRIALS = {"tasks": 1024, "epochs": 1, "minibatches": 32, "hidden": 64, "learning_rate": 3e-3, "discount": 0.99}
_PULLS = {**_TRIALS, "trace": 0.9, "entropy": 0.1, "decay": 600}
_PAIRS = {**_TRIALS, "trace": 0.3, "entropy": 0.03, "decay": 600, "network": "lstm", "head_hidden": 128, "pairs": True}
_POINT = Defaults({"step_size": 0.5}, 300, {"rounds": 4, "streams": 40, "tasks": 40}, spread=True)
_CLUSTERED = {"hidden": (64, 64), "streams": 10, "epochs": 5, "learning_rate": 3e-3, "decay": 250}
_MODULATED = {**_CLUSTERED, "tasks": 20, "inner_steps": 0, "step_size": 0.02, "probing_step_size": 0.02}
# As many steps as published, but half of them with latents from the prior, of which contexts are made, so that they
# hold a reward; fewer and smaller gradient steps of smaller networks (docs/algorithms/pearl.md).
_PEARL = {
    **{"tasks": 10, "rounds": 10, "context_rounds": 5, "streams": 5, "exploration": 25, "judged_exploration": 1},
    **{"explore_until_rewarded": True, "judged_by_mean": False, "latent": 2, "context": 100, "prior_weight": 1.0},
    **{"gradient_steps": 500, "batch": 32, "hidden": (128, 128), "encoder_hidden": (64, 64)},
    **{"discount": 0.9, "reward_scale": 100.0, "learning_rate": 1e-3, "decay": 200},
}
# The agent comes to rely on its own noise to find out where the goal is, so it keeps it when evaluated.
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
# As the authors' but for the policy: two layers for embeddings and one of 32 (docs/algorithms/varibad.md).
_CELLS = {
    **{"cells": (5, 5), "reward_model": "bernoulli", "prior_weight": 0.01},
    **{"policy_hidden": (64, 64), "normalize": True},
}
# Carts differ in dynamics alone, by little in one step: the decoder has to be exact before a belief says anything.
_CARTS = {
    **{"tasks": 64, "discount": 0.99, "state_weight": 30.0, "decoded_beliefs": 25, "decoded_steps": 100},
    **{"prior_weight": 3.0, "decoder_hidden": (64, 64), "model_updates": 20, "model_learning_rate": 2e-3},
    **{"policy_hidden": (64, 64), "normalize": True, "entropy": 0.0, "clip": 0.2, "epochs": 4, "minibatches": 8},
    **{"learning_rate": 2e-3, "decay": 150},
}
# The target has to follow fast: what a step pays reaches the steps before it once per renewal.
_VALUED_CARTS = {
    **{"batch": 32, "gradient_steps": 20, "target_rate": 0.05, "discount": 0.98, "capacity": 5000},
    **{"epsilon_decay": 80, "final_epsilon": 0.02, "decay": 120},
}
DEFAULTS: dict[tuple[str, str], Defaults] = {
    ("rl2", "bandit"): Defaults(_PULLS, 600, {"tasks": 1000}, spread=True),
    ("rl2", "tabular-mdp"): Defaults(_PAIRS, 600, {"tasks": 1000}, spread=True),
    ("rl2", "gridnavi"): Defaults({"discount": 0.95, "entropy": 0.01}, 500, {"tasks": 210}),
    # Small batches: an early trial is a few dozen steps long. The trials that train were looked at, no others.
    ("rl2", "cart-pole"): Defaults({"tasks": 64, "minibatches": 8, "learning_rate": 3e-3}, 100, {"tasks": 100}),
    ("varibad", "cart-pole"): Defaults(_CARTS, 150, {"tasks": 100}),
    # For 10 pulls of 5 arms; what was measured of the three is in docs/algorithms/rl2-off-policy.md.
    ("rl2-dqn", "bandit"): Defaults({"tasks": 64, "batch": 128}, 300, {"tasks": 1000}),
    ("rl2-dqn", "cart-pole"): Defaults(_VALUED_CARTS, 120, {"tasks": 100}),
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
    ("pearl", "sparse-navigation"): Defaults(_PEARL, 200, {"rounds": 20, "streams": 1, "tasks": 20}),
    # Environments on the host take a hundred times as long to step as those in JAX.
    **{(name, on): Defaults(evaluation=_ON_HOST) for name in _BY_GRADIENT for on in ("cart-pole", "pendulum")},
    **{(name, on): Defaults(evaluation=_TEN_EPISODES) for name in _BY_GRADIENT for on in _META_WORLD},
    **{(name, on): Defaults(evaluation={"tasks": 50}) for name in ("rl2", "varibad", "hyperx") for on in _META_WORLD},
    ("task-model", "clustered-navigation"): Defaults(_CLUSTERED, 250, {"rounds": 4, "streams": 10}),
}


def defaults(algorithm: str, benchmark: str) -> Defaults:
    """The defaults of a pair."""
    found = DEFAULTS.get((algorithm, benchmark))
    if found is None:
        found = Defaults(evaluation=_GRADIENT if algorithm in _BY_GRADIENT else {})
    return found
