"""Latent consistency models: Stable Diffusion's graphs, with the guidance scale as one more input of the UNet."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mezzotint.families.guidance_embedding import SCALE_INPUT
from mezzotint.families.latent_consistency import LATENT_CONSISTENCY as FAMILY

from ..files.loaded_checkpoint import Checkpoint
from ..graphs.graph_source import ExampleSize, GraphSource
from .export_family import Interface
from .guidance_scale import SCALE_DIMS, check_width, example_scales, scale_spec
from .option_values import ANY
from .stable_diffusion import STABLE_DIFFUSION, graph_sources
from .stable_diffusion_options import UNET_OPTIONS, adopt_configs, check_components, read_stated

LCM_UNET_OPTIONS = {**UNET_OPTIONS, "time_cond_proj_dim": ANY}


class _UNet(torch.nn.Module):
    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.root = unet

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep_cond: torch.Tensor,
    ) -> torch.Tensor:
        output: tuple[torch.Tensor] = self.root(
            sample, timestep, encoder_hidden_states, timestep_cond=timestep_cond, return_dict=False
        )
        return output[0]


def latent_consistency_sources(checkpoint: Checkpoint) -> Iterator[GraphSource]:
    """Stable Diffusion's graphs in their order, each made when the one before is done with."""
    for source in graph_sources(checkpoint):
        yield _told_guidance(source, checkpoint) if source.name == FAMILY.denoiser else source


def _told_guidance(source: GraphSource, checkpoint: Checkpoint) -> GraphSource:
    width = checkpoint.configs["unet"]["time_cond_proj_dim"]

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        return *source.example_inputs(size), example_scales(size, width)

    return replace(
        source,
        module=_UNet(checkpoint.modules["unet"]).eval(),
        inputs=(*source.inputs, scale_spec(width)),
        example_inputs=inputs,
    )


def _check(folder: Path) -> None:
    check_components(folder, LCM_UNET_OPTIONS)
    _check_width(read_stated(folder / "unet" / "config.json"))


def _adopt(stated: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    _check_width(stated["unet"])
    return adopt_configs(stated, LCM_UNET_OPTIONS)


def _check_width(unet: Mapping[str, Any]) -> None:
    check_width(unet, "a UNet that is not told the guidance scale belongs to a StableDiffusionPipeline")


_UNET_INTERFACE = STABLE_DIFFUSION.interfaces["unet"]

LATENT_CONSISTENCY = replace(
    STABLE_DIFFUSION,
    family=FAMILY,
    sources=latent_consistency_sources,
    check=_check,
    adopt=_adopt,
    bundle_class=None,
    controls={},
    interfaces={
        **STABLE_DIFFUSION.interfaces,
        "unet": Interface({**_UNET_INTERFACE.inputs, SCALE_INPUT: SCALE_DIMS}, _UNET_INTERFACE.output),
    },
)
