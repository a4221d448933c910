"""The shapes of checkpoints that people have: configs that decide how much there is to compute and to store.

Numbers are those of the published configs of diffusers and transformers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]

_END_OF_TEXT = 4095  # of the embedded tokenizer, whose files every shape gets


@dataclass(frozen=True, kw_only=True)
class Shape:
    """`configs` are by folder, each with its class; no `pipeline`: a lone component, whose folder is "" then.

    `options` are further keys of model_index.json; `is_normed`: the denoiser is given text behind the last norm.
    """

    configs: Mapping[str, tuple[str, Config]]
    pipeline: str | None = None
    scheduler: Config | None = None
    options: Config | None = None
    is_normed: bool = True


def _text(width: int, layers: int, heads: int, act: str, **other: Any) -> Config:
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    ids = {"bos_token_id": _END_OF_TEXT - 1, "eos_token_id": _END_OF_TEXT, "pad_token_id": _END_OF_TEXT}
    window = {"vocab_size": 49408, "max_position_embeddings": 77, "projection_dim": width}
    return {**sizes, "num_attention_heads": heads, "hidden_act": act, **ids, **window, **other}


def _unet(channels: tuple[int, ...], *, plain_levels: tuple[int, ...], **other: Any) -> Config:
    """`plain_levels` are those without cross-attention."""
    levels = range(len(channels))
    down = tuple("DownBlock2D" if level in plain_levels else "CrossAttnDownBlock2D" for level in levels)
    up = tuple(kind.replace("Down", "Up") for kind in reversed(down))
    return {"block_out_channels": channels, "down_block_types": down, "up_block_types": up, **other}


def _vae(side: int, scaling: float, channels: tuple[int, ...] = (128, 256, 512, 512), **other: Any) -> Config:
    kinds = {
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
    }
    sizes = {"block_out_channels": channels, "layers_per_block": 2, "latent_channels": 4}
    return {**sizes, **kinds, "sample_size": side, "scaling_factor": scaling, **other}


def _scheduler(kind: str, **other: Any) -> Config:
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
    return {"_class_name": kind, **betas, "steps_offset": 1, **other}


_PNDM = _scheduler("PNDMScheduler", set_alpha_to_one=False, skip_prk_steps=True, clip_sample=False)
_V_PREDICTION = _scheduler("DDIMScheduler", set_alpha_to_one=False, clip_sample=False, prediction_type="v_prediction")
_EULER = _scheduler("EulerDiscreteScheduler", timestep_spacing="leading", prediction_type="epsilon")
_CLIP_L = _text(768, 12, 12, "quick_gelu")
_CLIP_BIG_G = _text(1280, 32, 20, "gelu")


def _stable_diffusion(text: Config, unet: Config, vae: Config, scheduler: Config) -> Shape:
    configs = {
        "text_encoder": ("CLIPTextModel", text),
        "unet": ("UNet2DConditionModel", unet),
        "vae": ("AutoencoderKL", vae),
    }
    options = {"feature_extractor": [None, None], "safety_checker": [None, None], "requires_safety_checker": False}
    return Shape(configs=configs, pipeline="StableDiffusionPipeline", scheduler=scheduler, options=options)


def _stable_diffusion_xl(text: Config, text_2: Config, unet: Config, vae: Config) -> Shape:
    """The pooled text and six sizes of 256 features each are embedded with the timestep."""
    time_ids = 6 * 256
    width = text["hidden_size"] + text_2["hidden_size"]
    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": text_2["projection_dim"] + time_ids,
        "cross_attention_dim": width,
        "use_linear_projection": True,
    }
    configs = {
        "text_encoder": ("CLIPTextModel", text),
        "text_encoder_2": ("CLIPTextModelWithProjection", text_2),
        "unet": ("UNet2DConditionModel", {**added, **unet}),
        "vae": ("AutoencoderKL", vae),
    }
    return Shape(
        configs=configs,
        pipeline="StableDiffusionXLPipeline",
        scheduler=_EULER,
        options={"force_zeros_for_empty_prompt": True},
        is_normed=False,
    )


_SD_CHANNELS = (320, 640, 1280, 1280)
_XL_CHANNELS = (320, 640, 1280)
_XL_HEADS = (5, 10, 20)
_TINY_TEXT = _text(64, 2, 4, "quick_gelu", vocab_size=4096, max_position_embeddings=16)
_TINY_VAE = _vae(16, 0.18215, (32, 32), layers_per_block=1, norm_num_groups=8)
_TINY_UNET = {"sample_size": 8, "layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": 4}
_SSD_UP_DEPTHS = ((4, 4, 10), (2, 1, 1), 1)  # from the deepest level; that of the last, without attention, says nothing

SHAPES: dict[str, Shape] = {
    "sd15": _stable_diffusion(
        _CLIP_L,
        _unet(_SD_CHANNELS, plain_levels=(3,), sample_size=64, attention_head_dim=8, cross_attention_dim=768),
        _vae(512, 0.18215),
        _PNDM,
    ),
    "sd21": _stable_diffusion(
        _text(1024, 23, 16, "gelu"),
        _unet(
            _SD_CHANNELS,
            plain_levels=(3,),
            sample_size=96,
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
            upcast_attention=True,
        ),
        _vae(768, 0.18215),
        _V_PREDICTION,
    ),
    "sdxl": _stable_diffusion_xl(
        _CLIP_L,
        _CLIP_BIG_G,
        _unet(
            _XL_CHANNELS,
            plain_levels=(0,),
            sample_size=128,
            attention_head_dim=_XL_HEADS,
            transformer_layers_per_block=(1, 2, 10),
        ),
        _vae(1024, 0.13025, force_upcast=True),
    ),
    "ssd1b": _stable_diffusion_xl(
        _CLIP_L,
        _CLIP_BIG_G,
        _unet(
            _XL_CHANNELS,
            plain_levels=(0,),
            sample_size=128,
            attention_head_dim=_XL_HEADS,
            mid_block_type="UNetMidBlock2D",
            transformer_layers_per_block=(1, 2, 4),
            reverse_transformer_layers_per_block=_SSD_UP_DEPTHS,
        ),
        _vae(1024, 0.13025, force_upcast=True),
    ),
    "taesd": Shape(configs={"": ("AutoencoderTiny", {"latent_channels": 4, "scaling_factor": 1.0})}),
    "tiny": _stable_diffusion(
        _TINY_TEXT, _unet((32, 64), plain_levels=(1,), cross_attention_dim=64, **_TINY_UNET), _TINY_VAE, _PNDM
    ),
    "tiny-xl": _stable_diffusion_xl(
        _TINY_TEXT,
        {**_TINY_TEXT, "hidden_act": "gelu"},
        _unet((32, 64), plain_levels=(0,), transformer_layers_per_block=(1, 2), **_TINY_UNET),
        {**_TINY_VAE, "scaling_factor": 0.13025},
    ),
}
