"""Stable Diffusion with blocks taken out (BK-SDM), with the keys that were published: three sizes of three models."""

from collections.abc import Mapping
from typing import Any

from tests.export.published import NO_CHECKER, SCHEDULER, TEXT, TEXT_2, UNET_2, UNET_LCM, VAE, Published, without
from tests.export.published_tokenizers import FIRST_YEARS, FIRST_YEARS_SD2

Config = dict[str, Any]

_UNET_0_15: Config = {
    **without(
        UNET_LCM,
        "addition_embed_type",
        "addition_embed_type_num_heads",
        "addition_time_embed_dim",
        "attention_type",
        "dropout",
        "encoder_hid_dim_type",
        "num_attention_heads",
        "time_embedding_dim",
        "transformer_layers_per_block",
    ),
    "sample_size": 64,
    "time_cond_proj_dim": None,
    "upcast_attention": False,
}
_NO_MIDDLE: Config = {"mid_block_type": None}
_TINY: Config = {  # one level less, so that attention is on all of them
    **_NO_MIDDLE,
    "down_block_types": ["CrossAttnDownBlock2D"] * 2,
    "up_block_types": ["CrossAttnUpBlock2D"] * 2,
}
_SIZES: Mapping[str, Config] = {"base": {}, "small": _NO_MIDDLE, "tiny": _TINY}  # what differs from the usual blocks


def _of_1(size: Config) -> Published:
    return Published(
        version="0.15.0",
        sampler="pndm",
        scheduler={"_class_name": "PNDMScheduler", **SCHEDULER},
        text={**TEXT, "projection_dim": 768},
        unet={**_UNET_0_15, **size},
        tokenizer=FIRST_YEARS,
    )


def _of_2(prediction: str, unet: Config) -> Published:
    return Published(
        version="0.10.0.dev0",
        sampler="ddim",
        scheduler={"_class_name": "DDIMScheduler", **SCHEDULER, "prediction_type": prediction},
        text=TEXT_2,
        unet={**UNET_2, **unet},
        vae={**VAE, "sample_size": 768},
        tokenizer=FIRST_YEARS_SD2,
        index=NO_CHECKER,
    )


PRUNED: Mapping[str, Published] = {
    **{f"bk-sdm-{name}": _of_1(size) for name, size in _SIZES.items()},
    **{
        f"bk-sdm-v2-{name}": _of_2("v_prediction", {**size, "sample_size": 96, "upcast_attention": True})
        for name, size in _SIZES.items()
    },
    **{f"bk-sdm-v2-base-{name}": _of_2("epsilon", size) for name, size in _SIZES.items()},
}
