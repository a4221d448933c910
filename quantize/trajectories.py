"""Calibration data: what the UNet is really asked, over every step of the schedule and both guidance halves.

Trajectories are run once through the runtime's own sampler; only the latents before each step are kept (they are
small). `guided_calls` then draws a stratified, seeded sample of UNet calls from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mezzotint.runtime import TextToImage
from mezzotint.runtime.arrays import Array, FloatArray
from mezzotint.runtime.denoiser import Conditioning, Denoiser
from mezzotint.runtime.geometry import Geometry
from mezzotint.runtime.noise_batch import BatchNoise
from mezzotint.runtime.progress import Progress, silent
from mezzotint.runtime.samplers import find_sampler

__all__ = ["CalibrationSettings", "Call", "Trajectories", "decoder_calls", "guided_calls", "run_trajectories"]


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
    """Latents before each step, the steps' timesteps, the prompts' embeddings, and where each trajectory ended."""

    latents: FloatArray  # (P, S, 4, h, w)
    timesteps: Array  # (S,)
    positive: FloatArray  # (P, tokens, width)
    negative: FloatArray  # (1, tokens, width): the empty prompt
    final: FloatArray  # (P, 4, h, w)


@dataclass(frozen=True)
class Call:
    """One call of a graph: its inputs, and the step of the schedule that it belongs to (0 where there are none)."""

    step: int
    feeds: dict[str, Array]


class _Recorder:
    """A denoiser that keeps the latents, as the UNet sees them, of every call."""

    def __init__(self, denoiser: Denoiser) -> None:
        self._denoiser = denoiser
        self.latents: list[FloatArray] = []

    def __call__(self, x: FloatArray, sigma: float) -> FloatArray:
        self.latents.append((x / np.sqrt(1.0 + sigma * sigma)).astype(np.float32))
        return self._denoiser(x, sigma)


def run_trajectories(
    pipe: TextToImage, prompts: Sequence[str], settings: CalibrationSettings, progress: Progress = silent
) -> Trajectories:
    """Draw every prompt once, keeping the latents before each step. Seeds are `settings.seed + i`."""
    sampler = find_sampler(settings.scheduler)
    schedule = sampler.schedule(pipe.config, settings.steps)
    positive, negative = pipe.encode(list(prompts)), pipe.encode([""])
    latents: list[FloatArray] = []
    final: list[FloatArray] = []
    for index in range(len(prompts)):
        progress("running calibration trajectories", index, len(prompts))
        conditioning = Conditioning(positive[index : index + 1], negative, settings.guidance)
        recorder = _Recorder(Denoiser(pipe.sessions["unet"], pipe.config, schedule, conditioning))
        noise = BatchNoise.seeded("torch", settings.seed + index, 1, pipe.geometry.latent_shape())
        start = noise() * np.float32(schedule.initial_scale)
        final.append(schedule.final_latents(sampler.sample(recorder, start, schedule, noise=noise)))
        latents.append(np.concatenate(recorder.latents))  # (S, 4, h, w)
    return Trajectories(
        latents=np.stack(latents),
        timesteps=schedule.timesteps,
        positive=positive,
        negative=negative,
        final=np.concatenate(final),
    )


def guided_calls(trajectories: Trajectories, count: int, seed: int) -> list[Call]:
    """`count` UNet calls of batch 2, the negative half first; steps are covered alike, prompts in a seeded order."""
    prompts, steps = trajectories.latents.shape[:2]
    order = np.random.default_rng(seed).permutation(prompts)
    return [_guided_call(trajectories, int(order[index % prompts]), index % steps) for index in range(count)]


def _guided_call(trajectories: Trajectories, prompt: int, step: int) -> Call:
    latents = trajectories.latents[prompt, step][np.newaxis]  # (1, 4, h, w)
    embeddings = np.concatenate([trajectories.negative, trajectories.positive[prompt : prompt + 1]])
    feeds = {
        "sample": np.concatenate([latents, latents]),
        "timestep": np.asarray(trajectories.timesteps[step], dtype=np.float32),
        "encoder_hidden_states": embeddings,  # (2, tokens, width)
    }
    return Call(step, feeds)


def decoder_calls(trajectories: Trajectories, geometry: Geometry, count: int, seed: int) -> list[Call]:
    """`count` VAE decoder calls of batch 1 on final latents, in a seeded order."""
    order = np.random.default_rng(seed).permutation(len(trajectories.final))
    chosen = [trajectories.final[order[index % len(order)]][np.newaxis] for index in range(count)]  # (1, 4, h, w)
    return [
        Call(0, {"latent_sample": (latents / geometry.scaling_factor + geometry.shift_factor).astype(np.float32)})
        for latents in chosen
    ]
