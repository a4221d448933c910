"""Stable Diffusion 1 and 2 (Rombach et al. 2022): CLIP's text encoder, a UNet on latents, and a VAE.

Names of components, inputs and outputs are those of Optimum's exporter.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError

from .clip_skip import embeddings_output
from .condition import Condition
from .family import EncodedText, Family, Part, ReadConfig, Role, TextStage, Wanted
from .feeds import unet_feeds

_TEXT_TO_IMAGE = "StableDiffusionPipeline"
_IMAGE_TO_IMAGE = "StableDiffusionImg2ImgPipeline"
_INPAINT = "StableDiffusionInpaintPipeline"

# Classes of diffusers whose only models are CLIPTextModel, UNet2DConditionModel and a VAE -> the bundle's.
_CLASSES: Mapping[str, str] = {
    _TEXT_TO_IMAGE: _TEXT_TO_IMAGE,
    _IMAGE_TO_IMAGE: _IMAGE_TO_IMAGE,
    _INPAINT: _INPAINT,
    "CycleDiffusionPipeline": _IMAGE_TO_IMAGE,
    "LEditsPPPipelineStableDiffusion": _TEXT_TO_IMAGE,
    "SemanticStableDiffusionPipeline": _TEXT_TO_IMAGE,
    "StableDiffusionAttendAndExcitePipeline": _TEXT_TO_IMAGE,
    "StableDiffusionInpaintPipelineLegacy": _TEXT_TO_IMAGE,
    "StableDiffusionModelEditingPipeline": _TEXT_TO_IMAGE,
    "StableDiffusionPAGImg2ImgPipeline": _IMAGE_TO_IMAGE,
    "StableDiffusionPAGInpaintPipeline": _INPAINT,
    "StableDiffusionPAGPipeline": _TEXT_TO_IMAGE,
    "StableDiffusionPanoramaPipeline": _TEXT_TO_IMAGE,
    "StableDiffusionParadigmsPipeline": _TEXT_TO_IMAGE,
    "StableDiffusionPipelineSafe": _TEXT_TO_IMAGE,
    "StableDiffusionSAGPipeline": _TEXT_TO_IMAGE,
}


def _condition(texts: Sequence[EncodedText], _wanted: Wanted, _denoiser: Component) -> Condition:
    (text,) = texts
    return Condition({"encoder_hidden_states": text.tokens[np.newaxis]})


def _geometry(read: ReadConfig) -> Geometry:
    return Geometry.from_configs(read("unet/config.json"), read("vae_decoder/config.json"))


def _symbol_sizes(read: ReadConfig) -> dict[str, int]:
    window = read("text_encoder/config.json").get("max_position_embeddings")
    if not isinstance(window, int):
        raise MezzotintError("text_encoder/config.json has no max_position_embeddings; export again")
    return {"sequence_length": window}


STABLE_DIFFUSION = Family(
    name="stable-diffusion",
    classes=_CLASSES,
    components={
        "text_encoder": Role.TEXT_ENCODER,
        "unet": Role.DENOISER,
        "vae_decoder": Role.IMAGE_DECODER,
        "vae_encoder": Role.IMAGE_ENCODER,
    },
    checkpoint={
        "text_encoder": Part("transformers", ("CLIPTextModel",)),
        "tokenizer": Part("transformers", ("CLIPTokenizer", "CLIPTokenizerFast"), has_weights=False),
        "unet": Part("diffusers", ("UNet2DConditionModel",)),
        "vae": Part("diffusers", ("AutoencoderKL", "AutoencoderTiny")),
    },
    texts=(TextStage("text_encoder", "tokenizer", embeddings_output),),
    condition=_condition,
    denoiser_feeds=unet_feeds,
    geometry=_geometry,
    symbol_sizes=_symbol_sizes,
    is_controllable=True,
)
