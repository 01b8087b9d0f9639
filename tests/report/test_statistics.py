import numpy as np
import pytest
import scipy.stats

from adaptax.report.statistics import (
    Z95,
    bootstrap,
    bootstrap_mean,
    interquartile_mean,
    mean_interval,
    over_seeds,
    over_tasks,
)


def test_mean_interval_by_hand():
    # 1, 2, 3, 4: mean 2.5, variance (2.25 + 0.25 + 0.25 + 2.25) / 3 = 5/3
    interval = mean_interval([1, 2, 3, 4])
    assert interval.mean == 2.5
    assert float(interval.half) == pytest.approx(1.959963984540054 * (5 / 3) ** 0.5 / 2, rel=1e-14)
    assert float(interval.low + interval.high) == pytest.approx(5.0, rel=1e-14)
    assert interval.mean.dtype == np.float64


def test_z_is_the_normal_quantile():
    assert pytest.approx(float(scipy.stats.norm.ppf(0.975)), rel=1e-15) == Z95


def test_float32_values_are_averaged_in_float64():
    values = np.full(10_000, 0.1, np.float32)
    assert float(mean_interval(values).mean) == pytest.approx(float(np.float32(0.1)), rel=1e-14)


def test_over_tasks_and_over_seeds_by_hand():
    values = np.array([[1.0, 3.0], [5.0, 7.0]])  # seeds' means 2 and 6; each varies by √2 over its tasks
    tasks = over_tasks(values)
    np.testing.assert_allclose(tasks.mean, [2, 6])
    np.testing.assert_allclose(tasks.half, [Z95, Z95])  # √2 / √2
    seeds = over_seeds(values)
    assert seeds.mean == 4
    assert float(seeds.half) == pytest.approx(Z95 * 2)  # s = √8, over √2


def test_one_seed_has_the_interval_of_its_tasks_and_one_value_none():
    values = np.array([[[1.0, 0.0], [3.0, 0.0]]])
    np.testing.assert_allclose(over_seeds(values).half, [Z95, 0])
    assert np.isnan(mean_interval([2.0]).half)


@pytest.mark.parametrize("count", [1, 3, 4, 7, 8, 101])
def test_interquartile_mean(count):
    values = np.random.default_rng(count).normal(size=count)
    assert interquartile_mean(values) == pytest.approx(float(scipy.stats.trim_mean(values, 0.25)))


def test_interquartile_mean_by_hand():
    assert interquartile_mean([[100, 1, 2], [3, 4, 5], [6, 7, -100]]) == 4.0  # −100, 1 and 7, 100 dropped


def test_bootstrap_mean_is_repeatable_and_has_the_right_width():
    values = np.random.default_rng(0).normal(size=(1, 400))
    interval = bootstrap_mean(values)
    assert [float(x) for x in interval] == [float(x) for x in bootstrap_mean(values)]
    assert float(interval.mean) == pytest.approx(values.mean())
    assert float(interval.half) == pytest.approx(float(over_tasks(values).half[0]), rel=0.06)


def test_bootstrap_mean_keeps_what_a_seed_brings_to_all_its_tasks():
    # tasks alike, seeds 0 and 1: the mean of two drawn seeds is 0, ½ or 1 with odds 1 : 2 : 1
    values = np.repeat([[0.0], [1.0]], 50, axis=1)
    interval = bootstrap_mean(values)
    np.testing.assert_allclose([interval.low, interval.mean, interval.high], [0, 0.5, 1], atol=1e-12)


def test_bootstrap_mean_over_further_axes():
    values = np.random.default_rng(1).normal(size=(3, 20, 4, 2))
    interval = bootstrap_mean(values, resamples=300)
    assert interval.low.shape == (4, 2)
    np.testing.assert_allclose(interval.mean, values.mean((0, 1)))
    assert (interval.low < interval.mean).all() and (interval.mean < interval.high).all()


def test_bootstrap_of_any_statistic_agrees_with_that_of_the_mean():
    values = np.random.default_rng(2).normal(size=(4, 60))
    general, means = bootstrap(values, lambda x: float(x.mean()), 4000), bootstrap_mean(values, 4000)
    assert float(general.mean) == pytest.approx(float(means.mean))
    assert float(general.half) == pytest.approx(float(means.half), rel=0.1)


def test_constant_values_have_an_interval_of_no_width():
    interval = bootstrap(np.full((2, 5), 3.0), interquartile_mean, 50)
    assert tuple(map(float, interval)) == (3.0, 3.0, 3.0)
