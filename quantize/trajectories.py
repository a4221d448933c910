"""Calibration data: what the UNet is really asked, over every step of the schedule and both guidance halves.

Trajectories are run once through the runtime's own sampler; only the latents before each step are kept (they are small).
`guided_calls` then draws a stratified, seeded sample of UNet calls from them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mezzotint.runtime import TextToImage
from mezzotint.runtime.arrays import Array, FloatArray
from mezzotint.runtime.denoiser import Conditioning, Denoiser
from mezzotint.runtime.noise import torch_normal
from mezzotint.runtime.progress import Progress, silent
from mezzotint.runtime.samplers import find_sampler

__all__ = ["CalibrationSettings", "GuidedCall", "Trajectories", "guided_calls", "run_trajectories"]


@dataclass(frozen=True)
class CalibrationSettings:
    """The schedule to calibrate for, and how many guided UNet calls the statistics are taken from."""

    scheduler: str = "ddim"
    steps: int = 25
    guidance: float = 5.0
    calls: int = 128
    seed: int = 0


@dataclass(frozen=True)
class Trajectories:
    """`latents` (P, S, 4, h, w) before each step, `timesteps` (S,), text embeddings (P, tokens, width), final (P, 4, h, w)."""

    latents: FloatArray
    timesteps: Array
    positive: FloatArray
    negative: FloatArray  # (1, tokens, width): the empty prompt
    final: FloatArray
    prompts_sha256: str


@dataclass(frozen=True)
class GuidedCall:
    """One guided UNet call, batch 2: the negative half first."""

    step: int
    feeds: dict[str, Array]


def run_trajectories(
    pipe: TextToImage, prompts: Sequence[str], settings: CalibrationSettings, progress: Progress = silent
) -> Trajectories:
    """Draw every prompt once, keeping the latents before each step. Seeds are `settings.seed + i`."""
    sampler = find_sampler(settings.scheduler)
    schedule = sampler.schedule(pipe.config, settings.steps)
    positive, negative = pipe.encode(list(prompts)), pipe.encode([""])
    shape = (1, *pipe.geometry.latent_shape())
    latents, final = [], []
    for index in range(len(prompts)):
        progress("running calibration trajectories", index, len(prompts))
        conditioning = Conditioning(positive[index : index + 1], negative, settings.guidance)
        denoiser = Denoiser(pipe.sessions["unet"], pipe.config, schedule, conditioning)
        seen: list[FloatArray] = []

        def denoise(x: FloatArray, sigma: float, denoiser: Denoiser = denoiser, seen: list[FloatArray] = seen) -> FloatArray:
            seen.append((x / np.sqrt(1.0 + sigma * sigma)).astype(np.float32))
            return denoiser(x, sigma)

        noise = torch_normal(shape, settings.seed + index) * np.float32(schedule.initial_scale)
        final.append(schedule.final_latents(sampler.sample(denoise, noise, schedule.sigma_pairs)))
        latents.append(np.concatenate(seen))  # (S, 4, h, w)
    return Trajectories(
        latents=np.stack(latents),
        timesteps=schedule.timesteps,
        positive=positive,
        negative=negative,
        final=np.concatenate(final),
        prompts_sha256=hashlib.sha256("\n".join(prompts).encode()).hexdigest(),
    )


def guided_calls(trajectories: Trajectories, count: int, seed: int) -> list[GuidedCall]:
    """`count` calls: step i mod S, so that every step is covered alike, and prompts in a seeded random order."""
    prompts, steps = trajectories.latents.shape[:2]
    order = np.random.default_rng(seed).permutation(prompts)
    return [_guided_call(trajectories, int(order[index % prompts]), index % steps) for index in range(count)]


def _guided_call(trajectories: Trajectories, prompt: int, step: int) -> GuidedCall:
    latents = trajectories.latents[prompt, step][np.newaxis]  # (1, 4, h, w)
    embeddings = np.concatenate([trajectories.negative, trajectories.positive[prompt : prompt + 1]])
    feeds = {
        "sample": np.concatenate([latents, latents]),
        "timestep": np.asarray(trajectories.timesteps[step], dtype=np.float32),
        "encoder_hidden_states": embeddings,  # (2, tokens, width)
    }
    return GuidedCall(step, feeds)
