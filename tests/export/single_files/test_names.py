"""The place of every weight, against files that are written the other way round, and against diffusers' own reader."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as theirs
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from mezzotint.export.single_files.ema_names import ema_places
from mezzotint.export.single_files.homes import IN_CHECKPOINT, Home
from tests.export.single_files.ldm import State, ldm_clip, ldm_unet, ldm_vae, open_clip, with_ema

TWO_LEVELS: Mapping[str, Any] = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8,
    "sample_size": 8,
}
XL: Mapping[str, Any] = {
    **TWO_LEVELS,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "transformer_layers_per_block": (1, 2),
    "projection_class_embeddings_input_dim": 80,
    "cross_attention_dim": 64,
    "attention_head_dim": (2, 4),
}
UNETS: Mapping[str, Mapping[str, Any]] = {
    "sd1": {**TWO_LEVELS, "cross_attention_dim": 32, "attention_head_dim": 8},
    "sd1-inpaint": {**TWO_LEVELS, "cross_attention_dim": 32, "attention_head_dim": 8, "in_channels": 9},
    "sd2": {
        **TWO_LEVELS,
        "cross_attention_dim": 32,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    },
    "sdxl": XL,
    "sdxl-refiner": {**XL, "transformer_layers_per_block": 2, "projection_class_embeddings_input_dim": 72},
    "ssd-1b": {
        **XL,
        "mid_block_type": "UNetMidBlock2D",
        "transformer_layers_per_block": (1, 2),
        "reverse_transformer_layers_per_block": ((2, 1, 3), 1),
    },
    "bk-sdm": {**TWO_LEVELS, "cross_attention_dim": 32, "attention_head_dim": 8, "layers_per_block": 1},
}
TEXT = {
    "vocab_size": 96,
    "max_position_embeddings": 16,
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "bos_token_id": 94,
    "eos_token_id": 95,
    "pad_token_id": 1,
    "projection_dim": 32,
}


def read(home: Home, state: Mapping[str, torch.Tensor], shapes: Mapping[str, torch.Tensor]) -> State:
    """What the places say, of `state`."""
    return {name: place.take.tensor(state[place.key]) for name, place in home.places(shapes, state).items()}


def check_equal(got: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def home_of(part: str, state: State) -> Home:
    return next(home for home in IN_CHECKPOINT[part] if home.is_in(state))


@pytest.mark.parametrize("kind", UNETS)
def test_the_unet(kind: str) -> None:
    unet = UNet2DConditionModel(**UNETS[kind])
    expected = unet.state_dict()
    state = ldm_unet(unet)
    home = home_of("unet", state)
    places = home.places(expected, state)
    assert sorted(place.key for place in places.values()) == sorted(state)  # each of them once
    check_equal(read(home, state, expected), expected)
    check_equal(read(home, state, expected), theirs.convert_ldm_unet_checkpoint(dict(state), unet.config))


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_the_vae(levels: int) -> None:
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 32, 32)[:levels],
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=2,
        norm_num_groups=8,
    )
    expected = vae.state_dict()
    for prefix in ("first_stage_model.", "vae."):
        state = ldm_vae(vae, prefix)
        home = home_of("vae", state)
        assert sorted(place.key for place in home.places(expected, state).values()) == sorted(state)
        check_equal(read(home, state, expected), expected)
        check_equal(read(home, state, expected), theirs.convert_ldm_vae_checkpoint(dict(state), vae.config))


@pytest.mark.parametrize("inner", ["text_model.", ""])
def test_a_clip_text_encoder(inner: str) -> None:
    expected = CLIPTextModel(CLIPTextConfig(**TEXT)).state_dict()
    state = ldm_clip(CLIPTextModel(CLIPTextConfig(**TEXT)), inner=inner)
    state |= {
        f"cond_stage_model.transformer.{inner}{name.removeprefix('text_model.')}": expected[name] for name in expected
    }
    check_equal(read(home_of("text_encoder", state), state, expected), expected)


OPEN_CLIPS: Mapping[str, tuple[str, str, Callable[..., Any]]] = {
    "sd2": ("text_encoder", "cond_stage_model.model.", CLIPTextModel),
    "sdxl": ("text_encoder_2", "conditioner.embedders.1.model.", CLIPTextModelWithProjection),
    "sdxl-refiner": ("text_encoder_2", "conditioner.embedders.0.model.", CLIPTextModelWithProjection),
}


@pytest.mark.parametrize("kind", OPEN_CLIPS)
def test_an_open_clip_text_encoder(kind: str) -> None:
    part, prefix, model = OPEN_CLIPS[kind]
    encoder = model(CLIPTextConfig(**TEXT))
    expected = encoder.state_dict()
    state = open_clip(encoder, prefix, extra_layer=kind == "sd2")
    got = read(home_of(part, state), state, expected)
    check_equal(got, expected)
    converted = theirs.convert_open_clip_checkpoint(encoder, dict(state), prefix)
    converted = {name: tensor for name, tensor in converted.items() if name in expected}  # it leaves the last layer in
    check_equal(got, converted)


def test_averages_are_found_under_the_names_of_the_weights() -> None:
    unet = UNet2DConditionModel(**UNETS["sd1"])
    expected = unet.state_dict()
    state = with_ema(ldm_unet(unet))
    places = home_of("unet", state).places(expected, state)
    check_equal({name: place.take.tensor(state[place.key]) for name, place in ema_places(places).items()}, expected)
    converted = theirs.convert_ldm_unet_checkpoint(dict(state), unet.config, extract_ema=True)
    check_equal(converted, expected)
