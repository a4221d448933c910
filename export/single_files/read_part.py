"""The weights of one part, read from a file of another naming."""

from functools import partial

import torch

from ..files.checkpoint_parts import Weights
from .key_check import PartKeys
from .place import Place, Take
from .weight_file import WeightFile


def part_weights(file: WeightFile, part: PartKeys) -> Weights:
    """The part's parameters by their names in the module, each read when it is called for."""
    return {name: partial(_read, file, part.places[name]) for name in part.shapes}


def _read(file: WeightFile, place: Place) -> torch.Tensor:
    stored = file.read(place.key)
    if place.take is Take.WHOLE:
        return stored
    return place.take.tensor(stored).clone(memory_format=torch.contiguous_format)  # lets go of the rest of it
