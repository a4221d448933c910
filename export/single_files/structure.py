"""Which published model a file is of, told from the sizes of its denoiser.

Fine-tunes have the sizes of what they were made from. The numbers are those of the published configs; that a file has
all keys of the model, and no others, is checked afterwards.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mezzotint.errors import MezzotintError

from .homes import DENOISER
from .place import Shape

_RESNET = re.compile(r"input_blocks\.(\d+)\.0\.in_layers\.0\.weight")
_BLOCK = re.compile(r"input_blocks\.(\d+)\.1\.transformer_blocks\.(\d+)\.")
_PIX2PIX, _DEPTH, _UPSCALER = 8, 5, 7


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What tells the models apart: `depths` has the transformer blocks behind each resnet of the input blocks."""

    width: int = 320  # channels of the first level
    inputs: int = 4  # channels of the sample, 9 with a mask and a masked image
    context: int | None  # width of the text that it attends to
    linear: bool = True  # transformers enter by a matrix rather than a 1x1 convolution
    embedding: int | None = None  # width of the pooled text and the sizes that XL is told
    depths: tuple[int, ...] = (1, 1, 1, 1, 1, 1, 0, 0)
    middle: bool = True  # the middle block has a transformer

    @classmethod
    def of(cls, shapes: Mapping[str, Shape]) -> "Sizes":
        """Those of the denoiser in a file, which must have `input_blocks.0.0.weight`."""
        own = {key.removeprefix(DENOISER): shape for key, shape in shapes.items() if key.startswith(DENOISER)}
        first = own["input_blocks.0.0.weight"]
        attended = next((own[key] for key in sorted(own) if key.endswith("attn2.to_k.weight")), None)
        entered = next((own[key] for key in sorted(own) if key.endswith(".1.proj_in.weight")), ())
        told = own.get("label_emb.0.0.weight")
        return cls(
            width=first[0] if first else 0,
            inputs=first[1] if len(first) > 1 else 0,
            context=attended[-1] if attended else None,
            linear=len(entered) == 2,
            embedding=told[-1] if told else None,
            depths=_depths(own),
            middle=any(key.startswith("middle_block.1.transformer_blocks.") for key in own),
        )


_SD1 = Sizes(context=768, linear=False)
_SD2 = Sizes(context=1024)
_XL = Sizes(context=2048, embedding=2816, depths=(0, 0, 2, 2, 10, 10))

STRUCTURES: Final[Mapping[str, Sizes]] = {
    "sd1": _SD1,
    "sd1-inpaint": Sizes(**{**asdict(_SD1), "inputs": 9}),
    "sd2": _SD2,
    "sd2-inpaint": Sizes(**{**asdict(_SD2), "inputs": 9}),
    "sdxl": _XL,
    "sdxl-inpaint": Sizes(**{**asdict(_XL), "inputs": 9}),
    "sdxl-refiner": Sizes(width=384, context=1280, embedding=2560, depths=(0, 0, 4, 4, 4, 4, 0, 0)),
    "ssd-1b": Sizes(context=2048, embedding=2816, depths=(0, 0, 2, 2, 4, 4), middle=False),
}
"""The published models, by the name of their configs; sd2's two resolutions have the same sizes."""

_CALLED: Final = {
    "sd1": "Stable Diffusion 1",
    "sd1-inpaint": "Stable Diffusion 1 inpainting",
    "sd2": "Stable Diffusion 2",
    "sd2-inpaint": "Stable Diffusion 2 inpainting",
    "sdxl": "Stable Diffusion XL",
    "sdxl-inpaint": "Stable Diffusion XL inpainting",
    "sdxl-refiner": "the XL refiner",
    "ssd-1b": "SSD-1B",
}


def find_structure(path: Path, shapes: Mapping[str, Shape]) -> str:
    """The name of the published model whose sizes the file's denoiser has; MezzotintError for none of them."""
    sizes = Sizes.of(shapes)
    found = next((name for name, known in STRUCTURES.items() if known == sizes), None)
    if found is not None:
        return found
    special = {
        _PIX2PIX: "one that edits by instructions (InstructPix2Pix)",
        _DEPTH: "one that takes a depth map",
        _UPSCALER: "the x4 upscaler",
    }.get(sizes.inputs)
    if special is not None:
        raise MezzotintError(
            f"{path} is {special}: its UNet takes {sizes.inputs} channels, expected 4, or 9 to inpaint"
        )
    numbers = ", ".join(f"{name} {value}" for name, value in asdict(sizes).items())
    raise MezzotintError(
        f"{path} has a UNet of other sizes ({numbers}) than {', '.join(_CALLED.values())}; give the folder of its "
        "configs and tokenizer with --config"
    )


def _depths(own: Mapping[str, Shape]) -> tuple[int, ...]:
    entries = sorted(int(match[1]) for key in own if (match := _RESNET.fullmatch(key)))
    blocks = [(int(match[1]), int(match[2])) for key in own if (match := _BLOCK.match(key))]
    return tuple(max((block + 1 for at, block in blocks if at == entry), default=0) for entry in entries)
