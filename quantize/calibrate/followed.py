"""ControlNets and T2I-adapters in a calibration: which of them each run follows, what they see, what the denoiser adds.

What it adds weighs a hundred times what it is fed besides, so that it is not kept: a call has it computed again, in
FP32, when somebody asks for it.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Final

from PIL import Image

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Compute
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import fastest_engine
from mezzotint.engines.session import Session
from mezzotint.families.control import adapter_feeds, control_call
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.families.residuals import is_residual, zero_residuals
from mezzotint.runtime import Bundle, Control, Settings, canny
from mezzotint.runtime.controlling import control_pixels

from .reference_images import reference_image

SOURCE: Final = "the edges of random discs, and the discs in grey"
"""What ControlNets and T2I-adapters see in a calibration, for the manifest."""

REVISION: Final = 1  # of which runs follow what
_MOST_BYTES = 1 << 30  # of what denoisers add, kept for whoever asks again


@dataclass(frozen=True, kw_only=True)
class Followed:
    """The ControlNets and T2I-adapters that one run follows, by name, and the seed of the image that they see."""

    names: tuple[str, ...] = ()
    seed: int = 0

    def image(self, height: int, width: int) -> Image.Image:
        """What they see, in so many pixels: edges with even seeds, an image in grey with odd ones."""
        discs = reference_image(self.seed, height, width)
        return discs.convert("L").convert("RGB") if self.seed % 2 else canny(discs)

    def settings(self, run: Settings, height: int, width: int) -> tuple[Settings, tuple[Image.Image, ...]]:
        """Those of a run that follows them, and an image for each."""
        image = self.image(height, width)
        uses = tuple(Control(name=name, image=image).use() for name in self.names)
        return replace(run, controls=uses), (image,) * len(uses)


NOTHING_FOLLOWED: Final = Followed()


def followed_by(bundle: Bundle, number: int, seed: int) -> Followed:
    """What the run of that number follows: each control alone in turn, all where there are several, and nothing."""
    names = [one.name for one in bundle.manifest.controls]
    together = [tuple(names)] if len(names) > 1 else []
    turns: list[tuple[str, ...]] = [*((name,) for name in names), *together, ()]
    return Followed(names=turns[number % len(turns)], seed=seed)


def control_key(bundle: Bundle) -> dict[str, object]:
    """What a cache has to tell one calibration from another by; nothing where there are no controls."""
    return {"followed": REVISION} if bundle.manifest.controls else {}


def seen_by(bundle: Bundle, component: str, feeds: Mapping[str, Array], followed: Followed) -> dict[str, Array]:
    """What the ControlNet or T2I-adapter `component` is fed beside a denoiser that is fed `feeds`."""
    own = bundle.component(component)
    family, factor = family_of(bundle), geometry_of(bundle).vae_factor
    height, width = feeds[bundle.component(family.denoiser).inputs[0].name].shape[2:]
    size = height * factor, width * factor
    pixels = control_pixels(followed.image(*size), own, *size)
    return (
        adapter_feeds(pixels, own) if family.role(component) is Role.T2I_ADAPTER else control_call(feeds, pixels, own)
    )


def components_of(bundle: Bundle, followed: Followed) -> list[str]:
    """The components that a run follows."""
    return [one.component for one in bundle.manifest.controls if one.name in followed.names]


class ToldFeeds(Mapping[str, Array]):
    """A denoiser's feeds without what it adds, and with it when it is asked for."""

    def __init__(self, own: Mapping[str, Array], followed: Followed, number: int, residuals: "Residuals") -> None:
        self._own = own
        self._followed = followed
        self._number = number
        self._residuals = residuals

    def __getitem__(self, name: str) -> Array:
        if not is_residual(name):
            return self._own[name]
        return self._residuals.of(self._number, self._own, self._followed)[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._residuals.names

    def __len__(self) -> int:
        return len(self._own) + len(self._residuals.names)


class Residuals:
    """What the denoiser of `bundle` adds, call by call; those that were asked for last are kept, up to a gigabyte."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._denoiser = bundle.component(family_of(bundle).denoiser)
        self.names: Sequence[str] = [spec.name for spec in self._denoiser.inputs if is_residual(spec.name)]
        self._kept: OrderedDict[int, dict[str, Array]] = OrderedDict()
        self._session = cache(partial(_open, bundle))

    def of(self, number: int, feeds: Mapping[str, Array], followed: Followed) -> Mapping[str, Array]:
        """By name, for the call of that number, which is fed `feeds` besides."""
        if number not in self._kept:
            self._kept[number] = self._computed(feeds, followed)
            while len(self._kept) > 1 and _bytes(self._kept) > _MOST_BYTES:
                self._kept.popitem(last=False)
        return self._kept[number]

    def _computed(self, feeds: Mapping[str, Array], followed: Followed) -> dict[str, Array]:
        sample = feeds[self._denoiser.inputs[0].name]
        total = zero_residuals(self._denoiser, len(sample), *sample.shape[2:])
        for component in components_of(self._bundle, followed):
            said = self._session(component).run(seen_by(self._bundle, component, feeds, followed))
            total |= {name: total[name] + array for name, array in said.items()}
        return total


def _bytes(kept: Mapping[int, Mapping[str, Array]]) -> int:
    return sum(array.nbytes for one in kept.values() for array in one.values())


def _open(bundle: Bundle, component: str) -> Session:
    own: Component = bundle.component(component)
    engine = fastest_engine(own)[0]
    return Session.open(component, bundle.graph_path(component), own, engine, EngineOptions(Compute.F32))
