"""Sizes from configs, against what diffusers derives from the same configs."""

import math
from pathlib import Path
from typing import Any

import pytest
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel

from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError

UNET: dict[str, Any] = {"sample_size": 64}
VAE: dict[str, Any] = {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4, "scaling_factor": 0.18215}
SMALL: dict[str, Any] = {"block_out_channels": (8,), "norm_num_groups": 8}
SD15 = Geometry.from_configs(UNET, VAE)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_factor_is_that_of_diffusers(levels: int) -> None:
    channels = (8,) * levels
    vae = AutoencoderKL(
        block_out_channels=channels,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    )
    unet = UNet2DConditionModel(
        sample_size=12,
        block_out_channels=(8,),
        norm_num_groups=8,
        cross_attention_dim=8,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    oracle = StableDiffusionPipeline(vae, None, None, unet, None, None, None, requires_safety_checker=False)
    geometry = Geometry.from_configs(dict(unet.config), dict(vae.config))
    assert geometry.vae_factor == oracle.vae_scale_factor
    assert geometry.native_side_pixels == unet.config.sample_size * oracle.vae_scale_factor
    assert (geometry.latent_channels, geometry.scaling_factor) == (4, vae.config.scaling_factor)


def test_the_demo_checkpoint_generates_64_pixels_from_16_latents(demo_checkpoint: Path) -> None:
    unet = UNet2DConditionModel.load_config(demo_checkpoint / "unet")
    geometry = Geometry.from_configs(unet, AutoencoderKL.load_config(demo_checkpoint / "vae"))
    assert (geometry.vae_factor, geometry.native_side_pixels) == (4, 64)
    assert geometry.latent_shape() == (4, 16, 16)
    assert geometry.latent_shape(72, 56) == (4, 18, 14)


def test_sizes_are_height_then_width_and_native_by_default() -> None:
    assert SD15.latent_shape() == (4, 64, 64)
    assert SD15.latent_shape(height=768) == (4, 96, 64)
    assert SD15.latent_shape(width=768) == (4, 64, 96)
    assert SD15.latent_shape(8, 4096) == (4, 1, 512)


@pytest.mark.parametrize("pixels", [0, -8, 4, 7, 12, 511, 4104])
@pytest.mark.parametrize("side", ["height", "width"])
def test_a_size_that_does_not_fit_says_which_do(side: str, pixels: int) -> None:
    with pytest.raises(MezzotintError, match=f"^{side} is {pixels}, expected a multiple of 8 from 8 to 4096$"):
        SD15.latent_shape(**{side: pixels})


@pytest.mark.parametrize("shift", [None, 0.0, 0.1159])
def test_a_shift_factor_is_optional(shift: float | None) -> None:
    assert Geometry.from_configs(UNET, {**VAE, "shift_factor": shift}).shift_factor == (shift or 0.0)


@pytest.mark.parametrize(
    ("unet", "vae"),
    [
        ({"sample_size": None}, {}),
        ({"sample_size": [64, 64]}, {}),
        ({"sample_size": 0}, {}),
        ({"sample_size": math.inf}, {}),
        ({}, {"block_out_channels": []}),
        ({}, {"block_out_channels": 4}),
        ({}, {"latent_channels": "many"}),
        ({}, {"latent_channels": -4}),
        ({}, {"scaling_factor": 0.0}),
        ({}, {"scaling_factor": None}),
        ({}, {"scaling_factor": math.nan}),
        ({}, {"shift_factor": math.inf}),
    ],
)
def test_configs_that_no_model_has_are_errors(unet: dict[str, Any], vae: dict[str, Any]) -> None:
    with pytest.raises(MezzotintError, match=r"config\.json .*make the bundle again"):
        Geometry.from_configs({**UNET, **unet}, {**VAE, **vae})


@pytest.mark.parametrize("key", ["block_out_channels", "latent_channels"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(MezzotintError, match=f"KeyError.*{key}"):
        Geometry.from_configs(UNET, {name: value for name, value in VAE.items() if name != key})


def test_a_vae_from_before_there_was_a_key_scales_as_all_did_then() -> None:
    """Bundles of version 0.1 have the config as it was published."""
    old = {name: value for name, value in VAE.items() if name != "scaling_factor"}
    assert Geometry.from_configs(UNET, old).scaling_factor == AutoencoderKL(**SMALL).config.scaling_factor
