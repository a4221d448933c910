"""Which models there are: the bundles that were named, and those in folders. Requests look names up, no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.manifest import MANIFEST_NAME
from mezzotint.errors import MezzotintError

from .model import Model


class UnknownModel(MezzotintError):  # noqa: N818 -- it says what happened
    """A request names a model that there is not."""


@dataclass(frozen=True)
class Registry:
    """Models by name, and the sentence of each bundle that does not open."""

    models: Mapping[str, Model]
    default: str
    broken: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def scan(cls, places: Sequence[Path], default: str | None = None) -> "Registry":
        """The bundles at `places`, each a bundle or a folder of some, and their profiles; the default is the first.

        MezzotintError where there is none, where two have one name, and for a default that there is not.
        """
        found: dict[str, Model] = {}
        broken: dict[str, str] = {}
        for folder in [inner for place in places for inner in _bundles_at(place)]:
            name = folder.absolute().name
            if name in found or name in broken:
                raise MezzotintError(f"two bundles are called {name!r:.60}; rename one of the folders")
            try:
                bundle = Bundle.open(folder)
                _add(found, Model(name, bundle, folder))
            except MezzotintError as error:
                broken[name] = str(error)
                continue
            for profile in bundle.manifest.profiles:
                try:
                    _add(found, Model(f"{name}@{profile}", bundle.profiled(profile), folder, profile))
                except MezzotintError as error:
                    broken[f"{name}@{profile}"] = str(error)
        if not found:
            said = next(iter(broken.values()), None)
            places_read = ", ".join(str(place) for place in places)
            raise MezzotintError(said or f"{places_read} has no bundle; make one with `mezzotint optimize`")
        registry = cls(found, default or next(iter(found)), broken)
        registry.find(registry.default)
        return registry

    def find(self, name: str | None) -> Model:
        """The model of a name, a title or a hash, as clients write them; the default for None and "auto".

        UnknownModel lists the names that there are.
        """
        if name is None or name in ("", "auto"):
            return self.models[self.default]
        for model in self.models.values():
            sha256 = model.bundle.manifest.source.sha256
            if name in (model.name, model.title, model.short_hash, sha256):
                return model
        raise UnknownModel(what="the model", got=name, expected=sorted(self.models))


def _add(found: dict[str, Model], model: Model) -> None:
    """Where what a request needs of it can be read."""
    _ = model.family, model.geometry, model.scheduler
    found[model.name] = model


def _bundles_at(place: Path) -> list[Path]:
    if (place / MANIFEST_NAME).is_file():
        return [place]
    if not place.is_dir():
        raise MezzotintError(where=place, what="it is no folder", expected="a bundle, or a folder of bundles")
    return sorted(path.parent for path in place.glob(f"*/{MANIFEST_NAME}"))
