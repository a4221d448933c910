"""What a file of weights is when it is no whole checkpoint: told by its keys, to be refused by its name."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from .homes import ALONE, DENOISER


@dataclass(frozen=True)
class Kind:
    """What to call such a file in "is a ...", and what to do with it."""

    name: str
    advice: str


def _any(pattern: str) -> Callable[[Collection[str]], bool]:
    expression = re.compile(pattern)
    return lambda keys: any(expression.search(key) for key in keys)


_BASE = "give the whole checkpoint that it belongs to"
_UNSUPPORTED = "this architecture is not supported"

_KINDS: Final[tuple[tuple[Callable[[Collection[str]], bool], Kind], ...]] = (
    (
        _any(r"[._]lora_(down|up|mid|A|B)\.|^lora_(unet|te\d?|transformer)_|\.(hada|lokr)_w\d|^lycoris_|\.dora_scale$"),
        Kind("LoRA or another adapter", "it changes a checkpoint and is none; export one with --lora FILE"),
    ),
    (_any(r"\.oft_(blocks|diag)$|\.boft_"), Kind("OFT adapter", "it changes a checkpoint and is none")),
    (
        _any(r"^(string_to_param\b|emb_params$|<[^>]+>$)"),
        Kind("textual inversion embedding", "it adds words to a checkpoint and is none"),
    ),
    (
        _any(r"^control_model\.|(^|\.)input_hint_block\.|^controlnet_cond_embedding\.|^control_add_embedding\."),
        Kind("ControlNet", f"{_BASE}, without it"),
    ),
    (_any(r"^(image_proj|ip_adapter)\."), Kind("IP-Adapter", _BASE)),
    (_any(r"^(adapter\.)?body\.\d+\.(block1|resnets|in_conv)\b"), Kind("T2I-Adapter", _BASE)),
    (
        _any(r"^edm_(mean|std)$|^edm_vpred\.sigma_(min|max)$"),
        Kind("model trained on EDM's noise (Playground 2.5, CosXL)", "no sampler here has that noise"),
    ),
    (_any(r"motion_modules\."), Kind("AnimateDiff motion module", "animations are not supported")),
    (_any(r"(^|\.)joint_blocks\.\d+\."), Kind("Stable Diffusion 3 model", _UNSUPPORTED)),
    (_any(r"(^|\.)double_blocks\.\d+\."), Kind("Flux model", _UNSUPPORTED)),
    (_any(r"^clip_txt_mapper\.|\.channelwise\.0\."), Kind("Stable Cascade model", _UNSUPPORTED)),
    (_any(r"^(encoder\.)?embeddings\.(word|patch)_embedding|^vision_model\."), Kind("vision or language model", _BASE)),
    (
        _any(r"^(conv_first|body\.0\.rdb1|model\.0\.weight|model\.1\.sub\.0\.)"),
        Kind("image upscaler", "it enlarges images and generates none"),
    ),
    (
        _any(r"^(taesd_)?(encoder|decoder)\.layers\.\d+\.|^\d{1,3}\.conv\.[024]\."),
        Kind("tiny autoencoder (TAESD)", "give it with --vae"),
    ),
)
_READ = "Stable Diffusion 1, 2 and XL are read from single files"
_OTHER = Kind("model of another architecture", _READ)
_UNKNOWN = Kind("file of weights that is none of the known kinds", _READ)


def described(kind: Kind) -> str:
    """Its name after the article."""
    return f"{'an' if kind.name[0] in 'AIO' else 'a'} {kind.name}"


def other_kind(keys: Collection[str]) -> Kind | None:
    """The kind of a file that is no whole checkpoint; None for one whose denoiser we could read."""
    for is_one, kind in _KINDS:
        if is_one(keys):
            return kind
    if f"{DENOISER}input_blocks.0.0.weight" in keys:
        return None
    return next(
        (Kind(one.name, one.advice) for one in ALONE.values() if any(home.is_in(keys) for home in one.homes)),
        _OTHER if any(key.startswith(DENOISER) for key in keys) else _UNKNOWN,
    )
