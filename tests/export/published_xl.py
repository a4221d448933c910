"""Checkpoints of Stable Diffusion XL with the keys that published ones have, of nets of the smallest size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.export.published import TEXT, VAE, without, write
from tests.export.published_tokenizers import (
    ADDED,
    ADDED_SECOND,
    DECODED,
    DECODED_SECOND,
    OF_2023,
    OF_2023_SECOND,
    PublishedTokenizer,
)

Config = dict[str, Any]

_WIDTHS, _POOLED, _EACH = (32, 64), 40, 8
_VERSION = "0.19.0.dev0"
_NOTHING = [None, None]
_FIRST: Config = {
    **without(TEXT, "_name_or_path"),
    "hidden_size": _WIDTHS[0],
    "projection_dim": 32,
    "torch_dtype": "float16",
    "transformers_version": "4.32.0.dev0",
}
_SECOND: Config = {
    **_FIRST,
    "architectures": ["CLIPTextModelWithProjection"],
    "hidden_act": "gelu",
    "hidden_size": _WIDTHS[1],
    "intermediate_size": 2 * _WIDTHS[1],
    "projection_dim": _POOLED,
}
_UNET: Config = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "addition_embed_type": "text_time",
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": _EACH,
    "attention_head_dim": [2, 4],
    "block_out_channels": [32, 64],
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_dim": sum(_WIDTHS),
    "cross_attention_norm": None,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 1,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-05,
    "norm_num_groups": 8,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": 6 * _EACH + _POOLED,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "sample_size": 16,
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": [1, 2],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "upcast_attention": None,
    "use_linear_projection": True,
}
_NEWER: Config = {**_UNET, "attention_type": "default", "dropout": 0.0}
_NEWEST: Config = {**_NEWER, "reverse_transformer_layers_per_block": None, "upcast_attention": False}
_AVERAGED: Config = {  # what a training's averages note of themselves
    "attention_type": "default",
    "decay": 0.9999,
    "inv_gamma": 1.0,
    "min_decay": 0.0,
    "optimization_step": 37000,
    "power": 0.6666666666666666,
    "update_after_step": 0,
    "use_ema_warmup": False,
}
_REFINER: Config = {
    **_UNET,
    "cross_attention_dim": _WIDTHS[1],
    "projection_class_embeddings_input_dim": 5 * _EACH + _POOLED,
    "transformer_layers_per_block": 1,
}
_VAE: Config = {**VAE, "force_upcast": True, "norm_num_groups": 8, "sample_size": 1024, "scaling_factor": 0.13025}
_VAE_1_0: Config = {**_VAE, "_name_or_path": "../sdxl-vae/"}
_EULER: Config = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}


@dataclass(frozen=True, kw_only=True)
class PublishedXL:
    """A published checkpoint's configs. `index` is what model_index.json has besides its components."""

    version: str = _VERSION
    unet: Config = field(default_factory=lambda: _UNET)
    vae: Config = field(default_factory=lambda: _VAE)
    scheduler: Config = field(default_factory=lambda: _EULER)
    index: Config = field(default_factory=dict)
    way: str = "text"  # or "image", "inpaint"
    has_first: bool = True
    tokenizers: tuple[PublishedTokenizer, PublishedTokenizer] = (OF_2023, OF_2023_SECOND)
    named_texts: bool = False  # whether their configs say where they were


_PLAYGROUND_INDEX: Config = {"feature_extractor": _NOTHING, "image_encoder": _NOTHING}

PUBLISHED_XL: Mapping[str, PublishedXL] = {
    "base-0.9": PublishedXL(
        version="0.18.0.dev0",
        unet={**_UNET, "_name_or_path": "./unet", "upcast_attention": False},
        vae={**without(_VAE, "force_upcast"), "_name_or_path": "./vae"},
        scheduler={
            **_EULER,
            "clip_sample_range": 1.0,
            "dynamic_thresholding_ratio": 0.995,
            "rescale_betas_zero_snr": False,
            "thresholding": False,
        },
        named_texts=True,
    ),
    "base-1.0": PublishedXL(vae=_VAE_1_0, index={"add_watermarker": None}),
    "refiner-1.0": PublishedXL(
        unet=_REFINER,
        vae=_VAE_1_0,
        index={
            "_class_name": "StableDiffusionXLImg2ImgPipeline",
            "add_watermarker": None,
            "force_zeros_for_empty_prompt": False,
            "requires_aesthetics_score": True,
        },
        way="image",
        has_first=False,
    ),
    "inpainting-0.1": PublishedXL(
        version="0.21.0.dev0",
        unet={**_UNET, **_AVERAGED, "_name_or_path": "owner/sdxl-inpaint-ema", "in_channels": 9},
        vae={**_VAE, "_name_or_path": "owner/sdxl-vae-fp16-fix", "force_upcast": False, "sample_size": 512},
        index={
            "_class_name": "StableDiffusionXLInpaintPipeline",
            "_name_or_path": "owner/base",
            "requires_aesthetics_score": False,
        },
        way="inpaint",
        named_texts=True,
    ),
    "dpo-turbo": PublishedXL(version="0.22.0.dev0", unet=_NEWER, tokenizers=(ADDED, ADDED_SECOND)),
    "playground-2": PublishedXL(
        version="0.24.0",
        unet=_NEWEST,
        scheduler={  # an ancestral one that carries Euler's keys
            **_EULER,
            "_class_name": "EulerAncestralDiscreteScheduler",
            "sigma_max": None,
            "sigma_min": None,
            "timestep_type": "discrete",
        },
        index=_PLAYGROUND_INDEX,
        tokenizers=(DECODED, DECODED_SECOND),
    ),
    "playground-2.5": PublishedXL(
        version="0.27.0.dev0",
        unet=_NEWEST,
        vae={
            **_VAE,
            "latents_mean": [-1.6574, 1.886, -1.383, 2.5155],
            "latents_std": [8.4927, 5.9022, 6.5498, 5.2299],
            "scaling_factor": 0.5,
        },
        scheduler={
            "_class_name": "EDMDPMSolverMultistepScheduler",
            "algorithm_type": "dpmsolver++",
            "dynamic_thresholding_ratio": 0.995,
            "euler_at_final": False,
            "final_sigmas_type": "zero",
            "lower_order_final": True,
            "num_train_timesteps": 1000,
            "prediction_type": "epsilon",
            "rho": 7.0,
            "sample_max_value": 1.0,
            "sigma_data": 0.5,
            "sigma_max": 80.0,
            "sigma_min": 0.002,
            "solver_order": 2,
            "solver_type": "midpoint",
            "thresholding": False,
        },
        index=_PLAYGROUND_INDEX,
        tokenizers=(DECODED, DECODED_SECOND),
    ),
    "lcm": PublishedXL(
        version="0.23.0.dev0",
        unet={**_NEWER, "time_cond_proj_dim": 256},
        scheduler={
            **without(_EULER, "interpolation_type", "use_karras_sigmas"),
            "_class_name": "LCMScheduler",
            "original_inference_steps": 50,
            "set_alpha_to_one": True,
        },
    ),
}


def save_published_xl(folder: Path, published: PublishedXL, demo_checkpoint: Path) -> Path:
    """Write a checkpoint folder by hand, so that nothing fills in what is left out."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import save_model
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    texts = {"text_encoder": (CLIPTextModel, _FIRST), "text_encoder_2": (CLIPTextModelWithProjection, _SECOND)}
    configs: dict[str, Config] = {"unet": published.unet, "vae": published.vae}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_config(published.unet),
            "vae": AutoencoderKL.from_config(published.vae),
        }
        for name, (kind, config) in texts.items():
            if published.has_first or name == "text_encoder_2":
                modules[name] = kind(CLIPTextConfig.from_dict(without(config, "torch_dtype")))
                configs[name] = config
    for name, module in modules.items():
        weights = "model.safetensors" if name in texts else "diffusion_pytorch_model.safetensors"
        stated = {"_diffusers_version": published.version}
        if name in texts:
            stated = {"_name_or_path": f"./{name}"} if published.named_texts else {}
        write(folder / name / "config.json", {**stated, **configs[name]})
        save_model(module, str(folder / name / weights), metadata={"format": "pt"})
    write(folder / "scheduler" / "scheduler_config.json", {"_diffusers_version": _VERSION, **published.scheduler})
    for name, tokenizer in zip(("tokenizer", "tokenizer_2"), published.tokenizers, strict=True):
        if published.has_first or name == "tokenizer_2":
            tokenizer.write(folder / name, demo_checkpoint / "tokenizer")
    write(folder / "model_index.json", _index(published))
    return folder


def _index(published: PublishedXL) -> Config:
    clip = ["transformers", "CLIPTokenizer"]
    first: Config = {"text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": clip}
    return {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": published.version,
        "force_zeros_for_empty_prompt": True,
        **(first if published.has_first else dict.fromkeys(first, _NOTHING)),
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": clip,
        "scheduler": ["diffusers", published.scheduler["_class_name"]],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        **published.index,
    }
