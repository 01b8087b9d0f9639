"""RL² on the random tabular MDPs of its paper: `rl2_tabular_mdp.py --episodes 10` (Duan et al. 2016, table 2).

Ten episodes with an LSTM, 25 with a transformer that attends to the whole trial.
"""

import shlex
import sys

from common import Recipe, arguments, train_and_judge

COMMON = {
    "hidden": 64,
    "head_hidden": 128,
    "pairs": True,
    "learning_rate": 3e-3,
    "discount": 0.99,
    "trace": 0.3,
    "entropy": 0.03,
    "epochs": 1,
    "minibatches": 32,
}
# Episodes: network, tasks an iteration, meta-iterations (those of the decay too), target, the paper's RL², its PSRL, and
# what who knows the MDP collects.
CELLS = {
    10: ("lstm", 1024, 600, ">= 150", 156.2, (("MDP known", 218.9), ("PSRL", 138.1))),
    25: ("transformer", 512, 600, ">= 440", 445.7, (("PSRL", 408.8), ("OPSRL", 425.2), ("BEB", 427.8))),
}


def recipe(episodes: int) -> Recipe:
    network, tasks, iterations, target, published, bounds = CELLS[episodes]
    return Recipe(
        name=f"rl2_{'transformer_' if network == 'transformer' else ''}tabular_mdp_{episodes}",
        title=f"RL²{' with a transformer' if network == 'transformer' else ''}, tabular MDP, {episodes} episodes",
        algorithm="rl2",
        benchmark="tabular-mdp",
        settings={"episodes": episodes},
        hyperparameters={**COMMON, "network": network, "tasks": tasks, "decay": iterations},
        iterations=iterations,
        metric="total reward per trial",
        target=target,
        published=published,
        source="Duan et al. 2016",
        bounds=bounds,
        evaluation={"tasks": 4000, "seed": 1},
    )


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--episodes", type=int, choices=sorted(CELLS), default=10)
    options = parser.parse_args()
    train_and_judge(recipe(options.episodes), options, shlex.join(["python", *sys.argv]))


if __name__ == "__main__":
    main()
