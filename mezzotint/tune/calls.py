"""How often a run calls its denoiser, with guidance and without: told by a run whose denoiser is next to nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.bundle.defaults import Defaults
from mezzotint.runtime.denoising import guided_sigmas
from mezzotint.runtime.feature_cache import Turns
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig

from .candidate import Candidate


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Of one run, for one image: of the whole graph, and of the shallow one."""

    guided: int
    plain: int
    shallow_guided: int = 0
    shallow_plain: int = 0


@dataclass(frozen=True, kw_only=True)
class CallTimes:
    """Median milliseconds of a call of one image with and without guidance, and of an image but for its calls.

    Those of the shallow graph are 0 where there is none.
    """

    guided_ms: float
    plain_ms: float
    rest_ms: float
    shallow_guided_ms: float = 0.0
    shallow_plain_ms: float = 0.0

    def run_ms(self, calls: Calls) -> float:
        """Of all calls of a run."""
        whole = calls.guided * self.guided_ms + calls.plain * self.plain_ms
        return whole + calls.shallow_guided * self.shallow_guided_ms + calls.shallow_plain * self.shallow_plain_ms

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
        return _count([is_guided and low <= sigma <= high for sigma in levels], candidate.cache_interval)

    def _levels_of(self, candidate: Candidate, sampling: Sampling) -> list[float]:
        """The noise levels that the denoiser is called at."""
        key = (candidate.sampler, candidate.steps)
        if key not in self._levels:
            self._levels[key] = called_levels(replace(sampling, guidance_interval=(0.0, 1.0)), self.config)
        return self._levels[key]


def _count(guided: Sequence[bool], interval: int) -> Calls:
    """Of calls that are guided or not, in turn."""
    found = {"guided": 0, "plain": 0, "shallow_guided": 0, "shallow_plain": 0}
    turns = Turns(interval)
    for is_guided in guided:
        is_whole = turns.is_whole(2 if is_guided else 1)
        found[("" if is_whole else "shallow_") + ("guided" if is_guided else "plain")] += 1
    return Calls(**found)


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
