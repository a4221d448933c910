"""The weights of one part, read from a file of another naming."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch

from ..files.checkpoint_parts import StoredWeight, Weights
from .ema_names import EMA_PREFIX, ema_places
from .homes import IN_CHECKPOINT, Home
from .key_check import PartKeys
from .place import Place, Shape, Take
from .weight_file import WeightFile


def part_keys(
    file: WeightFile, part: str, home: Home, shapes: Mapping[str, Shape], *, takes_ema: bool
) -> tuple[PartKeys, set[str]]:
    """Where the weights of a part lie, and the keys of those that are left alone: the averages or the others."""
    keys = PartKeys(part=part, shapes=shapes, places=home.places(shapes, file.shapes))
    if not home.is_averaged:
        return keys, set()
    averages = replace(keys, places=ema_places(keys.places))
    keys, others = (averages, keys) if takes_ema else (keys, averages)
    return keys, {place.key for place in others.places.values()}


def prefixes_of(part: str) -> tuple[str, ...]:
    """What stands before everything in a whole checkpoint's file that belongs to a part."""
    homes = IN_CHECKPOINT[part]
    averages = (EMA_PREFIX,) if any(home.is_averaged for home in homes) else ()
    return (*(home.prefix for home in homes), *averages)


def part_weights(file: WeightFile, part: PartKeys) -> Weights:
    """The part's parameters by their names in the module."""
    return {name: _stored(file, part.places[name]) for name in part.shapes}


def _stored(file: WeightFile, place: Place) -> StoredWeight:
    shape = place.take.shape(file.shapes[place.key])
    return StoredWeight(shape, file.dtype(place.key), partial(_read, file, place))


def _read(file: WeightFile, place: Place) -> torch.Tensor:
    stored = file.read(place.key)
    if place.take is Take.WHOLE:
        return stored
    return place.take.tensor(stored).clone(memory_format=torch.contiguous_format)  # lets go of the rest of it
