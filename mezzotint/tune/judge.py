"""Whether images show what their prompts ask for, by a gallery of the images that a small model was trained on.

Decibels are of pixels: far below 30 a model of few concepts may still show the right one, or another one above it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mezzotint.arrays import FloatArray
from mezzotint.benchmarks.metrics.gallery import read_gallery, shows_concept
from mezzotint.benchmarks.metrics.metric import NotComputedError
from mezzotint.errors import MezzotintError

from .prompts import Prompt

Judge = Callable[[str, FloatArray], float]
"""1.0 where an image (H, W, 3) in [0, 1] shows what its prompt asks for, and else 0.0."""

GALLERY_NAME = "gallery.npz"
TOP1_CONCEPT = "top1_concept"


def open_judge(weights: Path, prompts: Sequence[Prompt]) -> Judge:
    """By `weights`/gallery.npz. MezzotintError where that cannot be read, or does not know one of `prompts`."""
    path = weights / GALLERY_NAME
    try:
        gallery = read_gallery(path)
    except NotComputedError as error:
        raise MezzotintError(
            where=path, what=str(error), advice="make one with `python -m demo.train.gallery`, or leave --weights away"
        ) from None
    unknown = [text for text, _ in prompts if text not in gallery.prompts]
    if unknown:
        raise MezzotintError(
            where=path,
            what="a prompt",
            got=unknown[0],
            expected="one of those that it was made for",
            advice="pass --prompts with these, or leave --weights away",
        )

    def judge(prompt: str, pixels: FloatArray) -> float:
        try:
            return float(shows_concept(gallery, prompt, pixels))
        except NotComputedError as error:
            raise MezzotintError(where=path, what=str(error), advice="leave --weights away") from None

    return judge
