"""2-D navigation whose goals lie in clusters: the environment of `navigation` with tasks that fall into kinds.

The centres of K clusters stand evenly on the circle of radius 0.4 around the start, at the angles (2k + 1) π/K for
k = 0, …, K − 1: with four, at (±0.283, ±0.283). A goal is uniform on the disc of radius `spread` around the centre
of a cluster, which is uniform as well. So no cluster is nearer than another, and what tells two tasks apart is
above all which cluster they are of. The number of the cluster is a field of the task: results, which keep the
tasks, can be broken down by it. Like the goal, it is not observed.

No publication is followed. It is made for methods that infer what kind of task they face and choose initial
parameters or step sizes by it (multi-modal MAML, Vuorio et al. 2019; cluster-wise initialisations), and in which one
initialisation for all tasks should lose.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adaptax.envs.navigation import REACH, Navigation
from adaptax.envs.splits import disjoint_splits
from adaptax.ranges import check_range
from adaptax.types import Array, Benchmark, Key

RADIUS = 0.4  # of the circle of centres
WIDEST = 0.1  # the largest spread: goals stay in the square [−½, ½]² of `navigation`


class ClusteredNavigationTask(NamedTuple):
    """One goal, and the cluster that it is of."""

    goal: Array  # float32 [2]
    cluster: Array  # int32 [], from 0


def centres(clusters: int) -> np.ndarray:
    """The centres of the clusters, float32 [clusters, 2]."""
    angle = (2 * np.arange(clusters) + 1) * np.pi / clusters
    return (RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.float32)


def clustered_navigation(
    clusters: int = 4, spread: float = 0.05, horizon: int = 100, scale_actions: bool = True
) -> Benchmark:
    """Dense 2-D navigation to goals in `clusters` clusters (2 to 64), discs of radius `spread`.

    Clusters are well separated: the gap between two is at least as wide as they are. So the spread is at most
    RADIUS · sin(π / clusters) / 2, and never more than 0.1. `horizon` and `scale_actions` are those of
    `navigation`; the splits are disjoint in the same way, and equal in law.

    Raises a `UserError` for a setting out of its range.
    """
    check_range("clusters", clusters, 2, 64)
    check_range("horizon", horizon, 1)
    from adaptax.render import plane as drawn
    from adaptax.strategies import navigation as strategies

    # Neighbouring centres are 2 · RADIUS · sin(π / clusters) apart, which must be four spreads or more.
    check_range("spread", spread, 0.0, min(WIDEST, RADIUS * float(np.sin(np.pi / clusters)) / 2), above=True)
    centre = centres(clusters)

    def draw(key: Key) -> ClusteredNavigationTask:
        key_cluster, key_place = jax.random.split(key)
        cluster = jax.random.randint(key_cluster, (), 0, clusters, jnp.int32)
        area, turn = jax.random.uniform(key_place, (2,), jnp.float32)
        angle = 2 * jnp.pi * turn
        offset = spread * jnp.sqrt(area) * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        return ClusteredNavigationTask(jnp.asarray(centre)[cluster] + offset, cluster)

    return Benchmark(
        Navigation(horizon, scale_actions),
        *disjoint_splits(draw),
        describe=f"return per episode of at most {horizon} steps towards unseen goals in {clusters} clusters",
        references={"random": strategies.random, "known-goal": partial(strategies.KnownGoal, reach=REACH)},
        best="known-goal",
        picture=drawn.navigation,
    )
