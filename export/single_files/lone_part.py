"""A part out of a file of its own, such as a fine-tuned UNet or VAE: in any of the namings, with every key checked."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from mezzotint.errors import MezzotintError
from mezzotint.families.family import Part

from ..files.checkpoint_parts import Weights
from ..files.load_module import empty_shapes
from ..files.part_class import class_of
from ..files.quiet import quiet
from .file_kind import described, other_kind
from .homes import ALONE, IN_CHECKPOINT
from .key_check import check_ema, check_keys
from .read_part import part_keys, part_weights, prefixes_of
from .weight_file import WeightFile

_ADVICE = "it is not of the structure that the model's own config says: give a folder of the part, with its config.json"


def lone_part(name: str, path: Path, part: Part, folder: Path, wanted: str | None = None) -> Callable[[], Weights]:
    """How the weights of the part `name` are opened that the file holds, for the config in `folder`.

    `wanted` chooses between averages ("ema") and the weights themselves ("plain"), as in `check_ema`. Of a whole
    checkpoint that part is taken. Raises MezzotintError for a file that holds something else, and for keys that are
    missing, surplus or of another shape than the config asks for.
    """
    file = WeightFile.open(path)
    home = next((home for home in ALONE[name].homes if home.is_in(file.shapes)), None)
    if home is None:
        kind = other_kind(file.names)
        what = "a checkpoint without one" if kind is None else described(kind)
        raise MezzotintError(f"{path} is {what}, expected a {name.replace('_', ' ')} alone, in a file or a folder")
    with quiet("diffusers", "transformers"):
        shapes = empty_shapes(class_of(part, folder), folder)
    may_have_averages = any(one.is_averaged for one in ALONE[name].homes)
    takes_ema = may_have_averages and check_ema(path, file.shapes, wanted)
    keys, unread = part_keys(file, name, home, shapes, takes_ema=takes_ema)
    check_keys(path, file.shapes, [keys], unread | _of_other_parts(name, file), advice=_ADVICE)
    return partial(part_weights, file, keys)


def _of_other_parts(name: str, file: WeightFile) -> set[str]:
    """Keys of a whole checkpoint's other parts, where the file is one."""
    prefixes = tuple(prefix for part in IN_CHECKPOINT if part != name for prefix in prefixes_of(part))
    return {key for key in file.shapes if key.startswith(prefixes)}
