"""One pipeline, eight threads: every image is the one that a serial run gives."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.runtime import Bundle, ImageToImage, TextToImage
from tests.runtime.test_image_to_image import photo

THREADS = 8
OPTIONS: Sequence[dict[str, Any]] = [
    {"prompt": prompt, "steps": steps, "seed": seed, "scheduler": scheduler, "height": height}
    for seed, (prompt, steps, scheduler, height) in enumerate(
        [
            ("a", 3, "ddim", 16),
            ("a red apple", 4, "euler-ancestral", 16),
            ("b", 5, "dpmpp-2m", 24),
            (["a", "b"], 3, "heun", 16),
            ("c", 6, "lms", 12),
            ("", 2, "unipc", 16),
            ("d", 4, "dpmpp-2m-sde", 24),
            ("e", 3, "euler", 16),
        ]
    )
]


@pytest.mark.parametrize(
    ("backend", "low_memory"),
    [
        ("onnxruntime", False),
        ("onnxruntime", True),
        pytest.param("openvino", False, marks=pytest.mark.slow),  # ten seconds each: it compiles every size
        pytest.param("openvino", True, marks=pytest.mark.slow),
    ],
)
def test_eight_threads_generate_what_one_generates(tiny_bundle: Bundle, backend: str, low_memory: bool) -> None:
    """Different sizes, batches, samplers and lengths at the same time, each twice."""
    pipe = TextToImage.load(tiny_bundle.path, backend=backend, low_memory=low_memory)

    def generate(options: dict[str, Any]) -> Array:
        return pipe(**options).pixels

    expected = [generate(options) for options in OPTIONS]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(generate, [*OPTIONS, *OPTIONS]))
    for index, pixels in enumerate(found):
        np.testing.assert_array_equal(pixels, expected[index % len(OPTIONS)])


def test_kinds_that_share_sessions_do_not_mix(tiny_bundle: Bundle) -> None:
    text = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    image = ImageToImage.sharing(text)

    def generate(index: int) -> Array:
        if index % 2:
            return image("a", photo(16, 16), steps=4, seed=index).pixels
        return text("a", steps=4, seed=index).pixels

    expected = [generate(index) for index in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        for found, serial in zip(pool.map(generate, range(THREADS)), expected, strict=True):
            np.testing.assert_array_equal(found, serial)
