"""MAML with an Adam outer step on the 40 published goals of 2-D navigation: `python benchmarks/maml_navigation.py`."""

import shlex
import sys

from common import Recipe, arguments, train_and_evaluate

RECIPE = Recipe(
    name="maml_navigation",
    title="MAML, 2-D navigation, Adam outer step, α = 0.5",
    algorithm="maml",
    benchmark="navigation",
    settings={},
    hyperparameters={"step_size": 0.5},
    iterations=500,
    metric="return after one gradient step",
    target=">= -15",
    published=-11.68,
    source="Finn et al. 2017, with TRPO",
    by_round=(-40.41, -11.68, -3.33, -3.23),
    bounds=(("oracle in the paper", -2.29),),
    split="published",
    evaluation={"tasks": 40, "rounds": 4, "seed": 1},
)

if __name__ == "__main__":
    train_and_evaluate(RECIPE, arguments(__doc__ or "").parse_args(), shlex.join(["python", *sys.argv]))
