"""Fine-tunes, and other versions of what `published.py` has: each converted or saved by a diffusers of its day."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.export.published import (
    BETAS,
    NEW_EXTRACTOR,
    NO_CHECKER,
    SCHEDULER,
    TEXT,
    TEXT_2,
    UNET,
    UNET_2,
    UNET_LCM,
    VAE,
    Published,
    without,
)
from tests.export.published_tokenizers import DECODED, FIRST_YEARS, FIRST_YEARS_SD2, OF_2023, OF_2025

Config = dict[str, Any]

_OLD_EXTRACTOR: Config = {"feature_extractor": ["transformers", "CLIPFeatureExtractor"]}
_NOTHING = [None, None]
_WITHOUT_CHECKER: Config = {
    "feature_extractor": _NOTHING,
    "requires_safety_checker": None,  # neither true nor false
    "safety_checker": _NOTHING,
}
_TEXT_1: Config = {**TEXT, "projection_dim": 768}
_UNNAMED: Config = without(_TEXT_1, "_name_or_path")
_EPSILON: Config = {**SCHEDULER, "prediction_type": "epsilon"}
_DDIM, _PNDM = {"_class_name": "DDIMScheduler"}, {"_class_name": "PNDMScheduler"}

_UNET_0_9: Config = {
    **UNET,
    "dual_cross_attention": False,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "use_linear_projection": False,
}
_UNET_0_10: Config = {**_UNET_0_9, "upcast_attention": False}
_UNET_0_12: Config = {
    **_UNET_0_10,
    "class_embed_type": None,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "resnet_time_scale_shift": "default",
}
_UNET_0_21: Config = {**without(UNET_LCM, "dropout"), "sample_size": 64, "time_cond_proj_dim": None}
_UNET_0_25: Config = {
    **_UNET_0_21,
    "dropout": 0.0,
    "reverse_transformer_layers_per_block": None,
    "upcast_attention": False,
}
_VAE_0_33: Config = {
    **VAE,
    "force_upcast": True,
    "latents_mean": None,
    "latents_std": None,
    "mid_block_add_attention": True,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "use_post_quant_conv": True,
    "use_quant_conv": True,
}
_VAE_0_21: Config = {**VAE, "force_upcast": True, "scaling_factor": 0.18215}
FINE_TUNES: Mapping[str, Published] = {
    "sd-1.4-2022-08": Published(
        version="0.2.2",
        sampler="pndm",
        scheduler={**_PNDM, **BETAS, "skip_prk_steps": True},
        vae=without(VAE, "norm_num_groups"),
    ),
    "sd-1.4": Published(
        version="0.2.2",
        sampler="pndm",
        scheduler={**_PNDM, **SCHEDULER},
        vae={**without(VAE, "norm_num_groups"), "scaling_factor": 0.18215},
        index=NEW_EXTRACTOR,
    ),
    "sd-1.5-non-ema": Published(
        version="0.12.0.dev0",
        sampler="pndm",
        scheduler={**_PNDM, **SCHEDULER},
        text=_TEXT_1,
        unet=_UNET_0_12,
        index=_OLD_EXTRACTOR,
    ),
    "sd-1.5-resaved-0.33": Published(
        version="0.33.1",
        sampler="pndm",
        scheduler={**_PNDM, **_EPSILON, "timestep_spacing": "leading"},
        text=_UNNAMED,
        unet={**_UNET_0_25, "_name_or_path": "C:\\Users\\name\\unet"},
        vae={**_VAE_0_33, "_name_or_path": "C:\\Users\\name\\vae"},
        index={
            **NEW_EXTRACTOR,
            "image_encoder": _NOTHING,
            "requires_safety_checker": True,
            "_name_or_path": "owner/name",
        },
        tokenizer=OF_2025,
    ),
    "anything-4": Published(
        version="0.12.0.dev0",
        sampler="pndm",
        scheduler={**_PNDM, **_EPSILON},
        text=_TEXT_1,
        unet=_UNET_0_12,
        vae={**VAE, "scaling_factor": 0.18215},
        index={**_OLD_EXTRACTOR, "requires_safety_checker": True},
    ),
    "counterfeit-2.5": Published(
        version="0.10.2",
        sampler="ddim",
        scheduler={**_DDIM, **_EPSILON},
        text=_TEXT_1,
        unet=_UNET_0_10,
        vae={**VAE, "sample_size": 256},
        index=_WITHOUT_CHECKER,
    ),
    "waifu-1.4": Published(
        version="0.10.2",
        sampler="pndm",
        scheduler={**_PNDM, **_EPSILON},
        text=TEXT_2,
        unet={**UNET_2, "upcast_attention": False, "_name_or_path": "/mnt/finetunes/step_57000"},
        vae={**VAE, "_name_or_path": "/mnt/base/vae"},
        tokenizer=FIRST_YEARS_SD2,
        index={**NEW_EXTRACTOR, "requires_safety_checker": True},
    ),
    "dreamshaper-8": Published(
        version="0.21.0.dev0",
        sampler="deis",
        scheduler={
            "_class_name": "DEISMultistepScheduler",
            **_EPSILON,
            "algorithm_type": "deis",
            "dynamic_thresholding_ratio": 0.995,
            "lower_order_final": True,
            "sample_max_value": 1.0,
            "solver_order": 2,
            "solver_type": "logrho",
            "thresholding": False,
            "timestep_spacing": "leading",
            "use_karras_sigmas": False,
        },
        text={**_TEXT_1, "torch_dtype": "float16"},
        unet={**_UNET_0_21, "_name_or_path": "owner/name"},
        vae={**_VAE_0_21, "_name_or_path": "owner/name"},
        index={**_OLD_EXTRACTOR, "_name_or_path": "owner/name", "requires_safety_checker": True},
        tokenizer=OF_2023,
    ),
    "realistic-vision-5.1": Published(
        version="0.25.0.dev0",
        sampler="pndm",
        scheduler={**_PNDM, **_EPSILON, "timestep_spacing": "leading"},
        text={**_UNNAMED, "torch_dtype": "float16"},
        unet=_UNET_0_25,
        vae=_VAE_0_21,
        index={**_OLD_EXTRACTOR, "image_encoder": _NOTHING, "requires_safety_checker": True},
        tokenizer=DECODED,
    ),
    "oscavatar": Published(  # the index names another scheduler than its file
        version="0.9.0.dev0",
        sampler="pndm",
        scheduler={**_DDIM, **_EPSILON},
        text=without(TEXT_2, "_name_or_path"),
        unet={**UNET_2, "sample_size": 32, "use_linear_projection": False},
        vae={**VAE, "sample_size": 256},
        tokenizer=FIRST_YEARS_SD2,
        index={**_OLD_EXTRACTOR, "scheduler": ["diffusers", "PNDMScheduler"]},
    ),
    "tardisfusion": Published(
        version="0.7.0.dev0",
        sampler="ddim",
        scheduler={**_DDIM, **without(SCHEDULER, "skip_prk_steps")},
        text=_TEXT_1,
        unet={**UNET, "_name_or_path": "F:/AI/stable-diffusion-v1-5"},
        vae={**VAE, "_name_or_path": "F:/AI/stable-diffusion-v1-5"},
        index=_OLD_EXTRACTOR,
        index_lacks=("safety_checker",),
        tokenizer=replace(FIRST_YEARS, more={**FIRST_YEARS.more, "name_or_path": "F:/AI/sd-v1-5\\tokenizer"}),
    ),
    "wsj-hedcut": Published(
        version="0.9.0.dev0",
        sampler="pndm",
        scheduler={**_PNDM, **without(SCHEDULER, "clip_sample")},
        text={**_TEXT_1, "torch_dtype": "float16"},
        unet={**_UNET_0_9, "_name_or_path": "/content/models/style"},
        vae={**VAE, "_name_or_path": "/content/models/style/vae", "scaling_factor": 0.18215},
        index={**_OLD_EXTRACTOR, "_diffusers_version": "0.6.0"},
    ),
    "fantassified-icons": Published(
        version="0.11.1",
        sampler="ddim",
        scheduler={**_DDIM, **_EPSILON},
        text=_TEXT_1,
        unet={**_UNET_0_12, "sample_size": 32},
        vae={**VAE, "sample_size": 256, "scaling_factor": 0.18215},
        index=_WITHOUT_CHECKER,
    ),
    "sd-2-inpainting": Published(  # as 2.1-base, since its own files were not found
        version="0.8.0",
        sampler="pndm",
        scheduler={**_PNDM, **_EPSILON},
        pipeline="StableDiffusionInpaintPipeline",
        text=TEXT_2,
        unet={**UNET_2, "in_channels": 9},
        vae={**VAE, "sample_size": 512},
        tokenizer=FIRST_YEARS_SD2,
        index=NO_CHECKER,
    ),
    "sd-2.1-fp16": Published(  # a branch of that repository, saved again
        version="0.10.0.dev0",
        sampler="ddim",
        scheduler={**_DDIM, **SCHEDULER, "prediction_type": "v_prediction"},
        text={**TEXT_2, "torch_dtype": "float16", "transformers_version": "4.26.0.dev0"},
        unet={**UNET_2, "_name_or_path": "./unet", "sample_size": 96, "upcast_attention": True},
        vae={**VAE, "_name_or_path": "./vae", "sample_size": 768},
        tokenizer=FIRST_YEARS_SD2,
        index=NO_CHECKER,
    ),
    "converted-before-0.9": Published(  # fine-tunes whose converter wrote 32 latents a side by mistake
        version="0.7.2",
        sampler="pndm",
        scheduler={**_PNDM, **SCHEDULER},
        text={**TEXT, "projection_dim": 768, "transformers_version": "4.24.0"},
        unet={**UNET, "sample_size": 32},
        vae={**VAE, "sample_size": 256},
    ),
}
