"""The UNet's parameters under the names of the latent diffusion code (Rombach et al. 2022).

There the levels are one list: `input_blocks.0` is the first convolution, then each resnet is an entry (`.0`, with its
transformer as `.1`), and so is each downsampling (`.0.op`). In `output_blocks` upsampling is the last member of the
level's last entry. Where each entry stands follows from how many resnets the levels have.
"""

import re
from collections.abc import Collection

_FIXED = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",  # of sizes and pooled text, as in XL
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_IN_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_LEVEL = re.compile(r"(down_blocks|up_blocks)\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.")


def unet_keys(names: Collection[str]) -> dict[str, str]:
    """The key of each parameter of a UNet2DConditionModel, by its name there; what has none is left out."""
    modules = {**_FIXED, **_levels(names)}
    keys: dict[str, str] = {}
    for name in names:
        module = next((prefix for prefix in _prefixes(name) if prefix in modules), None)
        if module is not None:
            keys[name] = f"{modules[module]}.{_inner(module, name.removeprefix(f'{module}.'))}"
    return keys


def _inner(module: str, rest: str) -> str:
    """The name below a module: transformers have the same ones in both."""
    if ".resnets." not in module:
        return rest
    layer, _, last = rest.rpartition(".")
    return f"{_IN_RESNET.get(layer, layer)}.{last}"


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def _levels(names: Collection[str]) -> dict[str, str]:
    """Modules of the levels, and what they are called there."""
    members = {match.group(0).rstrip(".") for name in names if (match := _LEVEL.match(name))}
    return {**_down(members), **_up(members)}


def _down(members: Collection[str]) -> dict[str, str]:
    modules: dict[str, str] = {}
    entry = 1
    for level in range(_count(members, "down_blocks", "resnets")):
        block = f"down_blocks.{level}"
        for layer in range(_layers(members, block)):
            modules[f"{block}.resnets.{layer}"] = f"input_blocks.{entry}.0"
            modules[f"{block}.attentions.{layer}"] = f"input_blocks.{entry}.1"
            entry += 1
        if f"{block}.downsamplers.0" in members:
            modules[f"{block}.downsamplers.0.conv"] = f"input_blocks.{entry}.0.op"
            entry += 1
    return modules


def _up(members: Collection[str]) -> dict[str, str]:
    modules: dict[str, str] = {}
    entry = 0
    for level in range(_count(members, "up_blocks", "resnets")):
        block = f"up_blocks.{level}"
        for layer in range(_layers(members, block)):
            modules[f"{block}.resnets.{layer}"] = f"output_blocks.{entry}.0"
            modules[f"{block}.attentions.{layer}"] = f"output_blocks.{entry}.1"
            entry += 1
        position = 2 if f"{block}.attentions.0" in members else 1
        modules[f"{block}.upsamplers.0.conv"] = f"output_blocks.{entry - 1}.{position}.conv"
    return modules


def _count(members: Collection[str], blocks: str, kind: str) -> int:
    levels = [int(member.split(".")[1]) for member in members if member.startswith(blocks) and f".{kind}." in member]
    return max(levels, default=-1) + 1


def _layers(members: Collection[str], block: str) -> int:
    return sum(member.startswith(f"{block}.resnets.") for member in members)
