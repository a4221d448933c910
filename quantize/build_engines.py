"""`mezzotint build`: engines of TensorRT-RTX, compiled ahead of time and put beside the graphs of a bundle."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint.atomic_file import atomic_path, write_text
from mezzotint.atomic_folder import lock_folder
from mezzotint.bundle.bundle import Bundle, file_entry
from mezzotint.bundle.manifest import MANIFEST_NAME, BuiltEngine, Component, Manifest
from mezzotint.engines.rtx.builder import build_engine
from mezzotint.engines.rtx.library import BUILT_FOR, builder_version, check_capabilities
from mezzotint.engines.rtx.prebuilt import ENGINE_SUFFIX, compiler_name, graph_hashes, trust, trust_folder
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent

from .verify.audit_tensorrt import check_kernels, has_kernels
from .verify.image_shapes import image_shapes

ENGINES_FOLDER = "engines"  # in a component's
_TARGETS = ("portable", "tensorrt")


@dataclass(frozen=True, kw_only=True)
class BuildSize:
    """What engines are compiled for: `count` images at once, of so many pixels; None is the bundle's own size."""

    count: int = 1
    height: int | None = None
    width: int | None = None


def capabilities_for(bundle: Bundle) -> tuple[str, ...]:
    """The compute capabilities of `BUILT_FOR` whose GPUs can multiply all that the bundle promises."""
    storages = {component.storage for component in bundle.manifest.components.values()}
    return tuple(one for one in BUILT_FOR if all(has_kernels(one, storage) for storage in storages))


def build_engines(
    bundle: Bundle, capabilities: Sequence[str], size: BuildSize, *, progress: Progress = silent
) -> Bundle:
    """Compile every graph that generates an image for `capabilities`, and note the engines in the bundle's manifest.

    An engine of the same graph, shapes, capabilities and compiler takes the place of the one that was there; others
    stay, but for those of other graphs. The manifest is written last, and all that it does not name is removed, so that
    an interruption leaves the bundle that was. Raises MezzotintError for a capability or size that cannot be, for a
    bundle of another target, where another process writes it, and where the cache folder cannot be written to;
    CheckFailed for a graph that the compiler refuses.
    """
    check_capabilities(capabilities)
    if bundle.manifest.target not in _TARGETS:
        raise MezzotintError(
            f"{bundle.path} was lowered for {bundle.manifest.target}, and engines are built of bundles for tensorrt; "
            "make one with `mezzotint quantize --target tensorrt`"
        )
    family = family_of(bundle)
    names = [name for name in bundle.manifest.components if family.role(name) is not Role.IMAGE_ENCODER]
    for name in names:
        check_kernels(capabilities, bundle.component(name).storage)
        image_shapes(bundle, name, count=size.count, height=size.height, width=size.width)  # or refuses
        _engines_folder(bundle, name)
    trust_folder()  # or refuses
    with lock_folder(bundle.path):
        current = Bundle.open(bundle.path)  # as whoever wrote it last left it
        try:
            manifest = _with_engines(current, names, capabilities, size, progress)
            write_text(current.path / MANIFEST_NAME, manifest.to_json())
        finally:
            _remove_unnamed(Bundle.open(current.path))
    return Bundle.open(bundle.path)


def _with_engines(
    bundle: Bundle, names: Sequence[str], capabilities: Sequence[str], size: BuildSize, progress: Progress
) -> Manifest:
    components = dict(bundle.manifest.components)
    for index, name in enumerate(names):
        progress(f"compiling {name}", index, len(names))
        built = _build(bundle, name, capabilities, size)
        trust(built.file.sha256)
        components[name] = with_engine(components[name], built)
    return replace(bundle.manifest, components=components)


def trust_engines(bundle: Bundle) -> int:
    """Let the engines that came with `bundle` run on this machine, after a look at their hashes; how many there are."""
    bundle.verify()
    engines = [engine for component in bundle.manifest.components.values() for engine in component.engines]
    for engine in engines:
        trust(engine.file.sha256)
    return len(engines)


def with_engine(component: Component, built: BuiltEngine) -> Component:
    """The component with one more engine, without those of other graphs, or that the new one takes the place of."""
    kept = (one for one in component.engines if one.graph_sha256 == built.graph_sha256 and _key(one) != _key(built))
    return replace(component, engines=(*kept, built))


def _build(bundle: Bundle, name: str, capabilities: Sequence[str], size: BuildSize) -> BuiltEngine:
    """Write the engine under a name that only these bytes have: what the manifest names stays as it is."""
    shapes = image_shapes(bundle, name, count=size.count, height=size.height, width=size.width)
    plan = build_engine(bundle.graph_path(name), shapes, capabilities).plan
    path = _engines_folder(bundle, name) / f"{hashlib.sha256(plan).hexdigest()[:16]}{ENGINE_SUFFIX}"
    path.parent.mkdir(exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_bytes(plan)
    return BuiltEngine(
        file=file_entry(bundle.path, path.relative_to(bundle.path).as_posix()),
        compiler=compiler_name(builder_version()),
        compute_capabilities=tuple(capabilities),
        shapes=shapes,
        graph_sha256=graph_hashes(bundle.component(name)),
    )


def _engines_folder(bundle: Bundle, name: str) -> Path:
    """Where a component's engines lie; MezzotintError where it is a link."""
    folder = bundle.path / name / ENGINES_FOLDER
    link = next((path for path in (folder.parent, folder) if path.is_symlink()), None)
    if link is not None:
        raise MezzotintError(f"{link} is a link, and what is written there would lie outside the bundle; remove it")
    return folder


def _remove_unnamed(bundle: Bundle) -> None:
    """Delete engines that the manifest does not name: those of before, and what an interruption or a kill left."""
    named = {engine.file.path for component in bundle.manifest.components.values() for engine in component.engines}
    for name in bundle.manifest.components:
        folder = _engines_folder(bundle, name)
        for path in (path for suffix in (ENGINE_SUFFIX, ".partial") for path in folder.glob(f"*{suffix}")):
            if path.relative_to(bundle.path).as_posix() not in named:
                path.unlink(missing_ok=True)


def _key(engine: BuiltEngine) -> tuple[object, ...]:
    shapes = tuple(sorted(engine.shapes.items()))
    return engine.compiler, engine.compute_capabilities, shapes, engine.graph_sha256
