"""The diffusers pipeline of a checkpoint, a folder or a single file, from the weights that an export would read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch
from transformers import CLIPTokenizerFast

from mezzotint.adapters.given import GivenAdapter
from mezzotint.errors import MezzotintError
from mezzotint.export import Chosen, Origins
from mezzotint.export.checkpoint import load_parts
from mezzotint.export.checkpoint_folder import resolve_folder
from mezzotint.export.files.loaded_checkpoint import Checkpoint
from mezzotint.export.find_parts import find_parts

from .case import Case, Reading

_NOTHING: Mapping[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
# By family: the class, and what it is made with beside the components.
_PIPELINES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "stable-diffusion": ("StableDiffusionPipeline", _NOTHING),
    "latent-consistency": ("LatentConsistencyModelPipeline", _NOTHING),
    "stable-diffusion-xl": ("StableDiffusionXLPipeline", {"add_watermarker": False}),
}
_FROM_INDEX = ("force_zeros_for_empty_prompt",)


def open_pipeline(case: Case, dtype: torch.dtype) -> Any:
    """The case's pipeline, computing in `dtype`; MezzotintError for a checkpoint that needs more than prompts."""
    with TemporaryDirectory(prefix="mezzotint-") as scratch:
        checkpoint = _load(case.source, case.reading, Path(scratch))
        _check_prompts_are_enough(case.source, checkpoint)
        name, options = _PIPELINES[checkpoint.family.name]
        index = checkpoint.index.options
        said = {key: index[key] for key in _FROM_INDEX if key in index and key in checkpoint.family.index_options}
        # Effective, of the class that it names: with another, the pipeline forces values that the runtime knows not of.
        scheduler = getattr(diffusers, checkpoint.scheduler_config["_class_name"])
        folders = {stage.tokenizer for stage in checkpoint.family.texts}
        tokenizers = {folder: load_tokenizer(checkpoint.folder / folder) for folder in folders}
        parts = {part: checkpoint.modules[part] for part in checkpoint.family.weighted_parts}
        scheduling = scheduler.from_config(checkpoint.scheduler_config)
        pipe = getattr(diffusers, name)(**parts, **tokenizers, scheduler=scheduling, **options, **said).to(dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _load(source: str, reading: Reading, scratch: Path) -> Checkpoint:
    is_file = Path(source).is_file()
    origins = Origins(
        config=None if reading.config is None else Path(reading.config), weights=reading.weights if is_file else None
    )
    chosen = Chosen(prediction_type=reading.prediction_type, preset=reading.preset)
    folder = None if is_file else resolve_folder(source)
    parts = find_parts(source, folder, None, origins, chosen, scratch)
    if reading.adapter is not None:
        given = GivenAdapter(path=Path(reading.adapter), scale=reading.adapter_scale)
        parts = replace(parts, adapters=(given,))
    return load_parts(parts)


def _check_prompts_are_enough(source: str, checkpoint: Checkpoint) -> None:
    geometry = checkpoint.geometry
    if geometry.unet_channels != geometry.latent_channels or not _has_every_part(checkpoint):
        raise MezzotintError(
            f"{source} is a {checkpoint.pipeline_class}, and a benchmark generates images from prompts alone; take a "
            "checkpoint that does"
        )


def _has_every_part(checkpoint: Checkpoint) -> bool:
    """A refiner lacks what is optional: it finishes what another checkpoint begins."""
    return not checkpoint.family.optional - checkpoint.family.checkpoint.keys()


def load_tokenizer(folder: Path | str) -> Any:
    """The tokenizer in a folder of a checkpoint or an export, which gives the ids that the runtime gives."""
    return CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
