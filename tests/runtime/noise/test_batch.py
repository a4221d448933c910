"""The noise of a batch: one stream an image, as diffusers draws it from a list of generators."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor

from mezzotint.errors import MezzotintError
from mezzotint.runtime.noise.batch import RNGS, BatchNoise

SHAPE = (4, 3, 5)


@pytest.mark.parametrize("rng", RNGS)
def test_image_i_draws_as_a_single_run_with_its_seed(rng: str) -> None:
    batch = BatchNoise.seeded(rng, (40, 41, 42), SHAPE)
    singles = [BatchNoise.seeded(rng, (40 + index,), SHAPE) for index in range(3)]
    draws = [batch() for _ in range(3)]
    for drawn in draws:
        assert drawn.dtype == np.float32
        np.testing.assert_array_equal(drawn, np.concatenate([single() for single in singles]))
    assert len({drawn.tobytes() for drawn in draws}) == 3


@pytest.mark.parametrize("shape", [SHAPE, (4, 8, 8), (1, 1, 3)])
def test_torch_noise_is_that_of_a_list_of_generators(shape: Sequence[int]) -> None:
    batch = BatchNoise.seeded("torch", (7, 8), shape)
    generators = [torch.Generator().manual_seed(7 + index) for index in range(2)]
    for _ in range(4):
        expected = randn_tensor((2, *shape), generator=generators).numpy()
        np.testing.assert_allclose(batch(), expected, rtol=0, atol=1e-6)


def test_numpy_noise_is_that_of_pcg64() -> None:
    generator = np.random.Generator(np.random.PCG64(5))
    batch = BatchNoise.seeded("numpy", (5,), SHAPE)
    for _ in range(2):
        np.testing.assert_array_equal(batch()[0], generator.standard_normal(SHAPE, dtype=np.float32))


def test_the_kinds_differ() -> None:
    assert RNGS == ("torch", "cuda", "numpy")
    assert len({BatchNoise.seeded(rng, (0,), SHAPE)().tobytes() for rng in RNGS}) == len(RNGS)


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(MezzotintError, match="no random number generator 'gpu'; choose one of torch, cuda, numpy"):
        BatchNoise.seeded("gpu", (0,), SHAPE)


@pytest.mark.parametrize("rng", RNGS)
def test_the_last_seed_of_a_batch_must_be_in_range_too(rng: str) -> None:
    with pytest.raises(MezzotintError, match="the seed must be between"):
        BatchNoise.seeded(rng, (2**64 - 2, 2**64 - 1, 2**64), SHAPE)
