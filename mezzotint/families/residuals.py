"""What a denoiser is told to add inside: of ControlNets a tensor to each of its skips and one to its middle, of
T2I-adapters one to what each of its blocks on the way down ends in, and maybe to its middle.

Their outputs have the names of the denoiser's inputs that they go to, which are diffusers' with a number where it has a
list. Zeros add nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, TensorSpec

_DOWN, _MIDDLE = "down_block_additional_residual_", "mid_block_additional_residual"
_BLOCK = "down_intrablock_additional_residual_"
_HALVED = re.compile(r"(height|width)_(\d+)")
_ENLARGED = re.compile(r"(\d+)\*(height|width)(?:_(\d+))?")


def is_residual(name: str) -> bool:
    """Whether an input of a denoiser, or an output of what leads it, is what the one adds of the other."""
    return name == _MIDDLE or name.startswith((_DOWN, _BLOCK))


def is_block_residual(name: str) -> bool:
    """Whether it is of a T2I-adapter."""
    return name.startswith(_BLOCK)


def residual_specs(shapes: Sequence[tuple[int, int]]) -> tuple[TensorSpec, ...]:
    """Of (channels, level) each, the middle's last; sides at level k are those of the latents by 2 ** k, rounded up."""
    return _specs([*(f"{_DOWN}{index}" for index in range(len(shapes) - 1)), _MIDDLE], shapes)


def block_residual_specs(shapes: Sequence[tuple[int, int]]) -> tuple[TensorSpec, ...]:
    """Of (channels, level) each, of the first blocks in their order."""
    return _specs([f"{_BLOCK}{index}" for index in range(len(shapes))], shapes)


def _specs(names: Sequence[str], shapes: Sequence[tuple[int, int]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, "float32", ("batch_size", channels, side_at("height", level), side_at("width", level)))
        for name, (channels, level) in zip(names, shapes, strict=True)
    )


def side_at(name: str, level: int) -> str:
    """The symbol of the latents' "height" or "width" by 2 ** level, rounded up."""
    return f"{name}_{1 << level}" if level else name


def takes_residuals(component: Component) -> bool:
    """Whether a denoiser is told what to add."""
    return any(is_residual(spec.name) for spec in component.inputs)


def side_sizes(specs: Iterable[TensorSpec], height: int, width: int) -> dict[str, int]:
    """The symbols of `specs` that stand for sides of the latents, `height` x `width`, halved or enlarged."""
    sides, found = {"height": height, "width": width}, dict[str, int]()
    for dim in (dim for spec in specs for dim in spec.dims if isinstance(dim, str)):
        if halved := _HALVED.fullmatch(dim):
            found[dim] = -(-sides[halved[1]] // int(halved[2]))
        elif enlarged := _ENLARGED.fullmatch(dim):
            found[dim] = -(-sides[enlarged[2]] // int(enlarged[3] or 1)) * int(enlarged[1])
    return found


def image_multiple(component: Component) -> int:
    """What the sides of a T2I-adapter's or ControlNet's image are a multiple of; 1 where its graph does not say."""
    dims = (dim for spec in component.inputs for dim in spec.dims if isinstance(dim, str))
    return max((int(found[1]) for dim in dims if (found := _ENLARGED.fullmatch(dim))), default=1)


def shapes_of(specs: Iterable[TensorSpec], rows: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """By name, of tensors of that many rows beside `height` x `width` latents."""
    specs = list(specs)
    sizes = {"batch_size": rows, "height": height, "width": width} | side_sizes(specs, height, width)
    return {spec.name: tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims) for spec in specs}


def zero_residuals(component: Component, rows: int, height: int, width: int) -> dict[str, Array]:
    """What a denoiser adds where nothing controls it, for that many rows of `height` x `width` latents."""
    specs = [spec for spec in component.inputs if is_residual(spec.name)]
    shapes = shapes_of(specs, rows, height, width)
    return {spec.name: np.zeros(shapes[spec.name], dtype=spec.dtype) for spec in specs}


def uncontrolled(feeds: Mapping[str, Array], component: Component) -> dict[str, Array]:
    """The feeds of a denoiser, such as another one's, with what `component` is fed where nothing controls it."""
    own = {name: array for name, array in feeds.items() if not is_residual(name)}
    if not takes_residuals(component):
        return own
    rows = max(len(array) for array in own.values() if array.ndim)
    return {**own, **zero_residuals(component, rows, *own[component.inputs[0].name].shape[2:])}


def answer_of(component: Component, outputs: Mapping[str, Array]) -> Array:
    """What a graph is for: its first output, and all of what is to be added, (B, values) side by side."""
    first = component.outputs[0].name
    if not is_residual(first):
        return outputs[first]
    rows = [outputs[spec.name].reshape(len(outputs[first]), -1) for spec in component.outputs]
    joined: Array = np.concatenate(rows, axis=1)
    return joined
