"""A component of a class that cannot be exported is refused by that class, which the index and its config say.

Loaded as another class it would only lack all its weights, and the versions of libraries would be blamed for it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family, Part

from .json_file import read_object
from .origins import OPTIONS


def class_name(part: Part, folder: Path) -> str:
    """The class that the config.json in a part's `folder` says, or the part's usual one where it says none of them."""
    stated = _read(folder / "config.json").get("_class_name")
    return stated if stated in part.classes else part.classes[0]


def check_class(part: Part, component: str, folder: Path) -> None:
    """Raise MezzotintError for a part by itself, whose config.json in `folder` says a class that is not one of its."""
    stated = _read(folder / "config.json").get("_class_name")
    if stated is not None and stated not in part.classes:
        raise _other_class(folder / "config.json", component, str(stated), part)


def check_classes(family: Family, folder: Path) -> None:
    """Raise MezzotintError for a part of the diffusers folder whose class is not one of the family's, or not said.

    So it does where the index and the part's own config say two of them: the weights are of one.
    """
    index = _read(folder / "model_index.json")
    for component, part in family.checkpoint.items():
        library, known = part.library, part.classes
        stated = list(_stated(folder, index, component))
        for where, found_library, name in stated:
            if name is None:
                option = f", or give one with {OPTIONS[component]}" if component in OPTIONS else ""
                raise MezzotintError(
                    f"{where} names no {component}, expected {known[0]}; take a whole checkpoint{option}"
                )
            if name not in known or found_library not in (library, None):
                full_name = name if found_library in (library, None) else f"{found_library}.{name}"
                raise _other_class(where, component, full_name, part)
        if part.has_weights and len({name for _, _, name in stated}) > 1:
            (where, _, name), (other, _, its) = stated[0], next(one for one in stated if one[2] != stated[0][2])
            raise MezzotintError(
                f"{where} says that the {component} is a {name}, and {other} a {its}; correct the one that is wrong"
            )


def _other_class(where: Path, component: str, name: str, part: Part) -> MezzotintError:
    return MezzotintError(
        f"{where} says that the {component} is a {name:.80}, expected {' or '.join(part.classes)}; this class cannot "
        f"be exported{_hint(name)}"
    )


def _stated(folder: Path, index: dict[str, Any], component: str) -> Iterator[tuple[Path, str | None, str | None]]:
    """Each file that says a class: its path, the library if it says one, the class."""
    entry = index.get(component)
    library, name = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
    yield folder / "model_index.json", library, name
    path = folder / component / "config.json"
    config = _read(path)
    architectures = config.get("architectures")
    for stated in (config.get("_class_name"), *(architectures if isinstance(architectures, list) else ())):
        if isinstance(stated, str):
            yield path, None, stated


def _hint(name: str) -> str:
    if name.startswith("Flax"):
        return ", nor are weights of Flax read; look for the repository's PyTorch branch"
    if name == "OnnxRuntimeModel":
        return "; export the PyTorch checkpoint that it was made from"
    return "; put a component of the expected class in its place"


def _read(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is none: whoever needs the file says what is wrong with it."""
    try:
        return dict(read_object(path))
    except MezzotintError:
        return {}
