"""model_index.json: which pipeline a folder is for, and the index that its bundle gets.

Many pipelines of diffusers run on the very same components, and differ in what they do with them at run time. Such a
checkpoint is exported whatever its index says; the bundle's index names a class that Optimum has.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family
from mezzotint.families.lineup import family_of_index, usual_classes

from .json_file import read_object

_EMPTY = ("safety_checker", "feature_extractor")  # no bundle has them; Optimum wants to be told
_EMPTY_WHERE_NAMED = ("image_encoder",)
_PART_OPTIONS = {  # how a part is given that hubs have in folders of its own
    "AutoencoderKL": "--vae",
    "AutoencoderTiny": "--vae",
    "ControlNetModel": "--controlnet NAME=",
    "T2IAdapter": "--t2i-adapter NAME=",
    "UNet2DConditionModel": "--unet",
}
_SINGLE = (".safetensors", ".ckpt", ".pt", ".pth")


class AnotherPipelineWarning(UserWarning):
    """The checkpoint's own pipeline does more than the bundle's will."""


@dataclass(frozen=True, kw_only=True)
class PipelineIndex:
    """What a folder's model_index.json says, checked: the pipeline is one that this family can stand for."""

    path: Path
    family: Family
    stated_class: str
    options: Mapping[str, Any]

    def scheduler_class(self) -> str | None:
        """The class that diffusers loads the scheduler as, whatever the scheduler's own file says."""
        entry = self.options.get("scheduler")
        named = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
        return named if isinstance(named, str) else None

    def of_bundle(self, class_name: str) -> dict[str, Any]:
        """The bundle's index: the same components, and nothing that is not in the bundle."""
        family = self.family
        parts = ("_diffusers_version", "scheduler", *family.checkpoint, *family.index_options)
        kept = {key: self.options[key] for key in parts if key in self.options}
        left_out = [key for key in family.optional if key not in family.checkpoint]
        absent = [*_EMPTY, *(key for key in (*_EMPTY_WHERE_NAMED, *left_out) if key in self.options)]
        empty = {key: [None, None] for key in absent}
        without_checker = {"requires_safety_checker": False} if "requires_safety_checker" in self.options else {}
        return {**kept, **empty, **without_checker, "_class_name": class_name}

    def warn_of_more(self) -> None:
        """Say what gets lost where the checkpoint's own pipeline is none of the bundle's."""
        usual = self.family.classes[self.stated_class]
        if self.stated_class != usual:
            warnings.warn(
                f"{self.path} names a {self.stated_class}; its weights are exported for a "
                f"{usual}, without what that class adds",
                AnotherPipelineWarning,
                stacklevel=3,
            )


def read_index(folder: Path) -> PipelineIndex:
    """Read and check a folder's index. Raises MezzotintError for a pipeline of another family, and for a part alone."""
    path = folder / "model_index.json"
    if not path.exists():
        _refuse_part(folder)
    options = read_object(path)
    name = options.get("_class_name")
    family = family_of_index(options)
    if not isinstance(name, str) or family is None:
        raise MezzotintError(
            f"{folder} is a {name!s:.80}, expected a {' or a '.join(usual_classes())} or one on the same components"
        )
    return PipelineIndex(path=path, family=family, stated_class=name, options=options)


def _refuse_part(folder: Path) -> None:
    """Raise MezzotintError where `folder` holds one component of diffusers, by its class, or single files."""
    path = folder / "config.json"
    kind = read_object(path).get("_class_name") if path.is_file() else None
    if isinstance(kind, str):
        option = _PART_OPTIONS.get(kind)
        advice = "" if option is None else f"; name the checkpoint, and this folder after {option}"
        raise MezzotintError(f"{folder} is one part, {kind:.80}; expected a whole checkpoint{advice}")
    files = sorted(one.name for one in folder.glob("*") if one.suffix in _SINGLE and one.is_file())
    if files and not path.is_file():
        raise MezzotintError(
            f"{folder / 'model_index.json'} is missing, so that {folder} is no diffusers folder; name the file itself, "
            f"where {folder / files[0]} is a checkpoint"
        )
