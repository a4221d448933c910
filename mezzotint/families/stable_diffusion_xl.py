"""Stable Diffusion XL (Podell et al. 2023): two CLIP text encoders, a UNet that hears of sizes, and a VAE.

The UNet attends to what both encoders' layers before the last say, side by side, and is told the second one's vector
for the whole text and six numbers of the image's size and crop. The refiner, the same architecture for the last part of
a run, has the second encoder alone, and hears five: an aesthetic score in place of the target size. Checkpoints that
were distilled to few steps, made to inpaint or pruned differ in their configs and defaults alone; a latent consistency
model is told the guidance scale besides.

Names of components, inputs and outputs are those of Optimum's exporter.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError

from .condition import Condition
from .family import EncodedText, Family, Part, ReadConfig, Role, TextStage, Wanted
from .feeds import unet_feeds
from .guidance_embedding import SCALE_INPUT, is_told_scale, told_scale
from .hidden_states import penultimate_output

_TEXT_TO_IMAGE = "StableDiffusionXLPipeline"
_IMAGE_TO_IMAGE = "StableDiffusionXLImg2ImgPipeline"
_INPAINT = "StableDiffusionXLInpaintPipeline"

_CLASSES: Mapping[str, str] = {
    _TEXT_TO_IMAGE: _TEXT_TO_IMAGE,
    _IMAGE_TO_IMAGE: _IMAGE_TO_IMAGE,
    _INPAINT: _INPAINT,
    "LEditsPPPipelineStableDiffusionXL": _TEXT_TO_IMAGE,
    "StableDiffusionXLPAGImg2ImgPipeline": _IMAGE_TO_IMAGE,
    "StableDiffusionXLPAGInpaintPipeline": _INPAINT,
    "StableDiffusionXLPAGPipeline": _TEXT_TO_IMAGE,
}

_SIZES, _SCORED = 6, 5  # numbers in time_ids
_REFINED_FROM = 0.8  # of the schedule
_SCORES = (6.0, 2.5)  # of the prompt and of the negative one, as in diffusers


def _condition(texts: Sequence[EncodedText], wanted: Wanted, denoiser: Component) -> Condition:
    lengths = [len(text.tokens) for text in texts]
    if len(set(lengths)) > 1:
        raise MezzotintError(
            f"the prompt is {' and '.join(map(str, lengths))} tokens to the two text encoders, which have to agree; "
            "take tokenizers with the same words"
        )
    pooled = texts[-1].pooled
    assert pooled is not None  # the last stage has one
    told = {SCALE_INPUT: told_scale(wanted, denoiser)} if is_told_scale(denoiser) else {}
    return Condition(
        {
            "encoder_hidden_states": np.concatenate([text.tokens for text in texts], axis=-1)[np.newaxis],
            "text_embeds": pooled[np.newaxis],
            "time_ids": np.array([_time_ids(wanted, _count_of(denoiser))], dtype=np.float32),
            **told,
        }
    )


def _count_of(denoiser: Component) -> int:
    dims = next((spec.dims for spec in denoiser.inputs if spec.name == "time_ids"), ())
    count = dims[-1] if dims else None
    if count not in (_SIZES, _SCORED):
        raise MezzotintError(
            f"the denoiser's time_ids have the dims {list(dims)}, expected (batch, {_SIZES}) or, of a refiner, "
            f"(batch, {_SCORED}); export the checkpoint again"
        )
    return int(count)


def _time_ids(wanted: Wanted, count: int) -> tuple[float, ...]:
    micro, size = wanted.micro, (wanted.height, wanted.width)
    given, other = ("aesthetic_score", "target_size") if count == _SCORED else ("target_size", "aesthetic_score")
    if getattr(micro, other) is not None:
        raise MezzotintError(
            f"the bundle's denoiser is not told the {other}, but the {given} instead; leave the {other} away"
        )
    origin = (*(micro.original_size or size), *(micro.crops_coords_top_left or (0, 0)))
    if count == _SIZES:
        return (*origin, *(micro.target_size or size))
    score = _SCORES[wanted.is_negative] if micro.aesthetic_score is None else micro.aesthetic_score
    return (*origin, score)


def _geometry(read: ReadConfig) -> Geometry:
    return Geometry.from_configs(read("unet/config.json"), read("vae_decoder/config.json"))


def _symbol_sizes(read: ReadConfig) -> dict[str, int]:
    window = read("text_encoder_2/config.json").get("max_position_embeddings")
    if not isinstance(window, int):
        raise MezzotintError("text_encoder_2/config.json has no max_position_embeddings; export again")
    return {"sequence_length": window}


def _none_is_zeros(read: ReadConfig) -> bool:
    return bool(read("model_index.json").get("force_zeros_for_empty_prompt", True))


def _begins_at(read: ReadConfig) -> float:
    """A refiner was trained on the lowest noise levels alone: the first 200 of 1000 timesteps (section 2.5)."""
    unet, text = read("unet/config.json"), read("text_encoder_2/config.json")
    told = unet["projection_class_embeddings_input_dim"] - text["projection_dim"]
    return _REFINED_FROM if told == _SCORED * unet["addition_time_embed_dim"] else 0.0


_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")

STABLE_DIFFUSION_XL = Family(
    name="stable-diffusion-xl",
    classes=_CLASSES,
    components={
        "text_encoder": Role.TEXT_ENCODER,
        "text_encoder_2": Role.TEXT_ENCODER,
        "unet": Role.DENOISER,
        "vae_decoder": Role.IMAGE_DECODER,
        "vae_encoder": Role.IMAGE_ENCODER,
    },
    checkpoint={
        "text_encoder": Part("transformers", ("CLIPTextModel",)),
        "tokenizer": Part("transformers", _TOKENIZERS, has_weights=False),
        "text_encoder_2": Part("transformers", ("CLIPTextModelWithProjection",)),
        "tokenizer_2": Part("transformers", _TOKENIZERS, has_weights=False),
        "unet": Part("diffusers", ("UNet2DConditionModel",)),
        "vae": Part("diffusers", ("AutoencoderKL", "AutoencoderTiny")),
    },
    texts=(
        TextStage("text_encoder", "tokenizer", penultimate_output),
        TextStage("text_encoder_2", "tokenizer_2", penultimate_output, pooled="text_embeds"),
    ),
    condition=_condition,
    denoiser_feeds=unet_feeds,
    geometry=_geometry,
    none_is_zeros=_none_is_zeros,
    symbol_sizes=_symbol_sizes,
    begins_at=_begins_at,
    scale_input=SCALE_INPUT,  # of latent consistency models alone
    optional=frozenset({"text_encoder", "tokenizer"}),  # a refiner has neither
    options=frozenset(
        {
            "original_size",
            "crops_coords_top_left",
            "target_size",
            "negative_original_size",
            "negative_crops_coords_top_left",
            "negative_target_size",
            "aesthetic_score",
            "negative_aesthetic_score",
        }
    ),
    is_controllable=True,
    index_options=("force_zeros_for_empty_prompt", "requires_aesthetics_score", "add_watermarker"),
)
