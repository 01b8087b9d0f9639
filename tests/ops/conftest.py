"""In `ops` no axis is added silently. (In `nets`, x W + b adds the bias to any leading axes, on purpose.)"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def no_rank_promotion() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"):
        yield
