"""model_index.json: which pipeline a folder is for, and the index that its bundle gets.

Many pipelines of diffusers run on the very same components, and differ in what they do with them at run time. Such a
checkpoint is exported whatever its index says; the bundle's index names one of the three classes that Optimum has.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mezzotint.errors import MezzotintError

from .json_file import read_object

__all__ = ["PIPELINES", "PIPELINE_CLASS", "AnotherPipelineWarning", "PipelineIndex", "read_index"]

PIPELINE_CLASS: Final = "StableDiffusionPipeline"
_IMAGE_TO_IMAGE: Final = "StableDiffusionImg2ImgPipeline"
_INPAINT: Final = "StableDiffusionInpaintPipeline"

# Classes of diffusers whose only models are CLIPTextModel, UNet2DConditionModel and AutoencoderKL -> the bundle's.
PIPELINES: Mapping[str, str] = {
    PIPELINE_CLASS: PIPELINE_CLASS,
    _IMAGE_TO_IMAGE: _IMAGE_TO_IMAGE,
    _INPAINT: _INPAINT,
    "CycleDiffusionPipeline": _IMAGE_TO_IMAGE,
    "LEditsPPPipelineStableDiffusion": PIPELINE_CLASS,
    "SemanticStableDiffusionPipeline": PIPELINE_CLASS,
    "StableDiffusionAttendAndExcitePipeline": PIPELINE_CLASS,
    "StableDiffusionInpaintPipelineLegacy": PIPELINE_CLASS,
    "StableDiffusionModelEditingPipeline": PIPELINE_CLASS,
    "StableDiffusionPAGImg2ImgPipeline": _IMAGE_TO_IMAGE,
    "StableDiffusionPAGInpaintPipeline": _INPAINT,
    "StableDiffusionPAGPipeline": PIPELINE_CLASS,
    "StableDiffusionPanoramaPipeline": PIPELINE_CLASS,
    "StableDiffusionParadigmsPipeline": PIPELINE_CLASS,
    "StableDiffusionPipelineSafe": PIPELINE_CLASS,
    "StableDiffusionSAGPipeline": PIPELINE_CLASS,
}
_KEPT = ("_diffusers_version", "scheduler", "text_encoder", "tokenizer", "unet", "vae")
_EMPTY = ("safety_checker", "feature_extractor")  # no bundle has them; Optimum wants to be told
_EMPTY_WHERE_NAMED = ("image_encoder",)


class AnotherPipelineWarning(UserWarning):
    """The checkpoint's own pipeline does more than the bundle's will."""


@dataclass(frozen=True, kw_only=True)
class PipelineIndex:
    """What a folder's model_index.json says, checked: the pipeline is one that this family can stand for."""

    path: Path
    stated_class: str
    options: Mapping[str, Any]

    def bundle_class(self, unet_channels: int, latent_channels: int) -> str:
        """The class that the bundle's index names; a UNet of more channels than the latents was made to inpaint."""
        return _INPAINT if unet_channels > latent_channels else PIPELINES[self.stated_class]

    def scheduler_class(self) -> str | None:
        """The class that diffusers loads the scheduler as, whatever the scheduler's own file says."""
        entry = self.options.get("scheduler")
        named = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
        return named if isinstance(named, str) else None

    def of_bundle(self, class_name: str) -> dict[str, Any]:
        """The bundle's index: the same components, and nothing that is not in the bundle."""
        kept = {key: self.options[key] for key in _KEPT if key in self.options}
        absent = [*_EMPTY, *(key for key in _EMPTY_WHERE_NAMED if key in self.options)]
        empty = {key: [None, None] for key in absent}
        without_checker = {"requires_safety_checker": False} if "requires_safety_checker" in self.options else {}
        return {**kept, **empty, **without_checker, "_class_name": class_name}

    def warn_of_more(self) -> None:
        """Say what gets lost where the checkpoint's own pipeline is none of the bundle's."""
        if self.stated_class != PIPELINES[self.stated_class]:
            warnings.warn(
                f"{self.path} names a {self.stated_class}; its weights are exported for a "
                f"{PIPELINES[self.stated_class]}, without what that class adds",
                AnotherPipelineWarning,
                stacklevel=3,
            )


def read_index(folder: Path) -> PipelineIndex:
    """Read and check a folder's index. Raises MezzotintError for a pipeline of another family."""
    path = folder / "model_index.json"
    try:
        options = read_object(path)
    except MezzotintError as error:
        raise MezzotintError(f"{error} (expected a diffusers folder)") from None
    name = options.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        raise MezzotintError(
            f"{folder} is a {name}, expected a {PIPELINE_CLASS} or one on the same components; only Stable Diffusion "
            "1.x and 2.x export"
        )
    return PipelineIndex(path=path, stated_class=name, options=options)
