"""Ranges from statistics, against plain numpy."""

from collections.abc import Callable

import numpy as np
import pytest

from mezzotint.quantize.ranges import RANGE_METHODS, least_error_range, min_max, percentile, step_mean
from mezzotint.quantize.statistics import TensorStatistics
from mezzotint.runtime.affine import UINT8, dequantize, quantize
from mezzotint.runtime.arrays import FloatArray

Draw = Callable[[np.random.Generator, tuple[int, int]], FloatArray]


def statistics_of(samples: FloatArray) -> TensorStatistics:
    """What `collect` would say of calls whose whole activation was sampled."""
    return TensorStatistics(
        low=samples.min(axis=1),
        high=samples.max(axis=1),
        channel_absmax=np.abs(samples).max(axis=0),
        channel_mean=samples.mean(axis=0),
        samples=samples,
        steps=np.arange(len(samples)),
    )


def drawn(draw: Draw, calls: int = 6, count: int = 4096) -> FloatArray:
    return draw(np.random.default_rng(2), (calls, count)).astype(np.float32)


def heavy_tailed(random: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    return random.standard_t(2.5, size=shape).astype(np.float32)


def uniform(random: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    return random.uniform(-1.0, 3.0, size=shape).astype(np.float32)


def positive(random: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    return random.exponential(2.0, size=shape).astype(np.float32)


def test_each_method_is_what_numpy_says() -> None:
    samples = drawn(heavy_tailed)
    statistics = statistics_of(samples)
    assert min_max(statistics) == (samples.min(), samples.max())
    assert step_mean(statistics) == pytest.approx((samples.min(axis=1).mean(), samples.max(axis=1).mean()))
    assert percentile(99.0)(statistics) == pytest.approx(np.percentile(samples, [0.5, 99.5]))


def test_extremes_that_were_not_sampled_still_count() -> None:
    """`low` and `high` are exact over the whole activation; the samples are not."""
    statistics = statistics_of(drawn(uniform))
    wide = TensorStatistics(**{**vars(statistics), "high": statistics.high + 7.0})
    assert min_max(wide)[1] == pytest.approx(statistics.high.max() + 7.0)


@pytest.mark.parametrize("draw", [heavy_tailed, uniform, positive])
def test_the_chosen_range_has_the_least_error_of_all_methods(draw: Draw) -> None:
    samples = drawn(draw)
    statistics = statistics_of(samples)
    _, quantizer = least_error_range(statistics, UINT8)
    chosen = float(np.mean(np.square(samples - dequantize(quantize(samples, quantizer), quantizer))))
    for _, method in RANGE_METHODS:
        low, high = (float(bound) for bound in method(statistics))
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / 255.0
        zero = np.rint(-low / scale)
        codes = np.clip(np.rint(samples / scale) + zero, 0.0, 255.0)
        assert chosen <= np.mean(np.square(samples - (codes - zero) * scale)) * 1.001


def test_a_lone_outlier_is_clipped_and_a_uniform_spread_is_not() -> None:
    statistics = statistics_of(drawn(uniform))
    whole, _ = least_error_range(statistics, UINT8)
    assert whole.high > 0.999 * statistics.high.max()
    wild = TensorStatistics(**{**vars(statistics), "high": statistics.high + 40.0 * (np.arange(6) == 2)})
    clipped, quantizer = least_error_range(wild, UINT8)
    assert clipped.method != "min-max"
    assert clipped.high < 15.0
    assert dequantize(np.array([255], dtype=np.uint8), quantizer) == pytest.approx(clipped.high, rel=0.01)


def test_positive_values_get_the_whole_grid() -> None:
    _, quantizer = least_error_range(statistics_of(drawn(positive)), UINT8)
    assert int(quantizer.zero_point) == 0


def test_a_tensor_of_zeros_has_a_usable_grid() -> None:
    _, quantizer = least_error_range(statistics_of(np.zeros((3, 64), dtype=np.float32)), UINT8)
    assert dequantize(quantize(np.zeros(4, dtype=np.float32), quantizer), quantizer).tolist() == [0.0] * 4
    assert np.isfinite(quantizer.scale)
