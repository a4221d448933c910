"""Latent consistency models (Luo et al. 2023): Stable Diffusion distilled to a few steps and told the guidance scale.

The UNet hears of the scale beside the time, so that there is no second prediction and no negative prompt. All else is
Stable Diffusion's.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError

from .condition import Condition
from .family import EncodedText, Guidance, Wanted
from .stable_diffusion import STABLE_DIFFUSION

TEXT_TO_IMAGE, IMAGE_TO_IMAGE = "LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"
_GUIDANCE = 8.5  # as in diffusers
_LEAST_WIDTH = 4
_LONGEST_WAVE = 10000.0
_STEPS_A_UNIT = 1000.0  # the scale is embedded as a time would be


def guidance_embedding(guidance: float, width: int) -> FloatArray:
    """The scale as the UNet hears of it, (width,), float32: sines and cosines of w = guidance - 1, as in diffusers.

    Vaswani et al. 2017, section 3.5, with all sines before the cosines; the last of an odd width is 0.
    """
    half = width // 2
    steps = np.float32(math.log(_LONGEST_WAVE)) / np.float32(half - 1)
    frequencies = np.exp(np.arange(half, dtype=np.float32) * -steps)  # (half,)
    angles = np.float32(guidance - 1.0) * np.float32(_STEPS_A_UNIT) * frequencies
    embedding: FloatArray = np.concatenate([np.sin(angles), np.cos(angles), np.zeros(width % 2, np.float32)])
    return embedding


def _condition(texts: Sequence[EncodedText], wanted: Wanted, denoiser: Component) -> Condition:
    (text,) = texts
    embedding = guidance_embedding(wanted.guidance, _width_of(denoiser))
    return Condition({"encoder_hidden_states": text.tokens[np.newaxis], "timestep_cond": embedding[np.newaxis]})


def _width_of(denoiser: Component) -> int:
    dims = next((spec.dims for spec in denoiser.inputs if spec.name == "timestep_cond"), ())
    width = dims[-1] if dims else None
    if not isinstance(width, int) or width < _LEAST_WIDTH:
        raise MezzotintError(
            f"the denoiser's timestep_cond has the dims {list(dims)}, expected (batch, {_LEAST_WIDTH} or more); export "
            "the checkpoint again"
        )
    return width


LATENT_CONSISTENCY = replace(
    STABLE_DIFFUSION,
    name="latent-consistency",
    classes={TEXT_TO_IMAGE: TEXT_TO_IMAGE, IMAGE_TO_IMAGE: IMAGE_TO_IMAGE},
    condition=_condition,
    guidance=Guidance.EMBEDDED,
    own_guidance=_GUIDANCE,
    strength_keeps_steps=True,
)
