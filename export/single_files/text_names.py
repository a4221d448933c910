"""A text encoder's parameters under CLIP's own names, as Stable Diffusion 1 has them, and under OpenCLIP's.

transformers named the encoder's members below `text_model.` from the end of 2022 until its version 5.6, and without
it before and since: files have either.
"""

import re
from collections.abc import Collection

from .place import Place, Take

_INNER = "text_model."
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_IN_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_PACKED = {
    "self_attn.q_proj": Take.FIRST_THIRD,
    "self_attn.k_proj": Take.SECOND_THIRD,
    "self_attn.v_proj": Take.LAST_THIRD,
}
_OUTSIDE = {
    "embeddings.token_embedding.weight": Place("token_embedding.weight"),
    "embeddings.position_embedding.weight": Place("positional_embedding"),
    "final_layer_norm.weight": Place("ln_final.weight"),
    "final_layer_norm.bias": Place("ln_final.bias"),
    "text_projection.weight": Place("text_projection", Take.TRANSPOSED),
}


def clip_places(names: Collection[str], found: Collection[str]) -> dict[str, Place]:
    """The place of each parameter of a CLIPTextModel under CLIP's names; see `Naming`."""
    inner = _INNER if any(key.startswith(_INNER) for key in found) else ""

    def key(name: str) -> str:
        return name if name.startswith("text_projection.") else inner + name.removeprefix(_INNER)

    return {name: Place(key(name)) for name in names}


def open_clip_places(names: Collection[str], _found: Collection[str] = ()) -> dict[str, Place]:
    """The place of each parameter of a CLIPTextModel, with projection or without, in OpenCLIP; see `Naming`."""
    places = {name: _open_clip_place(name.removeprefix(_INNER)) for name in names}
    return {name: place for name, place in places.items() if place is not None}


def _open_clip_place(name: str) -> Place | None:
    layer = _LAYER.fullmatch(name)
    if layer is None:
        return _OUTSIDE.get(name)
    index, member, kind = layer.groups()
    block = f"transformer.resblocks.{index}"
    if member in _PACKED:
        return Place(f"{block}.attn.in_proj_{kind}", _PACKED[member])
    return Place(f"{block}.{_IN_LAYER[member]}.{kind}") if member in _IN_LAYER else None
