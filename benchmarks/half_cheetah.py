"""Half-cheetah at a hidden velocity and in a hidden direction: `python benchmarks/half_cheetah.py` (needs `[mujoco]`).

MAML-TRPO (Finn et al. 2017), PEARL (Rakelly et al. 2019) and a multi-task policy that is fine-tuned, on the families as
published, at budgets of minutes: the return of an episode before anything was adapted and after as much experience of
the task as the table says. Velocities are held out; there are only two directions, as published. Episodes have 200
steps. The published budgets are about 10 to 40 times as large (docs/benchmarks.md).
"""

from __future__ import annotations

from comparison import Agent, Comparison, Panel

_ROUNDS = {"rounds": 3, "streams": 10}  # 10 episodes before each of two adaptations
_MINIBATCH = {"tasks": 20, "streams": 10, "hidden": (64, 64)}
_COLLECTED = {
    **{"tasks": 5, "rounds": 2, "streams": 2, "gradient_steps": 400, "meta_batch": 8, "batch": 64, "context": 100},
    **{"hidden": (128, 128), "encoder_hidden": (64, 64), "learning_rate": 1e-3},
}
# With steps of one size it ran both ways after 40 iterations, and one way after 80.
_SETTLING = {**_COLLECTED, "tasks": 2, "decay": 160}
_AGENTS = {
    "MAML": Agent("maml-trpo", 80, _ROUNDS, {**_MINIBATCH, "step_size": 0.1}),
    "PEARL": Agent("pearl", 80, {"rounds": 4, "streams": 2}, _COLLECTED),
    "multi-task PPO": Agent("multitask-ppo", 80, _ROUNDS, _MINIBATCH),
}
PANELS = {
    "velocity": Panel(
        "Half-cheetah, hidden velocity: last episode",
        "half-cheetah-velocity",
        {"variant": "pearl"},
        30,
        # Gradients need longer here than for two directions.
        {**_AGENTS, **{name: _AGENTS[name]._replace(iterations=240) for name in ("MAML", "multi-task PPO")}},
    ),
    "direction": Panel(
        "Half-cheetah, hidden direction: last episode",
        "half-cheetah-direction",
        {"goals": "paper"},
        20,  # lifetimes, half of them on each
        {**_AGENTS, "PEARL": Agent("pearl", 160, {"rounds": 4, "streams": 2}, _SETTLING)},
    ),
}
NOTE = (
    "before adaptation and after, on the 30 test velocities of PEARL's authors, and on the two directions, which "
    "are the training tasks, too; small networks and budgets of minutes"
)
CHEETAHS = Comparison(
    "half_cheetah",
    "Half-cheetah, hidden velocity and direction",
    NOTE,
    PANELS,
    {"MAML": 0, "PEARL": 5, "multi-task PPO": 2},
    adapting=True,
)

if __name__ == "__main__":
    CHEETAHS.run(__doc__ or "")
