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
from mezzotint.runtime.samplers import find_sampler
from mezzotint.runtime.session import Session

__all__ = [
    "CalibrationSettings",
    "Call",
    "Trajectories",
    "decoder_calls",
    "guided_calls",
    "join",
    "run_trajectory",
    "spread",
]


@dataclass(frozen=True)
class CalibrationSettings:
    """The schedule to calibrate for, how many prompts to draw, and how many guided UNet calls are looked at."""

    scheduler: str = "ddim"
    steps: int = 25
    guidance: float = 5.0
    trajectories: int = 32
    calls: int = 128
    seed: int = 0


@dataclass(frozen=True)
class Trajectories:
    """Latents and timestep of each UNet call, the prompts' embeddings, and where each trajectory ended.

    S counts calls: samplers of higher order make more than one a step.
    """

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
    """A denoiser that keeps the latents and timestep, as the UNet sees them, of every call."""

    def __init__(self, denoiser: Denoiser) -> None:
        self._denoiser = denoiser
        self.latents: list[FloatArray] = []
        self.timesteps: list[float] = []

    def __call__(self, x: FloatArray, sigma: float) -> FloatArray:
        schedule = self._denoiser.schedule
        self.latents.append((x / schedule.model_scale(sigma)).astype(np.float32))
        self.timesteps.append(schedule.timestep_at(sigma))
        return self._denoiser(x, sigma)


def run_trajectory(
    pipe: TextToImage,
    unet: Session,
    positive: FloatArray,
    negative: FloatArray,
    index: int,
    settings: CalibrationSettings,
) -> Trajectories:
    """Draw one prompt on `unet` with the seed `settings.seed + index`, keeping the latents before each step.

    `positive` and `negative` (1, tokens, width) are the embeddings of the prompt and of the empty one.
    """
    sampler = find_sampler(settings.scheduler)
    schedule = sampler.schedule(pipe.config, settings.steps)
    conditioning = Conditioning(positive, negative, settings.guidance)
    recorder = _Recorder(Denoiser(unet, pipe.config, schedule, conditioning))
    noise = BatchNoise.seeded("torch", settings.seed + index, 1, pipe.geometry.latent_shape())
    start = noise() * np.float32(schedule.initial_scale)
    final = schedule.final_latents(sampler.sample(recorder, start, schedule, noise=noise))
    latents = np.concatenate(recorder.latents)[np.newaxis]  # (1, S, 4, h, w)
    return Trajectories(latents, np.array(recorder.timesteps), positive, negative, final)


def join(parts: Sequence[Trajectories]) -> Trajectories:
    """The trajectories of several prompts on one schedule as one."""
    return Trajectories(
        latents=np.concatenate([part.latents for part in parts]),
        timesteps=parts[0].timesteps,
        positive=np.concatenate([part.positive for part in parts]),
        negative=parts[0].negative,
        final=np.concatenate([part.final for part in parts]),
    )


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` indices spread evenly over `count`; all of them where there are no more."""
    if count <= wanted:
        return list(range(count))
    return [int(place) for place in np.arange(wanted) * count // wanted]


def guided_calls(trajectories: Trajectories, count: int, seed: int) -> list[Call]:
    """`count` UNet calls of batch 2, the negative half first; steps are covered alike, prompts in a seeded order."""
    prompts, steps = trajectories.latents.shape[:2]
    order = np.random.default_rng(seed).permutation(prompts)
    return [
        _guided_call(trajectories, int(order[(index + index // steps) % prompts]), index % steps)
        for index in range(count)
    ]


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
