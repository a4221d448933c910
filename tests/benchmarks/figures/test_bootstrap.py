import math

import numpy as np
import pytest

from mezzotint.benchmarks.figures.bootstrap import median_interval, quantile


@pytest.mark.parametrize("share", [0.0, 0.05, 0.25, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_quantile_agrees_with_numpy(share: float, count: int) -> None:
    values = np.random.default_rng(count).normal(size=count).tolist()
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)))


def test_infinite_values_give_infinite_or_finite_figures_but_never_nan() -> None:
    values = [30.0, math.inf, math.inf, math.inf]
    assert quantile(values, 0.0) == 30.0
    assert quantile(values, 0.5) == math.inf
    assert quantile(values, 0.05) == math.inf  # between 30 and infinity
    lower, upper = median_interval(values)
    assert lower >= 30.0
    assert upper == math.inf


def test_identical_values_have_an_interval_of_no_width() -> None:
    assert median_interval([math.inf] * 5) == (math.inf, math.inf)
    assert median_interval([2.0]) == (2.0, 2.0)


def test_the_interval_holds_the_true_median_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    intervals = [median_interval(generator.normal(5.0, 2.0, 40).tolist()) for _ in range(60)]
    held = sum(lower <= 5.0 <= upper for lower, upper in intervals)
    assert 52 <= held <= 60  # 57 of 60 are expected at 95 %
    narrow = [median_interval(sample.tolist(), 0.5) for sample in generator.normal(5.0, 2.0, (30, 40))]
    assert sum(lower <= 5.0 <= upper for lower, upper in narrow) < 27


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(3).normal(size=20).tolist()
    assert median_interval(values) == median_interval(values)
