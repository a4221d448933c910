"""Rounding to 4 bits: what is optimal, what is better than what, and what stays exact."""

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.quantize.decide.rounding import Moments, codes_of, group_scales, round_to_four_bits, values_of
from mezzotint.quantize.graphs.four_bits import FourBits


def weights(channels: int, outputs: int, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    return random.standard_normal((channels, outputs)) * np.exp(random.uniform(-2, 1, (channels, 1))) * 0.05


def inputs(rows: int, channels: int, seed: int = 1) -> Array:
    """Correlated, with a few large channels and means other than 0."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((rows, channels // 2)) @ random.standard_normal((channels // 2, channels))
    return mixed + 0.3 * random.standard_normal((rows, channels)) + random.uniform(-2, 2, channels) ** 3


def values(weight: FourBits) -> Array:
    """In double precision, from the definition."""
    scales = np.repeat(weight.scales.astype(np.float64), weight.group, axis=0)
    result: Array = (weight.codes.astype(np.float64) - 8) * scales
    return result if weight.down is None else result + weight.down.astype(np.float64) @ np.asarray(weight.up, float)


def output_error(x: Array, exact: Array, weight: FourBits) -> float:
    return float(np.square(x @ (exact - values(weight))).sum() / np.square(x @ exact).sum())


@pytest.mark.parametrize("outputs", [3, 7, 40])
def test_scales_are_the_best_of_a_fine_grid_or_nearly(outputs: int) -> None:
    block, importance = weights(16, outputs), np.random.default_rng(2).uniform(0.1, 3, 16)
    found = group_scales(block, importance)
    assert found.dtype == np.float16
    errors = importance @ np.square(block - values_of(codes_of(block, found), found))
    largest = np.abs(block).max(axis=0)
    grid = [sign * largest * factor / 8 for factor in np.linspace(0.3, 1.4, 400) for sign in (-1, 1)]
    least = np.min([importance @ np.square(block - values_of(codes_of(block, one), one)) for one in grid], axis=0)
    plain = (largest / 7).astype(np.float16)
    plainly = importance @ np.square(block - values_of(codes_of(block, plain), plain))
    assert errors.sum() < 0.98 * plainly.sum()
    assert errors.sum() <= 1.05 * least.sum()


def test_what_lies_on_a_grid_stays_as_it_is() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 16, (32, 5)).astype(np.uint8)
    codes[::16] = 0  # each group reaches the end of its grid
    scales = random.choice([0.25, -0.5], (2, 5)).astype(np.float16)
    exact = values_of(codes, np.repeat(scales, 16, axis=0))
    np.testing.assert_array_equal(values(round_to_four_bits(exact, 16, Moments.unknown(32))), exact)


@pytest.mark.parametrize("moments", ["unknown", "known"])
def test_zeros_and_extremes(moments: str) -> None:
    exact = weights(32, 4)
    exact[:16, 0] = 0.0
    exact[:, 1] = 1e-12  # below what FP16 has as a scale
    exact[:, 2] *= 1e9  # above it
    x = inputs(64, 32)
    known = Moments.unknown(32) if moments == "unknown" else Moments.of(x.T @ x)
    rounded = round_to_four_bits(exact, 16, known, rank=0)
    assert np.all(np.isfinite(rounded.scales))
    assert np.all(rounded.scales != 0)
    if moments == "unknown":
        assert not values(rounded)[:16, 0].any()
    assert rounded.codes.max() <= 15


@pytest.mark.parametrize(("channels", "outputs", "group"), [(96, 40, 32), (64, 5, 16), (128, 33, 128)])
def test_errors_are_made_up_for_at_the_outputs(channels: int, outputs: int, group: int) -> None:
    """For other inputs of the same kind than those that were looked at."""
    exact, (seen, unseen) = weights(channels, outputs), np.split(inputs(4096, channels), 2)
    plain = round_to_four_bits(exact, group, Moments.unknown(channels))
    better = round_to_four_bits(exact, group, Moments.of(seen.T @ seen))
    assert output_error(unseen, exact, better) < 0.5 * output_error(unseen, exact, plain)


def test_independent_inputs_leave_nothing_to_make_up_for() -> None:
    exact = weights(64, 20)
    plain, same = (round_to_four_bits(exact, 32, one) for one in (Moments.unknown(64), Moments.of(7.0 * np.eye(64))))
    np.testing.assert_array_equal(plain.codes, same.codes)
    np.testing.assert_array_equal(plain.scales, same.scales)


@pytest.mark.parametrize("moments", ["unknown", "known"])
def test_a_correction_is_worth_its_rank(moments: str) -> None:
    exact, x = weights(96, 40), inputs(2048, 96)
    known = Moments.unknown(96) if moments == "unknown" else Moments.of(x.T @ x)
    errors = []
    for rank in (0, 1, 4, 16):
        rounded = round_to_four_bits(exact, 32, known, rank)
        assert rounded.rank == rank
        if rank:
            assert rounded.down is not None
            assert rounded.down.dtype == np.float16
            assert rounded.down.shape == (96, rank)
        errors.append(known.energy(exact - values(rounded)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.75 * errors[0]


def test_a_correction_of_full_rank_leaves_what_16_bits_leave() -> None:
    exact = weights(32, 24)
    rounded = round_to_four_bits(exact, 16, Moments.unknown(32), rank=24)
    assert np.square(exact - values(rounded)).sum() < 1e-5 * np.square(exact).sum()


def test_without_moments_the_correction_is_the_truncated_decomposition_at_least() -> None:
    """Eckart and Young: no other matrix of that rank is nearer to the error that rounding alone leaves."""
    exact = weights(64, 48)
    left = exact - values(round_to_four_bits(exact, 32, Moments.unknown(64)))
    optimum = float(np.square(np.linalg.svd(left, compute_uv=False)[8:]).sum())
    corrected = round_to_four_bits(exact, 32, Moments.unknown(64), rank=8)
    assert np.square(exact - values(corrected)).sum() <= 1.001 * optimum


def test_moments_without_full_rank_will_do() -> None:
    x = inputs(5, 32)
    for products in (x.T @ x, np.zeros((32, 32))):
        rounded = round_to_four_bits(weights(32, 8), 16, Moments.of(products), rank=2)
        assert np.isfinite(values(rounded)).all()
