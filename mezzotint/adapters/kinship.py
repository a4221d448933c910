"""Which model a file of an adapter is for, told by its names and sizes, to say so where it fits another."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from .factors import DOWN, Factors

_BY_NAME: Final = (
    (r"joint_transformer_blocks|joint_blocks|transformer_blocks\.\d+\.attn\.add_[qkv]_proj", "Stable Diffusion 3"),
    (r"double_blocks|single_blocks|single_transformer_blocks", "Flux"),
    (r"lora_te2_|text_encoder_2\b|add_embedding|label_emb", "Stable Diffusion XL"),
    (r"prior|lora_prior_unet_", "Stable Cascade"),
)
_BY_WIDTH: Final[Mapping[int, str]] = {
    768: "Stable Diffusion 1",
    1024: "Stable Diffusion 2",
    2048: "Stable Diffusion XL",
}


def kin_of(factors: Collection[Factors]) -> str | None:
    """The name of the model, or None where nothing tells."""
    for pattern, name in _BY_NAME:
        if any(re.search(pattern, one.owner) for one in factors):
            return name
    for one in factors:
        if re.search(r"attn2[._](processor[._])?to_[kv]$", one.owner) and DOWN in one.kinds:
            shape = one.shape(DOWN)
            found = _BY_WIDTH.get(shape[1]) if len(shape) > 1 else None
            if found is not None:
                return found
    return None
