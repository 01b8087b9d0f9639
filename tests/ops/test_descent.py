"""Steps down a slope against those by hand."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adaptax.ops.descent import adam, descend, step, stepper


def test_a_step_of_adam() -> None:
    params, slope = {"x": jnp.array([1.0, 2.0])}, {"x": jnp.array([3.0, -0.5])}
    found, state = step(adam(0.1), params, adam(0.1).init(params), slope)
    np.testing.assert_allclose(found["x"], [0.9, 2.1], rtol=1e-5)  # its first step has the size of the rate
    assert int(state[0].count) == 1


def test_a_stepper_goes_down_the_slope_of_what_it_is_given() -> None:
    improve = stepper(optax.sgd(0.1), lambda x, part: (2 * part * x, {"seen": part}))
    start = jnp.asarray([1.0, -2.0])
    (found, _), metrics = improve((start, optax.sgd(0.1).init(start)), jnp.float32(3))
    np.testing.assert_allclose(found, [1 - 0.6, -2 + 1.2], rtol=1e-6)
    assert float(metrics["seen"]) == 3


def quadratic(x: Any, weight: Any) -> tuple[Any, dict[str, Any]]:
    """The slope of weight · x², and a metric for each of two tasks."""
    return 2 * weight * x, {"value": weight * jnp.stack([x, 3 * x])}


def test_descending_folds_steps_and_measures_them() -> None:
    start = (jnp.float32(1), optax.sgd(0.1).init(jnp.float32(1)))
    (found, _), metrics = descend(optax.sgd(0.1), quadratic, start, jnp.asarray([1.0, 2.0]))
    assert float(found) == pytest.approx(1 * 0.8 * 0.6)
    assert float(metrics["gradient_norm"]) == pytest.approx((2 * 1 + 4 * 0.8) / 2)
    assert float(metrics["value"]) == pytest.approx((1 * 2 * 1 + 2 * 2 * 0.8) / 2)  # over tasks, then over steps


def test_descending_as_many_steps_as_said() -> None:
    start = (jnp.float32(1), optax.sgd(0.1).init(jnp.float32(1)))
    (found, _), metrics = descend(optax.sgd(0.1), lambda x, _: quadratic(x, 1.0), start, steps=3)
    assert float(found) == pytest.approx(0.8**3)
    assert float(metrics["gradient_norm"]) == pytest.approx(2 * (1 + 0.8 + 0.64) / 3)


def test_the_step_size_falls_to_zero_and_slopes_are_clipped() -> None:
    slopes = jnp.asarray([[30.0, 40.0]] * 4)
    gradient = lambda x, slope: (slope, {})  # noqa: E731
    optimizer = adam(0.1, gradient_clip=1.0, updates=2)
    start = (jnp.zeros(2), optimizer.init(jnp.zeros(2)))
    (found, state), metrics = descend(optimizer, gradient, start, slopes)
    # 0.1, 0.05, 0 and 0 along each axis, whatever the size of the slope; whose norm is told before it is clipped.
    np.testing.assert_allclose(found, [-0.15, -0.15], rtol=1e-4)
    np.testing.assert_allclose(state[1][0].mu, (1 - 0.9**4) * np.asarray([0.6, 0.8]), rtol=1e-5)
    assert float(metrics["gradient_norm"]) == pytest.approx(50.0)
