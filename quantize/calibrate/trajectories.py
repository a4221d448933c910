"""Calibration data: what the denoiser is really asked, over every step of the schedule and both guidance halves.

Trajectories are run once through the runtime's own driver, and an observer keeps what the denoiser was fed. Each makes
some steps of the schedule and leaps over those between; together they make all. `denoiser_calls` then takes a
stratified, seeded sample of the calls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.defaults import GUIDANCE, MOST_GUIDANCE, STEPS
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError
from mezzotint.families.residuals import is_residual
from mezzotint.runtime import Bundle, Settings, TextToImage
from mezzotint.runtime.denoiser import Conditions
from mezzotint.runtime.denoiser_calls import DenoiserCall, pack_calls, unpack_calls
from mezzotint.runtime.images.vae import unscaled
from mezzotint.runtime.samplers.sampler import Noise
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.schedule import Schedule
from mezzotint.runtime.start import Start

from .beginning import FROM_NOTHING, Begun
from .followed import NOTHING_FOLLOWED, Followed, Residuals, ToldFeeds, seen_by


@dataclass(frozen=True, kw_only=True)
class CalibrationSettings:
    """The schedule and size to calibrate for, how many prompts to run, how many denoiser calls to look at.

    Each trajectory makes at least `visits` steps of the schedule, evenly spaced, or all where there are fewer. `height`
    and `width` are in pixels; None is the checkpoint's own, and so for `schedule`, the spacing of noise levels.
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
    schedule: str | None = None

    def __post_init__(self) -> None:
        """Refuse a guidance that no run could have, before the first one."""
        if not abs(self.guidance) <= MOST_GUIDANCE:  # which is false for what is no number
            raise MezzotintError(
                f"guidance of the calibration is {self.guidance:g}, expected -{MOST_GUIDANCE:g} to {MOST_GUIDANCE:g}"
            )

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        scheduler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        schedule: str | None = None,
    ) -> "CalibrationSettings":
        """Those for a run, or for the checkpoint's own where they are None; `replace` sets the others."""
        asked = Sampling.settle(bundle.defaults(), scheduler, steps, guidance, spacing=schedule)
        return cls(scheduler=asked.sampler.name, steps=asked.steps, guidance=asked.guidance, schedule=schedule)

    def stride(self, prompts: int, begins_at: float = 0.0) -> int:
        """Which n-th step each trajectory makes, so that those of all `prompts` together make every one.

        `begins_at` is the part of the schedule that is left out before.
        """
        return max(1, min(self.steps_from(begins_at) // self.visits, prompts))

    def steps_from(self, begins_at: float) -> int:
        """About how many steps there are from that part of the schedule on."""
        return max(1, round(self.steps * (1.0 - begins_at)))

    def of_run(self, prompt: str, seed: int) -> Settings:
        """What one prompt is run with."""
        return Settings(
            prompt,
            steps=self.steps,
            guidance=self.guidance,
            seed=seed,
            scheduler=self.scheduler,
            height=self.height,
            width=self.width,
            schedule=self.schedule,
        )


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What the denoiser was asked while one prompt was run, and where its latents (1, C, h, w) ended.

    What it added of the ControlNets that were `followed` is not among it, and neither they in a file.
    """

    calls: tuple[DenoiserCall, ...]
    final: FloatArray
    followed: Followed = NOTHING_FOLLOWED

    def pack(self) -> dict[str, Array]:
        """As arrays of a file."""
        return {**pack_calls(self.calls), "final": self.final}

    @classmethod
    def unpack(cls, arrays: Mapping[str, Array]) -> "Trajectory":
        """What `pack` packed."""
        return cls(unpack_calls(arrays), arrays["final"])


@dataclass(frozen=True)
class Call:
    """One call of a graph: its inputs, and the step of the schedule that it belongs to (0 where there are none)."""

    step: int
    feeds: Mapping[str, Array]
    followed: Followed = NOTHING_FOLLOWED


def run_trajectory(
    pipe: TextToImage,
    settings: Settings,
    conditions: Conditions,
    steps: slice = slice(None),
    begun: Begun = FROM_NOTHING,
    images: Sequence[Image.Image] = (),
) -> Trajectory:
    """Run one prompt to its final latents, keeping what the denoiser is asked on the way.

    Of the schedule, or of what `begun` left of it, the first step is made, and `steps`. `images` are of the controls.
    """
    calls: list[DenoiserCall] = []

    def keep(call: DenoiserCall) -> None:
        own = {name: array for name, array in call.feeds.items() if not is_residual(name)}
        calls.append(replace(call, feeds=own, output=None))

    def begin(schedule: Schedule, noise: Noise) -> Start:
        return begun.start(_leaping(begun.rest(schedule), steps), noise)

    denoised = pipe.denoise([settings], conditions, begin, images=images, on_call=keep)
    return Trajectory(tuple(calls), denoised.latents)


def _leaping(schedule: Schedule, steps: slice) -> Schedule:
    """The first step of `schedule` and `steps`, each landing where the next one starts."""
    made = sorted({0, *range(schedule.steps)[steps]})
    if len(made) == schedule.steps:
        return schedule
    sigmas = np.append(schedule.sigmas[made], schedule.sigmas[-1])
    return replace(schedule, timesteps=schedule.timesteps[made], sigmas=sigmas, landings=None)


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` indices spread evenly over `count`; all of them where there are no more."""
    if count <= wanted:
        return list(range(count))
    return [int(place) for place in np.arange(wanted) * count // wanted]


def denoiser_calls(trajectories: Sequence[Trajectory], count: int, seed: int) -> list[Call]:
    """`count` calls of the denoiser, as they were made; steps and prompts are covered alike, in a seeded order.

    A step is a timestep that the model was told. No call comes twice before all of its step have come.
    """
    made = [(owner, call) for owner, trajectory in enumerate(trajectories) for call in trajectory.calls]
    timesteps, all_owners = np.array([call.timestep for _, call in made]), np.array([owner for owner, _ in made])
    turns = np.argsort(np.random.default_rng(seed).permutation(len(trajectories)))  # when it is each prompt's turn
    steps = [np.flatnonzero(timesteps == told) for told in np.unique(timesteps)[::-1]]
    left: list[list[int]] = [[] for _ in steps]
    taken = np.zeros(len(trajectories), dtype=np.int64)
    calls = []
    for index in range(count):
        lap, step = divmod(index, len(steps))
        left[step] = left[step] or steps[step].tolist()
        owners = all_owners[left[step]]
        waits = (turns[owners] - index - lap) % len(trajectories)
        chosen = int(np.lexsort((waits, taken[owners]))[0])
        taken[owners[chosen]] += 1
        _, call = made[left[step].pop(chosen)]
        calls.append(Call(step, call.feeds, trajectories[owners[chosen]].followed))
    return calls


def told_calls(bundle: Bundle, calls: Sequence[Call]) -> list[Call]:
    """Calls of the denoiser with what it adds; as they are where there are no ControlNets."""
    residuals = Residuals(bundle)
    if not residuals.names:
        return list(calls)
    return [
        replace(call, feeds=ToldFeeds(call.feeds, call.followed, number, residuals))
        for number, call in enumerate(calls)
    ]


def control_calls(bundle: Bundle, component: str, calls: Sequence[Call]) -> list[Call]:
    """Calls of a ControlNet or T2I-adapter beside those of the denoiser."""
    return [replace(call, feeds=seen_by(bundle, component, call.feeds, call.followed)) for call in calls]


def decoder_calls(
    trajectories: Sequence[Trajectory], component: Component, geometry: Geometry, count: int, seed: int
) -> list[Call]:
    """`count` calls of the image decoder, of batch 1 on final latents, in a seeded order."""
    (spec,) = component.inputs
    order = np.random.default_rng(seed).permutation(len(trajectories))
    chosen = [trajectories[order[index % len(order)]].final for index in range(count)]  # (1, C, h, w)
    return [Call(0, {spec.name: unscaled(latents, geometry)}) for latents in chosen]
