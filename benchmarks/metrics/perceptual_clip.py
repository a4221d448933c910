"""How well an image fits its prompt, as CLIP sees it (Hessel et al. 2021), against how well the reference's does."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mezzotint.arrays import FloatArray
from mezzotint.runtime.images.files import to_images

from .metric import Generation

_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's training


def image_clip_score_change(reference: Generation, test: Generation, weights: Path) -> float:
    """CLIP score of the case less that of the reference; `weights` is a CLIP folder that transformers loads.

    A score is 100 times the cosine of image and prompt, 0 where that is negative. Only the change is a figure of the
    case: the score itself depends on the prompts and on the checkpoint.
    """
    return _score(test, weights) - _score(reference, weights)


def _score(generation: Generation, weights: Path) -> float:
    model, tokenizer = _load(weights)
    side = int(model.config.vision_config.image_size)
    with torch.inference_mode():
        tokens = tokenizer(generation.prompt, truncation=True, return_tensors="pt")
        output = model(pixel_values=torch.from_numpy(_prepared(generation.pixels, side)), **tokens)
        cosine = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds)
    return max(100.0 * float(cosine), 0.0)


def _prepared(pixels: FloatArray, side: int) -> FloatArray:
    """(1, 3, side, side) as CLIP was trained: the shorter side resized, the middle cropped, centred and scaled."""
    image = to_images(pixels[None])[0]
    width, height = image.size
    scale = side / min(width, height)
    image = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    values = np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.float32) / 255.0
    scaled = (values - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


@cache
def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import CLIPModel, CLIPTokenizer

    model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    return model, CLIPTokenizer.from_pretrained(folder, local_files_only=True)
