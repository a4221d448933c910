"""What the style LoRA learns: the teacher's own pictures in two colours, by brightness.

The pictures are the ends of the teacher's runs, decoded, recoloured and encoded again; the loss is that of the
checkpoint's training, on the captions that the runs were of.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezzotint.arrays import FloatArray
from mezzotint.atomic_file import atomic_path
from mezzotint.progress import Progress

from ..diffusion import add_noise, alphas_cumprod, draw_timesteps, timestep_weights
from ..precision import autocast
from .plans import Style
from .teacher import load_vae
from .trajectories import Runs, claim

_BATCH = 32
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def duotone(pixels: FloatArray, style: Style) -> FloatArray:
    """Pictures (..., 3) in [0, 1], from `dark` where they are black to `light` where they are white."""
    dark, light = (np.array(colour, dtype=np.float32) / np.float32(255.0) for colour in (style.dark, style.light))
    brightness = (pixels @ _LUMA)[..., np.newaxis]
    toned: FloatArray = dark + brightness * (light - dark)
    return toned


def recolour(folder: Path, checkpoint: Path, runs: Runs, style: Style, progress: Progress) -> torch.Tensor:
    """Latents (N, 4, h, w) of the first pictures in the style; kept in `folder`."""
    claim(folder, {"style": asdict(style)})
    path = folder / "styled.npy"
    if not path.exists():
        vae, ends = load_vae(checkpoint), runs.ends[: style.pictures].float()
        parts = []
        for start in range(0, len(ends), _BATCH):
            progress("recolouring pictures", start, len(ends))
            parts.append(_recolour(vae, ends[start : start + _BATCH], style))
        progress("recolouring pictures", len(ends), len(ends))
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.save(file, torch.cat(parts).numpy().astype(np.float16))
    return torch.from_numpy(np.load(path)).float()


def _recolour(vae: Any, latents: torch.Tensor, style: Style) -> torch.Tensor:
    factor = vae.config.scaling_factor
    with torch.inference_mode():
        drawn = (vae.decode(latents / factor).sample / 2.0 + 0.5).clamp(0.0, 1.0)
        toned = torch.from_numpy(duotone(drawn.permute(0, 2, 3, 1).numpy(), style)).permute(0, 3, 1, 2)
        encoded: torch.Tensor = vae.encode(2.0 * toned.contiguous() - 1.0).latent_dist.mode() * factor
    return encoded


@dataclass(frozen=True, eq=False)
class Restyling:
    """The objective. Make one with `create`."""

    runs: Runs
    latents: torch.Tensor  # (N, 4, h, w): of the first N runs
    style: Style
    alphas: torch.Tensor  # (T,)
    weights: torch.Tensor  # (T,)

    columns = ("weighted_loss", "eps_mse")

    @classmethod
    def create(cls, runs: Runs, latents: torch.Tensor, style: Style) -> "Restyling":
        """With the weights of timesteps that the checkpoint was trained with."""
        alphas = alphas_cumprod()
        return cls(runs, latents, style, alphas, timestep_weights(alphas, style.snr_limit, style.weight_limit))

    def loss(self, unet: Any, count: int, generator: torch.Generator) -> tuple[torch.Tensor, Sequence[float]]:
        """Of a batch of `count` pictures: the weighted loss, and the figures of `columns`."""
        chosen = torch.randint(len(self.latents), (count,), generator=generator)
        latents = self.latents[chosen]
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = draw_timesteps(count, generator)
        is_empty = torch.rand(count, generator=generator) < self.style.empty_caption_share
        said = torch.where(is_empty[:, None, None], self.runs.unsaid, self.runs.said[chosen]).float()
        noisy = add_noise(latents, noise, self.alphas[timesteps]).contiguous(memory_format=torch.channels_last)
        with autocast():
            predicted = unet(noisy, timesteps, said, return_dict=False)[0]
        errors = (predicted.float() - noise).square().mean(dim=(1, 2, 3))  # (B,)
        loss = (errors * self.weights[timesteps]).mean()
        return loss, (loss.item(), errors.mean().item())
