"""Which engine fits a call: one that was built ahead of time and lies beside the graph, or why none of them does.

An engine holds machine code for the GPU. So one that came with a bundle runs only where somebody said that whoever
built it is trusted (`mezzotint build --trust`); those that were built here are.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from mezzotint.bundle.manifest import BuiltEngine, Component
from mezzotint.cache import cache_folder, usable_folder
from mezzotint.errors import MezzotintError

ENGINE_SUFFIX = ".engine"
_PURPOSE = "trusted-engines"


def compiler_name(version: str) -> str:
    """As a bundle's manifest has it."""
    return f"TensorRT-RTX {version}"


def graph_hashes(component: Component) -> tuple[str, ...]:
    """What tells a graph and its weights from others."""
    return tuple(entry.sha256 for entry in component.files)


def why_unfit(
    built: BuiltEngine,
    component: Component,
    shapes: Mapping[str, tuple[int, ...]],
    capability: str,
    version: str,
) -> str | None:
    """Why an engine cannot run a call, as the end of a sentence; None when it can."""
    if built.graph_sha256 != graph_hashes(component):
        return "it was built of another graph"
    if built.compiler != compiler_name(version):
        return f"it was built by {built.compiler}, and {compiler_name(version)} is installed"
    if capability not in built.compute_capabilities:
        return f"it is for compute capability {', '.join(built.compute_capabilities)}, and this GPU has {capability}"
    if dict(built.shapes) != dict(shapes):
        return f"it is for inputs of {shapes_text(built.shapes)}, and these have {shapes_text(shapes)}"
    if not is_trusted(built.file.sha256):
        return "it was built elsewhere; `mezzotint build --trust` says that you trust who built it"
    return None


def read_engine(bundle_folder: Path, built: BuiltEngine) -> bytes:
    """The file's bytes; MezzotintError where it is not the one that the manifest names."""
    path = bundle_folder / built.file.path
    plan = path.read_bytes()
    if hashlib.sha256(plan).hexdigest() != built.file.sha256:
        raise MezzotintError(f"{path} was changed since it was built; run `mezzotint build` again")
    return plan


def is_trusted(sha256: str) -> bool:
    """Whether an engine of this hash was built here or trusted by hand."""
    folder = cache_folder(_PURPOSE)
    return folder is not None and (folder / sha256).is_file()


def trust(sha256: str) -> None:
    """Let the engine of this hash run here; MezzotintError where that cannot be noted."""
    (trust_folder() / sha256).touch()


def trust_folder() -> Path:
    """Where it is noted which engines are trusted; MezzotintError where nothing can be."""
    folder = cache_folder(_PURPOSE)
    usable = usable_folder(folder)
    if usable is None:
        raise MezzotintError(
            f"{folder or 'the cache folder'} cannot be written to, and it is noted there which engines are trusted; "
            "name another with XDG_CACHE_HOME"
        )
    return usable


def shapes_text(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """ "sample 2x4x64x64, timestep scalar"."""
    return ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in shapes.items())
