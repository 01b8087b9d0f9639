"""Splits that cannot overlap."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.envs.bandit import bandit
from adaptax.envs.gaussian_bandit import gaussian_bandit
from adaptax.envs.gridnavi import gridnavi
from adaptax.envs.navigation import navigation
from adaptax.envs.rooms import rooms
from adaptax.envs.sparse_navigation import sparse_navigation
from adaptax.envs.splits import code_of, disjoint_splits, stamp
from adaptax.envs.tabular_mdp import tabular_mdp
from adaptax.envs.treasure import treasure
from adaptax.types import Benchmark

BENCHMARKS = {
    "bandit": bandit,
    "gaussian_bandit": gaussian_bandit,
    "tabular_mdp": tabular_mdp,
    "navigation": navigation,
    "sparse_navigation": sparse_navigation,
    "gridnavi": gridnavi,
    "rooms": rooms,
    "treasure": treasure,
}


def sample(benchmark: Benchmark, split: str, seed: int, count: int) -> Any:
    """Tasks of a split; nearly all of the time is compilation, so little of it is done."""
    draw = jax.jit(
        lambda key: benchmark.split(split).sample(key, count)[1],
        compiler_options={"xla_backend_optimization_level": 0},
    )
    return draw(jax.random.key(seed))


def rows(benchmark: Benchmark, split: str, seed: int, count: int = 200) -> set[bytes]:
    tasks = sample(benchmark, split, seed, count)
    flat = np.concatenate([np.reshape(leaf, (count, -1)) for leaf in jax.tree.leaves(tasks)], axis=1)
    return {row.tobytes() for row in flat}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_splits_are_disjoint_even_for_one_key(name: str) -> None:
    benchmark = BENCHMARKS[name]()
    train, validation, test = (rows(benchmark, split, seed=3) for split in ("train", "validation", "test"))
    assert train and not train & validation and not train & test and not validation & test


@pytest.mark.parametrize("name", BENCHMARKS)
def test_tasks_have_explicit_types_and_one_line_describes_the_protocol(name: str) -> None:
    benchmark = BENCHMARKS[name]()
    for split in ("train", "validation", "test", *benchmark.named):
        index, tasks = benchmark.split(split).enumerate(jax.random.key(0), 3)
        assert index.dtype == jnp.int32 and index.shape == (3,)
        assert all(leaf.dtype in (jnp.float32, bool) and not leaf.weak_type for leaf in jax.tree.leaves(tasks))
    assert benchmark.describe and "\n" not in benchmark.describe


@pytest.mark.parametrize("name", ["bandit", "gaussian_bandit", "tabular_mdp", "navigation", "treasure"])
def test_continuous_tasks_carry_the_code_of_their_split(name: str) -> None:
    benchmark = BENCHMARKS[name]()
    for code, split in enumerate(("train", "validation", "test")):
        tasks = sample(benchmark, split, 1, 500)
        assert np.all(np.asarray(jax.vmap(code_of)(tasks)) == code)


def test_a_key_gives_unrelated_tasks_in_different_splits() -> None:
    splits = disjoint_splits(lambda key: (jax.random.uniform(key, (4,), jnp.float32),))
    draws = [np.asarray(split.sample(jax.random.key(0), 2000)[1][0]) for split in splits]
    correlation = np.corrcoef([draw[:, 1] for draw in draws])
    assert np.all(np.abs(correlation - np.eye(3)) < 0.1)


def test_the_stamp_stays_within_the_range_and_moves_little() -> None:
    edges = np.asarray([0.0, 2**-23, 0.25, 0.5, 0.99999, 1 - 2**-24, -0.49999997, -0.1, 3.0], np.float32)
    values = np.concatenate([edges, np.random.default_rng(0).random(10_000, np.float32)])
    for code in range(4):
        stamped = np.asarray(stamp(jnp.asarray(values), code))
        assert np.all(np.abs(stamped - values) <= np.maximum(4e-7 * np.abs(values), 1e-40))
        assert np.all(stamped[values < 1] < 1) and np.all(np.abs(stamped[np.abs(values) < 0.5]) < 0.5)
        assert np.all((stamped >= 0) == (values >= 0))


def test_draws_stay_in_range() -> None:
    for code in ("train", "validation", "test"):
        probabilities = sample(bandit(), code, 5, 2000).probabilities
        assert np.all((probabilities >= 0) & (probabilities < 1))
        goals = sample(navigation(), code, 5, 2000).goal
        assert np.all(np.abs(goals) <= 0.5)
