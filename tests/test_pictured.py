"""Every registered algorithm learns from observations of images, numbers and tokens, part by part."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import jax
import numpy as np
import pytest
from pictured import pictured
from records import RECORDS
from test_contract import ALGORITHMS, SHRUNK

from adaptax.names import registry
from adaptax.run.iterate import begin, meta_iteration
from adaptax.run.source import living
from adaptax.run.train import root_keys

QUICK = ("rl2",)  # the others take more than ten seconds of CPU, nearly all of it compilation
CONTINUOUS = ("rl2-sac", "pearl", "multitask-sac", "multitask-ddpg")  # those that choose among no discrete actions
MOVED = ("convolutions", "embedding")  # names of what is learned of images and of tokens


def shrunk(name: str, spec: Any) -> Any:
    known = {f.name: f.default for f in fields(registry.algorithm_entry(name).load())}
    wanted = {k: v for k, v in {**SHRUNK, **RECORDS[name].shrunk}.items() if k in known}
    wanted |= {"hidden": (8,) if isinstance(known["hidden"], tuple) else 8}
    return registry.make_algorithm(name, None, spec, wanted)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in ALGORITHMS])
def test_every_algorithm_learns_from_images_and_tokens(name: str) -> None:
    benchmark = pictured(name not in CONTINUOUS)
    algorithm = shrunk(name, benchmark.spec)
    source = living(algorithm, benchmark)
    before = jax.jit(lambda root: begin(algorithm, source, root))(root_keys(0, 1))
    after, metrics = jax.jit(meta_iteration(algorithm, source))(before, root_keys(0, 1))
    assert all(np.isfinite(value).all() for value in metrics.values())
    moved = set()
    old_leaves, new_leaves = jax.tree.leaves_with_path(before.state.params), jax.tree.leaves(after.state.params)
    for (path, old), new in zip(old_leaves, new_leaves, strict=True):
        assert jax.typeof(new) == jax.typeof(old) and np.isfinite(new).all()
        if np.any(old != new):
            moved |= {part for part in MOVED if part in jax.tree_util.keystr(path)}
    assert moved == set(MOVED)
