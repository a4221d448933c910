"""ControlNets of Stable Diffusion: a graph of their own, and the UNet's graph with what it adds as further inputs.

The UNet's is that of T2I-adapters too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import TensorSpec
from mezzotint.families.control import IMAGE_INPUT
from mezzotint.families.family import Part
from mezzotint.families.residuals import is_block_residual, residual_specs, shapes_of

from ..graphs.graph_source import ExampleSize, GraphSource, generator_of
from .control_export import ControlExport
from .control_options import check_control, effective_control_config

_TOLD_XL = ("text_embeds", "time_ids")
_ADDED = 0.1  # of the deviation of what it is added to, about


class _ControlledUNet(torch.nn.Module):
    """`told` are the names of what it hears besides the text, before the residuals, and `added` are theirs.

    Those of ControlNets come first, their middle's last, and then those of T2I-adapters.
    """

    def __init__(self, unet: torch.nn.Module, told: tuple[str, ...] = (), added: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.root = unet
        self.told = told
        self.added = added

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor, *rest: torch.Tensor
    ) -> torch.Tensor:
        residuals = dict(zip(self.added, rest[len(self.told) :], strict=True))
        blocks = [residuals.pop(name) for name in self.added if is_block_residual(name)]
        skips = [*residuals.values()]
        middle = skips.pop() if skips else None
        output: tuple[torch.Tensor] = self.root(
            sample,
            timestep,
            encoder_hidden_states,
            added_cond_kwargs=_added(self.told, rest),
            down_block_additional_residuals=skips or None,
            mid_block_additional_residual=middle,
            down_intrablock_additional_residuals=blocks or None,
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


def _adds(config: Mapping[str, Any], _geometry: Geometry) -> tuple[TensorSpec, ...]:
    return residual_specs(residual_shapes(config))


def _told_unet(told: tuple[str, ...], source: GraphSource, added: Sequence[TensorSpec]) -> GraphSource:
    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        generator = generator_of(size)
        shapes = shapes_of(added, size.batch, size.height, size.width).values()
        residuals = (torch.randn(*shape, generator=generator) * _ADDED for shape in shapes)
        return *source.example_inputs(size), *residuals

    root: Any = source.module.root
    return replace(
        source,
        module=_ControlledUNet(root, told, tuple(spec.name for spec in added)).eval(),
        inputs=(*source.inputs, *added),
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
        outputs=_adds(config, geometry),
        example_inputs=inputs,
        config=config,
    )


STABLE_DIFFUSION_CONTROL = ControlExport(
    part=Part("diffusers", ("ControlNetModel",)),
    check=check_control,
    config=effective_control_config,
    adds=_adds,
    source=partial(_source, _ControlNet),
    told=partial(_told_unet, ()),
)
STABLE_DIFFUSION_XL_CONTROL = replace(
    STABLE_DIFFUSION_CONTROL,
    source=partial(_source, partial(_ControlNet, told=_TOLD_XL)),
    told=partial(_told_unet, _TOLD_XL),
)
