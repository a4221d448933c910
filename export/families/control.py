"""ControlNets of Stable Diffusion: a graph of their own, and the UNet's graph with what it adds as further inputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import TensorSpec
from mezzotint.families.control import IMAGE_INPUT
from mezzotint.families.family import Part
from mezzotint.families.residuals import residual_specs

from ..graphs.graph_source import ExampleSize, GraphSource, generator_of
from .control_export import ControlExport
from .control_options import check_control, effective_control_config

_TOLD_XL = ("text_embeds", "time_ids")
_ADDED = 0.1  # of the deviation of what it is added to, about


class _ControlledUNet(torch.nn.Module):
    """`told` are the names of what it hears besides the text, before the residuals."""

    def __init__(self, unet: torch.nn.Module, told: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.root = unet
        self.told = told

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor, *rest: torch.Tensor
    ) -> torch.Tensor:
        residuals = rest[len(self.told) :]
        output: tuple[torch.Tensor] = self.root(
            sample,
            timestep,
            encoder_hidden_states,
            added_cond_kwargs=_added(self.told, rest),
            down_block_additional_residuals=residuals[:-1],
            mid_block_additional_residual=residuals[-1],
            return_dict=False,
        )
        return output[0]


class _ControlNet(torch.nn.Module):
    """It hears what its UNet hears, and its image; how much of it there is to be, the pipeline settles."""

    def __init__(self, control_net: torch.nn.Module, told: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.root = control_net
        self.told = told

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor, *rest: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        added = _added(self.told, rest)
        down, middle = self.root(
            sample, timestep, encoder_hidden_states, rest[-1], added_cond_kwargs=added, return_dict=False
        )
        return *down, middle


def _added(told: Sequence[str], rest: Sequence[torch.Tensor]) -> dict[str, torch.Tensor] | None:
    return dict(zip(told, rest, strict=False)) or None  # what follows is no part of it


def residual_shapes(unet: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(channels, level) of each tensor that the UNet's second half takes from its first, and of its middle."""
    widths, layers = unet["block_out_channels"], unet["layers_per_block"]
    counts = layers if isinstance(layers, list | tuple) else [layers] * len(widths)
    last = len(widths) - 1

    def skips() -> Iterator[tuple[int, int]]:
        yield widths[0], 0
        for level, (width, count) in enumerate(zip(widths, counts, strict=True)):
            yield from [(width, level)] * count
            if level < last:
                yield width, level + 1

    return [*skips(), (widths[-1], last)]


def _told(
    kind: Callable[[torch.nn.Module], torch.nn.Module], source: GraphSource, config: Mapping[str, Any]
) -> GraphSource:
    shapes = residual_shapes(config)

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        generator = generator_of(size)
        residuals = (
            torch.randn(size.batch, channels, *_sides(size, level), generator=generator) * _ADDED
            for channels, level in shapes
        )
        return *source.example_inputs(size), *residuals

    return replace(
        source,
        module=kind(source.module.root).eval(),  # type: ignore[arg-type]  # it is a module
        inputs=(*source.inputs, *residual_specs(shapes)),
        example_inputs=inputs,
    )


def _source(
    kind: Callable[[torch.nn.Module], torch.nn.Module],
    name: str,
    module: Any,
    config: Mapping[str, Any],
    denoiser: GraphSource,
    geometry: Geometry,
) -> GraphSource:
    factor = geometry.vae_factor

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        shape = (size.batch, 3, size.height * factor, size.width * factor)
        return *denoiser.example_inputs(size), torch.rand(shape, generator=generator_of(size))

    image = TensorSpec(IMAGE_INPUT, "float32", ("batch_size", 3, f"{factor}*height", f"{factor}*width"))
    return replace(
        denoiser,
        name=name,
        module=kind(module).eval(),
        inputs=(*denoiser.inputs, image),
        outputs=residual_specs(residual_shapes(config)),
        example_inputs=inputs,
        config=config,
    )


def _sides(size: ExampleSize, level: int) -> tuple[int, int]:
    factor = 1 << level
    return -(-size.height // factor), -(-size.width // factor)


STABLE_DIFFUSION_CONTROL = ControlExport(
    part=Part("diffusers", ("ControlNetModel",)),
    check=check_control,
    config=effective_control_config,
    told=partial(_told, _ControlledUNet),
    source=partial(_source, _ControlNet),
)
STABLE_DIFFUSION_XL_CONTROL = replace(
    STABLE_DIFFUSION_CONTROL,
    told=partial(_told, partial(_ControlledUNet, told=_TOLD_XL)),
    source=partial(_source, partial(_ControlNet, told=_TOLD_XL)),
)
