"""The contract of all samplers. Nothing else is shared between them.

* A *denoiser* is `denoise(x, sigma) -> x0`: the model's estimate of the clean latents in the noisy `x`. Whether the
  model predicts noise, velocity or the latents themselves, and guidance, are the denoiser's business.
* A *sampling function* is `sample(denoise, x, sigmas, on_step) -> x`: it takes `x` from the noise level sigmas[0] down
  to the last one. `on_step(index, x, x0)`, if given, is called after each step; it may raise, which ends the run.
* A *sampler* is a name, the schedule that it runs on, and its sampling function.

x is (B, C, h, w), float32 or float64, in variance-exploding coordinates: x = x0 + sigma noise (Karras et al. 2022). All
arithmetic on arrays is in the dtype of x; scalars are float64.

sigmas are noise levels (N + 1,), or pairs (N, 2) of the level that a step starts from and the one it lands on. Where a
step lands off the next one's start, what stays the same between them are the latents that the model sees, x_VP.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray
from .schedule import Schedule
from .scheduler_config import SchedulerConfig

__all__ = ["Denoise", "OnStep", "Sample", "Sampler", "rejoin", "step_pairs"]

Denoise: TypeAlias = Callable[[FloatArray, float], FloatArray]
OnStep: TypeAlias = Callable[[int, FloatArray, FloatArray], None]


class Sample(Protocol):
    """A sampling function."""

    def __call__(
        self, denoise: Denoise, x: FloatArray, sigmas: NDArray[np.float64], on_step: OnStep | None = None
    ) -> FloatArray: ...


@dataclass(frozen=True)
class Sampler:
    """A named sampler. `schedule(config, steps)` raises MezzotintError when the config asks for what it cannot do."""

    name: str
    schedule: Callable[[SchedulerConfig, int], Schedule]
    sample: Sample


def step_pairs(sigmas: NDArray[np.float64]) -> Iterator[tuple[float, float]]:
    """The levels that each step starts from and lands on, for `sigmas` in either of the contract's two shapes."""
    starts, landings = (sigmas[:-1], sigmas[1:]) if sigmas.ndim == 1 else (sigmas[:, 0], sigmas[:, 1])
    return zip(starts.tolist(), landings.tolist(), strict=True)


def rejoin(x: FloatArray, landed: float, start: float) -> FloatArray:
    """`x`, which landed on one noise level, in the coordinates of the level that the next step starts from."""
    if landed == start:
        return x
    return x * math.sqrt((1.0 + start * start) / (1.0 + landed * landed))
