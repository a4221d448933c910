"""T2I-adapters of Stable Diffusion: what one may be, and its graph, which sees an image alone."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import TensorSpec
from mezzotint.errors import MezzotintError
from mezzotint.families.control import ADAPTER_IMAGE_INPUT
from mezzotint.families.family import Part
from mezzotint.families.residuals import block_residual_specs, shapes_of, side_at

from ..files.effective_config import public
from ..graphs.graph_source import ExampleSize, GraphSource, generator_of
from .control_export import ControlExport
from .control_options import check_can_be_led

_FULL, _FULL_XL, _LIGHT = "full_adapter", "full_adapter_xl", "light_adapter"
_USUAL: Final[Mapping[str, Any]] = {
    "in_channels": 3,
    "channels": [320, 640, 1280, 1280],
    "num_res_blocks": 2,
    "downscale_factor": 8,
    "adapter_type": _FULL,
}
_VALUES: Final[Mapping[str, tuple[Any, ...]]] = {"in_channels": (1, 3), "adapter_type": (_FULL, _FULL_XL, _LIGHT)}
_CROSS_ATTENTION = "CrossAttnDownBlock2D"
_ADVICE = "take a T2I-adapter that was made for this model"


def t2i_adapter_of(control: ControlExport) -> ControlExport:
    """How a family's T2I-adapters are exported, whose ControlNets are exported so: its denoiser is told alike."""
    part = Part("diffusers", ("T2IAdapter",))
    return replace(control, part=part, check=check_t2i_adapter, config=_effective, adds=_adds, source=_source)


class _Adapter(torch.nn.Module):
    def __init__(self, adapter: torch.nn.Module) -> None:
        super().__init__()
        self.root = adapter

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.root(image))


def check_t2i_adapter(path: Path, stated: Mapping[str, Any], unet: Mapping[str, Any], geometry: Geometry) -> None:
    """Check the config in the file `path`; MezzotintError names the key, or the shape that is not the UNet's."""
    for key, value in stated.items():
        if key not in _USUAL and not key.startswith("_") and value is not None:
            raise MezzotintError(what=f"its key {key}", where=path, got=value, expected="one that is known")
        if key in _VALUES and value not in _VALUES[key]:
            raise MezzotintError(
                what=key, where=path, got=value, expected=[str(one) for one in _VALUES[key]], advice=_ADVICE
            )
    check_can_be_led(path, unet, geometry, "T2I-adapter")
    config, places = _effective(stated), list(_places(unet))
    for key in ("channels", "downscale_factor", "num_res_blocks"):
        _check_numbers(path, key, config[key])
    factor = config["downscale_factor"]
    if factor % geometry.vae_factor or (factor // geometry.vae_factor).bit_count() != 1:
        expected = f"{geometry.vae_factor} or {2 * geometry.vae_factor}, as the image has so many times the sides"
        raise MezzotintError(what="downscale_factor", where=path, got=factor, expected=expected, advice=_ADVICE)
    for index, shape in enumerate(feature_shapes(config, geometry)):
        place = places[index] if index < len(places) else None
        if shape != place:
            expected = "no more of them" if place is None else f"{_shown(place)}, as the UNet has"
            what = f"tensor {index + 1} of what it adds"
            raise MezzotintError(what=what, where=path, got=_shown(shape), expected=expected, advice=_ADVICE)


def feature_shapes(config: Mapping[str, Any], geometry: Geometry) -> Iterator[tuple[int, int]]:
    """(channels, level) of what an adapter of that effective config says; sides are the latents' by 2 ** level."""
    channels, kind = config["channels"], config["adapter_type"]
    level = (config["downscale_factor"] // geometry.vae_factor).bit_length() - 1
    if kind == _FULL_XL:
        yield from ((width, level + (index >= 2)) for index, width in enumerate(channels))
        return
    widths = [*channels, channels[-1]] if kind == _LIGHT else channels
    yield from ((width, level + index) for index, width in enumerate(widths))


def _places(unet: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """(channels, level) where a UNet adds: at the end of each block on the way down, and of its middle.

    That is before the next level begins in blocks that attend to the text, and behind it in others.
    """
    widths, kinds = unet["block_out_channels"], unet["down_block_types"]
    last = len(widths) - 1
    for level, (width, kind) in enumerate(zip(widths, kinds, strict=True)):
        yield width, level if kind == _CROSS_ATTENTION or level == last else level + 1
    yield widths[-1], last


def _effective(stated: Mapping[str, Any]) -> dict[str, Any]:
    return {**_USUAL, **public(stated)}


def _check_numbers(path: Path, key: str, value: Any) -> None:
    is_list = isinstance(_USUAL[key], list)
    numbers = value if isinstance(value, list | tuple) else [value]
    if is_list is not (numbers is value) or not numbers or not all(type(one) is int and one > 0 for one in numbers):
        expected = "a list of whole numbers above 0" if is_list else "a whole number above 0"
        raise MezzotintError(what=key, where=path, got=value, expected=expected, advice=_ADVICE)


def _shown(shape: tuple[int, int]) -> str:
    return f"{shape[0]} channels at 1/{1 << shape[1]} of the latents' sides"


def _adds(config: Mapping[str, Any], geometry: Geometry) -> tuple[TensorSpec, ...]:
    return block_residual_specs(list(feature_shapes(config, geometry)))


def _source(
    name: str, module: Any, config: Mapping[str, Any], denoiser: GraphSource, geometry: Geometry
) -> GraphSource:
    factor = config["downscale_factor"]
    level = (factor // geometry.vae_factor).bit_length() - 1
    sides = (f"{factor}*{side_at(side, level)}" for side in ("height", "width"))
    image = TensorSpec(ADAPTER_IMAGE_INPUT, "float32", ("batch_size", config["in_channels"], *sides))

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        (shape,) = shapes_of([image], size.batch, size.height, size.width).values()
        return (torch.rand(shape, generator=generator_of(size)),)

    return replace(
        denoiser,
        name=name,
        module=_Adapter(module).eval(),
        inputs=(image,),
        outputs=_adds(config, geometry),
        example_inputs=inputs,
        config=config,
    )
