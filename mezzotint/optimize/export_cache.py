"""Exports that are kept in the user's cache folder: the next recipe or target begins with the one that is there.

An export is known by all that decides it: the files of the checkpoint and of what replaces its parts, the options, our
own code and the versions of the libraries. The latest few are kept, for each is as large as its checkpoint in FP32.
"""

import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from mezzotint.bundle.bundle import Bundle, sha256_of
from mezzotint.cache import cache_folder, usable_folder
from mezzotint.errors import MezzotintError
from mezzotint.export import Chosen, Origins, export_checkpoint
from mezzotint.export.checkpoint_folder import resolve_folder
from mezzotint.export.export import TOOLS
from mezzotint.export.hub_part import local_origins
from mezzotint.export.taesd_files import find_taesd
from mezzotint.families.part_folders import VAE_FOLDER
from mezzotint.progress import Progress, silent

KEPT = 2  # exports
_PURPOSE = "exports"
_CODE = ("bundle", "engines", "families", "tensor_files", "export", "runtime")
_READ = frozenset({".json", ".txt", ".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".onnx", ".onnx_data", ".model"})


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is to be exported, as `export_checkpoint` takes it."""

    model: str
    variant: str | None
    origins: Origins
    chosen: Chosen


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An FP32 bundle, and whether it was there already. It is there until the block that it was made for ends."""

    bundle: Bundle
    was_there: bool


@contextmanager
def exported(request: ExportRequest, *, progress: Progress = silent) -> Iterator[Exported]:
    """The export of `request`: from the cache, or made and kept there; where nothing can be kept, for the block alone.

    Raises as `export_checkpoint` does.
    """
    folder = usable_folder(cache_folder(_PURPOSE))
    if folder is None:
        with TemporaryDirectory(prefix="mezzotint-") as scratch:
            yield Exported(bundle=_export(request, Path(scratch) / "bundle", progress), was_there=False)
        return
    progress("hashing the checkpoint", 0, 1)
    path = folder / _key(request)
    with FileLock(folder / f"{path.name}.lock"):  # nobody else removes it while it is read
        known = _known(path)
        yield Exported(bundle=known or _export(request, path, progress), was_there=known is not None)
    _remove_old(folder)


def _export(request: ExportRequest, path: Path, progress: Progress) -> Bundle:
    return export_checkpoint(
        request.model,
        path,
        variant=request.variant,
        origins=request.origins,
        chosen=request.chosen,
        overwrite=True,
        progress=progress,
    )


def _known(path: Path) -> Bundle | None:
    """The whole bundle at `path`, which becomes the one that was used last; None where there is none."""
    if not path.is_dir():
        return None
    try:
        bundle = Bundle.open(path)
        bundle.verify()
    except MezzotintError:
        shutil.rmtree(path, ignore_errors=True)  # of another version, or damaged
        return None
    os.utime(path)
    return bundle


def _remove_old(folder: Path) -> None:
    """Remove all but the exports that were used last; those that are in use stay."""
    found = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
    for path in found[KEPT:]:
        lock = FileLock(folder / f"{path.name}.lock", blocking=False)
        try:
            with lock:
                shutil.rmtree(path, ignore_errors=True)
        except TimeoutError:
            continue


def _key(request: ExportRequest) -> str:
    digest = hashlib.sha256(repr((request.variant, request.chosen)).encode())
    digest.update(repr([(tool, importlib.metadata.version(tool)) for tool in TOOLS]).encode())
    package = Path(__file__).resolve().parents[1]
    for name in _CODE:
        _add_files(digest, package / name, (package / name).rglob("*"), (".py", ".json"))
    path = Path(request.model)
    _add_checkpoint(digest, path if path.is_file() else resolve_folder(request.model, request.variant))
    origins = local_origins(request.origins)
    for field in fields(origins):
        value = getattr(origins, field.name)
        digest.update(f"{field.name} ".encode())
        if isinstance(value, Path):
            taesd = find_taesd(value.absolute()) if field.name == VAE_FOLDER and value.is_file() else None
            for one in (value,) if taesd is None else taesd.paths:
                _add_checkpoint(digest, one)
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()[:32]


def _add_checkpoint(digest: "hashlib._Hash", root: Path) -> None:
    """A file, or what an export may read of a folder, with its name, which a manifest repeats.

    A part's folder may be a link, which `rglob` does not follow.
    """
    if root.is_file():
        digest.update(f"{root.name} {sha256_of(root)}\n".encode())
    else:
        digest.update(f"{root.resolve().name}\n".encode())
        _add_files(digest, root, (path for pattern in ("*", "*/*") for path in root.glob(pattern)), _READ)


def _add_files(digest: "hashlib._Hash", root: Path, paths: Iterable[Path], suffixes: Collection[str]) -> None:
    """The name below `root` and the contents of each file with one of the suffixes."""
    for path in sorted(path for path in paths if path.suffix in suffixes and path.is_file()):
        digest.update(f"{path.relative_to(root).as_posix()} {sha256_of(path)}\n".encode())
