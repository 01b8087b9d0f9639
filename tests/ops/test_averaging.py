"""Running averages by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from adaptax.ops.averaging import polyak


def test_polyak_by_hand() -> None:
    held, latest = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(-4.0)}, {"a": jnp.array([3.0, 2.0]), "b": jnp.array(0.0)}
    found = polyak(held, latest, 0.25)
    np.testing.assert_allclose(found["a"], [1.5, 2.0])
    np.testing.assert_allclose(found["b"], -3.0)
    for _ in range(200):
        held = polyak(held, latest, 0.1)
    np.testing.assert_allclose(held["a"], latest["a"], rtol=1e-6)
