"""The class that a part of a checkpoint is loaded as."""

import importlib
from pathlib import Path
from typing import Any

from mezzotint.families.family import Part

from .component_classes import class_name


def class_of(part: Part, folder: Path) -> Any:
    """The class that the config in a part's `folder` says, or the part's usual one."""
    return getattr(importlib.import_module(part.library), class_name(part, folder))
