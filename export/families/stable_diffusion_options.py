"""The keys of component configs that are understood, and what each may say.

A key either shapes the module alone, which is traced as it is and checked against PyTorch, or it asks something of the
pipeline that runs the graph: an input of its own, another order of work. A value of the second kind that no pipeline
here serves would give an image that is wrong in silence, so it is an error at export, and so is a key that nobody
knows. A key that is null counts as off.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mezzotint.errors import MezzotintError

from ..files.json_file import needs_recoding, read_object
from .autoencoder_tiny import TINY_CLASS, TINY_OPTIONS, check_levels, is_tiny
from .option_values import ANY, NONE, OFF, Values
from .stable_diffusion_configs import effective_config

FOLDERS: Final = {"vae_decoder": "vae", "vae_encoder": "vae"}
"""The checkpoint's folder of a component that has another name there."""

UNET_OPTIONS: Mapping[str, Values | None] = {
    # what the module is built of
    "act_fn": ANY,
    "attention_head_dim": ANY,
    "block_out_channels": ANY,
    "center_input_sample": ANY,
    "conv_in_kernel": ANY,
    "conv_out_kernel": ANY,
    "cross_attention_dim": ANY,  # one number for all levels: see _check_fit
    "cross_attention_norm": ANY,
    "down_block_types": ANY,
    "downsample_padding": ANY,
    "dropout": ANY,
    "flip_sin_to_cos": ANY,
    "freq_shift": ANY,
    "in_channels": ANY,  # see _check_fit, and so for the next
    "layers_per_block": ANY,
    "mid_block_only_cross_attention": ANY,
    "mid_block_scale_factor": ANY,
    "mid_block_type": ANY,
    "norm_eps": ANY,
    "norm_num_groups": ANY,
    "only_cross_attention": ANY,
    "out_channels": ANY,
    "resnet_out_scale_factor": ANY,
    "resnet_skip_time_act": ANY,
    "resnet_time_scale_shift": ANY,
    "reverse_transformer_layers_per_block": ANY,
    "sample_size": ANY,
    "time_embedding_act_fn": ANY,
    "time_embedding_dim": ANY,
    "time_embedding_type": ANY,
    "timestep_post_act": ANY,
    "transformer_layers_per_block": ANY,
    "up_block_types": ANY,
    "upcast_attention": ANY,
    "use_linear_projection": ANY,
    # inputs beside latents, timestep and text, and other uses of the text
    "addition_embed_type": NONE,
    "attention_type": (None, "default"),
    "class_embed_type": NONE,
    "dual_cross_attention": OFF,
    "encoder_hid_dim": NONE,
    "encoder_hid_dim_type": NONE,
    "num_attention_heads": NONE,  # diffusers refuses it as well
    "num_class_embeds": NONE,
    "time_cond_proj_dim": NONE,
    # read by those that are off above alone
    "addition_embed_type_num_heads": ANY,
    "addition_time_embed_dim": ANY,
    "class_embeddings_concat": ANY,
    "projection_class_embeddings_input_dim": ANY,
    # what the averaging of a training run notes of itself
    "decay": ANY,
    "inv_gamma": ANY,
    "min_decay": ANY,
    "optimization_step": ANY,
    "power": ANY,
    "update_after_step": ANY,
    "use_ema_warmup": ANY,
}

VAE_OPTIONS: Mapping[str, Values | None] = {
    "act_fn": ANY,
    "block_out_channels": ANY,
    "down_block_types": ANY,
    "force_upcast": ANY,  # of half precision alone
    "in_channels": (3,),
    "latent_channels": ANY,
    "latents_mean": NONE,  # diffusers' pipelines of Stable Diffusion read neither these nor the shift
    "latents_std": NONE,
    "layers_per_block": ANY,
    "mid_block_add_attention": ANY,
    "norm_num_groups": ANY,
    "out_channels": (3,),
    "sample_size": ANY,
    "scaling_factor": ANY,
    "shift_factor": (None, 0),
    "up_block_types": ANY,
    "use_post_quant_conv": ANY,
    "use_quant_conv": ANY,
}

# transformers writes keys of every task into every config; these are the ones that change what CLIP's encoder says.
TEXT_OPTIONS: Mapping[str, Values | None] = {
    "pruned_heads": (None, {}),
    "quantization_config": NONE,
    "use_attention_mask": OFF,  # diffusers' pipelines then mask the padding
}

_MEANINGS: Mapping[str, str] = {
    "addition_embed_type": "the UNet takes sizes or images as well, as where the index names Stable Diffusion XL",
    "attention_type": "the UNet takes boxes with phrases as well, as GLIGEN does",
    "class_embed_type": "the UNet takes a class or a noise level as well",
    "dual_cross_attention": "the UNet attends to a text and to an image",
    "encoder_hid_dim": "the UNet projects embeddings of another encoder first",
    "encoder_hid_dim_type": "the UNet projects embeddings of another encoder first",
    "latents_mean": "latents are normalized by channel",
    "latents_std": "latents are normalized by channel",
    "num_class_embeds": "the UNet takes a class or a noise level as well",
    "quantization_config": "the weights are quantized already",
    "time_cond_proj_dim": "the UNet takes the guidance scale, as where the index names a latent consistency model",
    "use_attention_mask": "padding is masked in the text encoder",
}

_CLASSES: Mapping[str, tuple[str, Values]] = {  # the key that a class is known by, and what it may say
    "text_encoder": ("model_type", ("clip_text_model", "clip")),
    "unet": ("_class_name", ("UNet2DConditionModel",)),
    "vae": ("_class_name", ("AutoencoderKL", TINY_CLASS)),
}
_WIDEST = 1_000_000  # of anything that has a width
_CHANNELS: Mapping[int, str] = {
    5: ", as one that takes a depth map has",
    7: ", as an upscaler has",
    8: ", as one that edits by instructions has",
}


def check_components(folder: Path, unet: Mapping[str, Values | None] = UNET_OPTIONS) -> None:
    """Check the configs of a diffusers folder before any weight is read; `unet` are the keys that the UNet's may have.

    Raises MezzotintError for the first key that this family does not understand. What is not of the usual class is left
    to the loader, which refuses it by that class.
    """
    stated = {name: read_stated(folder / name / "config.json") for name in ("text_encoder", "unet", "vae")}
    if all(stated[name].get(key, usual[0]) in usual for name, (key, usual) in _CLASSES.items()):
        for name, config in stated.items():
            check_options(name, config, unet if name == "unet" else None)
        check_fit(*(effective_config(name, config) for name, config in stated.items()))


def adopt_configs(
    stated: Mapping[str, Mapping[str, Any]], unet: Mapping[str, Values | None] = UNET_OPTIONS
) -> dict[str, dict[str, Any]]:
    """The effective configs of a bundle's components, from what those of a folder from elsewhere state.

    Raises MezzotintError for the first key that this family does not understand, and for parts of different models.
    """
    for name, config in stated.items():
        check_options(FOLDERS.get(name, name), config, unet if name == "unet" else None)
    whole = {name: effective_config(FOLDERS.get(name, name), config) for name, config in stated.items()}
    check_fit(whole["text_encoder"], whole["unet"], whole["vae_decoder"])
    return whole


def check_options(name: str, stated: Mapping[str, Any], known: Mapping[str, Values | None] | None = None) -> None:
    """Raises MezzotintError that names the key of `stated`, a config of "unet", "vae" or "text_encoder".

    `known` are the keys that it may have, where they are not those of this family.
    """
    vae = TINY_OPTIONS if is_tiny(stated) else VAE_OPTIONS
    known = {"unet": UNET_OPTIONS, "vae": vae, "text_encoder": TEXT_OPTIONS}[name] if known is None else known
    for key, value in stated.items():
        values = known.get(key, NONE if key == "quantization_config" else ANY)
        if values is not None and value not in values:
            raise _unsupported(name, key, value, values)
        is_unknown = key not in known and not key.startswith("_") and known is not TEXT_OPTIONS
        if is_unknown and value is not None:
            raise MezzotintError(
                f"{name}/config.json has the key {key} = {value!r:.80}, which Mezzotint does not know, so that it "
                "cannot tell what it changes; remove the key if it changes nothing"
            )


def check_fit(text: Mapping[str, Any], unet: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Whether effective configs belong to one model; MezzotintError names the two numbers that disagree."""
    check_latents(unet, vae)
    check_count("text_encoder", "hidden_size", text)
    if unet["cross_attention_dim"] != text["hidden_size"]:
        raise MezzotintError(
            f"unet/config.json has cross_attention_dim = {unet['cross_attention_dim']!r:.40}, expected "
            f"{text['hidden_size']}, the text encoder's hidden_size"
        )


def check_latents(unet: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Whether effective configs of a UNet and a VAE are of the same latents; MezzotintError as `check_fit`."""
    check_count("vae", "latent_channels", vae)
    latent, channels = vae["latent_channels"], unet["in_channels"]
    if channels not in (latent, 2 * latent + 1):
        raise MezzotintError(
            f"unet/config.json has in_channels = {channels!r:.40}{_CHANNELS.get(channels, '')}; expected {latent}, the "
            f"VAE's latent_channels, or {2 * latent + 1} to inpaint"
        )
    if unet["out_channels"] != latent:
        raise MezzotintError(
            f"unet/config.json has out_channels = {unet['out_channels']!r:.40}, expected {latent}, the VAE's "
            "latent_channels"
        )
    _check_number("unet", "sample_size", unet["sample_size"], "a whole number of latents a side, or two equal ones")
    _check_number("vae", "scaling_factor", vae["scaling_factor"], "a number above 0, such as 0.18215")
    if is_tiny(vae):
        check_levels(vae)


def check_count(name: str, key: str, config: Mapping[str, Any]) -> None:
    """Raise MezzotintError where an effective config has no whole number at `key` that a width could be."""
    value = config[key]
    if type(value) is not int or not 0 < value <= _WIDEST:
        raise MezzotintError(
            f"{name}/config.json has {key} = {value!r:.40}, expected a whole number from 1 to {_WIDEST}; take the "
            "config.json that belongs to the weights"
        )


def _check_number(name: str, key: str, value: object, expected: str) -> None:
    kinds = (int,) if key == "sample_size" else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < math.inf:
        raise MezzotintError(f"{name}/config.json has {key} = {value!r:.40}, expected {expected}")


def _unsupported(name: str, key: str, value: object, values: Values) -> MezzotintError:
    allowed = " or ".join("null" if one is None else f"{one!r}" for one in values)
    meaning = f": {_MEANINGS[key]}" if key in _MEANINGS and value is not None else ""
    return MezzotintError(
        f"{name}/config.json has {key} = {value!r:.80}{meaning}; expected {allowed}, for no other is supported in "
        "such a checkpoint"
    )


def read_stated(path: Path) -> dict[str, Any]:
    """A config.json as diffusers and transformers read it; MezzotintError for what they could not."""
    stated = read_object(path)
    if needs_recoding(path):
        raise MezzotintError(
            f"{path} begins with a byte order mark, which diffusers and transformers do not read; save it as plain "
            "UTF-8"
        )
    return stated
