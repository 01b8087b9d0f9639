"""Running averages of parameters."""

from typing import Any

import jax

from ..types import Array


def polyak(average: Any, latest: Any, rate: float | Array) -> Any:
    """(1 − rate) · `average` + rate · `latest`, leaf by leaf (target networks: rate τ)."""
    return jax.tree.map(lambda held, new: held + rate * (new - held), average, latest)
