"""Calibration data: what the UNet is really asked, over every step of the schedule and both guidance halves.

Trajectories are run once through the runtime's own sampler; only the latents before each step are kept (they are
small). Each makes some steps of the schedule and leaps over those between; together they make all. `guided_calls` then
draws a stratified, seeded sample of UNet calls from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.defaults import GUIDANCE, STEPS
from mezzotint.bundle.geometry import Geometry
from mezzotint.engines.session import Session
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.denoiser import Conditioning, Denoiser
from mezzotint.runtime.noise.batch import BatchNoise
from mezzotint.runtime.samplers.lineup import find_sampler
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.schedule import Schedule

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


@dataclass(frozen=True, kw_only=True)
class CalibrationSettings:
    """The schedule and size to calibrate for, how many prompts to draw, and how many guided UNet calls are looked at.

    Each trajectory makes at least `visits` steps of the schedule, evenly spaced, or all where there are fewer. `height`
    and `width` are in pixels; None is the checkpoint's own.
    """

    scheduler: str
    steps: int = STEPS
    guidance: float = GUIDANCE
    trajectories: int = 32
    calls: int = 128
    seed: int = 0
    visits: int = 12
    height: int | None = None
    width: int | None = None

    @classmethod
    def of(
        cls, bundle: Bundle, scheduler: str | None = None, steps: int | None = None, guidance: float | None = None
    ) -> "CalibrationSettings":
        """Those for a schedule, or for the checkpoint's own where it is None; `replace` sets the others."""
        asked = Sampling.settle(bundle.defaults(), scheduler, steps, guidance)
        return cls(scheduler=asked.sampler.name, steps=asked.steps, guidance=asked.guidance)

    def stride(self, prompts: int) -> int:
        """Which n-th step each trajectory makes, so that those of all `prompts` together make every one."""
        return max(1, min(self.steps // self.visits, prompts))


@dataclass(frozen=True)
class Trajectories:
    """Latents, timestep and prompt of each of N UNet calls; the prompts' embeddings; where each trajectory ended."""

    latents: FloatArray  # (N, 4, h, w)
    timesteps: Array  # (N,)
    owners: Array  # (N,): 0 <= owner < P
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
    seed: int,
    settings: CalibrationSettings,
    steps: slice = slice(None),
) -> Trajectories:
    """Draw one prompt on `unet` with the noise of `seed`, keeping the latents before each step.

    `positive` and `negative` (1, tokens, width) are the embeddings of the prompt and of the empty one. Of the schedule
    the first step is made, and `steps`.
    """
    sampler = find_sampler(settings.scheduler)
    schedule = _leaping(sampler.schedule(pipe.config, settings.steps), steps)
    conditioning = Conditioning(positive, negative, settings.guidance)
    recorder = _Recorder(Denoiser(unet, pipe.config, schedule, conditioning))
    noise = BatchNoise.seeded("torch", seed, 1, pipe.geometry.latent_shape(settings.height, settings.width))
    start = noise() * np.float32(schedule.initial_scale)
    final = schedule.final_latents(sampler.sample(recorder, start, schedule, noise=noise))
    latents, timesteps = np.concatenate(recorder.latents), np.array(recorder.timesteps)  # (N, 4, h, w), (N,)
    return Trajectories(latents, timesteps, np.zeros(len(latents), np.int64), positive, negative, final)


def _leaping(schedule: Schedule, steps: slice) -> Schedule:
    """The first step of `schedule` and `steps`, each landing where the next one starts."""
    made = sorted({0, *range(schedule.steps)[steps]})
    if len(made) == schedule.steps:
        return schedule
    sigmas = np.append(schedule.sigmas[made], schedule.sigmas[-1])
    return replace(schedule, timesteps=schedule.timesteps[made], sigmas=sigmas, landings=None)


def join(parts: Sequence[Trajectories]) -> Trajectories:
    """The trajectories of several prompts, one each, as one."""
    return Trajectories(
        latents=np.concatenate([part.latents for part in parts]),
        timesteps=np.concatenate([part.timesteps for part in parts]),
        owners=np.repeat(np.arange(len(parts)), [len(part.latents) for part in parts]),
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
    """`count` UNet calls of batch 2, the negative half first; steps and prompts are covered alike, in a seeded order.

    A step is a timestep that the model was told. No call comes twice before all of its step have come.
    """
    prompts = len(trajectories.positive)
    turns = np.argsort(np.random.default_rng(seed).permutation(prompts))  # (P,): when it is each prompt's turn
    steps = [np.flatnonzero(trajectories.timesteps == told) for told in np.unique(trajectories.timesteps)[::-1]]
    left: list[list[int]] = [[] for _ in steps]
    taken = np.zeros(prompts, dtype=np.int64)
    calls = []
    for index in range(count):
        lap, step = divmod(index, len(steps))
        left[step] = left[step] or steps[step].tolist()
        owners = trajectories.owners[left[step]]
        waits = (turns[owners] - index - lap) % prompts
        chosen = int(np.lexsort((waits, taken[owners]))[0])
        taken[owners[chosen]] += 1
        calls.append(_guided_call(trajectories, left[step].pop(chosen), step))
    return calls


def _guided_call(trajectories: Trajectories, place: int, step: int) -> Call:
    latents = trajectories.latents[place][np.newaxis]  # (1, 4, h, w)
    owner = int(trajectories.owners[place])
    embeddings = np.concatenate([trajectories.negative, trajectories.positive[owner : owner + 1]])
    feeds = {
        "sample": np.concatenate([latents, latents]),
        "timestep": np.asarray(trajectories.timesteps[place], dtype=np.float32),
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
