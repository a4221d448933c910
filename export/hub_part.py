"""A part that a hub repository holds alone, or as one folder of a checkpoint: `--vae stabilityai/sd-vae-ft-mse`."""

from dataclasses import replace
from pathlib import Path

from mezzotint.bundle.hub_cache import repository_folder
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family
from mezzotint.families.lineup import FAMILIES
from mezzotint.families.weight_files import choose_weights, shard_names

from .files.origins import Origins
from .hub import HUB_ID, listed_files, snapshot

_CONFIG = "config.json"


def local_origins(origins: Origins) -> Origins:
    """`origins` whose parts lie on this machine: what is no path but a hub id is downloaded, or found in the cache.

    Raises MezzotintError where the hub gives none, and for a repository without that part.
    """
    found = {name: local_part(path.as_posix(), name) for name, path in origins.replaced.items()}
    for name, path in found.items():
        origins = replace(origins, **{name: path})  # type: ignore[arg-type]  # which are all paths
    return origins


def local_part(given: str, name: str, variant: str | None = None) -> Path:
    """The path `given`, or the local folder of the part `name` of a repository where it is a hub id and no path."""
    path = Path(given)
    if path.exists() or not HUB_ID.fullmatch(given):
        return path
    folder = snapshot(given, None, ("README.md", _CONFIG, "*.json", f"{name}/*.json"))
    inner = folder / name if (folder / name / _CONFIG).is_file() else folder
    if not (inner / _CONFIG).is_file():
        raise MezzotintError(
            f"{given} holds no {name.replace('_', ' ')}: expected a repository with a config.json, or a checkpoint's "
            f"with {name}/ in it"
        )
    names = listed_files(given, folder.name)
    prefix = "" if inner == folder else f"{name}/"
    own = _cached(inner) if names is None else [one.removeprefix(prefix) for one in names if _is_in(one, prefix)]
    chosen = choose_weights(_of_part(name), given, [f"{name}/{file}" for file in own], variant)[name]
    files = shard_names(inner / chosen.name) if chosen.is_sharded else [chosen.name]
    if names is not None:
        snapshot(given, folder.name, [f"{prefix}{file}" for file in files])
    elif lost := [file for file in files if not (inner / file).is_file()]:
        raise MezzotintError(
            f"the hub's cache of {given} lacks {lost[0]}, and the hub gave nothing; run it again where "
            "there is a network"
        )
    return inner


def name_of(folder: Path) -> str:
    """What a folder is called: in the hub's cache, where it is named by a revision, as its repository."""
    repository = repository_folder(folder / _CONFIG)
    is_snapshot = repository is not None and folder.resolve().parent.parent == repository
    return repository.name.rpartition("--")[2] if repository is not None and is_snapshot else folder.name


def _is_in(file: str, prefix: str) -> bool:
    return file.startswith(prefix) and "/" not in file.removeprefix(prefix)


def _of_part(name: str) -> Family:
    """One whose only part it is."""
    family = next(family for family in FAMILIES if name in family.checkpoint)
    return replace(family, checkpoint={name: family.checkpoint[name]})


def _cached(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
