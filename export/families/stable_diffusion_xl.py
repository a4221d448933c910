"""Stable Diffusion XL: its text encoders with an output for each layer, the UNet with its further inputs, the VAE."""

from collections.abc import Iterator
from typing import Any

import torch

from mezzotint.bundle.control_record import ControlKind
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import TensorSpec
from mezzotint.families.guidance_embedding import SCALE_INPUT
from mezzotint.families.hidden_states import hidden_state_output
from mezzotint.families.stable_diffusion_xl import STABLE_DIFFUSION_XL as FAMILY

from ..files.loaded_checkpoint import Checkpoint
from ..graphs.graph_source import ExampleSize, GraphSource, generator_of
from .control import STABLE_DIFFUSION_XL_CONTROL
from .export_family import Configs, ExportFamily, Interface
from .guidance_scale import SCALE_DIMS, example_scales, scale_spec
from .stable_diffusion import STABLE_DIFFUSION, least_side, native_side, unet_trace_size
from .stable_diffusion_options import FOLDERS
from .stable_diffusion_xl_options import adopt_xl_configs, check_xl_components, count_of_numbers, effective_xl_config
from .t2i_adapter import t2i_adapter_of
from .vae import vae_sources

_LARGEST_NUMBER = 1024.0  # pixels, as the UNet hears of them
_LCM_GUIDANCE = 8.0


def graph_sources(checkpoint: Checkpoint) -> Iterator[GraphSource]:
    """The graphs of a checkpoint, in the order a pipeline runs them, each made when the one before is done with."""
    for name in ("text_encoder", "text_encoder_2"):
        if name in checkpoint.modules:
            yield _text_encoder(checkpoint, name)
    yield _unet(checkpoint)
    yield from vae_sources(checkpoint.modules["vae"], checkpoint.configs["vae"], checkpoint.geometry)


class _TextEncoder(torch.nn.Module):
    """Optimum's two outputs, and what every layer but the last says, the embedding first."""

    def __init__(self, text_encoder: torch.nn.Module) -> None:
        super().__init__()
        self.root = text_encoder

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output: Any = self.root(input_ids=input_ids, output_hidden_states=True)
        return output.last_hidden_state, output.pooler_output, *output.hidden_states[:-1]


class _TextEncoderWithProjection(torch.nn.Module):
    """The vector of the whole text comes first: diffusers takes the first output for it."""

    def __init__(self, text_encoder: torch.nn.Module) -> None:
        super().__init__()
        self.root = text_encoder

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output: Any = self.root(input_ids=input_ids, output_hidden_states=True)
        return output.text_embeds, output.last_hidden_state, *output.hidden_states[:-1]


class _UNet(torch.nn.Module):
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
        timestep_cond: torch.Tensor | None = None,
    ) -> torch.Tensor:
        added = {"text_embeds": text_embeds, "time_ids": time_ids}
        output: tuple[torch.Tensor] = self.root(
            sample,
            timestep,
            encoder_hidden_states,
            timestep_cond=timestep_cond,
            added_cond_kwargs=added,
            return_dict=False,
        )
        return output[0]


def _text_encoder(checkpoint: Checkpoint, name: str) -> GraphSource:
    config, root = checkpoint.configs[name], checkpoint.modules[name]
    window, width = config["max_position_embeddings"], config["hidden_size"]
    tokens = ("batch_size", "sequence_length", width)

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        ids = torch.randint(0, config["vocab_size"], (size.batch, size.height), generator=generator_of(size))
        ids[:, -1] = root.config.eos_token_id  # CLIP pools at the end-of-text token
        return (ids,)

    def size(batch: int, length: int) -> ExampleSize:
        return ExampleSize(batch, length, 1)

    last = TensorSpec("last_hidden_state", "float32", tokens)
    if name == "text_encoder_2":
        module: torch.nn.Module = _TextEncoderWithProjection(root)
        outputs = (TensorSpec("text_embeds", "float32", ("batch_size", config["projection_dim"])), last)
    else:
        module = _TextEncoder(root)
        outputs = (last, TensorSpec("pooler_output", "float32", ("batch_size", width)))
    return GraphSource(
        name=name,
        module=module.eval(),
        inputs=(TensorSpec("input_ids", "int64", ("batch_size", "sequence_length")),),
        outputs=(
            *outputs,
            *(TensorSpec(hidden_state_output(i), "float32", tokens) for i in range(config["num_hidden_layers"])),
        ),
        example_inputs=inputs,
        trace_size=size(2, window - 1),
        parity_sizes=(size(1, window), size(3, window)),
        config=config,
    )


def _unet(checkpoint: Checkpoint) -> GraphSource:
    config, text = checkpoint.configs["unet"], checkpoint.configs["text_encoder_2"]
    channels, width, window = config["in_channels"], config["cross_attention_dim"], text["max_position_embeddings"]
    pooled, numbers = text["projection_dim"], count_of_numbers(config, text)
    side, scale_width = native_side(checkpoint), config["time_cond_proj_dim"]
    sizes = ("batch_size", "height", "width")

    def inputs(size: ExampleSize) -> tuple[torch.Tensor, ...]:
        generator = generator_of(size)
        sample = torch.randn(size.batch, channels, size.height, size.width, generator=generator)
        embeddings = torch.randn(size.batch, window, width, generator=generator)
        whole = torch.randn(size.batch, pooled, generator=generator)
        told = torch.floor(torch.rand(size.batch, numbers, generator=generator) * _LARGEST_NUMBER)
        scales = () if scale_width is None else (example_scales(size, scale_width),)
        return sample, torch.tensor(size.timestep), embeddings, whole, told, *scales

    return GraphSource(
        name="unet",
        module=_UNet(checkpoint.modules["unet"]).eval(),
        inputs=(
            TensorSpec("sample", "float32", (sizes[0], channels, *sizes[1:])),
            TensorSpec("timestep", "float32", ()),
            TensorSpec("encoder_hidden_states", "float32", ("batch_size", "sequence_length", width)),
            TensorSpec("text_embeds", "float32", ("batch_size", pooled)),
            TensorSpec("time_ids", "float32", ("batch_size", numbers)),
            *(() if scale_width is None else (scale_spec(scale_width),)),
        ),
        outputs=(TensorSpec("out_sample", "float32", (sizes[0], config["out_channels"], *sizes[1:])),),
        example_inputs=inputs,
        trace_size=unet_trace_size(len(config["block_out_channels"])),
        parity_sizes=(
            ExampleSize(1, side, side, timestep=981.0),
            ExampleSize(3, side // 2 + 2, max(side // 2 - 2, 1), timestep=21.0),
        ),
        config=config,
    )


def _own_guidance(configs: Configs) -> float | None:
    """A latent consistency model's, as its card has it."""
    return None if configs["unet"].get("time_cond_proj_dim") is None else _LCM_GUIDANCE


def _bundle_class(stated: str, geometry: Geometry) -> str:
    """A UNet of more channels than the latents was made to inpaint."""
    is_inpainting = geometry.unet_channels > geometry.latent_channels
    return "StableDiffusionXLInpaintPipeline" if is_inpainting else FAMILY.classes[stated]


_INTERFACES = {
    "text_encoder": Interface({"input_ids": ("batch", "sequence")}, hidden_state_output(0)),
    "text_encoder_2": Interface({"input_ids": ("batch", "sequence")}, "text_embeds"),
    "unet": Interface(
        {
            "sample": ("batch", None, "height", "width"),
            "timestep": None,
            "encoder_hidden_states": ("batch", "sequence", None),
            "text_embeds": ("batch", None),
            "time_ids": ("batch", None),
        },
        "out_sample",
        optional={SCALE_INPUT: SCALE_DIMS},
    ),
    **{name: STABLE_DIFFUSION.interfaces[name] for name in ("vae_decoder", "vae_encoder")},
}

STABLE_DIFFUSION_XL = ExportFamily(
    family=FAMILY,
    sources=graph_sources,
    folders=FOLDERS,
    check=check_xl_components,
    config=effective_xl_config,
    adopt=adopt_xl_configs,
    bundle_class=_bundle_class,
    interfaces=_INTERFACES,
    least_side=least_side,
    vae=STABLE_DIFFUSION.vae,
    own_guidance=_own_guidance,
    controls={
        ControlKind.CONTROLNET: STABLE_DIFFUSION_XL_CONTROL,
        ControlKind.T2I_ADAPTER: t2i_adapter_of(STABLE_DIFFUSION_XL_CONTROL),
    },
)
