"""`mezzotint build`: engines of TensorRT-RTX, compiled ahead of time and put beside the graphs of a bundle."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mezzotint.atomic_file import atomic_path, write_text
from mezzotint.bundle.bundle import Bundle, file_entry
from mezzotint.bundle.manifest import MANIFEST_NAME, BuiltEngine, Component
from mezzotint.engines.rtx.builder import build_engine
from mezzotint.engines.rtx.library import builder_version, check_capabilities
from mezzotint.engines.rtx.prebuilt import ENGINE_SUFFIX, compiler_name, graph_hashes, trust
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent

from .verify.audit_tensorrt import check_kernels
from .verify.image_shapes import image_shapes

ENGINES_FOLDER = "engines"  # in a component's
_TARGETS = ("portable", "tensorrt")


@dataclass(frozen=True, kw_only=True)
class BuildSize:
    """What engines are compiled for: `count` images at once, of so many pixels; None is the bundle's own size."""

    count: int = 1
    height: int | None = None
    width: int | None = None


def build_engines(
    bundle: Bundle, capabilities: Sequence[str], size: BuildSize, *, progress: Progress = silent
) -> Bundle:
    """Compile every graph that generates an image for `capabilities`, and note the engines in the bundle's manifest.

    An engine of the same graph, shapes, capabilities and compiler takes the place of the one that was there; others
    stay, but for those of other graphs. Everything is compiled before anything is written, and the manifest last.
    Raises MezzotintError for a capability or size that cannot be, and for a bundle of another target; CheckFailed for a
    graph that the compiler refuses.
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
    components = dict(bundle.manifest.components)
    for index, name in enumerate(names):
        progress(f"compiling {name}", index, len(names))
        built = _build(bundle, name, capabilities, size)
        trust(built.file.sha256)
        components[name] = with_engine(components[name], built)
    _remove_others(bundle, components)
    manifest = replace(bundle.manifest, components=components)
    write_text(bundle.path / MANIFEST_NAME, manifest.to_json())
    return Bundle.open(bundle.path)


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
    shapes = image_shapes(bundle, name, count=size.count, height=size.height, width=size.width)
    built = build_engine(bundle.graph_path(name), shapes, capabilities)
    component = bundle.component(name)
    key = (*graph_hashes(component), repr(sorted(shapes.items())), *capabilities, builder_version())
    file = f"{name}/{ENGINES_FOLDER}/{hashlib.sha256('|'.join(key).encode()).hexdigest()[:16]}{ENGINE_SUFFIX}"
    path = bundle.path / file
    path.parent.mkdir(exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_bytes(built.plan)
    return BuiltEngine(
        file=file_entry(bundle.path, file),
        compiler=compiler_name(builder_version()),
        compute_capabilities=tuple(capabilities),
        shapes=shapes,
        graph_sha256=graph_hashes(component),
    )


def _remove_others(bundle: Bundle, components: dict[str, Component]) -> None:
    """Delete the files of engines that the manifest will not name any more."""
    named = {engine.file.path for component in components.values() for engine in component.engines}
    for component in bundle.manifest.components.values():
        for engine in component.engines:
            if engine.file.path not in named:
                (bundle.path / engine.file.path).unlink(missing_ok=True)


def _key(engine: BuiltEngine) -> tuple[object, ...]:
    shapes = tuple(sorted(engine.shapes.items()))
    return engine.compiler, engine.compute_capabilities, shapes, engine.graph_sha256
