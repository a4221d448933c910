"""4-bit weights on the embedded checkpoint: how close they are to FP32, and what a correction of rank 16 adds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.decibel import psnr_db
from mezzotint.quantize import CalibrationSettings, quantize_bundle
from mezzotint.quantize.decide.four_bits import FourBitSettings
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.text.prompts import read_prompts
from tests.conftest import MakeOnce

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # NNCF's imports
]
COUNT = 6
Quantized = Callable[[str, int], Bundle]


@pytest.fixture(scope="module")
def quantized(make_once: MakeOnce, demo_bundle: Bundle, repo_root: Path) -> Quantized:
    """The embedded checkpoint by target and rank, made when first asked for."""
    prompts = read_prompts(repo_root / "demo" / "prompts" / "calibration.txt")
    settings = replace(CalibrationSettings.of(demo_bundle), trajectories=64, calls=256)  # those of `make bench-int4`

    def make(target: str, rank: int) -> Bundle:
        def fill(folder: Path) -> None:
            quantize_bundle(
                demo_bundle.path,
                folder,
                recipe="int4-weights",
                target=target,
                prompts=prompts,
                settings=settings,
                four_bits=FourBitSettings(rank=rank),
            )

        return Bundle.open(make_once(f"demo-int4-{target}-{rank}", fill))

    return make


def sqnr_of(bundle: Bundle, component: str) -> float:
    parity = bundle.component(component).parity
    assert parity is not None
    assert parity.sqnr_db is not None
    return parity.sqnr_db


# Measured, with rank 0 and 16: UNet 27.5 and 28.4 dB on openvino, 26.3 and 27.3 dB on onnxruntime; text encoder 42.0
# and 44.2 dB, 42.6 and 45.3 dB; median image 38.0 and 39.3 dB, 36.5 and 37.5 dB. Floors are 3 dB below.
@pytest.mark.parametrize(
    ("target", "rank", "unet_db", "text_db", "image_db"),
    [
        ("openvino", 0, 24.5, 39.0, 35.0),
        ("openvino", 16, 25.4, 41.2, 36.2),
        ("onnxruntime", 0, 23.3, 39.6, 33.4),
        ("onnxruntime", 16, 24.3, 42.3, 34.5),
    ],
)
def test_graphs_and_images_stay_close_to_fp32(
    target: str,
    rank: int,
    unet_db: float,
    text_db: float,
    image_db: float,
    quantized: Quantized,
    demo_bundle: Bundle,
    repo_root: Path,
) -> None:
    bundle = quantized(target, rank)
    assert sqnr_of(bundle, "unet") >= unet_db
    assert sqnr_of(bundle, "text_encoder") >= text_db
    prompts = read_prompts(repo_root / "demo" / "prompts" / "evaluation.txt")[::11][:COUNT]
    with TextToImage.load(demo_bundle.path, backend="onnxruntime") as reference:
        expected = [reference(prompt, seed=1000 + index).pixels for index, prompt in enumerate(prompts)]
    with TextToImage.load(bundle.path, backend=target) as pipe:
        got = [pipe(prompt, seed=1000 + index).pixels for index, prompt in enumerate(prompts)]
    figures = [psnr_db(one, other) for one, other in zip(expected, got, strict=True)]
    assert np.median(figures) >= image_db, figures
    assert min(figures) < 100.0  # it is not FP32 that ran


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_a_correction_of_rank_16_is_higher_fidelity(target: str, quantized: Quantized) -> None:
    for component in ("unet", "text_encoder"):
        assert sqnr_of(quantized(target, 16), component) > sqnr_of(quantized(target, 0), component)


def test_linears_take_at_most_six_tenths_of_int8s_bytes(
    quantized: Quantized, demo_int8: Callable[[str], Bundle]
) -> None:
    """Of the text encoder the whole file but its embeddings, which are in 8 bits in both."""
    plain, before = quantized("onnxruntime", 0), demo_int8("onnxruntime")
    record = plain.component("text_encoder").four_bits
    assert record is not None
    assert record.left == 0
    sizes = [sum(entry.bytes for entry in one.component("text_encoder").files) for one in (plain, before)]
    table = plain.config("text_encoder/config.json")
    embeddings = (table["vocab_size"] + table["max_position_embeddings"]) * table["hidden_size"]
    assert sizes[0] - embeddings <= 0.6 * (sizes[1] - embeddings)
