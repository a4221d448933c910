"""An order: all that a job generates, so that whoever makes it knows nothing of APIs, clients or queues."""

from dataclasses import dataclass, replace
from enum import StrEnum

from mezzotint.runtime import Settings

from .masking import Masking


class Kind(StrEnum):
    """What an order starts from."""

    TEXT = "text"
    IMAGE = "image"
    INPAINT = "inpaint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Images to generate: `settings` of each, which differ in prompts and seeds alone, made `batch` at a time.

    `image` and `mask` are files of images, as they were sent; `masking` and `resize` say what is done with them first
    (masking.py, resizing.py). The results are files of the kind `format`, and `quality` is that of lossy ones.
    `partials` images are decoded on the way, at equal distances; `has_previews` says whether small ones are wanted.
    """

    settings: tuple[Settings, ...]
    batch: int = 1
    image: bytes | None = None
    mask: bytes | None = None
    masking: Masking | None = None
    resize: str = "stretch"
    format: str = "png"
    quality: int = 95
    partials: int = 0
    has_previews: bool = True

    @property
    def kind(self) -> Kind:
        """What it starts from."""
        return Kind.TEXT if self.image is None else Kind.IMAGE if self.mask is None else Kind.INPAINT

    def batches(self) -> tuple[tuple[Settings, ...], ...]:
        """The settings of each run; the runs follow each other."""
        starts = range(0, len(self.settings), self.batch)
        return tuple(self.settings[start : start + self.batch] for start in starts)

    def without_files(self) -> "Order":
        """What is still to be known of it when it is over: files that were sent are empty."""
        return self if self.image is None else replace(self, image=b"", mask=self.mask and b"")

    @property
    def shape(self) -> tuple[object, ...]:
        """Orders of one shape run on the same compiled graphs; None is the checkpoint's own."""
        first = self.settings[0]
        is_guided = first.guidance is None or first.guidance > 1.0
        return (first.height, first.width, min(self.batch, len(self.settings)), is_guided)
