"""Every weight of every part is in the file, in its shape, and the file has no key that nobody understands.

Checked on the header alone, before a weight is read.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mezzotint.errors import MezzotintError

from ..files.origins import EMA, PLAIN, WEIGHTS
from .ema_names import has_ema
from .ignored import MARKERS, is_ignored
from .place import Place, Shape

_GIVE_CONFIGS = "give the folder of the model's configs with --config"
_LISTED = 6  # keys that a sentence names
_LAST_LAYER = re.compile(r"(.*transformer\.resblocks\.)(\d+)(\..*)")
_TOKENS = re.compile(r"(.*?)(text_model\.)?embeddings\.token_embedding\.weight")
_PROJECTION = "text_projection.weight"


@dataclass(frozen=True, kw_only=True)
class PartKeys:
    """A part of a checkpoint: the shapes of its parameters, and the place in the file of each."""

    part: str
    shapes: Mapping[str, Shape]
    places: Mapping[str, Place]


def check_keys(
    path: Path,
    found: Mapping[str, Shape],
    parts: Iterable[PartKeys],
    unread: Collection[str],
    *,
    advice: str | None = None,
) -> None:
    """Raise MezzotintError that lists what is missing, surplus, or of another shape.

    `found` are the file's keys; `unread` are those that are left alone on purpose, of the weights not chosen. `advice`
    is what to do where --config is none, which is for a whole checkpoint.
    """
    known = set(unread)
    for part in parts:
        _check_part(path, found, part, advice)
        known |= {place.key for place in part.places.values()} | _last_layer(found, part) | _projection(part)
    surplus = [key for key in found if key not in known and key not in MARKERS and not is_ignored(key)]
    if surplus:
        raise MezzotintError(
            f"{path} has {len(surplus)} keys that are no part of the model it seems to be: {listed(surplus)}; "
            f"{advice or 'if another model was meant, give the folder of its configs with --config'}"
        )


def _check_part(path: Path, found: Mapping[str, Shape], part: PartKeys, advice: str | None) -> None:
    unnamed = [name for name in part.shapes if name not in part.places]
    if unnamed:
        raise MezzotintError(
            f"{path}: the {part.part}'s config asks for {listed(unnamed)}, which single files have no name for; take "
            "a diffusers folder"
        )
    missing = [part.places[name].key for name in part.shapes if part.places[name].key not in found]
    if missing:
        raise MezzotintError(
            f"{path} lacks {len(missing)} weights of the {part.part}: {listed(dict.fromkeys(missing))}; "
            f"{advice or 'it is no whole checkpoint, or one of another structure, whose configs --config names'}"
        )
    for name, shape in part.shapes.items():
        place = part.places[name]
        got = place.take.shape(found[place.key])
        if got != shape:
            raise MezzotintError(
                f"{path}: {place.key} has the shape {list(found[place.key])}, where the {part.part} takes "
                f"{list(shape)} from it; {advice or _GIVE_CONFIGS}"
            )


def _last_layer(found: Mapping[str, Shape], part: PartKeys) -> set[str]:
    """What OpenCLIP's encoder has and ours leaves out: the last layer, where the config stops before it, and with it
    the projection. Stable Diffusion 2 attends to the layer before the last.
    """
    keys = {place.key for place in part.places.values()}
    layers = [match for key in keys if (match := _LAST_LAYER.fullmatch(key))]
    if not layers:
        return set()
    prefix, count = layers[0][1], max(int(match[2]) for match in layers) + 1
    root = prefix.removesuffix("transformer.resblocks.")
    return {key for key in found if key.startswith(f"{prefix}{count}.")} | {f"{root}text_projection"}


def _projection(part: PartKeys) -> set[str]:
    """Of the text to a vector, which files of CLIP's encoder alone have and an encoder without it has no use for."""
    if _PROJECTION in part.shapes:
        return set()
    tokens = (_TOKENS.fullmatch(place.key) for place in part.places.values())
    return {f"{match[1]}{_PROJECTION}" for match in tokens if match}


def check_ema(path: Path, found: Collection[str], wanted: str | None) -> bool:
    """Whether to take the averages, which `wanted` ("ema", "plain" or None) says; MezzotintError where there are none.

    Where it says nothing they are taken if they are there.
    """
    if wanted not in (None, *WEIGHTS):
        raise MezzotintError(what="weights", got=wanted, expected=WEIGHTS)
    there = has_ema(found)
    if wanted == EMA and not there:
        raise MezzotintError(f"{path} has no EMA weights beside the plain ones; leave --weights away")
    return there and wanted != PLAIN


def listed(keys: Iterable[str]) -> str:
    """The first few, and how many more."""
    every = list(keys)
    more = len(every) - _LISTED
    return ", ".join(every[:_LISTED]) + (f" and {more} more" if more > 0 else "")
