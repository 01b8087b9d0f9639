"""Every family against environment steps: `python benchmarks/families.py`.

Two panels: the dense point robot (half circle, 20 held-out goals) and random tabular MDPs of 10 episodes. Each agent is
judged on held-out tasks at five points of its training, in the protocol that is its own: the return of the last episode
after as much experience of the task as the table says. Multi-task policies, fine-tuned, show what is gained by learning
to learn. One setting an agent, not tuned one by one. `--only NAME …` trains and judges some agents anew and keeps the
others' numbers.
"""

from __future__ import annotations

from comparison import Agent, Comparison, Panel

_ROUNDS = {"rounds": 2, "streams": 20}  # 20 episodes, one adaptation, and the return after it
_MANY_ROUNDS = {"rounds": 6, "streams": 4}  # as many, and five adaptations
_MINIBATCH = {"tasks": 20, "streams": 20}
_TRIALS = {"tasks": 256, "hidden": 64, "learning_rate": 3e-3, "epochs": 2, "minibatches": 8}
_COLLECTED = {"tasks": 5, "rounds": 4, "streams": 2, "gradient_steps": 100, "exploration": 2}
# Not those of the pair, which are for 20 episodes of a sparse reward.
_COLLECTED |= {"judged_exploration": 2, "explore_until_rewarded": False, "judged_by_mean": True, "latent": 5}
_COLLECTED |= {"context_rounds": None, "decay": None}
_PAST_TRIALS = {  # the defaults of `navigation`
    **{"tasks": 8, "batch": 16, "discount": 0.9, "learning_rate": 2e-3, "entropy": -2.0},
    **{"temperature_learning_rate": 3e-3, "judged_by_mean": False, "episodes": 4},
}
POINT = Panel(
    "Dense point robot: last episode on unseen goals",
    "sparse-navigation",
    {"dense": True, "goals": "paper"},
    20,
    {
        "MAML": Agent("maml-trpo", 100, _ROUNDS, {**_MINIBATCH, "step_size": 0.5}),
        "ProMP": Agent("promp", 100, _ROUNDS, {**_MINIBATCH, "step_size": 0.5}),
        "RL²": Agent("rl2", 150, {"episodes": 4}, {**_TRIALS, "episodes": 4}),
        "RL²-SAC": Agent("rl2-sac", 300, {"episodes": 4}, _PAST_TRIALS),
        "VariBAD": Agent("varibad", 1200, {"episodes": 4}, {"episodes": 4, "decay": 1200}),
        "PEARL": Agent("pearl", 400, {"rounds": 4, "streams": 2}, {**_COLLECTED, "context": 80}),
        "multi-task PPO": Agent("multitask-ppo", 100, _ROUNDS, _MINIBATCH),
        "multi-task SAC": Agent("multitask-sac", 100, _MANY_ROUNDS),
    },
    ("known-goal",),
)
_EPISODES = {"episodes": 10}
MDP = Panel(
    "Tabular MDP: last episode in unseen processes",
    "tabular-mdp",
    {"episodes": 10},
    1000,
    {
        "MAML": Agent("maml-trpo", 60, {"rounds": 2, "streams": 9}, {"tasks": 40, "streams": 9, "steps": 10}),
        "ProMP": Agent("promp", 60, {"rounds": 2, "streams": 9}, {"tasks": 40, "streams": 9, "steps": 10}),
        "RL²": Agent("rl2", 100, _EPISODES, {"decay": 100}),
        "RL²-DQN": Agent("rl2-dqn", 300, _EPISODES, {"tasks": 32, "batch": 64, "epsilon_decay": 200, "discount": 0.99}),
        "VariBAD": Agent("varibad", 1200, _EPISODES, {"tasks": 64, "decay": 1200}),
        "multi-task PPO": Agent(
            "multitask-ppo", 60, {"rounds": 2, "streams": 9}, {"tasks": 40, "streams": 9, "steps": 10}
        ),
        "multi-task DQN": Agent("multitask-dqn", 120, {"rounds": 4, "streams": 3}),
    },
    ("random", "known-mdp"),
)
PANELS = {"point": POINT, "mdp": MDP}
# Of the palette: an agent of one panel has that of its kin in the other, and the baselines those of whom they resemble.
COLOURS = {"MAML": 0, "ProMP": 1, "RL²": 2, "RL²-SAC": 3, "RL²-DQN": 3, "VariBAD": 4, "PEARL": 5}
COLOURS |= {"multi-task PPO": 2, "multi-task SAC": 5, "multi-task DQN": 5}
NOTE = (
    "each agent in the protocol that is its own, with the experience of the task that its row names; one setting an "
    "agent, not tuned one by one, and budgets of a few minutes"
)
FAMILIES = Comparison("families", "All families, dense point robot and tabular MDP", NOTE, PANELS, COLOURS)

if __name__ == "__main__":
    FAMILIES.run(__doc__ or "")
