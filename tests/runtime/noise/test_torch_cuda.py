"""CUDA's noise: Philox against its authors' vectors, the layout against published outputs of GPUs."""

import numpy as np
import pytest

from mezzotint.errors import MezzotintError
from mezzotint.runtime.noise.torch_cuda import CudaGenerator, philox4x32

# The kat_vectors file of Random123, the paper's library: counter, key, words of philox4x32 with 10 rounds.
KNOWN_ANSWERS = (
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)
# What torch printed on GPUs: seed, then shape and first values of successive draws. Seed 0 is from a notebook on
# Triton kernels (torch 2.2, a GPU of compute capability 7.5), seed 42 from a test case for torch.compile.
PUBLISHED: tuple[tuple[int, tuple[tuple[tuple[int, ...], list[float]], ...]], ...] = (
    (
        0,
        (
            ((8, 10), [-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284, -1.0745, -0.3631]),
            ((10,), [0.1808, -0.5523, 0.9238, -0.7350, 1.3800, 0.8676, 0.1297, -0.9406, 0.8109, 0.8821]),
            ((8, 10), [2.5441, -0.7163, -0.4934, 0.1267, 0.1014, -0.4035, 0.9023, 0.8099, -0.6884, 0.1372]),
        ),
    ),
    (
        42,
        (
            ((4,), [0.1940, 2.1614, -0.1721, 0.8491]),
            ((4,), [0.1391, -0.1082, -0.7174, 0.7566]),
            ((4,), [-0.5187, 1.2268, 0.6255, -0.9117]),
        ),
    ),
)


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter: str, key: str, expected: str) -> None:
    low, high = words(key)
    columns = np.array([words(counter)] * 3, dtype=np.uint64).T  # (4, 3)
    found = philox4x32(columns, high << 32 | low)
    assert found.T.tolist() == [words(expected)] * 3


@pytest.mark.parametrize(("seed", "draws"), PUBLISHED)
def test_equals_published_outputs_of_gpus(seed: int, draws: tuple[tuple[tuple[int, ...], list[float]], ...]) -> None:
    generator = CudaGenerator(seed)
    for shape, expected in draws:
        noise = generator.normal(shape)
        assert noise.shape == shape
        assert noise.dtype == np.float32
        np.testing.assert_allclose(noise.reshape(-1)[: len(expected)], expected, rtol=0, atol=5.1e-5)


def test_an_element_depends_on_its_place_alone() -> None:
    whole = CudaGenerator(3).normal((1000,))
    np.testing.assert_array_equal(CudaGenerator(3).normal((7, 11)).reshape(-1), whole[:77])


def test_an_empty_draw_leaves_the_stream_where_it_is() -> None:
    generator = CudaGenerator(3)
    assert generator.normal((2, 0)).shape == (2, 0)
    np.testing.assert_array_equal(generator.normal((5,)), CudaGenerator(3).normal((5,)))


def test_all_64_bits_of_the_seed_count() -> None:
    first = {seed: float(CudaGenerator(seed).normal((1,))[0]) for seed in (0, 1, 2**32, 2**63, 2**64 - 1)}
    assert len(set(first.values())) == len(first)


def test_draws_are_standard_normal_and_independent() -> None:
    generator = CudaGenerator(11)
    noise = np.stack([generator.normal((200_000,)) for _ in range(3)]).astype(np.float64)
    assert np.isfinite(noise).all()
    np.testing.assert_allclose(np.corrcoef(noise), np.eye(3), atol=0.01)
    np.testing.assert_allclose(noise.mean(axis=1), 0, atol=0.01)
    np.testing.assert_allclose(noise.std(axis=1), 1, atol=0.01)
    np.testing.assert_allclose((noise**4).mean(axis=1), 3, atol=0.1)  # the tails


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range_is_an_error(seed: int) -> None:
    with pytest.raises(MezzotintError, match=rf"between 0 and 2\*\*64 - 1, got {seed}"):
        CudaGenerator(seed)
