"""RL² on the random tabular MDPs of its paper, n = 10 episodes: `python benchmarks/rl2_tabular_mdp.py`."""

import shlex
import sys

from common import Recipe, arguments, train_and_judge

RECIPE = Recipe(
    name="rl2_tabular_mdp_10",
    title="RL², tabular MDP, 10 episodes",
    algorithm="rl2",
    benchmark="tabular-mdp",
    settings={"episodes": 10},
    hyperparameters={
        "tasks": 1024,
        "network": "lstm",
        "hidden": 64,
        "head_hidden": 128,
        "pairs": True,
        "learning_rate": 3e-3,
        "discount": 0.99,
        "trace": 0.3,
        "entropy": 0.03,
        "epochs": 1,
        "minibatches": 32,
        "decay": 600,
    },
    iterations=600,
    metric="total reward per trial",
    target=">= 150",
    published=156.2,
    source="Duan et al. 2016",
    bounds=(("MDP known", 218.9), ("PSRL", 138.1)),
    evaluation={"tasks": 4000, "seed": 1},
)

if __name__ == "__main__":
    train_and_judge(RECIPE, arguments(__doc__ or "").parse_args(), shlex.join(["python", *sys.argv]))
