"""Reference strategies: agents that nothing has trained, judged by the same evaluator."""

_BANDITS = {
    "random": "adaptax.strategies.bandits:random",
    "gittins": "adaptax.strategies.bandits:gittins",
    "thompson": "adaptax.strategies.bandits:thompson",
    "optimistic-thompson": "adaptax.strategies.bandits:optimistic_thompson",
    "ucb1": "adaptax.strategies.bandits:ucb1",
    "epsilon-greedy": "adaptax.strategies.bandits:epsilon_greedy",
    "greedy": "adaptax.strategies.bandits:greedy",
    "known-arms": "adaptax.strategies.bandits:known_arms",
}
_ROBOTS = (
    *("half-cheetah-velocity", "half-cheetah-direction", "ant-velocity", "ant-direction", "ant-goal"),
    *("humanoid-direction", "walker-params", "hopper-params"),
    *("metaworld-ml1", "metaworld-ml10", "metaworld-ml45"),
)

# Reference strategies of each benchmark, each a function of the Spec.
STRATEGIES: dict[str, dict[str, str]] = {
    "bandit": _BANDITS,
    "gaussian-bandit": {name: _BANDITS[name] for name in ("random", "known-arms")},
    "navigation": {
        "random": "adaptax.strategies.navigation:random",
        "known-goal": "adaptax.strategies.navigation:known_goal",
    },
    "sparse-navigation": {
        "random": "adaptax.strategies.navigation:random",
        "posterior-sampling": "adaptax.strategies.navigation:PosteriorSampling",
        "known-goal": "adaptax.strategies.navigation:known_goal",
    },
    "clustered-navigation": {
        "random": "adaptax.strategies.navigation:random",
        "known-goal": "adaptax.strategies.navigation:known_goal",
    },
    "corner": {
        "random": "adaptax.strategies.corner:random",
        "known-goal": "adaptax.strategies.corner:known_goal",
    },
    "momentum-corner": {
        "random": "adaptax.strategies.corner:random",
        "known-goal": "adaptax.strategies.corner:known_goal_with_momentum",
    },
    "toy-1d": {
        "random": "adaptax.strategies.toy:random",
        "known-goal": "adaptax.strategies.toy:KnownGoal",
    },
    "gridnavi": {
        "random": "adaptax.strategies.gridnavi:RandomActions",
        "posterior-sampling": "adaptax.strategies.gridnavi:PosteriorSampling",
        "bayes-optimal": "adaptax.strategies.gridnavi:BayesOptimal",
        "known-goal": "adaptax.strategies.gridnavi:KnownGoal",
    },
    "rooms": {
        "random": "adaptax.strategies.rooms:RandomActions",
        "known-goal": "adaptax.strategies.rooms:KnownGoals",
    },
    "treasure": {
        "random": "adaptax.strategies.treasure:random",
        "known-goal": "adaptax.strategies.treasure:KnownTreasure",
    },
    "cart-pole": {"random": "adaptax.strategies.random_actions:RandomActions"},
    "pendulum": {"random": "adaptax.strategies.random_actions:RandomActions"},
    "tabular-mdp": {
        "random": "adaptax.strategies.tabular_mdp:RandomActions",
        "posterior-sampling": "adaptax.strategies.tabular_mdp:posterior_sampling",
        "known-mdp": "adaptax.strategies.tabular_mdp:KnownProcess",
    },
    **{name: {"random": "adaptax.strategies.random_actions:RandomActions"} for name in _ROBOTS},
}
