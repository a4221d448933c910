"""The autoencoder's parameters under the names of the latent diffusion code (Rombach et al. 2022).

Its decoder counts levels from the image's side, so that the first to run is the last; its attention is made of 1x1
convolutions, where ours has matrices.
"""

import re
from collections.abc import Collection

from .place import Place, Take

_RENAMED = (
    (re.compile(r"\.conv_norm_out\."), ".norm_out."),
    (re.compile(r"\.down_blocks\.(\d+)\.resnets\.(\d+)\."), r".down.\1.block.\2."),
    (re.compile(r"\.down_blocks\.(\d+)\.downsamplers\.0\."), r".down.\1.downsample."),
    (re.compile(r"\.up_blocks\.(\d+)\.resnets\.(\d+)\."), r".up.\1.block.\2."),
    (re.compile(r"\.up_blocks\.(\d+)\.upsamplers\.0\."), r".up.\1.upsample."),
    (re.compile(r"\.mid_block\.resnets\.0\."), ".mid.block_1."),
    (re.compile(r"\.mid_block\.resnets\.1\."), ".mid.block_2."),
    (re.compile(r"\.conv_shortcut\."), ".nin_shortcut."),
)
_ATTENTION = re.compile(r"(encoder|decoder)\.mid_block\.attentions\.0\.(group_norm|to_q|to_k|to_v|to_out\.0)\.(\w+)")
_IN_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_UP = re.compile(r"decoder\.up\.(\d+)\.")


def vae_places(names: Collection[str], _found: Collection[str] = ()) -> dict[str, Place]:
    """The place of each parameter of an AutoencoderKL, by its name there; see `Naming`."""
    places = {name: _place(name) for name in names}
    levels = 1 + max((int(match[1]) for place in places.values() if (match := _UP.match(place.key))), default=0)
    return {name: Place(_from_the_image(place.key, levels), place.take) for name, place in places.items()}


def _place(name: str) -> Place:
    attention = _ATTENTION.fullmatch(name)
    if attention is not None:
        side, member, kind = attention.groups()
        take = Take.MATRIX if member != "group_norm" and kind == "weight" else Take.WHOLE
        return Place(f"{side}.mid.attn_1.{_IN_ATTENTION[member]}.{kind}", take)
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return Place(name)


def _from_the_image(key: str, levels: int) -> str:
    return _UP.sub(lambda match: f"decoder.up.{levels - 1 - int(match[1])}.", key)
