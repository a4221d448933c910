"""Fine-tunes and pruned models with the keys that were published: each converted or saved by a diffusers of its day."""

from collections.abc import Mapping
from typing import Any

from tests.export.published import SCHEDULER, TEXT, TEXT_2, UNET, UNET_2, UNET_LCM, VAE, Published, without

Config = dict[str, Any]

_OLD_EXTRACTOR: Config = {"feature_extractor": ["transformers", "CLIPFeatureExtractor"]}
_NOTHING = [None, None]
_WITHOUT_CHECKER: Config = {
    "feature_extractor": _NOTHING,
    "requires_safety_checker": None,  # neither true nor false
    "safety_checker": _NOTHING,
}
_TEXT_1: Config = {**TEXT, "projection_dim": 768}
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
_SPECIAL: Config = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "special": True}
_DECODER: Config = {  # of the small vocabulary
    "4094": {"content": "<|startoftext|>", **_SPECIAL},
    "4095": {"content": "<|endoftext|>", **_SPECIAL},
}
_UNET_0_15: Config = {
    **without(
        _UNET_0_21,
        "addition_embed_type",
        "addition_embed_type_num_heads",
        "addition_time_embed_dim",
        "attention_type",
        "encoder_hid_dim_type",
        "num_attention_heads",
        "time_embedding_dim",
        "transformer_layers_per_block",
    ),
    "upcast_attention": False,
}

FINE_TUNES: Mapping[str, Published] = {
    "sd-1.4": Published(
        version="0.2.2",
        sampler="pndm",
        scheduler={**_PNDM, **SCHEDULER},
        vae={**without(VAE, "norm_num_groups"), "scaling_factor": 0.18215},
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
        text=_TEXT_1,
        unet=_UNET_0_25,
        vae=_VAE_0_33,
        index={"image_encoder": _NOTHING, "requires_safety_checker": True, "_name_or_path": "owner/name"},
        tokenizer={"added_tokens_decoder": _DECODER, "extra_special_tokens": {}, "clean_up_tokenization_spaces": False},
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
        pad_token="!",
        index={"requires_safety_checker": True},
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
        unet=_UNET_0_21,
        vae=_VAE_0_21,
        index={**_OLD_EXTRACTOR, "requires_safety_checker": True},
    ),
    "realistic-vision-5.1": Published(
        version="0.25.0.dev0",
        sampler="pndm",
        scheduler={**_PNDM, **_EPSILON, "timestep_spacing": "leading"},
        text={**_TEXT_1, "torch_dtype": "float16"},
        unet=_UNET_0_25,
        vae=_VAE_0_21,
        index={**_OLD_EXTRACTOR, "image_encoder": _NOTHING, "requires_safety_checker": True},
        tokenizer={"added_tokens_decoder": _DECODER, "clean_up_tokenization_spaces": True},
    ),
    "oscavatar": Published(  # the index names another scheduler than its file
        version="0.9.0.dev0",
        sampler="pndm",
        scheduler={**_DDIM, **_EPSILON},
        text=TEXT_2,
        unet={**UNET_2, "sample_size": 32, "use_linear_projection": False},
        vae={**VAE, "sample_size": 256},
        pad_token="!",
        index={**_OLD_EXTRACTOR, "scheduler": ["diffusers", "PNDMScheduler"]},
    ),
    "tardisfusion": Published(
        version="0.7.0.dev0",
        sampler="ddim",
        scheduler={**_DDIM, **without(SCHEDULER, "skip_prk_steps")},
        text=_TEXT_1,
        unet={**UNET, "_name_or_path": "F:/AI/stable-diffusion-v1-5"},
        index=_OLD_EXTRACTOR,
        index_lacks=("safety_checker",),
        tokenizer={"name_or_path": "F:/AI/stable-diffusion-v1-5\\tokenizer"},
    ),
    "wsj-hedcut": Published(
        version="0.9.0.dev0",
        sampler="pndm",
        scheduler={**_PNDM, **without(SCHEDULER, "clip_sample")},
        text={**_TEXT_1, "torch_dtype": "float16"},
        unet=_UNET_0_9,
        vae={**VAE, "scaling_factor": 0.18215},
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
    "bk-sdm-small": Published(  # without a middle block
        version="0.15.0",
        sampler="pndm",
        scheduler={**_PNDM, **_EPSILON},
        text=_TEXT_1,
        unet={**_UNET_0_15, "mid_block_type": None},
    ),
    "bk-sdm-v2-tiny": Published(  # and one level less, all of them with attention
        version="0.10.0.dev0",
        sampler="ddim",
        scheduler={**_DDIM, **SCHEDULER, "prediction_type": "v_prediction"},
        text=TEXT_2,
        unet={
            **UNET_2,
            "down_block_types": ["CrossAttnDownBlock2D"] * 2,
            "mid_block_type": None,
            "up_block_types": ["CrossAttnUpBlock2D"] * 2,
            "upcast_attention": True,
        },
        pad_token="!",
    ),
}
