"""Shared by tests of quantized ControlNets and T2I-adapters: prompts, a short calibration, bundles, images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mezzotint.arrays import Array
from mezzotint.quantize import CalibrationSettings, quantize_bundle
from mezzotint.runtime import Bundle, TextToImage
from tests.conftest import MakeOnce

PROMPT = "a flat emoji of a red apple"
PROMPTS = (PROMPT, "a noto emoji of a cat", "a dog on a blue background", "a green leaf")
SETTINGS = CalibrationSettings(scheduler="ddim", steps=4, trajectories=4, visits=4, calls=16)

Quantize = Callable[[str, str], Bundle]


def quantizing(make_once: MakeOnce, bundle: Bundle, name: str) -> Quantize:
    """A function of recipe and target to the quantized `bundle`, each made once. Not to be written to."""

    def quantize(recipe: str, target: str) -> Bundle:
        def make(folder: Path) -> None:
            quantize_bundle(bundle.path, folder, recipe=recipe, target=target, prompts=PROMPTS, settings=SETTINGS)

        return Bundle.open(make_once(f"{name}-{recipe}-{target}", make))

    return quantize


def generated(bundle: Bundle, backend: str, precision: str | None = None, **options: Any) -> Array:
    """The pixels of PROMPT in four guided steps."""
    with TextToImage.load(bundle.path, backend=backend, precision=precision) as pipe:
        return pipe(PROMPT, **{"seed": 5, "steps": 4, "guidance": 4.0, "height": 16, "width": 16, **options}).pixels
