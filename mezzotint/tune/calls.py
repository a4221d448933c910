"""How often a run calls its denoiser, with guidance and without: told by a run whose denoiser is next to nothing."""

from dataclasses import dataclass, replace

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.bundle.defaults import Defaults
from mezzotint.runtime.denoising import guided_sigmas
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig

from .candidate import Candidate


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Of one run, for one image."""

    guided: int
    plain: int


@dataclass(frozen=True, kw_only=True)
class CallTimes:
    """Median milliseconds of a call of one image with and without guidance, and of an image but for its calls."""

    guided_ms: float
    plain_ms: float
    rest_ms: float

    def run_ms(self, calls: Calls) -> float:
        """Of all calls of a run."""
        return calls.guided * self.guided_ms + calls.plain * self.plain_ms

    def image_ms(self, calls: Calls) -> float:
        """From prompt to pixels."""
        return self.run_ms(calls) + self.rest_ms


class CallCounter:
    """Counts the calls of candidates; what is not searched is as in `own`. `has_negative` is the family's."""

    def __init__(self, own: Defaults, config: SchedulerConfig, *, has_negative: bool) -> None:
        self.own = own
        self.config = config
        self.has_negative = has_negative
        self._levels: dict[tuple[str, int], list[float]] = {}

    def __call__(self, candidate: Candidate) -> Calls:
        """Of a run of `candidate`. MezzotintError where there can be no such run."""
        sampling = Sampling.settle(candidate.settings(self.own), None, None, None)
        levels = self._levels_of(candidate, sampling)
        low, high = guided_sigmas(sampling.schedule(self.config), sampling.guidance_interval)
        is_guided = self.has_negative and sampling.is_guided
        guided = sum(low <= sigma <= high for sigma in levels) if is_guided else 0
        return Calls(guided=guided, plain=len(levels) - guided)

    def _levels_of(self, candidate: Candidate, sampling: Sampling) -> list[float]:
        """The noise levels that the denoiser is called at."""
        key = (candidate.sampler, candidate.steps)
        if key not in self._levels:
            self._levels[key] = called_levels(replace(sampling, guidance_interval=(0.0, 1.0)), self.config)
        return self._levels[key]


def called_levels(sampling: Sampling, config: SchedulerConfig) -> list[float]:
    """The noise level of each call that a whole run makes."""
    levels: list[float] = []

    def denoise(x: FloatArray, sigma: float) -> FloatArray:
        levels.append(sigma)
        return x * np.float32(0.5)

    schedule = sampling.schedule(config)
    start = np.full((1, 1, 2, 2), schedule.initial_scale, dtype=np.float32)
    sampling.sampler.sample(denoise, start, schedule, None, lambda: np.zeros_like(start))
    return levels
