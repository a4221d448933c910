"""Checkpoints with the keys that published ones have: nets of the smallest size, every other key as it was published.

What counts is which keys a file has and which it lacks, since each is from another year. Weights are random.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.export.published_tokenizers import FIRST_YEARS, FIRST_YEARS_SD2, WINDOW, WITH_FILE, PublishedTokenizer

Config = dict[str, Any]

TEXT: Config = {
    "_name_or_path": "owner/name",
    "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,  # not the tokenizer's; transformers then pools at the highest id
    "hidden_act": "quick_gelu",
    "hidden_size": 32,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": WINDOW,
    "model_type": "clip_text_model",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 1,
    "torch_dtype": "float32",
    "transformers_version": "4.21.0.dev0",
    "vocab_size": 4096,
}
TEXT_2: Config = {**TEXT, "hidden_act": "gelu", "projection_dim": 512, "transformers_version": "4.25.0.dev0"}
NEW_EXTRACTOR: Config = {
    "feature_extractor": ["transformers", "CLIPImageProcessor"]
}  # the hub's owner wrote it in later
NO_CHECKER: Config = {"safety_checker": [None, None], "requires_safety_checker": False}

UNET: Config = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [32, 64],
    "center_input_sample": False,
    "cross_attention_dim": 32,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 8,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
UNET_2: Config = {
    **UNET,
    "_diffusers_version": "0.10.0.dev0",
    "attention_head_dim": [2, 4],
    "dual_cross_attention": False,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "use_linear_projection": True,
}

UNET_LCM: Config = {
    **UNET,
    "_diffusers_version": "0.22.0.dev0",
    "addition_embed_type": None,
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": None,
    "attention_type": "default",
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "dropout": 0.0,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "mid_block_only_cross_attention": None,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "projection_class_embeddings_input_dim": None,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "sample_size": 96,
    "time_cond_proj_dim": 256,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": 1,
    "upcast_attention": None,
    "use_linear_projection": False,
}

VAE: Config = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": [32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
}

BETAS: Config = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
}
SCHEDULER: Config = {
    **BETAS,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,  # in every file, also in those of DDIM, which has none
    "steps_offset": 1,
    "trained_betas": None,
}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published checkpoint: its configs, the class in its index, and the sampler that its scheduler stands for."""

    version: str  # of diffusers, where a file does not say another
    sampler: str
    scheduler: Config
    pipeline: str = "StableDiffusionPipeline"
    text: Config = field(default_factory=lambda: TEXT)
    unet: Config = field(default_factory=lambda: UNET)
    vae: Config = field(default_factory=lambda: VAE)
    tokenizer: PublishedTokenizer = FIRST_YEARS
    index: Config = field(default_factory=dict)  # what model_index.json has besides, or otherwise
    index_lacks: tuple[str, ...] = ()


def without(config: Config, *keys: str) -> Config:
    """All but these keys."""
    return {key: value for key, value in config.items() if key not in keys}


PUBLISHED: Mapping[str, Published] = {
    "sd-1.5": Published(
        version="0.6.0",
        sampler="pndm",
        scheduler={"_class_name": "PNDMScheduler", **SCHEDULER},
        text={**TEXT, "projection_dim": 768, "transformers_version": "4.22.0.dev0"},
        index=NEW_EXTRACTOR,
    ),
    "sd-1.5-inpainting": Published(
        version="0.6.0.dev0",
        sampler="ddim",
        scheduler={"_class_name": "DDIMScheduler", **SCHEDULER},
        pipeline="StableDiffusionInpaintPipeline",
        text={**TEXT, "projection_dim": 768, "transformers_version": "4.22.0.dev0"},
        unet={**UNET, "in_channels": 9},
        vae={**VAE, "sample_size": 256},
    ),
    "sd-2.1": Published(
        version="0.8.0",
        sampler="ddim",
        scheduler={"_class_name": "DDIMScheduler", **SCHEDULER, "prediction_type": "v_prediction"},
        text=TEXT_2,
        unet={**UNET_2, "sample_size": 96, "upcast_attention": True},
        vae={**VAE, "_name_or_path": "hf-models/stable-diffusion-v2-768x768/vae", "sample_size": 768},
        tokenizer=FIRST_YEARS_SD2,
        index=NO_CHECKER,
    ),
    "sd-2.1-base": Published(
        version="0.10.0.dev0",
        sampler="pndm",
        scheduler={"_class_name": "PNDMScheduler", **SCHEDULER, "prediction_type": "epsilon"},
        text=TEXT_2,
        unet=UNET_2,
        vae={**VAE, "sample_size": 768},
        tokenizer=FIRST_YEARS_SD2,
        index=NO_CHECKER,
    ),
    "lcm-dreamshaper-7": Published(
        version="0.22.0.dev0",
        sampler="lcm",
        scheduler={
            "_class_name": "LCMScheduler",
            **BETAS,
            "clip_sample": False,
            "clip_sample_range": 1.0,
            "dynamic_thresholding_ratio": 0.995,
            "original_inference_steps": 50,
            "prediction_type": "epsilon",
            "rescale_betas_zero_snr": False,
            "sample_max_value": 1.0,
            "set_alpha_to_one": True,
            "steps_offset": 0,
            "thresholding": False,
            "timestep_spacing": "leading",
            "trained_betas": None,
        },
        pipeline="LatentConsistencyModelPipeline",
        text={**TEXT, "projection_dim": 32, "transformers_version": "4.35.0.dev0"},
        unet=UNET_LCM,
        vae={
            **VAE,
            "_name_or_path": "owner/name",
            "force_upcast": True,
            "sample_size": 768,
            "scaling_factor": 0.18215,
        },
        tokenizer=WITH_FILE,
        index={**NEW_EXTRACTOR, "requires_safety_checker": True},
    ),
    "sd-turbo": Published(
        version="0.24.0.dev0",
        sampler="euler",
        scheduler={
            "_class_name": "EulerDiscreteScheduler",
            **SCHEDULER,
            "interpolation_type": "linear",
            "prediction_type": "epsilon",
            "sample_max_value": 1.0,
            "sigma_max": None,
            "sigma_min": None,
            "timestep_spacing": "trailing",
            "timestep_type": "discrete",
            "use_karras_sigmas": False,
        },
        text=TEXT_2,
        unet={**UNET_2, "_diffusers_version": "0.24.0.dev0"},
        vae={**VAE, "force_upcast": True, "latents_mean": None, "latents_std": None, "scaling_factor": 0.18215},
        tokenizer=FIRST_YEARS_SD2,
    ),
}


def save_published(folder: Path, published: Published, demo_checkpoint: Path) -> Path:
    """Write a checkpoint folder by hand, so that nothing fills in what is left out."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import save_model
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules: dict[str, Any] = {
            "text_encoder": CLIPTextModel(CLIPTextConfig.from_dict(without(published.text, "torch_dtype"))),
            "unet": UNet2DConditionModel.from_config(published.unet),
            "vae": AutoencoderKL.from_config(published.vae),
        }
    configs = {"text_encoder": published.text, "unet": published.unet, "vae": published.vae}
    for name, module in modules.items():
        weights = "model.safetensors" if name == "text_encoder" else "diffusion_pytorch_model.safetensors"
        stated = {} if name == "text_encoder" else {"_diffusers_version": published.version}
        write(folder / name / "config.json", {**stated, **configs[name]})
        save_model(module, str(folder / name / weights), metadata={"format": "pt"})
    write(
        folder / "scheduler" / "scheduler_config.json", {"_diffusers_version": published.version, **published.scheduler}
    )
    published.tokenizer.write(folder / "tokenizer", demo_checkpoint / "tokenizer")
    write(folder / "model_index.json", _index(published))
    return folder


def _index(published: Published) -> Config:
    usual = {
        "_class_name": published.pipeline,
        "_diffusers_version": published.version,
        "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", published.scheduler["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    return without({**usual, **published.index}, *published.index_lacks)


def write(path: Path, data: Config) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
