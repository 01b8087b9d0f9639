"""RL² on the bandits of its paper: `rl2_bandits.py --pulls 10 --arms 5` (Duan et al. 2016, table 1).

`--network transformer`, for 100 pulls of 10 arms, attends to the whole trial instead of carrying a hidden state.
"""

import shlex
import sys

from common import Recipe, arguments, train_and_evaluate

SHORT = {"hidden": 64, "learning_rate": 3e-3, "tasks": 1024, "epochs": 4, "minibatches": 4}
# One pass over many fresh trials: collecting one costs a quarter of a pass over it.
LONG = {"hidden": 64, "learning_rate": 3e-3, "trace": 0.9, "entropy": 0.1, "epochs": 1, "minibatches": 32}
HUNDRED = {**LONG, "discount": 0.99, "tasks": 1024}
# What exploring gains is a few tenths in 78: it takes large batches to see it in training, and many tasks to judge it.
FIVE_ARMS = {**HUNDRED, "tasks": 4096, "head_hidden": 128}
FIVE_HUNDRED = {**LONG, "discount": 0.998, "tasks": 256}
# Per cell (pulls, arms): hyper-parameters and meta-iterations, which are also those of the decay.
BUDGETS = {
    (10, 5): ({**SHORT, "discount": 0.99, "trace": 1.0, "entropy": 0.03}, 600),
    (10, 10): ({**SHORT, "discount": 1.0, "trace": 0.9, "entropy": 0.06}, 600),
    (100, 5): (FIVE_ARMS, 1000),
    (100, 10): (HUNDRED, 800),
    (500, 5): (FIVE_HUNDRED, 600),
    (500, 10): (FIVE_HUNDRED, 600),
    (500, 50): (FIVE_HUNDRED, 600),
}
# The cell that a transformer is trained on too, for as many iterations as the GRU.
ATTENDING = (100, 10)
TRANSFORMER = ({**HUNDRED, "network": "transformer"}, 800)
# Held-out tasks where 4 000 are too few: they leave a standard error of 0.26 in 78, the distance to the target.
TASKS = {(100, 5): 40_000}
# (pulls, arms): target, the paper's RL², and what bounds or rivals it. The Bayes optima are exact (dynamic programming
# over the posterior); Gittins' figures are the paper's, but for those of our own on the tasks of the recipe.
CELLS = {
    (10, 5): (">= 6.6", 6.7, (("Bayes optimum", 6.660), ("Gittins", 6.6))),
    (10, 10): (">= 6.6", 6.7, (("Bayes optimum", 6.714), ("Gittins", 6.6))),
    (100, 5): (">= 78.3", 78.7, (("Gittins", 78.3), ("Gittins on these tasks", 78.64))),
    (100, 10): (">= 82.8", 83.5, (("Gittins", 82.8),)),
    (500, 5): (">= 401.6", 401.6, (("Gittins", 405.8),)),
    (500, 10): (">= 432.5", 432.5, (("Gittins", 437.8),)),
    (500, 50): (">= 438.9", 438.9, (("Gittins", 463.7),)),
}


def recipe(pulls: int, arms: int, attending: bool) -> Recipe:
    hyperparameters, iterations = TRANSFORMER if attending else BUDGETS[pulls, arms]
    target, published, bounds = CELLS[pulls, arms]
    return Recipe(
        name=f"rl2_{'transformer_' if attending else ''}bandit_{pulls}_{arms}",
        title=f"RL²{' with a transformer' if attending else ''}, bandit, {pulls} pulls × {arms} arms",
        algorithm="rl2",
        benchmark="bandit",
        settings={"arms": arms, "pulls": pulls},
        hyperparameters={**hyperparameters, "decay": iterations},
        iterations=iterations,
        metric="total reward per trial",
        target=target,
        published=published,
        source="Duan et al. 2016",
        bounds=bounds,
        evaluation={"tasks": TASKS.get((pulls, arms), 4000), "seed": 1},
    )


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--pulls", type=int, choices=sorted({p for p, _ in CELLS}), required=True)
    parser.add_argument("--arms", type=int, choices=sorted({a for _, a in CELLS}), required=True)
    parser.add_argument("--network", choices=("gru", "transformer"), default="gru")
    options = parser.parse_args()
    if (options.pulls, options.arms) not in CELLS:
        parser.error(f"the paper has no cell with {options.pulls} pulls and {options.arms} arms")
    attending = options.network == "transformer"
    if attending and (options.pulls, options.arms) != ATTENDING:
        parser.error(f"the transformer's recipe is for {ATTENDING[0]} pulls and {ATTENDING[1]} arms")
    train_and_evaluate(recipe(options.pulls, options.arms, attending), options, shlex.join(["python", *sys.argv]))


if __name__ == "__main__":
    main()
