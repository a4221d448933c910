"""The family of docs/adding-a-family.md, added as the page says: it exports, generates and quantizes."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db
from mezzotint.export import export_checkpoint
from mezzotint.families import lineup as families
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.quantize.estimate import plan_quantization
from mezzotint.quantize.request import Request, settle
from mezzotint.runtime import Bundle, ImageToImage, MezzotintError, TextToImage

ROOT = Path(__file__).parents[2]
PROGRAM = re.compile(r"<!-- program: (\S+) -->\n```python\n(.*?)```\n", re.DOTALL)
PAGE = dict(PROGRAM.findall((ROOT / "docs" / "adding-a-family.md").read_text(encoding="utf-8")))
TUPLES = (  # file, the tuple that gets a line
    ("mezzotint/families/toy_pixels.py", "mezzotint.families.lineup", "FAMILIES"),
    ("export/families/toy_pixels.py", "mezzotint.export.families.lineup", "EXPORT_FAMILIES"),
    ("quantize/rules/toy_pixels.py", "mezzotint.quantize.rules.lineup", "FAMILY_RULES"),
)
STEPS, SEED = 4, 7
BETAS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "num_train_timesteps": 1000}


def load(path: Path, module: str) -> Any:
    """The file as the module of that name."""
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The library with the toy's architecture, with the toy in all three tuples."""
    folder, before = tmp_path_factory.mktemp("toy"), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        (folder / "toy_pixels.py").write_text(PAGE["toy_pixels.py"], encoding="utf-8")
        architecture = load(folder / "toy_pixels.py", "toy_pixels")
        for name, lineup, tuple_name in TUPLES:
            path = folder / name.replace("/", "_")
            path.write_text(PAGE[name], encoding="utf-8")
            added = load(path, f"{lineup.rpartition('.')[0]}.toy_pixels").TOY_PIXELS
            module = importlib.import_module(lineup)
            patch.setattr(module, tuple_name, (*getattr(module, tuple_name), added))
        yield architecture
    for name in set(sys.modules) - before:
        if name.rpartition(".")[2] == "toy_pixels":
            del sys.modules[name]


@pytest.fixture(scope="module")
def checkpoint(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy-checkpoint") / "checkpoint"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        library.ToyDenoiser().save_pretrained(folder / "denoiser")
    index = {"_class_name": "ToyPixelsPipeline", "denoiser": ["toy_pixels", "ToyDenoiser"]}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "scheduler").mkdir()
    config = {"_class_name": "DDIMScheduler", **BETAS}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_checkpoint(str(checkpoint), tmp_path_factory.mktemp("toy-fp32") / "bundle")


def images_of_diffusers(library: Any, checkpoint: Path) -> Array:
    """(1, H, W, 3) in [0, 1]: the module in diffusers' own scheduler, from torch's own noise."""
    from diffusers import DDIMScheduler

    module = library.ToyDenoiser.from_pretrained(checkpoint / "denoiser")
    scheduler = DDIMScheduler(**BETAS, clip_sample=False, steps_offset=1)
    scheduler.set_timesteps(STEPS)
    x = torch.randn((1, 3, 16, 16), generator=torch.Generator().manual_seed(SEED))
    with torch.inference_mode():
        for timestep in scheduler.timesteps:
            x = scheduler.step(module(x, timestep), timestep, x).prev_sample
    return (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def test_the_page_is_three_files_and_what_they_are_of() -> None:
    assert list(PAGE) == ["toy_pixels.py", *(name for name, _, _ in TUPLES)]


def test_its_images_are_those_of_its_library(library: Any, checkpoint: Path, bundle: Bundle) -> None:
    assert (bundle.manifest.family, list(bundle.manifest.components)) == ("toy-pixels", ["denoiser"])
    result = TextToImage.load(bundle.path, backend="onnxruntime")("", steps=STEPS, seed=SEED, scheduler="ddim")
    assert psnr_db(images_of_diffusers(library, checkpoint), result.pixels) > 90


def test_any_size_and_batch(bundle: Bundle) -> None:
    pipe = TextToImage.load(bundle.path, backend="onnxruntime", low_memory=True)
    result = pipe("", steps=2, count=3, height=24, width=20)
    assert result.pixels.shape == (3, 24, 20, 3)
    alone = pipe.generate(result.settings[2])
    np.testing.assert_allclose(alone.pixels[0], result.pixels[2], atol=1e-5)
    assert result.timings.text_encoder_ms < 50.0


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_it_quantizes_without_prompts(target: str, bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip(target)
    settings = CalibrationSettings(scheduler="ddim", steps=STEPS, trajectories=2, calls=8)
    quantized = quantize_bundle(bundle.path, tmp_path / "int8", recipe="int8", target=target, settings=settings)
    parity = quantized.component("denoiser").parity
    assert parity is not None and parity.sqnr_db is not None
    assert parity.sqnr_db > 20.0
    kernels = [kernel for kernel in audit_bundle(quantized, target).kernels if kernel.macs]
    assert sum(kernel.is_integer for kernel in kernels) == 3  # the body
    expected = TextToImage.load(bundle.path, backend="onnxruntime")("", steps=STEPS, seed=SEED).pixels
    found = TextToImage.load(quantized.path)("", steps=STEPS, seed=SEED).pixels
    assert psnr_db(expected, found) > 25.0


def test_a_dry_run_plans_it(bundle: Bundle) -> None:
    settings = CalibrationSettings(scheduler="ddim", steps=STEPS, trajectories=2, calls=8)
    settled = settle(bundle, Request(recipe="int8", target="onnxruntime"), settings)
    plan = plan_quantization(bundle, settled, settings)
    assert plan.calibration == f"{2 * STEPS} denoiser steps of 2 runs"
    assert [one.name for one in plan.components] == ["denoiser"]
    assert plan.seconds > plan.calibration_seconds > 0.0


def test_what_the_family_has_not_is_refused(bundle: Bundle) -> None:
    with pytest.raises(MezzotintError, match="toy-pixels takes no prompt, got 'a cat'"):
        TextToImage.load(bundle.path, backend="onnxruntime")("a cat", steps=1)
    with pytest.raises(MezzotintError, match="toy-pixels, which has no image encoder"):
        ImageToImage.load(bundle.path, backend="onnxruntime")


def test_without_the_line_in_the_tuple_it_is_unknown(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FAMILIES", families.FAMILIES[:-1])
    with pytest.raises(MezzotintError, match="is of the family 'toy-pixels', expected one of stable-diffusion"):
        TextToImage.load(bundle.path)
