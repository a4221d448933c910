"""A run's sampler, steps, guidance and so on: what was asked for, and the checkpoint's own where nobody asked."""

from dataclasses import dataclass, replace

from mezzotint.bundle.defaults import ALL_OF_THE_RUN, Defaults
from mezzotint.errors import MezzotintError

from .lineup import SAMPLERS, find_sampler
from .sampler import Adjustable, Sampler
from .schedule import Schedule
from .scheduler_config import SchedulerConfig
from .spacing import check_spacing, with_spacing


@dataclass(frozen=True)
class Sampling:
    """A run's sampler, steps and guidance, settled; `eta` and `spacing` are None for the sampler's own.

    `guidance_interval` are the parts of the run, in [0, 1], between which guidance is on; `cache_interval` is how many
    calls there are from one of the whole denoiser to the next.
    """

    sampler: Sampler
    steps: int
    guidance: float
    eta: float | None = None
    spacing: str | None = None
    guidance_interval: tuple[float, float] = ALL_OF_THE_RUN
    cache_interval: int = 1

    @classmethod
    def settle(
        cls,
        defaults: Defaults,
        scheduler: str | None,
        steps: int | None,
        guidance: float | None,
        *,
        eta: float | None = None,
        spacing: str | None = None,
        guidance_interval: tuple[float, float] | None = None,
        cache_interval: int | None = None,
    ) -> "Sampling":
        """These settings, or those of `defaults` for what is None; `spacing` is one of SPACINGS, `eta` in [0, 1].

        Raises MezzotintError for an unknown sampler, where nobody chose one and the checkpoint's own is not here, and
        for an eta or a spacing that the sampler does not have.
        """
        name = defaults.sampler if scheduler is None else scheduler
        if name is None:
            raise MezzotintError(
                f"the checkpoint's own sampler is diffusers' {defaults.scheduler_class}, which is not here; choose one "
                f"with --scheduler: {', '.join(sampler.name for sampler in SAMPLERS)}"
            )
        sampler = find_sampler(name)
        check_spacing(name, spacing, sampler.spacings)
        if eta is not None and not isinstance(sampler, Adjustable):
            having = " or ".join(one.name for one in SAMPLERS if isinstance(one, Adjustable))
            raise MezzotintError(f"the sampler {name} has no eta; choose {having}, or leave eta away")
        return cls(
            sampler,
            defaults.steps if steps is None else steps,
            defaults.guidance if guidance is None else guidance,
            eta,
            spacing,
            defaults.guidance_interval if guidance_interval is None else guidance_interval,
            defaults.cache_interval if cache_interval is None else cache_interval,
        )

    @property
    def is_guided(self) -> bool:
        """Whether the negative prompt plays a part; with a guidance of 1 or less it does not, as in diffusers."""
        return self.guidance > 1.0

    def schedule(self, config: SchedulerConfig) -> Schedule:
        """The run's schedule. Raises MezzotintError where `config` asks for what the sampler cannot do."""
        made = self.sampler.schedule(with_spacing(config, self.spacing), self.steps)
        return made if self.eta is None else replace(made, eta=self.eta)
