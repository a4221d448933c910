"""The sixth stage: every picture on every background, encoded once, since the autoencoder no longer changes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL

from mezzotint.arrays import FloatArray
from mezzotint.atomic_file import atomic_path
from mezzotint.benchmarks.metrics.gallery import compose
from mezzotint.progress import Progress

from .config import BACKGROUNDS
from .pictures import load_pictures
from .precision import autocast
from .workspace import Workspace

_BATCH = 64


@dataclass(frozen=True, eq=False)
class Latents:
    """`scaled` (N, K, 4, h, w): picture i on the background k, times `scaling_factor`, which makes their variance 1."""

    scaled: npt.NDArray[np.float16]
    scaling_factor: float


def cache_latents(workspace: Workspace, progress: Progress) -> None:
    """Write the means of the encoder's distributions; a distribution's width is next to nothing.

    What is done of one background stays on disk until all are, so that a killed stage need not begin again.
    """
    pictures = load_pictures(workspace.pictures)
    model = AutoencoderKL.from_pretrained(workspace.autoencoder, local_files_only=True).eval()
    model.to(memory_format=torch.channels_last)
    parts = [workspace.latents.with_name(f"latents.{background}.npy") for background in BACKGROUNDS]
    for index, (part, colour) in enumerate(zip(parts, BACKGROUNDS.values(), strict=True)):
        progress("encoding pictures", index, len(parts))
        if not part.exists():
            means = _encode(model, pictures.rgba, np.array(colour, dtype=np.float32) / np.float32(255.0))
            with atomic_path(part) as partial, partial.open("wb") as file:
                np.save(file, means)
    means = np.stack([np.load(part) for part in parts], axis=1)  # (N, K, 4, h, w)
    factor = 1.0 / float(means.std(dtype=np.float64))
    with atomic_path(workspace.latents) as partial, partial.open("wb") as file:
        np.savez(file, scaled=(means * factor).astype(np.float16), scaling_factor=factor)
    for part in parts:
        part.unlink()


def _encode(model: Any, rgba: npt.NDArray[np.uint8], colour: FloatArray) -> FloatArray:
    """(N, 4, h, w) of all pictures on one colour (3,)."""
    parts = []
    for start in range(0, len(rgba), _BATCH):
        batch = rgba[start : start + _BATCH]
        pixels = torch.from_numpy(compose(batch, colour)).permute(0, 3, 1, 2)
        with torch.inference_mode(), autocast():
            parts.append(model.encode(2.0 * pixels - 1.0).latent_dist.mode().float().numpy())
    return np.concatenate(parts)


def load_latents(path: Path) -> Latents:
    """What `cache_latents` wrote."""
    with np.load(path) as data:
        return Latents(data["scaled"], float(data["scaling_factor"]))
