"""Latent consistency models (Luo et al. 2023): Stable Diffusion distilled to a few steps and told the guidance scale.

The UNet hears of the scale beside the time, so that there is no second prediction and no negative prompt. All else is
Stable Diffusion's.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mezzotint.bundle.manifest import Component

from .condition import Condition
from .family import EncodedText, Guidance, Wanted
from .guidance_embedding import SCALE_INPUT, told_scale
from .stable_diffusion import STABLE_DIFFUSION

TEXT_TO_IMAGE, IMAGE_TO_IMAGE = "LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"
_GUIDANCE = 8.5  # as in diffusers


def _condition(texts: Sequence[EncodedText], wanted: Wanted, denoiser: Component) -> Condition:
    (text,) = texts
    return Condition({"encoder_hidden_states": text.tokens[np.newaxis], SCALE_INPUT: told_scale(wanted, denoiser)})


LATENT_CONSISTENCY = replace(
    STABLE_DIFFUSION,
    name="latent-consistency",
    classes={TEXT_TO_IMAGE: TEXT_TO_IMAGE, IMAGE_TO_IMAGE: IMAGE_TO_IMAGE},
    condition=_condition,
    guidance=Guidance.EMBEDDED,
    own_guidance=_GUIDANCE,
    scale_input=SCALE_INPUT,
    strength_keeps_steps=True,
    is_controllable=False,
)
