"""A run's sampler, steps and guidance: what was asked for, and the checkpoint's own where nobody asked."""

from dataclasses import dataclass

from mezzotint.bundle.defaults import Defaults
from mezzotint.errors import MezzotintError

from .lineup import SAMPLERS, find_sampler
from .sampler import Sampler


@dataclass(frozen=True)
class Sampling:
    """A run's sampler, steps and guidance scale, settled."""

    sampler: Sampler
    steps: int
    guidance: float

    @classmethod
    def settle(cls, defaults: Defaults, scheduler: str | None, steps: int | None, guidance: float | None) -> "Sampling":
        """These settings, or those of `defaults` for what is None.

        Raises MezzotintError for an unknown sampler, and where nobody chose one and the checkpoint's own is not here.
        """
        name = defaults.sampler if scheduler is None else scheduler
        if name is None:
            raise MezzotintError(
                f"the checkpoint's own sampler is diffusers' {defaults.scheduler_class}, which is not here; choose one "
                f"with --scheduler: {', '.join(sampler.name for sampler in SAMPLERS)}"
            )
        return cls(
            find_sampler(name),
            defaults.steps if steps is None else steps,
            defaults.guidance if guidance is None else guidance,
        )

    @property
    def is_guided(self) -> bool:
        """Whether the negative prompt plays a part; with a guidance of 1 or less it does not, as in diffusers."""
        return self.guidance > 1.0
