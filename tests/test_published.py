"""Published figures are shown only where what is judged is what was published."""

import pytest

from adaptax.names import registry
from adaptax.names.evaluation import published_rows
from adaptax.run.evaluate import Protocol

NAVIGATION = {"horizon": 100, "scale_actions": True}
FINN = Protocol(tasks=40, rounds=4, streams=40)
GRIDNAVI = {"episodes": 4, "goals": "paper"}
MDP = {"episodes": 10, "states": 10, "actions": 5, "horizon": 10}


def published(benchmark, settings, split, protocol):
    return published_rows(registry.make_benchmark(benchmark, settings), split, protocol)


def names(benchmark, settings, split, protocol):
    return [figure["name"] for figure in published(benchmark, settings, split, protocol)]


def test_navigation_as_in_the_paper():
    maml, oracle = published("navigation", NAVIGATION, "published", FINN)
    assert maml["by_round"] == (-40.41, -11.68, -3.33, -3.23) and oracle["by_round"] == (-2.29,)


@pytest.mark.parametrize(
    ("settings", "split", "protocol"),
    [
        ({**NAVIGATION, "horizon": 10}, "published", FINN),
        ({**NAVIGATION, "scale_actions": False}, "published", FINN),
        (NAVIGATION, "test", FINN),
        (NAVIGATION, "published", Protocol(tasks=20, rounds=4, streams=40)),  # half of the goals
        (NAVIGATION, "published", Protocol(tasks=40, rounds=4, streams=20)),
        (NAVIGATION, "published", Protocol(tasks=40, streams=40, episodes=4)),  # a point is then no round
        (NAVIGATION, "published", Protocol(tasks=40, rounds=4, streams=40, deterministic=True)),
    ],
)
def test_navigation_otherwise(settings, split, protocol):
    assert names("navigation", settings, split, protocol) == []


def test_gridnavi_on_all_goals_for_as_many_episodes_as_are_judged():
    for settings, split in ((GRIDNAVI, "test"), ({**GRIDNAVI, "goals": "held-out"}, "paper")):
        (bayes,) = published("gridnavi", settings, split, Protocol(tasks=210, episodes=6, deterministic=True))
        assert bayes["by_round"] == (4.0, *[11.0714] * 5)
    (bayes,) = published("gridnavi", GRIDNAVI, "test", Protocol(tasks=21, rounds=8))
    assert bayes["by_round"] == (4.0, *[11.0714] * 7)


def test_gridnavi_on_some_goals():
    """On the 4 held-out goals who knows the goal collects 10.05, less than the optimum over all 21."""
    assert names("gridnavi", {**GRIDNAVI, "goals": "held-out"}, "test", Protocol(tasks=210, episodes=4)) == []
    assert names("gridnavi", GRIDNAVI, "test", Protocol(tasks=4, episodes=4)) == []


def test_bandits_and_tabular_mdps_in_one_trial_of_the_published_length():
    bandit = {"arms": 5, "pulls": 10}
    totals = {p["name"]: p["total"] for p in published("bandit", bandit, "test", Protocol(tasks=1000, episodes=10))}
    assert totals["RL² paper"] == 6.7 and totals["Gittins"] == 6.6
    totals = {p["name"]: p["total"] for p in published("tabular-mdp", MDP, "test", Protocol(tasks=1000, episodes=10))}
    assert totals["RL² paper"] == 156.2
    for other in (
        Protocol(tasks=9, episodes=5),
        Protocol(tasks=9, rounds=10),
        Protocol(9, episodes=10, deterministic=True),
    ):
        assert names("bandit", bandit, "test", other) == names("tabular-mdp", MDP, "test", other) == []
    assert names("bandit", {"arms": 7, "pulls": 10}, "test", Protocol(tasks=9, episodes=10)) == []
    assert names("tabular-mdp", {**MDP, "horizon": 20}, "test", Protocol(tasks=9, episodes=10)) == []
