"""The keys of a ControlNet's config, what each may say, and whether it is of the model that it is to control."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError

from ..files.effective_config import public
from ..files.quiet import quiet
from .option_values import ANY, NONE, OFF, Values

_OPTIONS: Final[Mapping[str, Values | None]] = {
    # what the module is built of
    "act_fn": ANY,
    "addition_embed_type_num_heads": ANY,
    "addition_time_embed_dim": ANY,
    "attention_head_dim": ANY,
    "block_out_channels": ANY,  # see _check_fit, and so for those with a number of the UNet's
    "conditioning_embedding_out_channels": ANY,
    "controlnet_conditioning_channel_order": ("rgb", "bgr"),
    "cross_attention_dim": ANY,
    "down_block_types": ANY,
    "flip_sin_to_cos": ANY,
    "freq_shift": ANY,
    "in_channels": ANY,
    "layers_per_block": ANY,
    "mid_block_scale_factor": ANY,
    "mid_block_type": ANY,
    "norm_eps": ANY,
    "norm_num_groups": ANY,
    "num_attention_heads": ANY,
    "only_cross_attention": ANY,
    "projection_class_embeddings_input_dim": ANY,
    "resnet_time_scale_shift": ANY,
    "transformer_layers_per_block": ANY,
    "upcast_attention": ANY,
    "use_linear_projection": ANY,
    # other inputs, and other uses of what it says
    "addition_embed_type": ANY,  # as the UNet's
    "class_embed_type": NONE,
    "conditioning_channels": (3,),
    "downsample_padding": (1,),
    "encoder_hid_dim": NONE,
    "encoder_hid_dim_type": NONE,
    "global_pool_conditions": OFF,
    "num_class_embeds": NONE,
}
_MEANINGS: Final[Mapping[str, str]] = {
    "conditioning_channels": "its image is not an image in RGB",
    "downsample_padding": "its levels have other sizes than the UNet's",
    "global_pool_conditions": "it says what the whole image is like, and nothing of where",
}
_SAME: Final = ("in_channels", "cross_attention_dim", "block_out_channels", "layers_per_block", "addition_embed_type")
_SAME_SIZES: Final = ("addition_time_embed_dim", "projection_class_embeddings_input_dim")  # of one that hears sizes
_ADVICE = "take a ControlNet that was made for this model"


def check_control(path: Path, stated: Mapping[str, Any], unet: Mapping[str, Any], geometry: Geometry) -> None:
    """Check the config in the file `path`; MezzotintError names the key, or the number that is not the UNet's."""
    for key, value in stated.items():
        if key not in _OPTIONS:
            if key.startswith("_") or value is None:
                continue
            raise MezzotintError(what=f"its key {key}", where=path, got=value, expected="one that is known")
        values = _OPTIONS[key]
        if values is not None and value not in values:
            allowed = ["null" if one is None else repr(one) for one in values]
            meaning = _MEANINGS.get(key, "it takes other inputs")
            raise MezzotintError(what=key, where=path, got=value, expected=allowed, advice=f"{meaning}; {_ADVICE}")
    _check_fit(path, effective_control_config(stated), unet, geometry)


def effective_control_config(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The whole config from what its config.json states, with diffusers' defaults for the rest."""
    with quiet("diffusers"):
        from diffusers import ControlNetModel
    parameters = inspect.signature(ControlNetModel.__init__).parameters.values()
    usual = {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}
    return usual | public(stated)


def check_can_be_led(path: Path, unet: Mapping[str, Any], geometry: Geometry, called: str) -> None:
    """MezzotintError for a UNet that nothing leads, in whose way `called`, with the config in the file `path`, is."""
    if geometry.unet_channels != geometry.latent_channels:
        what = f"the model's UNet was made to inpaint, and {called}s of such models are not supported"
        raise MezzotintError(where=path, what=what, advice=f"leave the {called} away")
    if unet.get("mid_block_type", "") is None or unet.get("time_cond_proj_dim") is not None:
        what = f"the model's UNet has no middle block, or is told the guidance scale, and {called}s know of neither"
        raise MezzotintError(where=path, what=what, advice=f"leave the {called} away")


def _check_fit(path: Path, config: Mapping[str, Any], unet: Mapping[str, Any], geometry: Geometry) -> None:
    check_can_be_led(path, unet, geometry, "ControlNet")
    for key in (*_SAME, *(_SAME_SIZES if unet["addition_embed_type"] else ())):
        if _plain(config[key], unet) != _plain(unet[key], unet):
            expected = f"{unet[key]!r:.60}, as the UNet has"
            raise MezzotintError(what=key, where=path, got=config[key], expected=expected, advice=_ADVICE)
    embedding = config["conditioning_embedding_out_channels"]
    levels = len(embedding) if isinstance(embedding, list | tuple) else 0
    if 1 << max(levels - 1, 0) != geometry.vae_factor:
        expected = f"{geometry.vae_factor.bit_length()} widths, as the image has {geometry.vae_factor} times the sides"
        raise MezzotintError(
            what="conditioning_embedding_out_channels", where=path, got=embedding, expected=expected, advice=_ADVICE
        )


def _plain(value: Any, unet: Mapping[str, Any]) -> Any:
    """As a list: JSON has no tuples, and one number stands for as many as there are blocks."""
    if isinstance(value, list | tuple):
        blocks = len(unet["block_out_channels"])
        return value[0] if len(value) == blocks and len(set(value)) == 1 else [*value]
    return value
