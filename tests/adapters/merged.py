"""A checkpoint's models with adapters merged by torch: what diffusers' pipelines are then given, as the oracle."""

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from mezzotint.arrays import Array
from tests.adapters.made import Made, module_weights
from tests.runtime.diffusers_images import DiffusersImages

__all__ = ["Merged", "gentle"]


class Merged:
    """A checkpoint's UNet and text encoder, into which torch merges adapters."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.unet: Any = UNet2DConditionModel.from_pretrained(checkpoint / "unet")
        self.text_encoder: Any = CLIPTextModel.from_pretrained(checkpoint / "text_encoder")

    def shapes(self, part: str) -> dict[str, tuple[int, ...]]:
        return {name: tuple(weight.shape) for name, weight in module_weights(getattr(self, part)).items()}

    def merge(self, part: str, made: dict[str, Made], scale: float) -> None:
        weights = module_weights(getattr(self, part))
        with torch.no_grad():
            for name, one in made.items():
                weights[name].copy_(one.merged(weights[name], scale))

    def image(self, prompt: str, **options: Any) -> Array:
        """What diffusers generates with them."""
        oracle = DiffusersImages(self.checkpoint, unet=self.unet, text_encoder=self.text_encoder)
        return oracle.text(prompt, **options)


_LINEAR = ("lora_up.weight", "hada_w1_a", "lokr_w2", "lokr_w2_a", "diff")  # one factor of each form
_GENTLE = 0.1


def gentle(made: dict[str, Made]) -> dict[str, Made]:
    """With one factor of each so small that little changes: images stay images."""
    found: dict[str, Made] = {}
    for name, one in made.items():
        (linear,) = [kind for kind in _LINEAR if kind in one.factors]
        found[name] = type(one)({**one.factors, linear: one.factors[linear] * _GENTLE}, one.delta * _GENTLE)
    return found
