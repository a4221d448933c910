"""What the overhead's figures are, against SciPy's interval of a median."""

import numpy as np
import pytest
from scipy.stats import quantile_test  # type: ignore[import-untyped]

from mezzotint.serve.server.overhead import Overhead


@pytest.mark.parametrize("count", [6, 7, 8, 9, 40, 41, 200])
def test_the_interval_is_that_of_order_statistics(count: int) -> None:
    draw = np.random.default_rng(count)
    direct, added = draw.uniform(300, 500, count), draw.normal(8, 30, count)
    measured = Overhead(tuple(direct), tuple(direct + added))
    expected = quantile_test(added, p=0.5).confidence_interval(0.95)
    assert measured.interval == pytest.approx(np.array(expected) / np.median(direct), rel=1e-9)
    assert measured.share == pytest.approx(np.median(added) / np.median(direct), rel=1e-9)


def test_five_pairs_bound_nothing() -> None:
    measured = Overhead((1.0,) * 5, (2.0,) * 5)
    assert measured.interval is None
    assert measured.share == 1.0


def test_a_reader_is_told_how_sure_it_is() -> None:
    (line,) = Overhead((100.0,) * 6, (101.0, 102.0, 103.0, 104.0, 105.0, 106.0)).lines()
    assert line.endswith("overhead 3.50%, 95 % interval 1.00% to 6.00% (6 images)")
