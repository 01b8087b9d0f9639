"""adaptax: meta-reinforcement learning on JAX.

import adaptax
agent = adaptax.train("maml", "navigation", out="runs/nav")
agent = adaptax.load("runs/nav")          # begin / act / adapt, and evaluate
agent.agent(environment).episode()        # act and adapt in a real Gymnasium environment
"""

from .api import Trained, adapt_to, algorithm, benchmark, load, train
from .envs.filmed import Filmed
from .envs.host.gymnasium import from_gymnasium
from .known import Known, Published
from .live.agent import Episode, LiveAgent
from .tasks import TaskDistribution, TaskSet
from .types import (
    Agent,
    Algorithm,
    Benchmark,
    Birth,
    Decision,
    Environment,
    Outcome,
    Plan,
    Rollout,
    Spec,
    Tasks,
    Timestep,
    Trial,
    UserError,
)

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Algorithm",
    "Benchmark",
    "Birth",
    "Decision",
    "Environment",
    "Episode",
    "Filmed",
    "Known",
    "LiveAgent",
    "Outcome",
    "Plan",
    "Published",
    "Rollout",
    "Spec",
    "TaskDistribution",
    "TaskSet",
    "Tasks",
    "Timestep",
    "Trained",
    "Trial",
    "UserError",
    "adapt_to",
    "algorithm",
    "benchmark",
    "from_gymnasium",
    "load",
    "train",
]
