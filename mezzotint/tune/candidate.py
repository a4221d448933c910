"""What a search chooses from: graphs, a sampler, its steps, the part that is guided, and how often all is computed."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mezzotint.bundle.defaults import Defaults
from mezzotint.bundle.profile import Goal
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family, Guidance
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.sampler import Adjustable, Sampler, Stochastic
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig

_FEWEST_PART = 0.2  # of the own steps: with fewer there is another image, whatever else is chosen
_MOST_STEP_COUNTS = 24
_GUIDED_PARTS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
_CACHE_INTERVALS = (2, 3)  # of runs that are guided throughout: with every part there would be thousands more


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The graphs `variant`, and settings of a run; guidance is on from the beginning to `guided_part`, in (0, 1].

    `cache_interval` is how many calls there are from one of the whole denoiser to the next.
    """

    variant: str
    sampler: str
    steps: int
    guided_part: float = 1.0
    cache_interval: int = 1

    @property
    def guided_steps(self) -> int:
        """How many of the steps have guidance."""
        return math.ceil(self.guided_part * self.steps)

    def settings(self, own: Defaults) -> Defaults:
        """A run's settings; what is not searched is as in `own`."""
        part = (0.0, self.guided_part)
        whole = self.cache_interval
        return replace(own, sampler=self.sampler, steps=self.steps, guidance_interval=part, cache_interval=whole)

    def is_weaker(self, other: "Candidate", ranks: Mapping[str, int]) -> bool:
        """Whether it computes less than `other` in the same way, so that it is taken to be no more faithful.

        `ranks` are the places of the variants, the most faithful first.
        """
        return (
            self.sampler == other.sampler
            and self.steps <= other.steps
            and self.guided_part <= other.guided_part
            and self.cache_interval >= other.cache_interval
            and ranks[self.variant] >= ranks[other.variant]
        )

    def __str__(self) -> str:
        """For a reader."""
        guided = "" if self.guided_part == 1.0 else f", guidance on the first {self.guided_part:.0%}"
        cached = "" if self.cache_interval == 1 else f", whole every {self.cache_interval} calls"
        return f"{self.variant}, {self.sampler}, {self.steps} steps{guided}{cached}"


def own_candidate(variant: str, own: Defaults) -> Candidate:
    """The settings `own` as they are."""
    return Candidate(variant=variant, sampler=own.sampler or "", steps=own.steps)


def candidates_of(
    variants: Sequence[str],
    own: Defaults,
    config: SchedulerConfig,
    family: Family,
    goal: Goal,
    *,
    cached: Collection[str] = (),
) -> list[Candidate]:
    """All that are worth a look: runs of `own` steps and fewer, of its sampler and of those that make its images.

    These are the deterministic ones; a model whose own sampler adds noise keeps it. Fewer steps make no step faster, so
    that for a limit of a step's time the sampler and the steps stay. `cached` are the variants with a shallow graph.
    """
    samplers = [own.sampler or ""] if goal is Goal.STEP_MS else _samplers(own, config)
    counts = [own.steps] if goal is Goal.STEP_MS else _step_counts(own.steps)
    is_guided = family.guidance is Guidance.CFG and own.guidance > 1.0
    parts = _GUIDED_PARTS if is_guided else (1.0,)
    found = []
    for variant in variants:
        for sampler in samplers:
            for steps in counts:
                if not _runs(replace(own, sampler=sampler, steps=steps), config):
                    continue
                distinct = {math.ceil(part * steps): part for part in reversed(parts)}  # of equal ones the largest part
                found += [
                    Candidate(variant=variant, sampler=sampler, steps=steps, guided_part=part)
                    for part in distinct.values()
                ]
                if variant in cached:
                    found += [replace(found[-1], guided_part=1.0, cache_interval=n) for n in _CACHE_INTERVALS]
    return found


def _samplers(own: Defaults, config: SchedulerConfig) -> list[str]:
    """The model's own first."""
    names = [sampler.name for sampler in SAMPLERS if _runs(replace(own, sampler=sampler.name), config)]
    if own.sampler is None or own.sampler not in names:
        raise MezzotintError(
            f"the checkpoint's own sampler is diffusers' {own.scheduler_class}, which is not here, so that there is "
            "nothing to compare with; export it with --scheduler"
        )
    if not _is_deterministic(own, config):
        return [own.sampler]
    others = [name for name in names if _is_deterministic(replace(own, sampler=name), config)]
    return [own.sampler, *(name for name in others if name != own.sampler)]


def _runs(settings: Defaults, config: SchedulerConfig) -> bool:
    try:
        Sampling.settle(settings, None, None, None).schedule(config)
    except MezzotintError:
        return False
    return True


def _is_deterministic(settings: Defaults, config: SchedulerConfig) -> bool:
    sampling = Sampling.settle(settings, None, None, None)
    sampler: Sampler = sampling.sampler
    if isinstance(sampler, Adjustable):
        return sampling.schedule(config).eta == 0.0
    return not isinstance(sampler, Stochastic)


def _step_counts(own: int) -> list[int]:
    fewest = max(1, math.ceil(own * _FEWEST_PART))
    width = math.ceil((own - fewest + 1) / _MOST_STEP_COUNTS)
    return list(range(own, fewest - 1, -width))
