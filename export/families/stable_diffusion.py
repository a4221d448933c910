"""Stable Diffusion 1 and 2: CLIP's text encoder, the UNet, and the two halves of the VAE as graphs."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from mezzotint.bundle.control_record import ControlKind
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import TensorSpec
from mezzotint.families.clip_skip import clip_skip_output
from mezzotint.families.family import ReadConfig
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION as FAMILY

from ..files.loaded_checkpoint import Checkpoint
from ..graphs.graph_source import ExampleSize, GraphSource, generator_of
from .autoencoder_tiny import is_tiny
from .control import STABLE_DIFFUSION_CONTROL
from .export_family import ExportFamily, Interface, VaeExport
from .stable_diffusion_configs import effective_config
from .stable_diffusion_options import FOLDERS, adopt_configs, check_components, check_options
from .t2i_adapter import t2i_adapter_of
from .vae import DECODER, DISTRIBUTION, ENCODER, LATENTS, vae_sources


def graph_sources(checkpoint: Checkpoint) -> Iterator[GraphSource]:
    """The graphs of a checkpoint, in the order a pipeline runs them, each made when the one before is done with."""
    yield _text_encoder(checkpoint)
    yield _unet(checkpoint)
    yield from vae_sources(checkpoint.modules["vae"], checkpoint.configs["vae"], checkpoint.geometry)


class _TextEncoder(torch.nn.Module):
    """Optimum's two outputs, and then what diffusers makes of the layers before: one for each that can be skipped."""

    def __init__(self, text_encoder: Any) -> None:
        super().__init__()
        self.root = text_encoder

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.root(input_ids=input_ids, output_hidden_states=True)
        inner: Any = getattr(self.root, "text_model", self.root)  # transformers 5.6 has it no more
        final_layer_norm = inner.final_layer_norm
        before = reversed(output.hidden_states[:-1])
        return output.last_hidden_state, output.pooler_output, *(final_layer_norm(state) for state in before)


class _UNet(torch.nn.Module):
    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.root = unet

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        output: tuple[torch.Tensor] = self.root(sample, timestep, encoder_hidden_states, return_dict=False)
        return output[0]


def _text_encoder(checkpoint: Checkpoint) -> GraphSource:
    config = checkpoint.modules["text_encoder"].config
    window, width = config.max_position_embeddings, config.hidden_size

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        ids = torch.randint(0, config.vocab_size, (size.batch, size.height), generator=generator_of(size))
        ids[:, -1] = config.eos_token_id  # CLIP pools at the end-of-text token
        return (ids,)

    def size(batch: int, tokens: int) -> ExampleSize:
        return ExampleSize(batch, tokens, 1)

    return GraphSource(
        name="text_encoder",
        module=_TextEncoder(checkpoint.modules["text_encoder"]).eval(),
        inputs=(TensorSpec("input_ids", "int64", ("batch_size", "sequence_length")),),
        outputs=(
            TensorSpec("last_hidden_state", "float32", ("batch_size", "sequence_length", width)),
            TensorSpec("pooler_output", "float32", ("batch_size", width)),
            *(
                TensorSpec(clip_skip_output(layers), "float32", ("batch_size", "sequence_length", width))
                for layers in range(1, config.num_hidden_layers + 1)
            ),
        ),
        example_inputs=inputs,
        trace_size=size(2, window - 1),
        parity_sizes=(size(1, window), size(3, window)),
        config=checkpoint.configs["text_encoder"],
    )


def _unet(checkpoint: Checkpoint) -> GraphSource:
    config, text_config = checkpoint.modules["unet"].config, checkpoint.modules["text_encoder"].config
    channels, width, window = config.in_channels, config.cross_attention_dim, text_config.max_position_embeddings
    native = native_side(checkpoint)

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        generator = generator_of(size)
        sample = torch.randn(size.batch, channels, size.height, size.width, generator=generator)
        embeddings = torch.randn(size.batch, window, width, generator=generator)
        return sample, torch.tensor(size.timestep), embeddings

    return GraphSource(
        name="unet",
        module=_UNet(checkpoint.modules["unet"]).eval(),
        inputs=(
            TensorSpec("sample", "float32", ("batch_size", channels, "height", "width")),
            TensorSpec("timestep", "float32", ()),
            TensorSpec("encoder_hidden_states", "float32", ("batch_size", "sequence_length", width)),
        ),
        outputs=(TensorSpec("out_sample", "float32", ("batch_size", config.out_channels, "height", "width")),),
        example_inputs=inputs,
        trace_size=unet_trace_size(len(config.block_out_channels)),
        parity_sizes=(
            ExampleSize(1, native, native, timestep=981.0),
            ExampleSize(3, native // 2 + 2, max(native // 2 - 2, 1), timestep=21.0),  # small: scores are (3, H, S, S)
        ),
        config=checkpoint.configs["unet"],
    )


def native_side(checkpoint: Checkpoint) -> int:
    """Latents a side of the size that images have when nothing is asked for."""
    return checkpoint.geometry.native_side_pixels // checkpoint.geometry.vae_factor


def unet_trace_size(levels: int) -> ExampleSize:
    """Sides that no halving divides evenly: else the exporter takes divisibility for granted at skip connections."""
    multiple = 2 ** (levels - 1)
    return ExampleSize(2, 4 * multiple + multiple // 2, 3 * multiple + multiple // 2)


def _bundle_class(stated: str, geometry: Geometry) -> str:
    """A UNet of more channels than the latents was made to inpaint."""
    is_inpainting = geometry.unet_channels > geometry.latent_channels
    return "StableDiffusionInpaintPipeline" if is_inpainting else FAMILY.classes[stated]


def least_side(read: ReadConfig, geometry: Geometry) -> int:
    """One that every level of the UNet can halve; a UNet of one level attends to 2x2 latents at least."""
    blocks = read("unet/config.json").get("block_out_channels")
    levels = len(blocks) if isinstance(blocks, list) else 4
    return int(max(2 ** (levels - 1), 2) * geometry.vae_factor)


_INTERFACES = {
    "text_encoder": Interface({"input_ids": ("batch", "sequence")}, "last_hidden_state"),
    "unet": Interface(
        {
            "sample": ("batch", None, "height", "width"),
            "timestep": None,
            "encoder_hidden_states": ("batch", "sequence", None),
        },
        "out_sample",
    ),
    DECODER: Interface({"latent_sample": ("batch", None, "height", "width")}, "sample"),
    ENCODER: Interface({"sample": ("batch", None, "height", "width")}, DISTRIBUTION, LATENTS),
}

STABLE_DIFFUSION = ExportFamily(
    family=FAMILY,
    sources=graph_sources,
    folders=FOLDERS,
    check=check_components,
    config=effective_config,
    adopt=adopt_configs,
    bundle_class=_bundle_class,
    interfaces=_INTERFACES,
    least_side=least_side,
    vae=VaeExport(folder="vae", check=partial(check_options, "vae"), sources=vae_sources, is_deterministic=is_tiny),
    controls={
        ControlKind.CONTROLNET: STABLE_DIFFUSION_CONTROL,
        ControlKind.T2I_ADAPTER: t2i_adapter_of(STABLE_DIFFUSION_CONTROL),
    },
)
