"""The class that a part of a checkpoint is loaded as."""

import importlib
from typing import Any

from mezzotint.families.family import Part


def class_of(part: Part) -> Any:
    """The class that a part usually is: the others that it may be are loaded as that one."""
    return getattr(importlib.import_module(part.library), part.classes[0])
