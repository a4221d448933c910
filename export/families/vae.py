"""The two halves of a VAE as graphs, whichever family it serves: AutoencoderKL or AutoencoderTiny of diffusers.

The encoder of the first gives the distribution of an image's latents, that of the second the latents themselves; names
of inputs and outputs are those that Optimum's pipelines tell the two apart by.
"""

from collections.abc import Mapping
from typing import Any

import torch

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import TensorSpec

from ..graphs.graph_source import ExampleSize, GraphSource, generator_of
from .autoencoder_tiny import is_tiny

DECODER, ENCODER = "vae_decoder", "vae_encoder"
DISTRIBUTION, LATENTS = "latent_parameters", "latent_sample"

_TRACE_SIZE = ExampleSize(2, 6, 5)


class _Decoder(torch.nn.Module):
    def __init__(self, vae: torch.nn.Module) -> None:
        super().__init__()
        self.root = vae

    def forward(self, latent_sample: torch.Tensor) -> torch.Tensor:
        output: tuple[torch.Tensor] = self.root.decode(latent_sample, return_dict=False)  # type: ignore[operator]
        return output[0]


class _Encoder(torch.nn.Module):
    def __init__(self, vae: torch.nn.Module) -> None:
        super().__init__()
        self.root = vae

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        output = self.root.encode(sample, return_dict=False)  # type: ignore[operator]
        moments: torch.Tensor = output[0].parameters  # mean and log-variance, (B, 2C, h, w)
        return moments


class _TinyEncoder(torch.nn.Module):
    def __init__(self, vae: torch.nn.Module) -> None:
        super().__init__()
        self.root = vae

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        latents: tuple[torch.Tensor] = self.root.encode(sample, return_dict=False)  # type: ignore[operator]
        return latents[0]


def vae_sources(module: Any, config: Mapping[str, Any], geometry: Geometry) -> tuple[GraphSource, GraphSource]:
    """Decoder and encoder of a VAE with its effective `config`; `geometry` is that of the bundle they are for."""
    return _decoder(module, config, geometry), _encoder(module, config, geometry)


def _decoder(module: Any, config: Mapping[str, Any], geometry: Geometry) -> GraphSource:
    factor, channels = geometry.vae_factor, config["latent_channels"]

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        shape = (size.batch, channels, size.height, size.width)
        return (torch.randn(shape, generator=generator_of(size)) / config["scaling_factor"],)

    return GraphSource(
        name=DECODER,
        module=_Decoder(module).eval(),
        inputs=(TensorSpec("latent_sample", "float32", ("batch_size", channels, "height", "width")),),
        outputs=(
            TensorSpec(
                "sample", "float32", ("batch_size", config["out_channels"], f"{factor}*height", f"{factor}*width")
            ),
        ),
        example_inputs=inputs,
        trace_size=_TRACE_SIZE,
        parity_sizes=_parity_sizes(geometry),
        config=config,
    )


def _encoder(module: Any, config: Mapping[str, Any], geometry: Geometry) -> GraphSource:
    factor, channels = geometry.vae_factor, config["latent_channels"]

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        shape = (size.batch, config["in_channels"], size.height * factor, size.width * factor)
        return (torch.rand(shape, generator=generator_of(size)) * 2.0 - 1.0,)

    kind, output, said = (
        (_TinyEncoder, LATENTS, channels) if is_tiny(config) else (_Encoder, DISTRIBUTION, 2 * channels)
    )
    return GraphSource(
        name=ENCODER,
        module=kind(module).eval(),
        inputs=(TensorSpec("sample", "float32", ("batch_size", config["in_channels"], "height", "width")),),
        outputs=(TensorSpec(output, "float32", ("batch_size", said, f"height//{factor}", f"width//{factor}")),),
        example_inputs=inputs,
        trace_size=_TRACE_SIZE,
        parity_sizes=_parity_sizes(geometry),
        config=config,
    )


def _parity_sizes(geometry: Geometry) -> tuple[ExampleSize, ...]:
    native = geometry.native_side_pixels // geometry.vae_factor
    return ExampleSize(1, native, native), ExampleSize(3, native // 2 + 1, max(native // 2, 1))
