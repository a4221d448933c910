"""Configs of Stable Diffusion XL: as published they are understood, and what does not fit together is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.export.families.stable_diffusion_xl_options import (
    check_xl_components,
    count_of_numbers,
    effective_xl_config,
)
from mezzotint.families.lineup import family_of_checkpoint, family_of_index

TEXT: dict[str, Any] = {"hidden_size": 768, "model_type": "clip_text_model", "num_hidden_layers": 12, "eos_token_id": 2}
TEXT_2: dict[str, Any] = {**TEXT, "hidden_size": 1280, "projection_dim": 1280, "num_hidden_layers": 32}
UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.19.0.dev0",
    "addition_embed_type": "text_time",
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "in_channels": 4,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "upcast_attention": None,
    "use_linear_projection": True,
}
REFINER: dict[str, Any] = {
    "attention_head_dim": [6, 12, 24, 24],
    "block_out_channels": [384, 768, 1536, 1536],
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
    "transformer_layers_per_block": 4,
}
VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "force_upcast": True,
    "latent_channels": 4,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
}
CLIP = ["transformers", "CLIPTokenizer"]
INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionXLPipeline",
    "add_watermarker": None,
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": CLIP,
    "tokenizer_2": CLIP,
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
NONE = [None, None]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A folder of configs alone, with `changes` by part; None leaves a part out."""

    def run(index: dict[str, Any] = INDEX, **changes: dict[str, Any] | None) -> Path:
        (tmp_path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
        for name, config in {"text_encoder": TEXT, "text_encoder_2": TEXT_2, "unet": UNET, "vae": VAE}.items():
            change = changes.get(name, {})
            if change is not None:
                (tmp_path / name).mkdir()
                (tmp_path / name / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
        return tmp_path

    return run


def test_the_base_is_understood(write: Write) -> None:
    check_xl_components(write())
    assert count_of_numbers(effective_xl_config("unet", UNET), TEXT_2) == 6


def test_a_refiner_lacks_the_first_encoder(write: Write) -> None:
    index = {**INDEX, "_class_name": "StableDiffusionXLImg2ImgPipeline", "text_encoder": NONE, "tokenizer": NONE}
    folder = write(index, text_encoder=None, unet=REFINER)
    check_xl_components(folder)
    family = family_of_checkpoint(folder)
    assert list(family.components) == ["text_encoder_2", "unet", "vae_decoder", "vae_encoder"]
    assert list(family.checkpoint) == ["text_encoder_2", "tokenizer_2", "unet", "vae"]
    assert [stage.tokenizer for stage in family.texts] == ["tokenizer_2"]
    assert count_of_numbers({**UNET, **REFINER}, TEXT_2) == 5


def test_what_is_not_optional_stays_whatever_the_index_says() -> None:
    family = family_of_index({**INDEX, "vae": NONE, "text_encoder_2": NONE})
    assert family is not None
    assert {"vae", "text_encoder_2"} <= set(family.checkpoint)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unet": {"addition_embed_type": None}}, "addition_embed_type = None; expected 'text_time'"),
        ({"unet": {"addition_embed_type": "image"}}, "addition_embed_type = 'image'"),
        ({"unet": {"cross_attention_dim": 768}}, r"cross_attention_dim = 768, expected 768 .* \+ 1280"),
        ({"unet": {"projection_class_embeddings_input_dim": 2815}}, "2815 and addition_time_embed_dim = 256"),
        ({"unet": {"addition_time_embed_dim": None}}, "addition_time_embed_dim = None"),
        ({"unet": {"in_channels": 8}}, "in_channels = 8, as one that edits by instructions"),
        ({"unet": {"warp_drive": 1}}, "warp_drive"),
        ({"text_encoder_2": {"use_attention_mask": True}}, "text_encoder_2/config.json"),
        ({"text_encoder_2": {"projection_dim": 512}}, "projection_dim of 512"),
    ],
)
def test_what_does_not_fit_is_named(write: Write, changes: dict[str, dict[str, Any]], expected: str) -> None:
    with pytest.raises(MezzotintError, match=expected):
        check_xl_components(write(**changes))


def test_the_effective_config_of_the_second_encoder_has_its_class() -> None:
    config = effective_xl_config("text_encoder_2", TEXT_2)
    assert config["architectures"] == ["CLIPTextModelWithProjection"]
    assert (config["hidden_size"], config["max_position_embeddings"]) == (1280, 77)
