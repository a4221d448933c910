"""Optimum loads our bundles as they are, and generates what our runtime generates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.noise.torch_cpu import torch_normal
from tests.conftest import MakeOnce
from tests.runtime.shallow_bundle import cached_bundle

onnxruntime_of_optimum: Any = pytest.importorskip(
    "optimum.onnxruntime",
    reason="Optimum is not installed: it does not allow these transformers yet",
    exc_type=ImportError,
)
pytestmark = pytest.mark.filterwarnings("ignore")  # Optimum's own
PROMPT = "a flat emoji of a red apple on a blue background"
STEPS, SEED = 10, 3


def generated_by_optimum(path: Path) -> Array:
    """Pixels (1, 64, 64, 3) in [0, 1]."""
    pipe = onnxruntime_of_optimum.ORTStableDiffusionPipeline.from_pretrained(str(path))
    pipe.set_progress_bar_config(disable=True)
    noise = torch.from_numpy(torch_normal((1, 4, 16, 16), SEED))
    result = pipe(
        PROMPT, height=64, width=64, num_inference_steps=STEPS, guidance_scale=5.0, latents=noise, output_type="np"
    )
    return np.asarray(result.images)


def generated_by_us(path: Path, backend: str, precision: str = "f32") -> Array:
    pipe = TextToImage.load(path, backend=backend, precision=precision)
    return pipe(PROMPT, steps=STEPS, guidance=5.0, seed=SEED).pixels


def test_the_fp32_bundle(demo_bundle: Bundle) -> None:
    assert psnr_db(generated_by_us(demo_bundle.path, "onnxruntime"), generated_by_optimum(demo_bundle.path)) >= 60.0


def test_a_bundle_with_other_graphs_beside_the_unets(make_once: MakeOnce, demo_bundle: Bundle) -> None:
    path = cached_bundle(make_once, demo_bundle, "onnxruntime").path
    assert psnr_db(generated_by_us(path, "onnxruntime"), generated_by_optimum(path)) >= 60.0


def test_the_int8_bundle_for_onnxruntime(demo_int8: Callable[[str], Bundle]) -> None:
    path = demo_int8("onnxruntime").path
    assert psnr_db(generated_by_us(path, "onnxruntime"), generated_by_optimum(path)) >= 40.0


def test_the_int8_bundle_for_openvino(demo_int8: Callable[[str], Bundle]) -> None:
    """Plain ONNX with Q/DQ pairs, so that ONNX Runtime runs it too; in FP32 around them, as OpenVINO here."""
    pytest.importorskip("openvino")
    path = demo_int8("openvino").path
    assert psnr_db(generated_by_us(path, "openvino"), generated_by_optimum(path)) >= 40.0
