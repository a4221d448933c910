"""TAESD without a config: as it was first published, a file for the decoder and one for the encoder, or diffusers' one.

They are numbered as the layers of a `torch.nn.Sequential` (Boer Bohan 2023): "1.weight" is a convolution,
"3.conv.0.weight" the first convolution of a block. The encoder's numbers are those of diffusers' AutoencoderTiny; the
decoder's begin one later, since there the clamp of the latents is a layer. diffusers' file has both halves, behind
"decoder.layers." and "encoder.layers.". Sizes follow from the shapes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezzotint.errors import MezzotintError
from mezzotint.tensor_files.opening import open_tensor_file

from .families.autoencoder_tiny import TINY_CLASS
from .files.quiet import quiet

_HALVES = ("decoder", "encoder")
_KEY = re.compile(r"(\d{1,3})\.((?:conv\.[024]\.|skip\.)?(?:weight|bias))")
_WHOLE_KEY = re.compile(rf"(?P<half>decoder|encoder)\.layers\.(?P<own>{_KEY.pattern})")
_BLOCK = "conv.0.weight"  # what a block has and a convolution alone has not
_MOST_TENSORS = 400


@dataclass(frozen=True, kw_only=True)
class TaesdFiles:
    """The two files, or one twice, and what is left of their names without the half."""

    decoder: Path
    encoder: Path
    name: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """Both, or the one."""
        return (self.decoder,) if self.decoder == self.encoder else (self.decoder, self.encoder)


def find_taesd(path: Path) -> TaesdFiles | None:
    """The pair that a file belongs to, "taesd_decoder.pth" beside "taesd_encoder.pth", or the whole that it is.

    None for a file of another kind. Raises MezzotintError for a file that cannot be read, and where the other half is
    not there.
    """
    with open_tensor_file(path) as file:
        names = file.names
    if names and all(map(_WHOLE_KEY.fullmatch, names)):
        return TaesdFiles(decoder=path, encoder=path, name=path.stem)
    if not names or not all(map(_KEY.fullmatch, names)):
        return None
    half = next((half for half in _HALVES if half in path.stem.lower()), None)
    if half is None:
        raise MezzotintError(
            f"{path} is half a TAESD, whose name says neither decoder nor encoder; call it taesd_decoder{path.suffix} "
            "or taesd_encoder, and put the other half beside it"
        )
    pattern = re.compile(half, re.IGNORECASE)
    found = {one: path.with_name(pattern.sub(one, path.name)) for one in _HALVES} | {half: path}
    missing = next((one for one in found.values() if not one.is_file()), None)
    if missing is not None:
        raise MezzotintError(f"{missing} is not there, the other half of {path.name}; put both into one folder")
    return TaesdFiles(**found, name=pattern.sub("", path.stem).strip("_-. ") or path.parent.name)


def read_taesd(files: TaesdFiles) -> tuple[Any, dict[str, Any]]:
    """The AutoencoderTiny, FP32 and in eval mode, and its config. MezzotintError for files that hold no such thing."""
    weights: dict[str, torch.Tensor] = {}
    config: dict[str, Any] = {"_class_name": TINY_CLASS}
    for half, path in (("decoder", files.decoder), ("encoder", files.encoder)):
        tensors = _read(path, half)
        numbers = sorted({number for number, _ in tensors})
        layers = [(number, (number, _BLOCK) in tensors) for number in numbers]
        channels, blocks = _levels(path, half, layers, tensors)
        config |= {f"{half}_block_out_channels": channels, f"num_{half}_blocks": blocks}
        if half == "decoder":
            config["latent_channels"] = tensors[numbers[0], "weight"].shape[1]
        first = numbers[0] if half == "decoder" else 0
        weights |= {f"{half}.layers.{number - first}.{rest}": tensor for (number, rest), tensor in tensors.items()}
    return _module(config, weights, files), config


def _read(path: Path, half: str) -> dict[tuple[int, str], torch.Tensor]:
    """The half's, by layer and what it is there."""
    tensors: dict[tuple[int, str], torch.Tensor] = {}
    with open_tensor_file(path) as file:
        wholes = {name: match for name in file.names if (match := _WHOLE_KEY.fullmatch(name))}
        own = {name: match["own"] for name, match in wholes.items() if match["half"] == half}
        own |= {name: name for name in file.names if name not in wholes}
        strange = next((name for name in own if _KEY.fullmatch(own[name]) is None), None)
        if strange is not None or not 0 < len(own) <= _MOST_TENSORS:
            what = f"the tensor {strange!r:.80}" if strange is not None else f"{len(own)} tensors of the {half}"
            raise MezzotintError(f"{path} holds {what}, expected the numbered layers of half a TAESD; {_ADVICE}")
        for name, key in own.items():
            match = _KEY.fullmatch(key)
            assert match is not None
            tensors[int(match[1]), match[2]] = torch.from_numpy(np.array(file.read_float32(name)))
    return tensors


_ADVICE = "take one as madebyollin/taesd has them, or a diffusers VAE folder"


def _levels(
    path: Path, half: str, layers: list[tuple[int, bool]], tensors: Mapping[tuple[int, str], torch.Tensor]
) -> tuple[list[int], list[int]]:
    """Channels and count of blocks of each level: blocks follow each other, and a convolution ends a level.

    An encoder's first convolution opens a level with no block before it, and its last one ends the list; a decoder's
    first is before all levels.
    """
    runs = [(is_block, [number for number, _ in run]) for is_block, run in groupby(layers, lambda layer: layer[1])]
    blocks = [numbers for is_block, numbers in runs if is_block]
    alone = [numbers for is_block, numbers in runs if not is_block]
    is_regular = len(alone) == len(blocks) + 1 and all(len(numbers) == 1 for numbers in alone) and blocks
    shapes = [tensors.get((number, "weight")) for (number,) in alone] if is_regular else []
    if not is_regular or any(shape is None or shape.ndim != 4 for shape in shapes):
        raise MezzotintError(f"{path} holds no {half} of TAESD, whose levels are blocks and a convolution; {_ADVICE}")
    channels = [int(tensors[numbers[0], _BLOCK].shape[0]) for numbers in blocks]
    return channels, [len(numbers) for numbers in blocks]


def _module(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], files: TaesdFiles) -> Any:
    with quiet("diffusers"):
        from diffusers import AutoencoderTiny

        module: Any = AutoencoderTiny.from_config(dict(config))
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [""])[-1].strip()
        raise MezzotintError(
            f"{files.decoder} and {files.encoder.name} make no AutoencoderTiny ({reason:.200}); {_ADVICE}"
        ) from error
    return module.eval()
