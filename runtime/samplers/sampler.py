"""The contract of all samplers. Nothing else is shared between them.

* A *denoiser* is `denoise(x, sigma) -> x0`: the model's estimate of the clean latents in the noisy `x`. Whether the
  model predicts noise, velocity or the latents themselves, and guidance, are the denoiser's business.
* A *sampling function* takes `x` through all steps of `schedule`, from the noise level sigmas[0] down to the last one.
  It is `sample(denoise, x, schedule, on_step) -> x` where it is deterministic, and
  `sample(denoise, x, schedule, noise, on_step) -> x` where it is stochastic: `noise()` is the next unit noise, of the
  shape of `x`. A run that starts at a later step, from a noised image, gets `schedule.tail(step)`: nothing may depend
  on sigmas[0] being the highest level there is.
  `on_step(index, x, x0)`, if given, is called after each step; it may raise, which ends the run, and it may write into
  `x`, which the model then sees.
* A *sampler* is a name, the schedule that it runs on, and its sampling function: `Deterministic`, `Stochastic`, or
  `Adjustable` where eta says how much noise a step adds. All are run by
  `sampler.sample(denoise, x, schedule, on_step, noise)`. `spacings` are the schedules that a call may choose for it.

x is (B, C, h, w), float32 or float64, in variance-exploding coordinates: x = x0 + sigma noise (Karras et al. 2022). All
arithmetic on arrays is in the dtype of x; scalars are float64.

A step has two noise levels, the one it starts from and the one it lands on. Where a step lands off the next one's
start, what stays the same between them are the latents that the model sees, x_VP.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .schedule import Schedule
from .scheduler_config import SchedulerConfig
from .spacing import OF_TIMESTEPS

Denoise: TypeAlias = Callable[[FloatArray, float], FloatArray]
Noise: TypeAlias = Callable[[], FloatArray]
OnStep: TypeAlias = Callable[[int, FloatArray, FloatArray], None]


class Steps(Protocol):
    """A deterministic sampling function."""

    def __call__(
        self, denoise: Denoise, x: FloatArray, schedule: Schedule, on_step: OnStep | None = None
    ) -> FloatArray: ...


class NoisySteps(Protocol):
    """A stochastic sampling function."""

    def __call__(
        self, denoise: Denoise, x: FloatArray, schedule: Schedule, noise: Noise, on_step: OnStep | None = None
    ) -> FloatArray: ...


class AdjustableSteps(Protocol):
    """A sampling function that adds as much noise as `schedule.eta` says; `noise` is None where that is 0."""

    def __call__(
        self, denoise: Denoise, x: FloatArray, schedule: Schedule, noise: Noise | None, on_step: OnStep | None = None
    ) -> FloatArray: ...


@dataclass(frozen=True)
class Deterministic:
    """A sampler without noise in its steps.

    `schedule(config, steps)` raises MezzotintError when the config asks for what the sampler cannot do. `spacings` are
    names of spacing.py.
    """

    name: str
    schedule: Callable[[SchedulerConfig, int], Schedule]
    steps: Steps
    spacings: tuple[str, ...] = OF_TIMESTEPS

    def sample(
        self,
        denoise: Denoise,
        x: FloatArray,
        schedule: Schedule,
        on_step: OnStep | None = None,
        noise: Noise | None = None,  # noqa: ARG002 - so that both kinds are called alike
    ) -> FloatArray:
        """`x` at the end of `schedule`; same shape and dtype."""
        return self.steps(denoise, x, schedule, on_step)


@dataclass(frozen=True)
class Stochastic:
    """A sampler that adds new noise in every step; `schedule` and `spacings` as in `Deterministic`."""

    name: str
    schedule: Callable[[SchedulerConfig, int], Schedule]
    steps: NoisySteps
    spacings: tuple[str, ...] = OF_TIMESTEPS

    def sample(
        self,
        denoise: Denoise,
        x: FloatArray,
        schedule: Schedule,
        on_step: OnStep | None = None,
        noise: Noise | None = None,
    ) -> FloatArray:
        """`x` at the end of `schedule`; same shape and dtype. Raises MezzotintError where there is no noise."""
        if noise is None:
            raise _lacks_noise(self.name)
        return self.steps(denoise, x, schedule, noise, on_step)


@dataclass(frozen=True)
class Adjustable:
    """A sampler that adds new noise in every step unless eta is 0; `schedule` and `spacings` as in `Deterministic`.

    The schedules that it makes have its own eta, which a call may replace by another one in [0, 1].
    """

    name: str
    schedule: Callable[[SchedulerConfig, int], Schedule]
    steps: AdjustableSteps
    spacings: tuple[str, ...] = OF_TIMESTEPS

    def sample(
        self,
        denoise: Denoise,
        x: FloatArray,
        schedule: Schedule,
        on_step: OnStep | None = None,
        noise: Noise | None = None,
    ) -> FloatArray:
        """`x` at the end of `schedule`; same shape and dtype. Raises MezzotintError where noise is needed and none."""
        if schedule.eta == 0.0:
            return self.steps(denoise, x, schedule, None, on_step)
        if noise is None:
            raise _lacks_noise(self.name)
        return self.steps(denoise, x, schedule, noise, on_step)


Sampler: TypeAlias = Deterministic | Stochastic | Adjustable


def _lacks_noise(name: str) -> MezzotintError:
    return MezzotintError(
        f"the sampler {name} adds noise at every step and got none; pass noise=BatchNoise.seeded(...)"
    )


def step_pairs(schedule: Schedule) -> list[tuple[float, float]]:
    """The levels that each step starts from and lands on."""
    return [(start, landing) for start, landing in schedule.sigma_pairs.tolist()]


def rejoin(x: FloatArray, landed: float, start: float) -> FloatArray:
    """`x`, which landed on one noise level, in the coordinates of the level that the next step starts from."""
    if landed == start:
        return x
    return x * math.sqrt((1.0 + start * start) / (1.0 + landed * landed))
