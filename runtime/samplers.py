"""The samplers there are. To add one: write its file, add it to this tuple, and test it against an oracle."""

from .errors import MezzotintError
from .sampler import Sampler
from .sampler_ddim import DDIM
from .sampler_dpmpp_2m import DPMPP_2M
from .sampler_euler import EULER

__all__ = ["SAMPLERS", "find_sampler"]

SAMPLERS: tuple[Sampler, ...] = (DDIM, EULER, DPMPP_2M)


def find_sampler(name: str) -> Sampler:
    """The sampler called `name`. Raises MezzotintError that lists the known names."""
    for sampler in SAMPLERS:
        if sampler.name == name:
            return sampler
    raise MezzotintError(f"there is no sampler {name!r}; choose one of {', '.join(s.name for s in SAMPLERS)}")
