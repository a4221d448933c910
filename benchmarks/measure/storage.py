"""The files a case loads: how many bytes they are on disk, and a hash that changes when any of them does."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mezzotint.bundle.bundle import Bundle, sha256_of
from mezzotint.bundle.manifest import MANIFEST_NAME
from mezzotint.bundle.profile import VARIANTS
from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import family_of_checkpoint

from ..cases.case import Case

_WEIGHTS = (".safetensors", ".bin")


def case_files(case: Case) -> tuple[Path, ...]:
    """Every file that loading the case reads, in a fixed order. MezzotintError when the source is not of its kind."""
    folder = Path(case.source)
    if case.kind in ("optimum", "genai"):
        return tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
    if case.kind in ("bundle", "stand-in"):
        bundle = Bundle.open(folder).profiled(case.profile)
        paths = [entry.path for entry in bundle.entries() if not entry.path.startswith(f"{VARIANTS}/")]
        return (folder / MANIFEST_NAME, *sorted({bundle.path / path for path in paths}))
    if folder.is_file():
        return (folder, *_config_files(case.reading.config))
    if not (folder / "model_index.json").is_file():
        raise MezzotintError(f"{folder} has no model_index.json; expected a diffusers checkpoint folder, or a file")
    files = [folder / "model_index.json"]
    for name in sorted(("scheduler", *family_of_checkpoint(folder).checkpoint)):
        files += _component_files(folder / name)
    return tuple(files)


def _config_files(config: str | None) -> list[Path]:
    """What a single file is read with."""
    if config is None:
        return []
    return sorted(path for path in Path(config).glob("*/*") if path.suffix in (".json", ".txt") and path.is_file())


def _component_files(folder: Path) -> list[Path]:
    """The configs, and the one form of the weights that diffusers takes by default: no variants, safetensors first."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    weights = [path for path in files if path.suffix in _WEIGHTS and path.name.count(".") == 1]
    form = next((suffix for suffix in _WEIGHTS if any(path.suffix == suffix for path in weights)), None)
    configs = [path for path in files if path.suffix in (".json", ".txt")]
    return configs + [path for path in weights if path.suffix == form]


def bytes_on_disk(files: Iterable[Path]) -> int:
    """Their sizes, summed."""
    return sum(path.stat().st_size for path in files)


def content_sha256(folder: Path, files: Iterable[Path]) -> str:
    """One SHA-256 over the contents of files and their names, below `folder` where they lie there, in their order."""
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(folder) if path.is_relative_to(folder) and path != folder else Path(*path.parts[-2:])
        digest.update(f"{name.as_posix()} {sha256_of(path)}\n".encode())
    return digest.hexdigest()
