"""Means and their 95 % intervals over seeds and tasks, in float64.

Every seed is one trained agent and all seeds face the same tasks, so values [S, N, …] are crossed: a seed
that went wrong is wrong on all its tasks, and a hard task is hard for all seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

Z95 = 1.959963984540054  # the normal distribution's 97.5 % quantile
RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean and its 95 % interval; arrays of one shape (0-d for a single number)."""

    mean: Floats
    low: Floats
    high: Floats

    @property
    def half(self) -> Floats:
        """Half the interval's width."""
        return (self.high - self.low) / 2


def mean_interval(values: ArrayLike, axis: int = -1) -> Interval:
    """mean ± z·s/√n with the sample deviation s (n − 1 in its denominator); NaN bounds when n = 1."""
    x = np.asarray(values, np.float64)
    count = x.shape[axis]
    mean = x.mean(axis)
    half = Z95 * x.std(axis, ddof=1) / np.sqrt(count) if count > 1 else np.full_like(mean, np.nan)
    return Interval(np.asarray(mean), np.asarray(mean - half), np.asarray(mean + half))


def over_tasks(values: ArrayLike) -> Interval:
    """[S, N, …] → intervals [S, …]: how well each seed's mean is known, given that tasks are a sample."""
    return mean_interval(values, axis=1)


def over_seeds(values: ArrayLike) -> Interval:
    """[S, N, …] → interval […]: the spread of the seeds' means; with a single seed, of its tasks."""
    x = np.asarray(values, np.float64)
    if x.shape[0] > 1:
        return mean_interval(x.mean(1), axis=0)
    return mean_interval(x[0], axis=0)


def interquartile_mean(values: ArrayLike) -> float:
    """The mean of all values after dropping the lowest and the highest ⌊n/4⌋ of them."""
    x = np.sort(np.asarray(values, np.float64), axis=None)
    cut = x.size // 4
    return float(x[cut : x.size - cut].mean())


def bootstrap_mean(values: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """[S, N, …] → the mean […] and its percentile interval, seeds and tasks each drawn with replacement.

    Drawing both factors, rather than single cells or seeds anew for every task, keeps the variance that a bad
    seed brings to all of its tasks. A mean needs only how often each was drawn, hence the matrix products.
    """
    x = np.asarray(values, np.float64)
    seeds, tasks = x.shape[:2]
    random = np.random.default_rng(seed)
    seed_weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    task_weights = random.multinomial(tasks, np.full(tasks, 1 / tasks), resamples) / tasks
    by_task = np.moveaxis(x, 1, 0).reshape(tasks, -1)
    drawn = (task_weights @ by_task).reshape(resamples, seeds, -1)
    means = np.einsum("rs,rsk->rk", seed_weights, drawn).reshape(resamples, *x.shape[2:])
    low, high = _percentiles(means)
    return Interval(np.asarray(x.mean((0, 1))), low, high)


def bootstrap(
    values: ArrayLike, statistic: Callable[[Floats], float], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """[S, N] → `statistic` of the values and its percentile interval, drawn as in `bootstrap_mean`."""
    x = np.asarray(values, np.float64)
    seeds, tasks = x.shape
    random = np.random.default_rng(seed)
    draws = [
        statistic(x[np.ix_(random.integers(seeds, size=seeds), random.integers(tasks, size=tasks))])
        for _ in range(resamples)
    ]
    low, high = _percentiles(np.asarray(draws, np.float64))
    return Interval(np.asarray(statistic(x), np.float64), low, high)


def _percentiles(draws: Floats) -> tuple[Any, Any]:
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return np.asarray(low), np.asarray(high)
