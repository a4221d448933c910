"""The configs of a bundle are *effective*: every key that an old file lacks has the default of its class.

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

from .quiet import quiet

__all__ = ["effective_config", "effective_scheduler_config"]

_FILE_KEYS = ("_class_name", "_diffusers_version")  # the private keys that say something of the file
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
            return {key: getattr(usual, key) for key in _TEXT_KEYS} | _public(_text_part(stated))
    kind: Any = UNet2DConditionModel if name == "unet" else AutoencoderKL
    config = _defaults(kind) | _public(stated)
    return config | {"sample_size": _native_side(config)} if name == "unet" else config


def effective_scheduler_config(
    stated: Mapping[str, Any], scheduler_class: str | None, pipeline_class: str
) -> dict[str, Any]:
    """A scheduler's config as the constructor of diffusers' pipeline leaves it.

    The class is the index's where index and file disagree. `steps_offset` and its like are written even where the file
    has none, if the class has them. All other absent keys stay absent: each sampler has its own default for them, as
    with diffusers' `from_config`. Raises MezzotintError for a class that diffusers does not have.
    """
    class_name = scheduler_class or stated.get("_class_name")
    config = {key: value for key, value in _public(stated).items() if key != "_class_name"}
    own = _own_scheduler_config(class_name, config)
    settled = {key: own[key] for key in ("clip_sample", "skip_prk_steps") if key in own}
    if own.get("steps_offset", 1) != 1:
        settled["steps_offset"] = 1
    if pipeline_class.endswith("InpaintPipeline"):  # it leaves clip_sample alone, the others skip_prk_steps
        settled |= {key: True for key in ("skip_prk_steps",) if settled.get(key) is False}
    else:
        settled |= {key: False for key in ("clip_sample",) if settled.get(key) is True}
    return {**config, **settled, "_class_name": class_name}


def _own_scheduler_config(class_name: object, config: Mapping[str, Any]) -> Mapping[str, Any]:
    with quiet("diffusers"):
        import diffusers

        kind = getattr(diffusers, class_name, None) if isinstance(class_name, str) else None
        if not isinstance(kind, type) or not issubclass(kind, diffusers.SchedulerMixin):
            raise MezzotintError(
                f"the scheduler's class is {class_name!r:.80}, expected one of diffusers' such as DDIMScheduler; "
                "correct model_index.json or scheduler/scheduler_config.json"
            )
        scheduler: Any = kind
        try:
            own: Mapping[str, Any] = scheduler.from_config(dict(config)).config
        except Exception as error:  # its constructor checks what it likes, in any way
            raise MezzotintError(
                f"scheduler/scheduler_config.json is not accepted by diffusers' {class_name} "
                f"({type(error).__name__}: {error!s:.200}); correct it"
            ) from error
    return own


def _public(stated: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stated.items() if not key.startswith("_") or key in _FILE_KEYS}


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
