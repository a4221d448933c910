"""diffusers' own `load_lora_weights` as the oracle, where PEFT is installed, which it needs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline

from mezzotint.adapters.fit import fit_adapter
from tests.adapters.made import Made, kohya, make, save
from tests.adapters.merged import Merged

ENDS = {
    "lora_up.weight": ".lora_B.weight",
    "lora_down.weight": ".lora_A.weight",
    "dora_scale": ".lora_magnitude_vector",
}
PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_"}


def written(path: Path, style: str, models: Merged) -> Path:
    """A file of the modules that diffusers' converter knows, in kohya's names or its own.

    DoRA is of the UNet's attention in diffusers' names: of files in kohya's it drops the magnitudes, with a warning.
    """
    made: dict[str, Made] = {}
    parts: dict[str, str] = {}
    for part in PREFIXES if style != "dora" else ("unet",):
        known = {
            name: shape
            for name, shape in models.shapes(part).items()
            if part != "unet" or "attn" in name or ("resnets" in name and style != "dora")
        }
        own = make({"kohya": "lora", "dora": "dora"}.get(style, "lora without alpha"), known)
        made |= own
        parts |= dict.fromkeys(own, part)
    if style == "kohya":
        return save(path, made, lambda name: kohya(PREFIXES[parts[name]])(name))
    for one in made.values():
        one.factors.pop("alpha", None)
        if style == "dora":
            one.factors["dora_scale"] = one.factors["dora_scale"].flatten()
    return save(path, made, lambda name: f"{parts[name]}.{name}", lambda kind: ENDS[kind])


@pytest.mark.parametrize("style", ["kohya", "diffusers", "dora"])
def test_weights_are_those_of_diffusers(style: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    models = Merged(tiny_checkpoint)
    file = written(tmp_path / "one.safetensors", style, models)
    pipe: Any = StableDiffusionPipeline.from_pretrained(tiny_checkpoint)
    before = {part: dict(getattr(models, part).named_parameters()) for part in PREFIXES}
    pipe.load_lora_weights(str(file.parent), weight_name=file.name)
    pipe.fuse_lora(lora_scale=1.0)
    pipe.unload_lora_weights()
    shapes = {part: {f"{name}.weight": shape for name, shape in models.shapes(part).items()} for part in PREFIXES}
    for target, change in fit_adapter(file, shapes, "it").changes.items():
        weight = before[target.part][target.weight].detach().numpy()
        expected = dict(getattr(pipe, target.part).named_parameters())[target.weight].detach().numpy()
        moved = np.abs(expected - weight).max()
        assert moved > 0
        assert np.abs(change.merged(weight, 1.0) - expected).max() < 1e-4 * moved, target
