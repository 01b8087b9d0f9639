"""Running moments against NumPy over everything at once."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.ops import running


def test_moments_of_batches_are_those_of_all_numbers() -> None:
    generator = np.random.default_rng(0)
    batches = [generator.normal(5 * k, 1 + k, size) for k, size in enumerate([(3, 4), (7,), (2, 2, 5), (1,)])]
    moments = running.no_moments()
    seen: list[float] = []
    for batch in batches:
        moments = running.update(moments, jnp.asarray(batch, jnp.float32))
        seen += batch.ravel().tolist()
        assert float(moments.count) == len(seen)
        assert float(moments.mean) == pytest.approx(np.mean(seen), rel=1e-5)
        assert float(moments.variance) == pytest.approx(np.var(seen), rel=1e-5)
        assert float(running.deviation(moments)) == pytest.approx(np.std(seen), rel=1e-5)


def test_where_nothing_varies_the_unit_is_one() -> None:
    assert float(running.deviation(running.no_moments())) == 1.0
    assert float(running.deviation(running.update(running.no_moments(), jnp.zeros(5)))) == 1.0


def test_vectors_entry_by_entry_and_what_drifts() -> None:
    rng = np.random.default_rng(1)
    seen = rng.normal([1.0, -5.0, 0.0], [2.0, 0.5, 0.0], (4, 10, 3)).astype(np.float32)
    moments = running.no_moments((3,))
    for batch in seen:
        moments = running.update(moments, jnp.asarray(batch))
    every = seen.reshape(-1, 3)
    np.testing.assert_allclose(moments.mean, every.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(moments.variance, every.var(axis=0), rtol=1e-4)
    normal = running.normalize(moments, jnp.asarray(every))
    np.testing.assert_allclose(normal.mean(axis=0), [0.0, 0.0, 0.0], atol=1e-4)
    np.testing.assert_allclose(normal.std(axis=0), [1.0, 1.0, 0.0], atol=1e-4)  # what never varies is left in its unit
    assert float(jnp.max(running.normalize(moments, jnp.full((3,), 1e6)))) == 10.0
    for _ in range(100):  # the newest half counts for half
        moments = running.update(moments, jnp.full((10, 3), 7.0), least=0.5)
    np.testing.assert_allclose(moments.mean, [7.0, 7.0, 7.0], rtol=1e-5)
    assert (np.asarray(moments.variance) < 1e-6).all()
