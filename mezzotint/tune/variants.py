"""The graphs that a search may choose from: the bundle's own, its profiles', and those of other bundles."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.profile import VARIANTS
from mezzotint.errors import MezzotintError


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A bundle and what it is called here; the bundle's own graphs lie where they lay."""

    name: str
    bundle: Bundle
    is_own: bool = False

    @property
    def graphs_sha256(self) -> str:
        """Of all files of its graphs."""
        return graphs_sha256(self.bundle)

    @property
    def has_shallow(self) -> bool:
        """Whether calls may run a part of its denoiser."""
        return any(one.shallow is not None for one in self.bundle.manifest.components.values())


def graphs_sha256(bundle: Bundle) -> str:
    """Of all files of the bundle's graphs."""
    digest = hashlib.sha256()
    for component in bundle.manifest.components.values():
        for entry in component.files:
            digest.update(entry.sha256.encode())
    return digest.hexdigest()


def variants_of(bundle: Bundle, others: Sequence[Path]) -> tuple[Variant, ...]:
    """The bundle's own graphs first; of equal graphs one, and each with a name of its own.

    MezzotintError for another bundle that is not of the same weights.
    """
    found: dict[str, Variant] = {}
    for one in (Variant(name="own", bundle=bundle, is_own=True), *_kept(bundle), *_given(bundle, others)):
        graphs = one.graphs_sha256
        if graphs not in {other.graphs_sha256 for other in found.values()}:
            name = one.name if one.name not in found else f"{one.name[:33]}-{graphs[:6]}"
            found[name] = replace(one, name=name)
    return tuple(found.values())


def _kept(bundle: Bundle) -> Iterator[Variant]:
    """Of profiles that there are."""
    for name in dict.fromkeys(profile.variant for profile in bundle.manifest.profiles.values()):
        if name is not None:
            yield Variant(name=name, bundle=Bundle.open(bundle.path / VARIANTS / name))


def _given(bundle: Bundle, others: Sequence[Path]) -> Iterator[Variant]:
    for path in others:
        other = Bundle.open(path)
        check_same_weights(bundle, other)
        yield Variant(name=variant_name(path), bundle=other)


def check_same_weights(bundle: Bundle, other: Bundle) -> None:
    """MezzotintError where `other` was not made from what `bundle` was."""
    manifests = (bundle.manifest, other.manifest)
    ours, theirs = ((one.family, one.source.sha256, one.replaced, one.fused) for one in manifests)
    if ours != theirs:
        raise MezzotintError(
            where=other.path,
            what=f"it is not of the same weights as {bundle.path}",
            advice="give bundles of the same checkpoint",
        )


def variant_name(path: Path) -> str:
    """The name of a bundle's folder, in the letters that a profile's variant may have."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", path.absolute().name.lower()).strip("._-")[:40]
    return plain or "graphs"
