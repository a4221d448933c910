"""INT8 on the embedded checkpoint: images for prompts that calibration never saw, against FP32."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import FloatArray
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.text.prompts import read_prompts

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
COUNT = 6


@cache
def generated(path: Path, backend: str, prompts: tuple[str, ...]) -> tuple[FloatArray, ...]:
    """Images as the benchmark's workload generates them."""
    pipe = TextToImage.load(path, backend=backend)
    return tuple(pipe(prompt, seed=1000 + index).pixels for index, prompt in enumerate(prompts))


# Measured: medians of 31.1 dB on either target; the worst image 28.6 dB on openvino and 28.4 dB on onnxruntime.
@pytest.mark.parametrize(("target", "floor_db", "worst_db"), [("openvino", 30.0, 25.6), ("onnxruntime", 28.1, 25.4)])
def test_images_stay_close_to_fp32(
    target: str,
    floor_db: float,
    worst_db: float,
    demo_bundle: Bundle,
    demo_int8: Callable[[str], Bundle],
    repo_root: Path,
) -> None:
    pytest.importorskip(target)
    prompts = read_prompts(repo_root / "demo" / "prompts" / "evaluation.txt")[::11][:COUNT]
    expected = generated(demo_bundle.path, "onnxruntime", prompts)
    got = generated(demo_int8(target).path, target, prompts)
    figures = [psnr_db(reference, image) for reference, image in zip(expected, got, strict=True)]
    assert np.median(figures) >= floor_db, figures
    assert min(figures) >= worst_db, figures
    assert min(figures) < 100.0  # it is not FP32 that ran


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_the_bundle_shrinks(target: str, demo_bundle: Bundle, demo_int8: Callable[[str], Bundle]) -> None:
    pytest.importorskip(target)
    before, after = (
        sum(file.bytes for file in bundle.component("unet").files) for bundle in (demo_bundle, demo_int8(target))
    )
    assert before / after > 2.5
