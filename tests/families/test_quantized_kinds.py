"""Every kind of checkpoint in FP32, FP16 and INT8 on both CPU engines: parity, kernels, and images close to FP32's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.decibel import psnr_db
from mezzotint.engines.openvino import OPENVINO
from mezzotint.export import Chosen, export_checkpoint
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, TextToImage
from tests.conftest import MakeOnce
from tests.export.published import PUBLISHED, save_published
from tests.export.published_fine_tunes import FINE_TUNES
from tests.families.tiny_xl import image_and_mask

PROMPT = "a flat emoji of a red apple"
PROMPTS = (PROMPT, "a noto emoji of a cat", "a dog on a blue background")
INT8_DB, FP16_DB, FP32_DB = 20.0, 40.0, 60.0
PARITY_INT8_DB, PARITY_FP16_DB = 15.0, 40.0
BESIDE_BF16_DB = 2.0  # how far two roundings to BF16 of the same network may lie apart


CONFIGS = {**PUBLISHED, **FINE_TUNES}


@dataclass(frozen=True)
class Kind:
    """How a kind is made and run: `of` is one of CONFIGS, or a kind of XL's; `preset` as in export."""

    of: str
    preset: str | None = None
    way: str = "text"  # or "image", "inpaint"


KINDS = {
    "sd-2.1-v": Kind("sd-2.1"),
    "sd-1.5-inpainting": Kind("sd-1.5-inpainting", way="inpaint"),
    "sd-2-inpainting": Kind("sd-2-inpainting", way="inpaint"),
    "sd-turbo": Kind("sd-turbo", preset="turbo"),
    "lcm": Kind("lcm-dreamshaper-7"),
    "xl-inpaint": Kind("inpaint", way="inpaint"),
    "xl-refiner": Kind("refiner", way="image"),
    "xl-pruned": Kind("pruned"),
    "xl-lcm": Kind("lcm"),
}


@pytest.fixture(scope="module")
def source(make_once: MakeOnce, demo_checkpoint: Path, xl_bundle: Callable[[str], Bundle]) -> Callable[[Kind], Bundle]:
    """The FP32 bundle of a kind: 32x32 pixels."""

    def bundle(kind: Kind) -> Bundle:
        if kind.of not in CONFIGS:
            return xl_bundle(kind.of)

        def make(folder: Path) -> None:
            published = CONFIGS[kind.of]
            # Before 0.9 fewer than 64 latents a side are a converter's mistake, and stand for 64.
            small = replace(published, version="0.10.2", unet={**published.unet, "sample_size": 16})
            checkpoint = save_published(folder / "checkpoint", small, demo_checkpoint)
            export_checkpoint(str(checkpoint), folder / "bundle", chosen=Chosen(preset=kind.preset))

        return Bundle.open(make_once(f"kind-{kind.of}-{kind.preset}", make) / "bundle")

    return bundle


def generated(bundle: Bundle, kind: Kind, backend: str, precision: str | None = None) -> Array:
    """An image by the bundle's own defaults, but for the number of steps where these are many."""
    engine: dict[str, Any] = {"backend": backend, "precision": precision}
    image, mask = image_and_mask()
    options: dict[str, Any] = {"seed": 3, "steps": min(bundle.defaults().steps, 8)}
    match kind.way:
        case "inpaint":
            return Inpaint.load(bundle.path, **engine)(PROMPT, image, mask, **options).pixels
        case "image":
            return ImageToImage.load(bundle.path, **engine)(PROMPT, image, strength=0.25, **options).pixels
    return TextToImage.load(bundle.path, **engine)(PROMPT, **options).pixels


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "target"), [("int8", "onnxruntime"), ("int8", "openvino"), ("fp16", "onnxruntime")])
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_quantizes(
    name: str, recipe: str, target: str, source: Callable[[Kind], Bundle], tmp_path: Path
) -> None:
    """`quantize_bundle` itself checks parity, and that what is called INT8 runs in integer kernels."""
    pytest.importorskip(target)
    kind = KINDS[name]
    before = source(kind)
    made = quantized(before, tmp_path / "out", recipe, target)
    family, components = family_of(made), made.manifest.components
    denoiser = components[family.denoiser]
    assert denoiser.storage is (Storage.INT8 if recipe == "int8" else Storage.FLOAT16)
    floors = (PARITY_INT8_DB, INT8_DB) if recipe == "int8" else (PARITY_FP16_DB, FP16_DB)
    if recipe == "int8":
        assert audit_bundle(made, target).int8_coverage >= 0.99
        assert {components[one].storage for one in family.names(Role.TEXT_ENCODER)} == {Storage.INT8_WEIGHTS}
        assert made.manifest.calibration is not None
    assert denoiser.parity is not None and denoiser.parity.sqnr_db is not None
    assert denoiser.parity.sqnr_db > floors[0]
    expected = generated(before, kind, "onnxruntime")
    assert expected.std() > 0.02  # an image, not a grey field that any would equal
    assert psnr_db(expected, generated(made, kind, target)) > floors[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_in_fp32_on_openvino(name: str, source: Callable[[Kind], Bundle]) -> None:
    """ONNX Runtime's images are diffusers', as the tests of each family have it."""
    pytest.importorskip("openvino")
    kind = KINDS[name]
    before = source(kind)
    expected = generated(before, kind, "onnxruntime")
    assert psnr_db(expected, generated(before, kind, "openvino", "f32")) > FP32_DB


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_in_fp16_on_openvino(name: str, source: Callable[[Kind], Bundle], tmp_path: Path) -> None:
    """Weights in FP16 cost nothing; where the CPU has BF16, OpenVINO computes in it, with what that costs FP32 too."""
    pytest.importorskip("openvino")
    kind = KINDS[name]
    before = source(kind)
    made = quantized(before, tmp_path / "out", "fp16", "openvino")
    assert made.manifest.components[family_of(made).denoiser].storage is Storage.FLOAT16
    expected = generated(before, kind, "onnxruntime")
    assert psnr_db(expected, generated(made, kind, "openvino", "f32")) > FP16_DB
    if Compute.BF16 in OPENVINO.precisions():
        fp32_in_bf16 = psnr_db(expected, generated(before, kind, "openvino", "bf16"))
        assert psnr_db(expected, generated(made, kind, "openvino")) > fp32_in_bf16 - BESIDE_BF16_DB


def quantized(before: Bundle, folder: Path, recipe: str, target: str) -> Bundle:
    """By few calls of a short schedule."""
    settings = replace(CalibrationSettings.of(before), calls=32)
    settings = replace(settings, steps=min(settings.steps, 10))
    return quantize_bundle(before.path, folder, recipe=recipe, target=target, prompts=PROMPTS, settings=settings)
