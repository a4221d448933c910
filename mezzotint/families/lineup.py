"""The families that there are, and which one a bundle or a checkpoint belongs to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mezzotint.bundle.bundle import GRAPH_FILE, Bundle
from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError
from mezzotint.small_file import read_small_file

from .control import control_roles
from .family import Family
from .latent_consistency import LATENT_CONSISTENCY
from .stable_diffusion import STABLE_DIFFUSION
from .stable_diffusion_xl import STABLE_DIFFUSION_XL

FAMILIES: tuple[Family, ...] = (STABLE_DIFFUSION, STABLE_DIFFUSION_XL, LATENT_CONSISTENCY)


def family_of(bundle: Bundle) -> Family:
    """The family that the manifest names, without the optional components that the bundle lacks, guided as it is.

    MezzotintError lists those that there are.
    """
    name = bundle.manifest.family
    family = next((family for family in FAMILIES if family.name == name), None)
    if family is None:
        known = ", ".join(family.name for family in FAMILIES)
        raise MezzotintError(f"{bundle.path} is of the family {name!r:.60}, expected one of {known}")
    components = bundle.manifest.components
    denoiser = components.get(family.denoiser)
    family = family if denoiser is None else family.hearing(denoiser)
    family = family.controlled_by(control_roles(bundle.manifest.controls))
    return family.without(family.components.keys() - components.keys())


def geometry_of(bundle: Bundle) -> Geometry:
    """Sizes of the checkpoint, from the configs that its family reads. MezzotintError for what they lack."""
    return family_of(bundle).geometry(bundle.config)


def family_of_class(name: object) -> Family | None:
    """The family that covers a `_class_name` of model_index.json, or None."""
    return next((family for family in FAMILIES if isinstance(name, str) and name in family.classes), None)


def family_of_index(options: Mapping[str, Any]) -> Family | None:
    """The family of a model_index.json, without the optional parts that it says are absent, or None."""
    family = family_of_class(options.get("_class_name"))
    if family is None:
        return None
    return family.without([name for name, entry in options.items() if isinstance(entry, list) and not any(entry)])


def family_of_checkpoint(folder: Path) -> Family:
    """The family of a diffusers folder, by its index; MezzotintError for none that there is."""
    index = folder / "model_index.json"
    try:
        options = json.loads(read_small_file(index))
        name = options.get("_class_name")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise MezzotintError(f"{index} cannot be read ({error}); expected a diffusers folder") from None
    family = family_of_index(options)
    if family is None:
        raise MezzotintError(f"{folder} is a {name!s:.80}, expected a {' or a '.join(usual_classes())}")
    return family


def usual_classes() -> list[str]:
    """The class of each family that messages name."""
    return [next(iter(family.classes)) for family in FAMILIES]


def is_optimum_folder(folder: Path) -> bool:
    """Whether `folder` holds ONNX graphs in Optimum's layout rather than PyTorch weights."""
    return any((folder / family.denoiser / GRAPH_FILE).is_file() for family in FAMILIES)
