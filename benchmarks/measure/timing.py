"""Repeated measurements of one quantity, with how far to trust them.

Raw samples are kept and everything else is derived, after torch.utils.benchmark's Measurement.
"""

from dataclasses import dataclass

from ..figures.bootstrap import quantile

NOISY_IQR_SHARE = 0.10


@dataclass(frozen=True)
class Measurement:
    """At least one sample, in any unit, in the order taken. Quartiles interpolate linearly."""

    samples: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError("a measurement needs at least one sample")

    @property
    def median(self) -> float:
        """The middle sample."""
        return quantile(self.samples, 0.5)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third."""
        return quantile(self.samples, 0.25), quantile(self.samples, 0.75)

    @property
    def iqr(self) -> float:
        """Third quartile less the first."""
        lower, upper = self.quartiles
        return upper - lower

    @property
    def p95(self) -> float:
        """The 95th percentile."""
        return quantile(self.samples, 0.95)

    @property
    def noisy(self) -> bool:
        """Whether the middle half of the samples spreads over more than 10 % of the median."""
        return self.iqr > NOISY_IQR_SHARE * abs(self.median)
