"""What a config says once all that its file leaves out is filled in, against diffusers' modules and pipelines."""

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig

from mezzotint.errors import MezzotintError
from mezzotint.export.families.stable_diffusion_configs import effective_config
from mezzotint.export.files.effective_config import effective_scheduler_config
from tests.export.published import PUBLISHED

BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
FORCED = ("steps_offset", "clip_sample", "skip_prk_steps")
STATED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "as of today": {"steps_offset": 1, "clip_sample": False, "skip_prk_steps": True},
    "outdated": {"steps_offset": 0, "clip_sample": True, "skip_prk_steps": False},
}


@pytest.fixture(autouse=True)
def _quiet_diffusers() -> Any:
    """It says of every old config that it is old."""
    before = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    yield
    diffusers.utils.logging.set_verbosity(before)


def constructed(pipeline: str, scheduler: Any, unet: Any = None) -> Any:
    """diffusers' pipeline around a scheduler, whose config it corrects."""
    rest = dict.fromkeys(("vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    return getattr(diffusers, pipeline)(**rest, unet=unet, scheduler=scheduler, requires_safety_checker=False)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("class_name", SCHEDULERS)
@pytest.mark.parametrize("stated", STATED)
def test_a_scheduler_is_what_the_pipeline_makes_of_it(
    stated: str, class_name: str, pipeline: str, tmp_path: Path
) -> None:
    config = {"_class_name": class_name, **BETAS, **STATED[stated]}
    (tmp_path / "scheduler_config.json").write_text(json.dumps(config), encoding="utf-8")
    loaded = getattr(diffusers, class_name).from_pretrained(tmp_path)
    expected = constructed(pipeline, loaded).scheduler.config
    got = effective_scheduler_config(config, class_name, pipeline)
    assert {key: got.get(key) for key in FORCED if key in expected} == {
        key: expected[key] for key in FORCED if key in expected
    }
    assert {key: got[key] for key in config} | {key: expected[key] for key in FORCED if key in config} == {
        key: got[key] for key in config
    }


def test_the_index_says_the_schedulers_class() -> None:
    """diffusers loads what the index names; the file may say another class."""
    config = {"_class_name": "DDIMScheduler", **BETAS}
    got = effective_scheduler_config(config, "PNDMScheduler", PIPELINES[0])
    assert got["_class_name"] == "PNDMScheduler"
    assert got["skip_prk_steps"] is diffusers.PNDMScheduler(**BETAS).config.skip_prk_steps
    assert effective_scheduler_config(config, None, PIPELINES[0])["_class_name"] == "DDIMScheduler"


def test_what_a_sampler_has_a_default_of_its_own_for_stays_open() -> None:
    """The spacing of DDIM is not that of Euler, and a file without it serves both."""
    got = effective_scheduler_config({"_class_name": "DDIMScheduler", **BETAS}, None, PIPELINES[0])
    assert not {"timestep_spacing", "set_alpha_to_one", "_name_or_path"} & got.keys()


@pytest.mark.parametrize("class_name", ["FlaxPNDMScheduler2", "UNet2DConditionModel", None, 3])
def test_a_class_that_is_no_scheduler_is_named(class_name: Any) -> None:
    with pytest.raises(MezzotintError, match=f"class is {class_name!r}"):
        effective_scheduler_config({"_class_name": class_name, **BETAS}, None, PIPELINES[0])


def test_options_that_diffusers_does_not_accept_are_refused_with_its_reason() -> None:
    with pytest.raises(MezzotintError, match="not accepted by diffusers' DDIMScheduler"):
        effective_scheduler_config({**BETAS, "beta_schedule": "cubic"}, "DDIMScheduler", PIPELINES[0])


@pytest.mark.parametrize("name", PUBLISHED)
def test_modules_get_the_defaults_of_their_class(name: str) -> None:
    published = PUBLISHED[name]
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel.from_config(published.unet), AutoencoderKL.from_config(published.vae)
    for part, module, stated in (("unet", unet, published.unet), ("vae", vae, published.vae)):
        expected = {key: value for key, value in module.config.items() if not key.startswith("_")}
        got = effective_config(part, stated)
        assert {key: got[key] for key in expected} == expected


def test_null_is_not_absent() -> None:
    """`mid_block_type: null` is a UNet without a middle block, and no such key is the ordinary one."""
    stated = PUBLISHED["sd-1.5"].unet
    assert effective_config("unet", stated)["mid_block_type"] == "UNetMidBlock2DCrossAttn"
    nulls = {"mid_block_type": None, "upcast_attention": None}
    got = effective_config("unet", {**stated, **nulls})
    assert {key: got[key] for key in nulls} == nulls


def test_the_text_part_of_a_whole_clip_is_the_text_encoders_config() -> None:
    nested = {"hidden_size": 24, "num_attention_heads": 2, "vocab_size": 99}
    got = effective_config("text_encoder", {"model_type": "clip", "text_config": nested, "vision_config": {}})
    expected = CLIPTextConfig(**nested)
    assert (got["hidden_size"], got["vocab_size"], got["model_type"]) == (24, 99, "clip_text_model")
    assert got["hidden_act"] == expected.hidden_act


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("version", ["0.2.2", "0.8.1", "0.9.0.dev0", "0.9.0", "0.10.2", "1.0.0", "0.8.0rc1", None])
@pytest.mark.parametrize("side", [8, 32, 63, 64, 96])
def test_the_native_size_follows_diffusers_rule(side: int, version: str | None) -> None:
    """Its pipelines take 64 latents for less in configs of versions before 0.9."""
    stated: dict[str, Any] = {**PUBLISHED["sd-1.5"].unet, "sample_size": side}
    if version is not None:
        stated["_diffusers_version"] = version
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(stated)
    pipe = constructed("StableDiffusionPipeline", diffusers.DDIMScheduler(), unet)
    assert effective_config("unet", stated)["sample_size"] == pipe.unet.config.sample_size


def test_two_equal_sides_are_one() -> None:
    stated = {**PUBLISHED["sd-1.5"].unet, "_diffusers_version": "0.6.0"}
    assert effective_config("unet", {**stated, "sample_size": [96, 96]})["sample_size"] == 96
    assert effective_config("unet", {**stated, "sample_size": [64, 96]})["sample_size"] == [64, 96]


def test_a_version_that_is_none_is_named() -> None:
    with pytest.raises(MezzotintError, match="_diffusers_version is 'soon'"):
        effective_config("unet", {"sample_size": 32, "_diffusers_version": "soon"})


@pytest.mark.parametrize("count", [100_001, 3_000_000_000, 1e300, float("inf")])
def test_timesteps_that_would_fill_the_memory(count: float) -> None:
    stated = {"_class_name": "DDIMScheduler", "num_train_timesteps": count}
    with pytest.raises(MezzotintError, match="expected at most 100000"):
        effective_scheduler_config(stated, None, "StableDiffusionPipeline")


@pytest.mark.parametrize("kind", ["x", [1], {}])
def test_what_diffusers_says_on_many_lines_is_told_in_one(kind: object) -> None:
    stated = {"_class_name": "DDIMScheduler", "num_train_timesteps": kind}
    with pytest.raises(MezzotintError, match="is not accepted by diffusers' DDIMScheduler") as error:
        effective_scheduler_config(stated, None, "StableDiffusionPipeline")
    assert len(str(error.value).splitlines()) == 1
