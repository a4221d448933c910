"""A file of one part alone, such as a fine-tuned UNet or VAE: in whichever of the namings, with every key checked."""

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
from .homes import ALONE
from .key_check import PartKeys, check_keys
from .read_part import part_weights
from .weight_file import WeightFile


def lone_part(name: str, path: Path, part: Part, folder: Path) -> Callable[[], Weights]:
    """How the weights of the part `name` are opened that the file holds, for the config in `folder`.

    Raises MezzotintError for a file that holds something else, and for keys that are missing, surplus or of another
    shape than the config asks for.
    """
    file = WeightFile.open(path)
    home = next((home for home in ALONE[name] if home.is_in(file.shapes)), None)
    if home is None:
        kind = other_kind(file.names)
        what = "a whole checkpoint" if kind is None else described(kind)
        raise MezzotintError(f"{path} is {what}, expected a {name.replace('_', ' ')} alone, in a file or a folder")
    with quiet("diffusers", "transformers"):
        shapes = empty_shapes(class_of(part, folder), folder)
    keys = PartKeys(part=name, shapes=shapes, places=home.places(shapes, file.shapes))
    check_keys(path, file.shapes, [keys], ())
    return partial(part_weights, file, keys)
