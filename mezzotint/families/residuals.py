"""What ControlNets have a denoiser add inside: a tensor to each of its skips, and one to its middle.

A ControlNet's outputs have the names of the denoiser's inputs that they go to, which are diffusers' with a number where
it has a list. Zeros add nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, TensorSpec

_DOWN, _MIDDLE = "down_block_additional_residual_", "mid_block_additional_residual"
_HALVED = re.compile(r"(height|width)_(\d+)")
_ENLARGED = re.compile(r"(\d+)\*(height|width)")


def is_residual(name: str) -> bool:
    """Whether an input of a denoiser, or an output of a ControlNet, is what the one adds of the other."""
    return name == _MIDDLE or name.startswith(_DOWN)


def residual_specs(shapes: Sequence[tuple[int, int]]) -> tuple[TensorSpec, ...]:
    """Of (channels, level) each, the middle's last; sides at level k are those of the latents by 2 ** k, rounded up."""
    names = [*(f"{_DOWN}{index}" for index in range(len(shapes) - 1)), _MIDDLE]

    def side(name: str, level: int) -> str:
        return f"{name}_{1 << level}" if level else name

    return tuple(
        TensorSpec(name, "float32", ("batch_size", channels, side("height", level), side("width", level)))
        for name, (channels, level) in zip(names, shapes, strict=True)
    )


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
            found[dim] = sides[enlarged[2]] * int(enlarged[1])
    return found


def zero_residuals(component: Component, rows: int, height: int, width: int) -> dict[str, Array]:
    """What a denoiser adds where nothing controls it, for that many rows of `height` x `width` latents."""
    specs = [spec for spec in component.inputs if is_residual(spec.name)]
    sizes = {"batch_size": rows, "height": height, "width": width} | side_sizes(specs, height, width)
    shapes = {spec.name: tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims) for spec in specs}
    return {spec.name: np.zeros(shapes[spec.name], dtype=spec.dtype) for spec in specs}


def uncontrolled(feeds: Mapping[str, Array], component: Component) -> dict[str, Array]:
    """The feeds of a denoiser, such as another one's, with what `component` is fed where nothing controls it."""
    own = {name: array for name, array in feeds.items() if not is_residual(name)}
    if not takes_residuals(component):
        return own
    rows = max(len(array) for array in own.values() if array.ndim)
    return {**own, **zero_residuals(component, rows, *own[component.inputs[0].name].shape[2:])}


def answer_of(component: Component, outputs: Mapping[str, Array]) -> Array:
    """What a graph is for: its first output, and of a ControlNet all that it adds, (B, values) side by side."""
    first = component.outputs[0].name
    if not is_residual(first):
        return outputs[first]
    rows = [outputs[spec.name].reshape(len(outputs[first]), -1) for spec in component.outputs]
    joined: Array = np.concatenate(rows, axis=1)
    return joined
