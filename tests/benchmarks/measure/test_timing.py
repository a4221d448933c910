import numpy as np
import pytest

from mezzotint.benchmarks.measure.timing import NOISY_IQR_SHARE, Measurement

SAMPLES = (12.0, 10.0, 11.0, 30.0, 10.5, 11.5, 10.2)


def test_figures_agree_with_numpy() -> None:
    measurement = Measurement(SAMPLES)
    lower, median, upper, p95 = np.percentile(SAMPLES, [25, 50, 75, 95])
    assert measurement.median == pytest.approx(median)
    assert measurement.quartiles == pytest.approx((lower, upper))
    assert measurement.iqr == pytest.approx(upper - lower)
    assert measurement.p95 == pytest.approx(p95)


def test_raw_samples_stay_in_the_order_taken() -> None:
    assert Measurement(SAMPLES).samples == SAMPLES


@pytest.mark.parametrize(("spread", "noisy"), [(0.9, False), (1.1, True)])
def test_noisy_when_the_middle_half_spreads_over_a_tenth_of_the_median(spread: float, noisy: bool) -> None:
    half = 100.0 * NOISY_IQR_SHARE * spread / 2.0
    assert Measurement((100.0 - half, 100.0 - half, 100.0, 100.0 + half, 100.0 + half)).noisy is noisy


def test_one_sample_is_its_own_median() -> None:
    measurement = Measurement((4.0,))
    assert (measurement.median, measurement.iqr, measurement.noisy) == (4.0, 0.0, False)


def test_no_sample_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Measurement(())
