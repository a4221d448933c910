"""The configs that come with the package say what the published ones say, key for key, and whole."""

from typing import Any

import pytest
from diffusers import AutoencoderKL, UNet2DConditionModel

from mezzotint.export.single_files.templates import read_template, template_names
from mezzotint.families.lineup import family_of_index
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig

Config = dict[str, Any]
CROSS, DOWN, UP = "CrossAttnDownBlock2D", "DownBlock2D", "UpBlock2D"
CROSS_UP = "CrossAttnUpBlock2D"

# As published by the models' authors in 2022 and 2023; keys that say the library's default are left out.
UNET: Config = {"act_fn": "silu", "downsample_padding": 1, "flip_sin_to_cos": True, "freq_shift": 0, "norm_eps": 1e-05}
UNET |= {"in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "mid_block_scale_factor": 1}
UNET |= {"center_input_sample": False}
FOUR: Config = {**UNET, "block_out_channels": [320, 640, 1280, 1280]}
FOUR |= {"down_block_types": [CROSS, CROSS, CROSS, DOWN], "up_block_types": [UP, CROSS_UP, CROSS_UP, CROSS_UP]}
UNET_1: Config = {**FOUR, "attention_head_dim": 8, "cross_attention_dim": 768, "sample_size": 64}
UNET_2: Config = {**FOUR, "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024, "sample_size": 64}
UNET_2 |= {"use_linear_projection": True, "dual_cross_attention": False, "only_cross_attention": False}
XL: Config = {**UNET, "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "sample_size": 128}
XL |= {"use_linear_projection": True, "num_class_embeds": None, "time_cond_proj_dim": None, "class_embed_type": None}
THREE: Config = {**XL, "attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280]}
THREE |= {"down_block_types": [DOWN, CROSS, CROSS], "up_block_types": [CROSS_UP, CROSS_UP, UP]}
THREE |= {"cross_attention_dim": 2048, "projection_class_embeddings_input_dim": 2816}
REFINER: Config = {**XL, "attention_head_dim": [6, 12, 24, 24], "block_out_channels": [384, 768, 1536, 1536]}
REFINER |= {"down_block_types": [DOWN, CROSS, CROSS, DOWN], "up_block_types": [UP, CROSS_UP, CROSS_UP, UP]}
REFINER |= {
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
    "transformer_layers_per_block": 4,
}

TEXT: Config = {"attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "vocab_size": 49408}
TEXT |= {"max_position_embeddings": 77, "layer_norm_eps": 1e-05, "model_type": "clip_text_model"}
CLIP_L: Config = {**TEXT, "hidden_act": "quick_gelu", "hidden_size": 768, "intermediate_size": 3072}
CLIP_L |= {"num_attention_heads": 12, "num_hidden_layers": 12, "projection_dim": 768}
CLIP_H: Config = {**TEXT, "hidden_act": "gelu", "hidden_size": 1024, "intermediate_size": 4096}
CLIP_H |= {"num_attention_heads": 16, "num_hidden_layers": 23, "projection_dim": 512}
CLIP_G: Config = {**TEXT, "hidden_act": "gelu", "hidden_size": 1280, "intermediate_size": 5120}
CLIP_G |= {"num_attention_heads": 20, "num_hidden_layers": 32, "projection_dim": 1280}
CLIP_G |= {"architectures": ["CLIPTextModelWithProjection"]}

VAE: Config = {"block_out_channels": [128, 256, 512, 512], "in_channels": 3, "out_channels": 3, "latent_channels": 4}
VAE |= {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
VAE |= {"layers_per_block": 2, "norm_num_groups": 32, "act_fn": "silu"}

BETAS: Config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
BETAS |= {"num_train_timesteps": 1000, "trained_betas": None, "clip_sample": False, "set_alpha_to_one": False}
BETAS |= {"skip_prk_steps": True, "prediction_type": "epsilon"}
EULER: Config = {**BETAS, "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"}
EULER |= {"interpolation_type": "linear", "use_karras_sigmas": False, "sample_max_value": 1.0}
PNDM: Config = {**BETAS, "_class_name": "PNDMScheduler"}
DDIM: Config = {**BETAS, "_class_name": "DDIMScheduler"}

END, MARK = "<|endoftext|>", "!"
PUBLISHED: dict[str, tuple[Config, Config, Config, dict[str, str]]] = {  # UNet, first text encoder, scheduler, padding
    "sd1": (UNET_1, CLIP_L, PNDM, {"tokenizer": END}),
    "sd1-inpaint": ({**UNET_1, "in_channels": 9}, CLIP_L, DDIM, {"tokenizer": END}),
    "sd2": (UNET_2, CLIP_H, PNDM, {"tokenizer": MARK}),
    "sd2-v": (
        {**UNET_2, "sample_size": 96, "upcast_attention": True},
        CLIP_H,
        {**DDIM, "prediction_type": "v_prediction"},
        {"tokenizer": MARK},
    ),
    "sdxl": (
        {**THREE, "transformer_layers_per_block": [1, 2, 10]},
        CLIP_L,
        EULER,
        {"tokenizer": END, "tokenizer_2": MARK},
    ),
    "sdxl-inpaint": (
        {**THREE, "transformer_layers_per_block": [1, 2, 10], "in_channels": 9},
        CLIP_L,
        EULER,
        {"tokenizer": END, "tokenizer_2": MARK},
    ),
    "sdxl-refiner": (REFINER, CLIP_G, EULER, {"tokenizer_2": MARK}),
}


def differing(template: Config, published: Config) -> Config:
    return {key: (template.get(key, "absent"), value) for key, value in published.items() if template.get(key) != value}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_template_says_what_was_published(name: str) -> None:
    template = read_template(name)
    unet, text, scheduler, tokenizers = PUBLISHED[name]
    is_xl = "sdxl" in name
    scaling = {"scaling_factor": 0.13025 if is_xl else 0.18215}
    first = "text_encoder_2" if name == "sdxl-refiner" else "text_encoder"
    assert differing(template["unet/config.json"], unet) == {}
    assert differing(template[f"{first}/config.json"], text) == {}
    assert differing(template["vae/config.json"], {**VAE, **scaling}) == {}
    assert differing(template["scheduler/scheduler_config.json"], scheduler) == {}
    assert template["tokenizers"] == tokenizers
    if is_xl:
        assert differing(template["text_encoder_2/config.json"], CLIP_G) == {}
        assert template["model_index.json"]["force_zeros_for_empty_prompt"] is (name != "sdxl-refiner")


@pytest.mark.parametrize("name", template_names())
def test_a_template_is_whole(name: str) -> None:
    """Every key is stated, and nothing is asked for that the classes do not know."""
    template = read_template(name)
    for part, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        config = template[f"{part}/config.json"]
        known = {*kind._get_init_keys(kind), "_class_name"}
        assert known - {"self", "kwargs"} == config.keys()
        assert config["_class_name"] == kind.__name__
    family = family_of_index(template["model_index.json"])
    assert family is not None
    assert {f"{part}/config.json" for part in family.weighted_parts} < template.keys()
    assert {stage.tokenizer for stage in family.texts} == template["tokenizers"].keys()
    SchedulerConfig.from_dict(template["scheduler/scheduler_config.json"])
