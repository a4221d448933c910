"""A bundle on disk: a folder of graphs with a manifest, opened, checked and written.

The folder is what Optimum's `ORTStableDiffusionPipeline.from_pretrained` loads, plus `mezzotint.json`; see
docs/bundle-format.md. Every path in the manifest is checked to stay inside the folder before anything is opened. In the
hub's cache a folder consists of links, which may lead to the rest of the repository's own cache folder and no further.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from mezzotint.atomic_folder import repair
from mezzotint.errors import CheckFailed, MezzotintError

from .defaults import Defaults
from .hub_cache import repository_folder, side_by_side
from .manifest import MANIFEST_NAME, Component, FileEntry, Manifest, ShallowGraph
from .profile import VARIANTS, Profile, unknown_profile
from .shallow import component_of
from .weight_faults import pointer_fault

GRAPH_FILE = "model.onnx"
EXTERNAL_DATA_FILE = "model.onnx_data"
EXTERNAL_DATA_THRESHOLD_BYTES = 100_000_000  # weights beyond this lie beside the graph
_CHUNK_BYTES = 1 << 20
_ADDED_BY_THE_HUB = (".gitattributes", "README.md")  # to every repository; nothing here reads them
_HUB_DOWNLOADS = ".cache/huggingface/"  # what `hf download --local-dir` notes
_DTYPES = ("float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest parsed and whose files exist with the sizes that the manifest states."""

    path: Path
    manifest: Manifest
    profile: Profile | None = None  # whose settings and graphs these are

    @classmethod
    def open(cls, path: Path | str) -> "Bundle":
        """Open a bundle, finishing an interrupted swap first. Hashes are read by `verify` alone."""
        folder = Path(path)
        repair(folder)
        if not _is_folder(folder):
            raise MezzotintError(f"{folder} is not a folder; expected a bundle made by `mezzotint export`")
        bundle = cls(folder, Manifest.read(folder / MANIFEST_NAME))
        for name, component in bundle.manifest.components.items():
            bundle._check_component(name, component)
        for entry in bundle.entries():
            bundle._check_size(entry)
        return bundle

    def entries(self) -> Iterator[FileEntry]:
        """Every file that the manifest names, components first."""
        for component in self.manifest.components.values():
            yield from component.files
            yield from (engine.file for engine in component.engines)
        yield from self.manifest.files

    def profiled(self, name: str | None) -> "Bundle":
        """The bundle as its profile `name` has it, settings and graphs; itself for None.

        MezzotintError lists the profiles that there are, and says what is wrong with the profile's graphs.
        """
        if name is None:
            return self
        profile = self.manifest.profiles.get(name)
        if profile is None:
            raise unknown_profile(self.path, name, self.manifest.profiles)
        bundle = self if profile.variant is None else Bundle.open(self.path / VARIANTS / profile.variant)
        if bundle.manifest.family != self.manifest.family or bundle.manifest.source != self.manifest.source:
            raise MezzotintError(
                where=bundle.path, what="its graphs are of another checkpoint than the bundle's", advice="tune it again"
            )
        return replace(bundle, manifest=replace(bundle.manifest, defaults=profile.settings), profile=profile)

    def own_files(self) -> Iterator[FileEntry]:
        """The files that no component owns, without those of profiles' variants."""
        return (entry for entry in self.manifest.files if PurePosixPath(entry.path).parts[0] != VARIANTS)

    def component(self, name: str) -> Component:
        """The component called `name`, or a graph beside its own; MezzotintError lists those that the bundle has."""
        names, components = self.manifest.graph_names, self.manifest.components
        if name not in names:
            raise MezzotintError(f"{self.path} has no component {name!r}; it has {', '.join(names)}")
        return components[name] if name in components else components[component_of(name)].beside(name)

    def graph_path(self, name: str) -> Path:
        """The ONNX file of a component, beside its external weights if it has some."""
        graph = self.path / self.component(name).files[0].path
        return side_by_side(graph, [self.path / entry.path for entry in self.component(name).files[1:]])

    def config(self, relative: str) -> dict[str, Any]:
        """A JSON config of the bundle, such as "unet/config.json"."""
        path = self.path / relative
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise MezzotintError(f"{path} cannot be read as JSON ({error}); make the bundle again") from None
        if not isinstance(data, dict):
            raise MezzotintError(f"{path} holds {type(data).__name__}, expected an object; make the bundle again")
        return data

    def defaults(self) -> Defaults:
        """What the checkpoint is meant to run with."""
        stated = self.manifest.defaults
        return stated or Defaults.of_scheduler(self.config("scheduler/scheduler_config.json"))

    def verify(self) -> int:
        """Hash every file and look for strays; the number of files checked. CheckFailed lists all offenders."""
        changed = [entry.path for entry in self.entries() if not self._is_intact(entry)]
        if not self._is_manifest_intact():
            changed.append(MANIFEST_NAME)
        known = {entry.path for entry in self.entries()} | {MANIFEST_NAME}
        strays = self._not_in(known)
        if changed or strays:
            findings = [f"{path} is changed" for path in changed]
            findings += [f"{path} is not in the manifest" for path in strays]
            raise CheckFailed(f"{self.path}: {'; '.join(findings)}; make the bundle again")
        return len(known)

    def _is_intact(self, entry: FileEntry) -> bool:
        try:
            return sha256_of(self.path / entry.path) == entry.sha256
        except OSError:
            return False

    def _is_manifest_intact(self) -> bool:
        text = self.manifest.to_json().encode("utf-8", "surrogatepass")
        return (self.path / MANIFEST_NAME).read_bytes() == text

    def _not_in(self, known: set[str]) -> list[str]:
        """What else lies in the folder, links to folders and to nowhere included, but for the hub's own files."""
        found = (path for path in self.path.rglob("*") if path.is_symlink() or not path.is_dir())
        strays = {path.relative_to(self.path).as_posix() for path in found} - known - set(_ADDED_BY_THE_HUB)
        return sorted(path for path in strays if not path.startswith(_HUB_DOWNLOADS))

    def _check_component(self, name: str, component: Component) -> None:
        if not component.files:
            raise MezzotintError(f"{self.path / MANIFEST_NAME}: {name} has no files; make the bundle again")
        for spec in (*component.inputs, *component.outputs):
            if spec.dtype not in _DTYPES:
                raise MezzotintError(
                    f"{self.path / MANIFEST_NAME}: {name}'s {spec.name!r} has the dtype {spec.dtype!r:.40}, expected "
                    f"{', '.join(_DTYPES)}; make the bundle again"
                )
        own = component.shallow
        if own is not None and not _has_shallow(component, own):
            raise MezzotintError(
                f"{self.path / MANIFEST_NAME}: {name}'s shallow graph names files or inputs that {name} does not have; "
                "make the bundle again"
            )

    def _check_size(self, entry: FileEntry) -> None:
        parts = PurePosixPath(entry.path)
        path = self.path / parts
        try:
            inside = path.resolve().is_relative_to(repository_folder(self.path) or self.path.resolve())
            size = path.stat().st_size if path.is_file() else None
        except (OSError, ValueError, RuntimeError):  # no path at all: a zero byte in it, too long, a loop of links
            inside, size = False, None
        if parts.is_absolute() or ".." in parts.parts or not inside:
            raise MezzotintError(f"{self.path / MANIFEST_NAME} names {entry.path!r:.200}, which leaves the bundle")
        if size != entry.bytes:
            raise MezzotintError(pointer_fault(path) or _size_fault(path, size, entry.bytes))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Seal a folder: write `manifest` with `files` set to every file that no component owns. Call it last."""
    components = manifest.components.values()
    owned = {entry.path for component in components for entry in component.files}
    owned |= {engine.file.path for component in components for engine in component.engines}
    others = tuple(file_entry(folder, path) for path in list_files(folder) if path not in owned | {MANIFEST_NAME})
    text = replace(manifest, files=others).to_json()
    parsed = Manifest.parse(text)  # what cannot be read must not be written; and 40 dB are read as 40.0
    (folder / MANIFEST_NAME).write_text(parsed.to_json(), encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def file_entry(folder: Path, relative: str) -> FileEntry:
    """The manifest's line for a file of `folder`."""
    path = folder / relative
    return FileEntry(relative, path.stat().st_size, sha256_of(path))


def list_files(folder: Path) -> list[str]:
    """Every file below `folder`, relative with forward slashes, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _has_shallow(component: Component, own: ShallowGraph) -> bool:
    """Whether what is said of a component's shallow graph goes together with the rest."""
    files, inputs = {entry.path for entry in component.files[1:]}, {spec.name for spec in component.inputs}
    return {own.file, own.deep} <= files and set(own.inputs) <= inputs


def _size_fault(path: Path, size: int | None, expected: int) -> str:
    if size is None:
        return f"{path} is missing, expected {expected} bytes; copy or download the bundle again, or make it again"
    if size < expected:
        return f"{path} has {size} bytes, expected {expected}: it was cut off; copy or download it again"
    return f"{path} has {size} bytes, expected {expected}: it was changed; make the bundle again"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long
        return False
