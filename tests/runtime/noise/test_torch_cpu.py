"""Noise against torch's own generator."""

import numpy as np
import pytest
import torch

from mezzotint.errors import MezzotintError
from mezzotint.runtime.noise.torch_cpu import TorchGenerator, torch_normal

SEEDS = (0, 1, 1234, 2**31, 2**32 - 1, 2**32, 2**32 + 7, 2**63, 2**64 - 1)
SHAPES = (
    *[(count,) for count in (0, 1, 2, 3, 7, 14, 15, 16, 17, 31, 32, 33, 47, 48, 1000, 1009)],
    (),
    (3, 0, 2),
    (1, 4, 8, 8),
    (2, 4, 5, 7),
    (1, 4, 64, 64),
)


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_torch_for_every_shape(seed: int) -> None:
    for shape in SHAPES:
        expected = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)).numpy()
        noise = torch_normal(shape, seed)
        assert noise.dtype == np.float32
        assert noise.shape == shape
        np.testing.assert_allclose(noise, expected, rtol=0, atol=1e-6, err_msg=f"shape {shape}")


def test_equals_torch_over_many_draws() -> None:
    """A million values reach the tails, where the radius is largest and rounding matters most."""
    expected = torch.randn(2**20, generator=torch.Generator("cpu").manual_seed(5)).numpy()
    np.testing.assert_allclose(torch_normal((2**20,), 5), expected, rtol=0, atol=1e-6)


def test_successive_calls_continue_the_stream() -> None:
    """Small draws keep the second value of their last pair, also across large draws in between."""
    oracle, generator = torch.Generator("cpu").manual_seed(7), TorchGenerator(7)
    shapes = np.random.default_rng(0).integers(0, 40, size=300)
    for call, count in enumerate(shapes.tolist()):
        expected = torch.randn(count, generator=oracle).numpy()
        np.testing.assert_allclose(generator.normal((count,)), expected, rtol=0, atol=1e-6, err_msg=f"call {call}")


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range_is_an_error(seed: int) -> None:
    with pytest.raises(MezzotintError, match=rf"between 0 and 2\*\*64 - 1, got {seed}"):
        torch_normal((4,), seed)


def test_equals_torch_on_random_shapes_and_seeds() -> None:
    """Two draws each, so that the second begins wherever the first one left the stream."""
    choices = np.random.default_rng(1)
    for _ in range(150):
        shape = tuple(choices.integers(1, 9, size=choices.integers(1, 5)).tolist())
        seed = int(choices.integers(0, 2**63))
        oracle, generator = torch.Generator("cpu").manual_seed(seed), TorchGenerator(seed)
        for _ in range(2):
            expected = torch.randn(shape, generator=oracle).numpy()
            np.testing.assert_allclose(
                generator.normal(shape), expected, rtol=0, atol=1e-6, err_msg=f"shape {shape}, seed {seed}"
            )
