"""What the tests know of every registered algorithm: how it is shrunk, what it must master, what of it is slow, where
its page is. A new algorithm adds one record."""

from __future__ import annotations

from typing import Any, NamedTuple

from probes import PROBES

GRADIENT = ("one task", "visible", "first reward", "nothing")
# On a bandit a feed-forward network without initial biases sees a constant zero: only its last bias can move.
DEAD = tuple(f"{p}.network[{leaf}" for p in (".policy", ".step_sizes", "") for leaf in ("0]", "1].weight"))


class Trained(NamedTuple):
    """How an algorithm is trained on a probe."""

    iterations: int
    hyperparameters: dict[str, Any]


class Record(NamedTuple):
    page: str  # in docs/algorithms/
    trained: Trained | None = None  # None: no probe can be put to it, since its actions are continuous
    probes: tuple[str, ...] = GRADIENT  # which of them it must master
    decides: str | None = None  # the one probe that is not left to the whole suite (None: all of them)
    variant: bool = False  # of an algorithm that is tested anyway: only in the whole suite
    long: bool = False  # compiles so long that its probes are left to the whole suite
    shrunk: dict[str, Any] = {}  # for the contract, besides what holds for all
    benchmarks: tuple[str, ...] = ("navigation", "bandit")  # of the contract, the first one its home
    finite: bool = False  # keeps something of every training task, and so gets a few
    before: int = 0  # iterations of another kind before those of the contract (tests/algorithms looks at them)
    replays: bool = False  # `adapt` gives the policy of the next round: log-probabilities under what it returned
    divergence: bool = True  # that of the policy which acted; False: of a searched step, or of none (off-policy)
    still: tuple[str, ...] = ()  # leaves that `update` leaves as they are, by the beginning of their path
    still_on_bandit: tuple[str, ...] = ()
    leading: bool = False  # looked at on a bandit and on two devices too; the others only in the whole suite


_SMALL = {"tasks": 16, "streams": 10, "hidden": (16,), "learning_rate": 1e-2, "step_size": 0.5}
_TRUST = {"tasks": 16, "streams": 10, "hidden": (16,), "step_size": 0.5}
_RL2 = {"tasks": 128, "hidden": 32, "learning_rate": 5e-3, "minibatches": 2, "entropy": 0.03, "discount": 1.0}
_PAST = {"tasks": 16, "hidden": 32, "head_hidden": (32,), "capacity": 2000, "learning_rate": 3e-3, "discount": 1.0}
_REPLAY = {"tasks": 16, "streams": 2, "hidden": (16,), "gradient_steps": 20, "batch": 32, "capacity": 2000}
_REPLAY |= {"learning_rate": 1e-2, "target_rate": 0.05, "epsilon_decay": 40, "final_epsilon": 0.0}
_BELIEF = {"tasks": 64, "model_batch": 64, "clip": 0.2, "learning_rate": 3e-3, "discount": 1.0, "prior_weight": 0.01}
_FEW = {"gradient_steps": 2, "batch": 8, "capacity": 64, "fine_tuning_steps": 2, "fine_tuning_capacity": 24}
_FEW_TRIALS = {"head_hidden": (8,), "gradient_steps": 2, "batch": 8, "capacity": 20}

_MAML = Record(
    "maml.md",
    Trained(60, _SMALL),
    replays=True,
    still=(".step_sizes",),
    still_on_bandit=DEAD,
)
_VARIANT = _MAML._replace(variant=True)
_MAML_TRPO = Record(
    "maml_trpo.md",
    Trained(60, _TRUST),
    decides="first reward",
    replays=True,
    divergence=False,
    still_on_bandit=DEAD,
)
_MULTITASK = Record(
    "multitask.md", probes=(), shrunk=_FEW, benchmarks=("navigation",), divergence=False
)  # for continuous actions

RECORDS = {
    "rl2": Record("rl2.md", Trained(200, _RL2), tuple(PROBES), leading=True),
    "rl2-sac": Record(
        "rl2-off-policy.md",
        probes=(),
        shrunk={**_FEW_TRIALS, "episodes": 2},
        benchmarks=("navigation",),
        divergence=False,
    ),
    "rl2-dqn": Record(
        "rl2-off-policy.md",
        Trained(100, {**_PAST, "target_rate": 0.05, "epsilon_decay": 60}),
        tuple(PROBES),
        decides="exploring",
        shrunk=_FEW_TRIALS,
        benchmarks=("tabular-mdp", "bandit"),
        divergence=False,
    ),
    "maml": _MAML._replace(leading=True),
    "fomaml": _VARIANT,
    "anil": _VARIANT,
    "meta-sgd": _VARIANT._replace(still=()),
    "maml-trpo": _MAML_TRPO,
    "boil": _MAML_TRPO._replace(variant=True),
    "e-maml": _MAML_TRPO._replace(variant=True),
    # Every lifetime begins with zeros.
    "cavia": _MAML_TRPO._replace(variant=True, still=(".context",)),
    "promp": Record(
        "promp.md",
        Trained(60, _SMALL),
        decides="first reward",
        replays=True,
        # tanh units have a slope at zero, so that their biases move.
        still_on_bandit=(".network[0].weight",),
    ),
    "maesn": Record(
        "maesn.md",
        Trained(100, _TRUST),
        decides="first reward",
        finite=True,
        divergence=False,
        still=(".policy.context",),  # the latent takes its place
    ),
    "gmps": Record(
        "gmps.md",
        Trained(60, {**_SMALL, "expert_iterations": 30, "expert_learning_rate": 1e-2, "batch": 40, "capacity": 400}),
        decides="first reward",
        long=True,
        shrunk={"expert_iterations": 1, "expert_epochs": 2, "adam_steps": 2, "batch": 8, "capacity": 32},
        finite=True,
        before=1,
        replays=True,
        still=(".experts", ".imitating"),  # after their phase
        still_on_bandit=(*DEAD, ".policy.context", ".step_sizes.context"),
    ),
    "mmaml": Record(
        "mmaml.md",
        Trained(60, _SMALL),
        decides="first reward",
        long=True,
        shrunk={"encoder_hidden": 4},  # among thousands of weights some gradient is near zero, and Adam's step rounding
        replays=True,
        still_on_bandit=(".policy.network[0]", ".policy.network[1].weight", ".encoder", ".modulators"),
    ),
    "reptile": Record(
        "reptile.md",
        Trained(60, {"tasks": 16, "streams": 10, "hidden": (16,), "inner_steps": 2, "step_size": 0.1}),
        decides="first reward",
        shrunk={"step_size": 0.01},  # Adam's steps are of this size whatever the gradient, rounding included
        replays=True,
        still_on_bandit=DEAD,
    ),
    "task-model": Record(
        "task_model.md",
        Trained(60, _SMALL),
        decides="first reward",
        long=True,
        replays=True,
        still_on_bandit=tuple(f".{p}.network[0].weight" for p in ("policy", "offsets")),  # offsets are biases
    ),
    "varibad": Record("varibad.md", Trained(400, _BELIEF), tuple(PROBES), decides="exploring"),
    "hyperx": Record(
        "hyperx.md",
        Trained(400, {**_BELIEF, "anneal": 300, "novelty_weight": 0.1, "surprise_weight": 0.1}),
        ("exploring",),  # the one that bonuses are about: without them it is VariBAD
        variant=True,
    ),
    "pearl": Record(
        "pearl.md",
        probes=(),
        shrunk={
            **{"exploration": 2, "gradient_steps": 2, "meta_batch": 3, "batch": 8, "context": 6, "capacity": 40},
            **{"encoder_hidden": (8,), "learning_rate": 1e-3},
        },
        benchmarks=("navigation",),
        finite=True,
        divergence=False,
    ),
    "multitask-ppo": Record(
        "multitask.md",
        Trained(60, {k: v for k, v in _SMALL.items() if k != "step_size"}),
        ("one task", "visible", "nothing"),  # in training it never adapts
        replays=True,
        still_on_bandit=DEAD,
    ),
    "multitask-sac": _MULTITASK,
    "multitask-ddpg": _MULTITASK._replace(variant=True),  # all but the losses of multitask-sac
    "multitask-dqn": Record(
        "multitask.md",
        Trained(60, _REPLAY),
        ("one task", "visible", "nothing"),
        shrunk=_FEW,
        benchmarks=("tabular-mdp", "bandit"),
        divergence=False,
        still_on_bandit=tuple(f".{p}{leaf}" for p in ("online", "target") for leaf in ("[0]", "[1].weight")),
    ),
}
