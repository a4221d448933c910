"""Decibels against scikit-image, exact sums, and cases whose answer is known."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.errors import MezzotintError

Measure: TypeAlias = Callable[[Array, Array], float]


def noisy_pair(seed: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    reference = rng.random(shape, dtype=np.float32)
    return reference, np.clip(reference + rng.normal(0, 0.05, shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 64, 48, 3), (1000,)])
def test_psnr_equals_scikit_image(seed: int, shape: tuple[int, ...]) -> None:
    reference, test = noisy_pair(seed, shape)
    expected = peak_signal_noise_ratio(reference.astype(np.float64), test.astype(np.float64), data_range=1.0)
    assert psnr_db(reference, test) == pytest.approx(expected, abs=1e-9)


def test_psnr_of_bytes_does_not_wrap() -> None:
    reference, test = (np.round(array * 255).astype(np.uint8) for array in noisy_pair(0, (16, 16, 3)))
    expected = peak_signal_noise_ratio(reference, test, data_range=255)
    assert psnr_db(reference, test, data_range=255.0) == pytest.approx(expected, abs=1e-9)
    assert psnr_db(test, reference, data_range=255.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("decibels", [-20.0, 0.0, 6.0, 40.0, 120.0])
def test_sqnr_of_a_relative_error_is_that_error(decibels: float) -> None:
    reference = np.random.default_rng(1).normal(3.0, 2.0, (7, 11))
    assert sqnr_db(reference, reference * (1.0 + 10 ** (-decibels / 20))) == pytest.approx(decibels, abs=1e-6)


def test_sqnr_sums_without_losing_small_errors() -> None:
    """Float32 sums would stop growing: 2**24 + 1 is 2**24 there."""
    rng = np.random.default_rng(2)
    reference = rng.normal(0, 100.0, 50_000).astype(np.float32)
    test = reference + rng.normal(0, 1e-2, reference.shape).astype(np.float32)
    signal = math.fsum(float(value) ** 2 for value in reference)
    noise = math.fsum((float(a) - float(b)) ** 2 for a, b in zip(reference, test, strict=True))
    assert sqnr_db(reference, test) == pytest.approx(10 * math.log10(signal / noise), abs=1e-9)


def test_it_matters_which_array_is_the_reference() -> None:
    reference, test = np.array([1.0, 1.0]), np.array([3.0, 1.0])
    assert sqnr_db(reference, test) == pytest.approx(10 * math.log10(2 / 4))
    assert sqnr_db(test, reference) == pytest.approx(10 * math.log10(10 / 4))


@pytest.mark.parametrize("measure", [sqnr_db, psnr_db])
@pytest.mark.parametrize("reference", [np.zeros(3), np.ones((2, 3), np.float32)])
def test_identical_arrays_give_infinity(measure: Measure, reference: Array) -> None:
    assert measure(reference, reference.copy()) == math.inf


@pytest.mark.parametrize("measure", [sqnr_db, psnr_db])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_as_wrong_as_can_be(measure: Measure, bad: float) -> None:
    reference = np.ones(5, dtype=np.float32)
    test = reference.copy()
    test[3] = bad
    assert measure(reference, test) == -math.inf


def test_an_error_on_silence_is_as_wrong_as_can_be() -> None:
    assert sqnr_db(np.zeros(3), np.full(3, 1e-9)) == -math.inf


@pytest.mark.parametrize("measure", [sqnr_db, psnr_db])
def test_shapes_must_be_equal_and_do_not_broadcast(measure: Measure) -> None:
    with pytest.raises(MezzotintError, match=r"shapes \(2, 3\) and \(1, 3\)"):
        measure(np.ones((2, 3)), np.ones((1, 3)))
