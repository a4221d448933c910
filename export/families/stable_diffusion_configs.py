"""The configs of a Stable Diffusion bundle are *effective*: every key that an old file lacks has its class's default.

A file of 2022 says a third of what one of today says, and its readers fill in the rest: diffusers' defaults of the
component's class, and what the pipeline's constructor forces on top. A bundle's reader has no diffusers, so both are
written down here. A key that is there and null stays null: `mid_block_type: null` is no middle block, and no
`mid_block_type` at all is the ordinary one.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from mezzotint.errors import MezzotintError

from ..files.effective_config import public
from ..files.quiet import quiet
from .autoencoder_tiny import effective_tiny_config, is_tiny

_LEAST_SIDE = 64
_TEXT_KEYS = (  # of CLIPTextConfig: what the model computes with
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "pad_token_id",
    "projection_dim",
    "vocab_size",
)


def effective_config(name: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """A component's whole config ("text_encoder", "unet" or "vae") from what its config.json states."""
    with quiet("diffusers", "transformers"):
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig

        if name == "text_encoder":
            usual = CLIPTextConfig()
            return {key: getattr(usual, key) for key in _TEXT_KEYS} | public(_text_part(stated))
    if name == "vae" and is_tiny(stated):
        return effective_tiny_config(stated)
    kind: Any = UNet2DConditionModel if name == "unet" else AutoencoderKL
    config = _defaults(kind) | public(stated)
    return config | {"sample_size": _native_side(config)} if name == "unet" else config


def _text_part(stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """A text encoder's folder may hold the config of the whole CLIP, of which transformers takes the text's part."""
    nested = stated.get("text_config")
    if stated.get("model_type") != "clip" or not isinstance(nested, Mapping):
        return stated
    return {**nested, "architectures": ["CLIPTextModel"], "model_type": "clip_text_model"}


def _defaults(kind: Any) -> dict[str, Any]:
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}


def _native_side(config: Mapping[str, Any]) -> object:
    """Latents a side. Converters before diffusers 0.9 wrote 32 by mistake, so its pipelines take 64 for less."""
    side = config["sample_size"]
    if isinstance(side, list | tuple) and len(side) == 2 and side[0] == side[1]:
        side = side[0]  # the pipelines take both forms
    elif isinstance(side, int) and side < _LEAST_SIDE and _is_before_0_9(config.get("_diffusers_version")):
        return _LEAST_SIDE
    return side


def _is_before_0_9(version: object) -> bool:
    """Of a file's `_diffusers_version`; pre-releases count as their release, "0.9.0.dev0" as 0.9.0."""
    if version is None:
        return False
    found = re.match(r"(\d+)\.(\d+)", version) if isinstance(version, str) else None
    if found is None:
        raise MezzotintError(
            f"unet/config.json: _diffusers_version is {version!r:.40}, expected a version such as '0.6.0'; correct it"
        )
    return (int(found[1]), int(found[2])) < (0, 9)
