"""Quantized bundles of the tiny checkpoint, and an adapter for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mezzotint.quantize import CalibrationSettings, quantize_bundle
from mezzotint.runtime import Bundle
from tests.adapters.made import Made, kohya, make, save
from tests.adapters.merged import Merged, gentle
from tests.conftest import MakeOnce

Quantized = Callable[[str, str], Bundle]

KINDS = [  # recipe and target; each takes seconds to make
    ("int8", "openvino"),
    pytest.param("int8", "onnxruntime", marks=pytest.mark.slow),
    pytest.param("fp16", "openvino", marks=pytest.mark.slow),
    pytest.param("fp16", "onnxruntime", marks=pytest.mark.slow),
]
LIVE_KINDS = [  # nothing is fused into 4-bit weights
    *KINDS,
    ("int4-weights", "onnxruntime"),
    pytest.param("int4-weights", "openvino", marks=pytest.mark.slow),
]


@pytest.fixture(scope="session")
def quantized(make_once: MakeOnce, tiny_bundle: Bundle) -> Quantized:
    """The tiny bundle by recipe and target, made when first asked for."""

    def quantize(recipe: str, target: str) -> Bundle:
        def make(folder: Path) -> None:
            settings = CalibrationSettings(scheduler="ddim", steps=6, trajectories=2, visits=3, calls=6)
            prompts = ["a red apple", "a green leaf"]
            quantize_bundle(tiny_bundle.path, folder, recipe=recipe, target=target, prompts=prompts, settings=settings)

        return Bundle.open(make_once(f"tiny-{recipe}-{target}-smoothed", make))

    return quantize


@pytest.fixture(scope="session")
def merged(tiny_checkpoint: Path) -> Callable[[], Merged]:
    """The tiny checkpoint's models, not changed yet."""
    return lambda: Merged(tiny_checkpoint)


def adapter(path: Path, models: Merged, form: str, scale: float = 1.0) -> Path:
    """Write an adapter of the form for both models as kohya does, and merge it into `models`."""
    made: dict[str, Made] = {}
    prefixes: dict[str, str] = {}
    for seed, (part, prefix) in enumerate((("unet", "lora_unet_"), ("text_encoder", "lora_te_"))):
        own = gentle(make(form, models.shapes(part), seed=seed))
        models.merge(part, own, scale)
        made |= own
        prefixes |= dict.fromkeys(own, prefix)
    return save(path, made, lambda module: kohya(prefixes[module])(module))
