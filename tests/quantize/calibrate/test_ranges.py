"""Ranges from statistics, against plain numpy."""

from collections.abc import Callable

import numpy as np
import pytest

from mezzotint.affine import UINT8, dequantize, quantize
from mezzotint.arrays import FloatArray
from mezzotint.quantize.calibrate.ranges import RANGE_METHODS, least_error_range, min_max, percentile, step_mean
from mezzotint.quantize.calibrate.statistics import TensorStatistics

CHANNELS = 8
EVEN = np.ones(CHANNELS)
Generate = Callable[[np.random.Generator, tuple[int, int]], FloatArray]


def statistics_of(samples: FloatArray) -> TensorStatistics:
    """What `collect` would say of calls whose whole activation, of 8 channels side by side, was sampled."""
    calls, count = samples.shape
    channels = np.broadcast_to(np.arange(count) % CHANNELS, samples.shape)
    rows = samples.reshape(-1, CHANNELS)
    return TensorStatistics(
        low=samples.min(axis=1),
        high=samples.max(axis=1),
        channel_low=rows.min(axis=0),
        channel_high=rows.max(axis=0),
        channel_mean=rows.mean(axis=0),
        samples=samples,
        channels=channels,
        steps=np.arange(calls),
    )


def generated(generate: Generate, calls: int = 6, count: int = 4096) -> FloatArray:
    return generate(np.random.default_rng(2), (calls, count)).astype(np.float32)


def heavy_tailed(random: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    return random.standard_t(2.5, size=shape).astype(np.float32)


def uniform(random: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    return random.uniform(-1.0, 3.0, size=shape).astype(np.float32)


def positive(random: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    return random.exponential(2.0, size=shape).astype(np.float32)


def test_each_method_is_what_numpy_says() -> None:
    samples = generated(heavy_tailed)
    statistics = statistics_of(samples)
    assert min_max(statistics) == (samples.min(), samples.max())
    assert step_mean(statistics) == pytest.approx((samples.min(axis=1).mean(), samples.max(axis=1).mean()))
    assert percentile(99.0)(statistics) == pytest.approx(np.percentile(samples, [0.5, 99.5]))


def test_extremes_that_were_not_sampled_still_count() -> None:
    """`low` and `high` are exact over the whole activation; the samples are not."""
    statistics = statistics_of(generated(uniform))
    wide = TensorStatistics(**{**vars(statistics), "high": statistics.high + 7.0})
    assert min_max(wide)[1] == pytest.approx(statistics.high.max() + 7.0)


@pytest.mark.parametrize("generate", [heavy_tailed, uniform, positive])
def test_the_chosen_range_has_the_least_error_of_all_methods(generate: Generate) -> None:
    """The error counts where the weights listen: channels that nothing reads may be clipped away."""
    samples, energy = generated(generate), np.array([0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 5.0, 0.1])
    statistics = statistics_of(samples)
    listened = np.tile(energy, samples.shape[1] // CHANNELS)

    def error(low: float, high: float) -> float:
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / 255.0
        zero = np.rint(-low / scale)
        codes = np.clip(np.rint(samples / scale) + zero, 0.0, 255.0)
        return float(np.sum(np.square(samples - (codes - zero) * scale) * listened))

    chosen, _ = least_error_range(statistics, UINT8, energy)
    errors = [error(*(float(bound) for bound in method(statistics))) for _, method in RANGE_METHODS]
    assert error(chosen.low, chosen.high) <= min(errors) * 1.001
    assert chosen.method in dict(RANGE_METHODS)


def test_a_loud_channel_that_nothing_reads_does_not_stretch_the_grid() -> None:
    samples = generated(uniform)
    samples[:, 3::CHANNELS] *= 50.0
    statistics = statistics_of(samples)
    deaf = least_error_range(statistics, UINT8, np.where(np.arange(CHANNELS) == 3, 0.0, 1.0))[0]
    heard = least_error_range(statistics, UINT8, EVEN)[0]
    assert deaf.high < 0.5 * heard.high


def test_a_lone_outlier_is_clipped_and_a_uniform_spread_is_not() -> None:
    statistics = statistics_of(generated(uniform))
    whole, _ = least_error_range(statistics, UINT8, EVEN)
    assert whole.high > 0.999 * statistics.high.max()
    wild = TensorStatistics(**{**vars(statistics), "high": statistics.high + 40.0 * (np.arange(6) == 2)})
    clipped, quantizer = least_error_range(wild, UINT8, EVEN)
    assert clipped.method != "min-max"
    assert clipped.high < 15.0
    assert dequantize(np.array([255], dtype=np.uint8), quantizer) == pytest.approx(clipped.high, rel=0.01)


def test_positive_values_get_the_whole_grid() -> None:
    _, quantizer = least_error_range(statistics_of(generated(positive)), UINT8, EVEN)
    assert int(quantizer.zero_point) == 0


def test_a_tensor_of_zeros_has_a_usable_grid() -> None:
    _, quantizer = least_error_range(statistics_of(np.zeros((3, 64), dtype=np.float32)), UINT8, EVEN)
    assert dequantize(quantize(np.zeros(4, dtype=np.float32), quantizer), quantizer).tolist() == [0.0] * 4
    assert np.isfinite(quantizer.scale)
