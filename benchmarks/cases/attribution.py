"""Attribution: which component costs how much fidelity, by quantizing each alone.

Such a case is a mixture: a bundle with one component of the quantized bundle and the others of the FP32 one. It lies in
the benchmark's work folder as hard links, so that it is loaded, hashed and generated from like any other bundle.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.manifest import MANIFEST_NAME, Manifest
from mezzotint.bundle.precision import BY_NODE, Storage
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of

from .case import Case

_ROLES = (Role.TEXT_ENCODER, Role.DENOISER, Role.IMAGE_DECODER)  # those that generate an image from a text


def attribution_cases(cases: Sequence[Case], folder: Path) -> tuple[Case, ...]:
    """For each bundle with several quantized components, one case for each of them alone; mixtures go to `folder`."""
    bundles = [(case, Bundle.open(case.source)) for case in cases if case.role == "bundle" and case.is_plain]
    base = next((bundle for _, bundle in bundles if _is_fp32(bundle)), None)
    if base is None:
        raise MezzotintError("attribution mixes each bundle with the FP32 one; name that bundle as well")
    return tuple(
        _alone(case, base, bundle, name, folder)
        for case, bundle in bundles
        for name in (_quantized(bundle) if len(_quantized(bundle)) > 1 else ())
    )


def _quantized(bundle: Bundle) -> tuple[str, ...]:
    """Of a bundle with integers in it, the components that generate an image and are not FP32; else none."""
    storages = {name: bundle.component(name).storage for name in _generating(bundle)}
    if not any(storage in (*BY_NODE, Storage.INT8_WEIGHTS) for storage in storages.values()):
        return ()
    return tuple(name for name, storage in storages.items() if storage != Storage.FLOAT32)


def _generating(bundle: Bundle) -> tuple[str, ...]:
    return tuple(name for name, role in family_of(bundle).components.items() if role in _ROLES)


def _is_fp32(bundle: Bundle) -> bool:
    return all(bundle.component(name).storage == Storage.FLOAT32 for name in _generating(bundle))


def _alone(case: Case, base: Bundle, bundle: Bundle, name: str, folder: Path) -> Case:
    named = replace(case, name=f"{case.name}.{name}-alone", quantized=(name,))
    return replace(named, source=str(make_mixture(base, bundle, (name,), folder / named.name)))


def make_mixture(base: Bundle, other: Bundle, names: Sequence[str], folder: Path) -> Path:
    """A bundle in `folder` with the components `names` of `other` and all else of `base`; the folder itself.

    It runs where `other` runs. What lies in `folder` is replaced when it is not this very mixture.
    """
    components = {
        name: replace((other if name in names else base).component(name), engines=())
        for name in base.manifest.components
        if name in other.manifest.components
    }
    manifest = replace(other.manifest, components=components, files=base.manifest.files)
    if (folder / MANIFEST_NAME).is_file() and _is_as(folder, manifest):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for name, component in components.items():
        for entry in component.files:
            _link((other if name in names else base).path / entry.path, folder / entry.path)
    for entry in manifest.files:
        _link(base.path / entry.path, folder / entry.path)
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return folder


def _is_as(folder: Path, manifest: Manifest) -> bool:
    try:
        return Bundle.open(folder).manifest.to_json() == manifest.to_json()
    except MezzotintError:
        return False


def _link(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), destination)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, destination)
