"""AutoencoderTiny: a VAE of a few convolutions, distilled from a large one, as in TAESD (Boer Bohan 2023).

Its latents are those that the denoiser sees, so its scaling factor is 1, and its encoder says latents and no
distribution. The decoder holds latents to [-3, 3] by itself, and both halves take and give pixels in [-1, 1].
"""

import inspect
from collections.abc import Mapping
from typing import Any

from mezzotint.errors import MezzotintError

from ..files.effective_config import public
from ..files.quiet import quiet
from .option_values import ANY, Values

TINY_CLASS = "AutoencoderTiny"

TINY_OPTIONS: Mapping[str, Values | None] = {
    "act_fn": ANY,
    "block_out_channels": ANY,  # diffusers writes the decoder's there
    "decoder_block_out_channels": ANY,
    "encoder_block_out_channels": ANY,
    "force_upcast": ANY,  # diffusers sets it to false
    "in_channels": (3,),
    "latent_channels": ANY,
    "latent_magnitude": ANY,  # of storing latents as bytes alone, and so for the next
    "latent_shift": ANY,
    "num_decoder_blocks": ANY,
    "num_encoder_blocks": ANY,
    "out_channels": (3,),
    "scaling_factor": ANY,
    "shift_factor": (None, 0),  # diffusers' pipelines of Stable Diffusion do not read it
    "upsample_fn": ANY,
    "upsampling_scaling_factor": (2,),  # the encoder halves, and the pipelines count levels
}


def is_tiny(stated: Mapping[str, Any]) -> bool:
    """Whether a VAE's config is of this class."""
    return stated.get("_class_name") == TINY_CLASS


def effective_tiny_config(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The whole config from what a config.json states, with what the module's constructor sets."""
    with quiet("diffusers"):
        from diffusers import AutoencoderTiny

    parameters = inspect.signature(AutoencoderTiny.__init__).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}
    config = defaults | public(stated)
    return config | {"block_out_channels": _channels(config, "decoder"), "force_upcast": False}


def check_levels(config: Mapping[str, Any]) -> None:
    """Whether both halves of an effective config go by one factor; MezzotintError names the two numbers."""
    encoder, decoder = len(_channels(config, "encoder")), len(_channels(config, "decoder"))
    if encoder != decoder:
        raise MezzotintError(
            f"vae/config.json has encoder_block_out_channels for {encoder} levels and decoder_block_out_channels for "
            f"{decoder}, expected as many: an image must come back in its size"
        )


def _channels(config: Mapping[str, Any], half: str) -> list[int]:
    """Of each level of the encoder or the decoder."""
    key = f"{half}_block_out_channels"
    stated = config[key]
    if not isinstance(stated, list | tuple) or not stated:
        raise MezzotintError(
            f"vae/config.json has {key} = {stated!r:.40}, expected a list with a number for each level"
        )
    return list(stated)
