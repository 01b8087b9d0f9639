"""Finite-horizon Gittins indices of a Bernoulli arm with a Beta(1, 1) prior, undiscounted.

The index of an arm with s successes in n pulls and h pulls to go is the known reward λ per pull at which one
is indifferent between pulling the arm for some while (and then taking λ) and taking λ from now on. With μ =
(s + 1)/(n + 2) the advantage of pulling is

    W_h(n, s; λ) = μ − λ + μ V_{h−1}(n + 1, s + 1) + (1 − μ) V_{h−1}(n + 1, s),   V_h = max(W_h, 0),   V_0 =
    0,

which falls in λ; the index is its root. All roots are bracketed together by sweeping the recursion once over
a grid of λ, and then interpolated linearly.

Which horizon? Counting the pulls that remain in the *trial* (h = N − t) gives, at 10 pulls and 5 arms, 6.66,
the exact Bayes optimum; giving every arm a horizon of its own (h = N − n) gives 6.63, and the closed-form
approximation in the authors' code at discount 1 gives 6.59. At 100 pulls the three are within 0.3 of one
another, so the published column (6.6, 6.6, 78.3, 82.8) cannot tell them apart; the first is the strongest,
and is used.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

CAP = 500  # an arm is looked ahead until it has been pulled this often, as in the published baseline


class GittinsTable(NamedTuple):
    """Indices of every state of an arm that a trial can reach.

    `index` is flat: the row of horizon h starts at `offset[row[h]]`, and (n, s) stands at n(n + 1)/2 + s in
    it.
    """

    index: np.ndarray  # float32 [entries]
    row: np.ndarray  # int32 [size + 1]; the row of horizon h, or of the nearest tabulated one below it
    offset: np.ndarray  # int32 [rows]
    size: int  # n + h never exceeds it


def tabulated_horizons(size: int) -> list[int]:
    """All horizons up to 128 pulls; beyond, all to 32 and then in steps of a tenth: the index hardly depends
    on h there, and the whole table for 500 pulls would take 84 MB."""
    if size <= 128:
        return list(range(1, size + 1))
    horizons = list(range(1, 33))
    while horizons[-1] * 1.1 <= size:
        horizons.append(int(horizons[-1] * 1.1))
    return horizons


@lru_cache(maxsize=4)
def gittins_table(pulls: int, resolution: int = 200) -> GittinsTable:
    """The indices for trials of `pulls` pulls; `resolution` steps of λ on [0, 1]."""
    size = min(pulls, CAP)
    horizons = tabulated_horizons(size)
    lengths = [(size - h + 1) * (size - h + 2) // 2 for h in horizons]
    offset = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int32)
    index = np.zeros(sum(lengths), np.float32)
    row_of = {h: i for i, h in enumerate(horizons)}
    grid = np.linspace(0.0, 1.0, resolution + 1, dtype=np.float32)[:, None]
    for last in range(1, size + 1):  # n + h is constant along a trial in which one arm is pulled
        value = np.zeros((len(grid), last + 1), np.float32)
        for n in range(last - 1, -1, -1):
            mean = ((np.arange(n + 1) + 1) / (n + 2)).astype(np.float32)
            advantage = value[:, 1:] - value[:, :-1]
            advantage *= mean
            advantage += value[:, :-1]
            advantage += mean - grid
            if last - n in row_of:
                start = offset[row_of[last - n]] + n * (n + 1) // 2
                index[start : start + n + 1] = _roots(advantage, grid[:, 0])
            value = np.maximum(advantage, 0.0, out=advantage)
    row = np.searchsorted(horizons, np.arange(size + 1), side="right") - 1
    return GittinsTable(index, np.maximum(row, 0).astype(np.int32), offset, size)


def _roots(advantage: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Where each column of `advantage` [G, S], which falls along `grid` [G], crosses zero: [S]."""
    below = np.clip(np.sum(advantage > 0, axis=0) - 1, 0, len(grid) - 2)
    column = np.arange(advantage.shape[1])
    high, low = advantage[below, column], advantage[below + 1, column]
    return grid[below] + (grid[below + 1] - grid[below]) * np.clip(high / (high - low), 0.0, 1.0)
