"""What diffusers generates, as the oracle of whole images: its three pipelines on one checkpoint, in FP32."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch

from mezzotint.arrays import Array
from tests.runtime.scheduler_oracle import ORACLES

__all__ = ["DiffusersImages"]


class DiffusersImages:
    """The pipelines of one checkpoint, with some of its `parts` exchanged for others.

    Every call returns pixels (1, H, W, 3) in [0, 1].
    """

    def __init__(self, checkpoint: Path, **parts: Any) -> None:
        text = diffusers.StableDiffusionPipeline.from_pretrained(checkpoint, **parts).to(torch.float32)
        own = {**text.components, "requires_safety_checker": False}
        self._scheduler = text.scheduler.config
        self._pipes: dict[str, Any] = {
            "text": text,
            "image": diffusers.StableDiffusionImg2ImgPipeline(**own),
            "inpaint": diffusers.StableDiffusionInpaintPipeline(**own),
        }
        for pipe in self._pipes.values():
            pipe.set_progress_bar_config(disable=True)

    def text(self, prompt: str, **options: Any) -> Array:
        return self._generate("text", prompt, **options)

    def image(self, prompt: str, image: Any, **options: Any) -> Array:
        return self._generate("image", prompt, image=image, **options)

    def inpaint(self, prompt: str, image: Any, mask: Any, **options: Any) -> Array:
        size = {"height": image.height, "width": image.width}
        return self._generate("inpaint", prompt, image=image, mask_image=mask, **{**size, **options})

    def _generate(
        self,
        kind: str,
        prompt: str,
        *,
        scheduler: str = "ddim",
        steps: int,
        guidance: float = 5.0,
        seed: int,
        **options: Any,
    ) -> Array:
        pipe = self._pipes[kind]
        pipe.scheduler = ORACLES[scheduler].from_config(self._scheduler)
        generator = torch.Generator().manual_seed(seed)
        generated = pipe(
            prompt,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generator,
            output_type="np",
            **options,
        )
        pixels: Array = generated.images
        return pixels


Generate = Callable[..., Array]
