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
