"""Which pipelines a checkpoint may be for, against the constructors of diffusers' classes."""

import inspect
import json
from pathlib import Path
from typing import Any

import diffusers
import diffusers.pipelines as pipelines
import pytest

from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError
from mezzotint.export.families.stable_diffusion import STABLE_DIFFUSION as EXPORT
from mezzotint.export.files.pipeline_index import AnotherPipelineWarning, read_index
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION

OURS = {"vae", "text_encoder", "tokenizer", "unet", "scheduler"}
UNUSED = {"safety_checker", "feature_extractor", "image_encoder"}  # by an image made from a prompt
INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.6.0",
    "_name_or_path": "../somebody/model",
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "requires_safety_checker": True,
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def index_of(folder: Path, **values: object) -> Any:
    (folder / "model_index.json").write_text(json.dumps(INDEX | values), encoding="utf-8")
    return read_index(folder)


@pytest.mark.parametrize("name", STABLE_DIFFUSION.classes)
def test_each_class_has_exactly_our_components(name: str) -> None:
    kind = getattr(diffusers, name, None) or getattr(pipelines, name, None)
    if kind is None:
        pytest.skip("this diffusers no longer has it")
    parameters = inspect.signature(kind.__init__).parameters.values()
    modules = {one.name for one in parameters if one.default is inspect.Parameter.empty and one.name != "self"}
    assert OURS <= modules <= OURS | UNUSED


@pytest.mark.filterwarnings("ignore")  # Optimum's own
@pytest.mark.parametrize("name", sorted(set(STABLE_DIFFUSION.classes.values())))
def test_the_bundles_class_is_one_that_optimum_has(name: str) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
    assert getattr(optimum, f"ORT{name}")


def test_a_folder_of_single_files_names_one(tmp_path: Path) -> None:
    for name in ("b.ckpt", "a.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(MezzotintError, match=r"model_index\.json is missing, .*a\.safetensors"):
        read_index(tmp_path)


@pytest.mark.parametrize(
    ("kind", "option"),
    [("ControlNetModel", "--controlnet NAME="), ("AutoencoderTiny", "--vae"), ("MotionAdapter", None)],
)
def test_a_part_alone_is_refused_by_its_class(kind: str, option: str | None, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": kind}), encoding="utf-8")
    with pytest.raises(MezzotintError) as error:
        read_index(tmp_path)
    assert f"is one part, {kind}; expected" in str(error.value)
    assert "--" not in str(error.value) if option is None else option in str(error.value)


@pytest.mark.parametrize(
    "name", ["FluxPipeline", "PixArtAlphaPipeline", "OnnxStableDiffusionPipeline", None, ["pipeline", "Own"]]
)
def test_another_family_is_refused_by_its_name(name: Any, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError) as error:
        index_of(tmp_path, _class_name=name)
    assert f"{tmp_path} is a {name}, expected a StableDiffusionPipeline" in str(error.value)


@pytest.mark.parametrize(("unet", "expected"), [(4, "StableDiffusionPipeline"), (9, "StableDiffusionInpaintPipeline")])
def test_a_unet_that_was_made_to_inpaint_says_so_itself(unet: int, expected: str, tmp_path: Path) -> None:
    sizes = Geometry(4, 8, 512, scaling_factor=0.18215, shift_factor=0.0, unet_channels=unet)
    assert EXPORT.class_of_bundle(index_of(tmp_path).stated_class, sizes) == expected


def test_the_bundles_index_names_what_is_in_the_bundle(tmp_path: Path) -> None:
    got = index_of(tmp_path, controlnet=["diffusers", "ControlNetModel"]).of_bundle("StableDiffusionPipeline")
    assert set(got) == {*OURS, "_class_name", "_diffusers_version", "feature_extractor", "safety_checker",
                        "requires_safety_checker"}  # fmt: skip
    assert got["safety_checker"] == got["feature_extractor"] == [None, None]
    assert got["requires_safety_checker"] is False


@pytest.mark.parametrize(
    ("entry", "expected"), [(["diffusers", "PNDMScheduler"], "PNDMScheduler"), ([None, None], None), (None, None)]
)
def test_the_index_names_the_scheduler_or_does_not(entry: Any, expected: str | None, tmp_path: Path) -> None:
    assert index_of(tmp_path, scheduler=entry).scheduler_class() == expected


def test_a_pipeline_that_does_more_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(AnotherPipelineWarning, match="StableDiffusionPipelineSafe"):
        index_of(tmp_path, _class_name="StableDiffusionPipelineSafe").warn_of_more()
    index_of(tmp_path).warn_of_more()  # and nothing is said of the three
