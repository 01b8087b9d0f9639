"""What `make demo` does: meta-train RL² on bandits and MAML on 2-D navigation, judge both on held-out tasks, draw them.

The budgets are those of a few minutes on two cores; the recipes beside this file have the real ones.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from adaptax.cli import main

OUT = Path("runs/demo")
RL2 = OUT / "rl2-bandit"
MAML = OUT / "maml-navigation"

COMMANDS = [
    "train rl2 bandit --benchmark.arms 5 --benchmark.pulls 10 --epochs 4 --minibatches 4 --iterations 150 --decay 150"
    f" --out {RL2}",
    f"train maml navigation --iterations 60 --out {MAML}",
    f"report {RL2} --out {OUT / 'figures-rl2'}",
    f"report {MAML} --out {OUT / 'figures-maml'}",
]


def demo() -> int:
    """Run the commands one after another, as one would type them."""
    shutil.rmtree(OUT, ignore_errors=True)
    for command in COMMANDS:
        print(f"\n$ adaptax {command}\n", flush=True)
        code = main(command.split())
        if code:
            return code
    print(f"\nThe runs, their results and the figures are in {OUT}/; examples/ and docs/ go on from here.")
    return 0


if __name__ == "__main__":
    sys.exit(demo())
