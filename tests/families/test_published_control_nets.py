"""ControlNets with the keys that published ones have: they export with their model, and images are diffusers'."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from mezzotint.adapters.given_control import GivenControl
from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.runtime import Control, TextToImage
from tests.families.tiny_control import drawing, save_control_net

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]  # diffusers' of every old config
PROMPT = "a flat emoji of a red apple"
FLOOR_DB = 80.0
Config = Mapping[str, Any]

# What all of them state; the values are those of the net that is made.
FIRST = (
    "act_fn",
    "attention_head_dim",
    "block_out_channels",
    "class_embed_type",
    "conditioning_embedding_out_channels",
    "controlnet_conditioning_channel_order",
    "cross_attention_dim",
    "down_block_types",
    "downsample_padding",
    "flip_sin_to_cos",
    "freq_shift",
    "in_channels",
    "layers_per_block",
    "mid_block_scale_factor",
    "norm_eps",
    "norm_num_groups",
    "num_class_embeds",
    "only_cross_attention",
    "projection_class_embeddings_input_dim",
    "resnet_time_scale_shift",
    "upcast_attention",
    "use_linear_projection",
)
POOLS = {"global_pool_conditions": False}
NAMED = {"_name_or_path": "../controlnet/checkpoint-20000"}
NEWER = (
    "addition_embed_type",
    "addition_embed_type_num_heads",
    "addition_time_embed_dim",
    "conditioning_channels",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "global_pool_conditions",
    "num_attention_heads",
    "transformer_layers_per_block",
)
# By the version of diffusers that wrote it: the keys of the net besides FIRST, and what the file says otherwise.
PUBLISHED: dict[str, tuple[tuple[str, ...], Config]] = {
    "0.14.0.dev0": ((), {}),
    "0.16.0.dev0": ((), NAMED),
    "0.17.0.dev0": ((), POOLS),
    "0.18.0.dev0": ((), {**POOLS, "upcast_attention": None}),
    "0.26.0.dev0": ((*NEWER, "mid_block_type"), {}),
}
PUBLISHED_XL: dict[str, tuple[tuple[str, ...], Config]] = {
    "0.20.0.dev0": (NEWER, {**NAMED, "upcast_attention": None}),
    "0.21.2": (NEWER, {**NAMED, "upcast_attention": None}),
}


def save_published(checkpoint: Path, folder: Path, version: str, keys: tuple[str, ...], stated: Config) -> Path:
    """A net of `checkpoint` whose config.json has these keys and no others."""
    # A file that names no middle block means the one with attention, whatever the UNet beside it has.
    middle = {} if "mid_block_type" in keys else {"mid_block_type": "UNetMidBlock2DCrossAttn"}
    save_control_net(checkpoint, folder, 0, **middle)
    path = folder / "config.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    config = {key: whole[key] for key in (*FIRST, *keys)}
    named = {"_class_name": "ControlNetModel", "_diffusers_version": version}
    path.write_text(json.dumps({**named, **config, **stated}), encoding="utf-8")
    return folder


def check(checkpoint: Path, net: Path, bundle: Path, pipeline: str, side: int) -> None:
    """The image of the bundle is that of diffusers' pipeline of the same two folders."""
    export_checkpoint(str(checkpoint), bundle, controls=[GivenControl(name="edges", path=net)])
    oracle = getattr(diffusers, pipeline).from_pretrained(
        checkpoint, controlnet=diffusers.ControlNetModel.from_pretrained(net)
    )
    oracle.set_progress_bar_config(disable=True)
    image = drawing(side, side)
    size: dict[str, Any] = {"height": side, "width": side}
    generator = torch.Generator().manual_seed(3)
    called: dict[str, Any] = {
        "num_inference_steps": 4,
        "guidance_scale": 4.0,
        "generator": generator,
        "output_type": "np",
    }
    expected = oracle(PROMPT, image=image, **size, **called).images
    assert expected.std() > 0.02  # an image, not a grey field that any would equal
    with TextToImage.load(bundle, backend="onnxruntime") as pipe:
        controls = [Control(name="edges", image=image)]
        found = pipe(PROMPT, controls=controls, steps=4, guidance=4.0, seed=3, **size).pixels
    assert psnr_db(expected, found) > FLOOR_DB


@pytest.mark.parametrize("version", PUBLISHED)
def test_nets_of_stable_diffusion_1(version: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    net = save_published(tiny_checkpoint, tmp_path / "net", version, *PUBLISHED[version])
    check(tiny_checkpoint, net, tmp_path / "bundle", "StableDiffusionControlNetPipeline", 16)


@pytest.mark.parametrize("version", PUBLISHED_XL)
def test_nets_of_stable_diffusion_xl(version: str, xl_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    checkpoint = xl_checkpoint("base")
    net = save_published(checkpoint, tmp_path / "net", version, *PUBLISHED_XL[version])
    check(checkpoint, net, tmp_path / "bundle", "StableDiffusionXLControlNetPipeline", 32)


def test_a_global_one_is_refused_by_that_key(tiny_checkpoint: Path, tmp_path: Path) -> None:
    net = save_published(
        tiny_checkpoint, tmp_path / "net", "0.16.0.dev0", (), {**NAMED, "global_pool_conditions": True}
    )
    with pytest.raises(MezzotintError) as caught:
        export_checkpoint(str(tiny_checkpoint), tmp_path / "out", controls=[GivenControl(name="edges", path=net)])
    assert caught.value.what == "global_pool_conditions"
