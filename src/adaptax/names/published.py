"""Published figures beside which reports put ours, with their sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..run.evaluate import Protocol

# Duan et al. 2016, tables 1 and 2; the SNAIL and MAML columns from Mishra et al. 2018, table 3. Keys: (pulls, arms).
_BANDIT_COLUMNS = (
    "Random",
    "Gittins",
    "TS",
    "OTS",
    "UCB1",
    "ε-greedy",
    "Greedy",
    "RL² paper",
    "SNAIL paper",
    "MAML in SNAIL",
)
_BANDITS = {
    (10, 5): (5.0, 6.6, 5.7, 6.5, 6.7, 6.6, 6.6, 6.7, 6.6, 6.5),
    (10, 10): (5.0, 6.6, 5.5, 6.2, 6.7, 6.6, 6.6, 6.7, 6.7, 6.6),
    (10, 50): (5.1, 6.5, 5.2, 5.5, 6.6, 6.5, 6.5, 6.8, 6.7, 6.6),
    (100, 5): (49.9, 78.3, 74.7, 77.9, 78.0, 75.4, 74.8, 78.7, 79.1, 67.1),
    (100, 10): (49.9, 82.8, 76.7, 81.4, 82.4, 77.4, 77.1, 83.5, 83.5, 70.1),
    (100, 50): (49.8, 85.2, 64.5, 67.7, 84.3, 78.3, 78.0, 84.9, 85.1, 70.3),
    (500, 5): (249.8, 405.8, 402.0, 406.7, 405.8, 388.2, 380.6, 401.6, 408.1, None),
    (500, 10): (249.0, 437.8, 429.5, 438.9, 437.1, 408.0, 395.0, 432.5, 432.4, None),
    (500, 50): (249.6, 463.7, 427.2, 437.6, 457.6, 413.6, 402.8, 438.9, 442.6, None),
}
# Duan et al. 2016, figure 3's table: n episodes of 10 steps. PSRL's own figures assume a prior mean of 0.
_MDP_COLUMNS = ("Random", "PSRL", "OPSRL", "UCRL2", "BEB", "ε-greedy", "Greedy", "RL² paper")
_MDPS = {
    10: (100.1, 138.1, 144.1, 146.6, 150.2, 132.8, 134.8, 156.2),
    25: (250.2, 408.8, 425.2, 424.1, 427.8, 377.3, 368.8, 445.7),
    50: (499.7, 904.4, 930.7, 918.9, 917.8, 823.3, 769.3, 936.1),
    75: (749.9, 1417.1, 1449.2, 1427.6, 1422.6, 1293.9, 1172.9, 1428.8),
    100: (999.4, 1939.5, 1973.9, 1942.1, 1935.1, 1778.2, 1578.5, 1913.7),
}
_NAVIGATION = "Finn et al. 2017, the authors' result files, 40 goals"


_GRIDNAVI = "exact; Zintgraf et al. 2020's task"


def published(benchmark: str, settings: Mapping[str, Any], split: str, protocol: Protocol) -> list[dict[str, Any]]:
    """The figures published for what is judged, as `name`, `source`, and `total` or `by_round`: none unless the
    settings, the tasks of the split and the protocol are the published ones. Published agents draw their actions."""
    drawn = not protocol.deterministic
    trial = (protocol.rounds, protocol.episodes)
    if benchmark == "bandit" and trial == (1, settings["pulls"]) and drawn:
        row = _BANDITS.get((settings["pulls"], settings["arms"]), ())
        return _totals(_BANDIT_COLUMNS, row, "Duan et al. 2016; Mishra et al. 2018")
    if benchmark == "tabular-mdp" and trial == (1, settings["episodes"]) and drawn:
        size = settings["states"], settings["actions"], settings["horizon"]
        row = _MDPS.get(settings["episodes"], ()) if size == (10, 5, 10) else ()
        return _totals(_MDP_COLUMNS, row, "Duan et al. 2016")
    if benchmark == "navigation" and split == "published" and drawn and _as_finn(settings, protocol):
        return [
            {"name": "MAML paper (TRPO)", "by_round": [-40.41, -11.68, -3.33, -3.23], "source": _NAVIGATION},
            {"name": "oracle in the paper", "by_round": [-2.29], "source": _NAVIGATION},
        ]
    every_goal = "paper" in (split, settings.get("goals")) and protocol.tasks % 21 == 0
    if benchmark == "gridnavi" and every_goal:
        by_episode = [4.0] + [11.0714] * (protocol.rounds * protocol.episodes - 1)
        return [{"name": "Bayes-optimal (computed)", "by_round": by_episode, "source": _GRIDNAVI}]
    return []


def _as_finn(settings: Mapping[str, Any], protocol: Protocol) -> bool:
    """Episodes of 100 steps through the authors' wrapper, 40 on each of the 40 goals in a round."""
    episodes = protocol.streams, protocol.episodes
    return settings["horizon"] == 100 and settings["scale_actions"] and episodes == (40, 1) and protocol.tasks % 40 == 0


def _totals(columns: tuple[str, ...], row: tuple[float | None, ...], source: str) -> list[dict[str, Any]]:
    return [{"name": n, "total": v, "source": source} for n, v in zip(columns, row, strict=False) if v is not None]
