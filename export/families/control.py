"""ControlNets of Stable Diffusion: a graph of their own, and the UNet's graph with what it adds as further inputs."""

from collections.abc import Callable, Iterator, Mapping
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

_ADDED = 0.1  # of the deviation of what it is added to, about


class _ControlledUNet(torch.nn.Module):
    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.root = unet

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *residuals: torch.Tensor,
    ) -> torch.Tensor:
        output: tuple[torch.Tensor] = self.root(
            sample,
            timestep,
            encoder_hidden_states,
            down_block_additional_residuals=residuals[:-1],
            mid_block_additional_residual=residuals[-1],
            return_dict=False,
        )
        return output[0]


class _ControlledUNetXl(torch.nn.Module):
    """It hears of sizes, and of the whole text, besides."""

    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.root = unet

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        text_embeds: torch.Tensor,
        time_ids: torch.Tensor,
        *residuals: torch.Tensor,
    ) -> torch.Tensor:
        output: tuple[torch.Tensor] = self.root(
            sample,
            timestep,
            encoder_hidden_states,
            added_cond_kwargs={"text_embeds": text_embeds, "time_ids": time_ids},
            down_block_additional_residuals=residuals[:-1],
            mid_block_additional_residual=residuals[-1],
            return_dict=False,
        )
        return output[0]


class _ControlNet(torch.nn.Module):
    """How much of it there is to be, the pipeline settles: it multiplies what this says."""

    def __init__(self, control_net: torch.nn.Module) -> None:
        super().__init__()
        self.root = control_net

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        controlnet_cond: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        down, middle = self.root(sample, timestep, encoder_hidden_states, controlnet_cond, return_dict=False)
        return *down, middle


class _ControlNetXl(torch.nn.Module):
    """As `_ControlNet`; it hears what its UNet hears."""

    def __init__(self, control_net: torch.nn.Module) -> None:
        super().__init__()
        self.root = control_net

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        text_embeds: torch.Tensor,
        time_ids: torch.Tensor,
        controlnet_cond: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        added = {"text_embeds": text_embeds, "time_ids": time_ids}
        down, middle = self.root(
            sample,
            timestep,
            encoder_hidden_states,
            controlnet_cond,
            added_cond_kwargs=added,
            return_dict=False,
        )
        return *down, middle


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
    STABLE_DIFFUSION_CONTROL, told=partial(_told, _ControlledUNetXl), source=partial(_source, _ControlNetXl)
)
