"""What some models are told of the image that is to be made, besides its text (Podell et al. 2023, section 2.2).

SDXL was trained on images of every size, cropped as batches need it, and was told of both: how large the image once
was, where it was cut, and how large it became. Its refiner was told how much people liked it instead of the last.
Pairs are (height, width) or (top, left), in pixels, as in diffusers.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class MicroConditioning:
    """What a call says of its image; None is what the family says of its own accord."""

    original_size: Pair | None = None
    crops_coords_top_left: Pair | None = None
    target_size: Pair | None = None
    aesthetic_score: float | None = None  # from 1 to 10, as raters of LAION gave it


NOTHING_SAID: Final = MicroConditioning()
