"""How a run's noise levels are spaced, by the names that a call may choose from; else as scheduler_config.json says.

| name        | the file would say          | AUTOMATIC1111's schedule type              |
|-------------|-----------------------------|--------------------------------------------|
| karras      | use_karras_sigmas           | Karras                                     |
| exponential | use_exponential_sigmas      | Exponential                                |
| beta        | use_beta_sigmas             | Beta                                       |
| sgm_uniform | timestep_spacing="trailing" | SGM Uniform, but for rounded timesteps     |
| trailing    | the same                    | -                                          |
| leading     | timestep_spacing="leading"  | -                                          |
| linspace    | timestep_spacing="linspace" | -                                          |

The first three are noise levels by a formula between the ends that the file's own spacing has; the others are training
timesteps (Lin et al. 2024, table 2). Each replaces whatever the file says. Equal to diffusers with that option. Models
of EDM take the first two, which are what their file says in sigma_schedule.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import MezzotintError

from .scheduler_config import EDM_SCHEDULES, SchedulerConfig

_OPTIONS: Final[Mapping[str, str]] = {
    "karras": "use_karras_sigmas",
    "exponential": "use_exponential_sigmas",
    "beta": "use_beta_sigmas",
}
_TIMESTEPS: Final[Mapping[str, str]] = {
    "sgm_uniform": "trailing",
    "trailing": "trailing",
    "leading": "leading",
    "linspace": "linspace",
}
_OWN: Final = ("use_lu_lambdas", *_OPTIONS.values())  # what the file may have instead

OF_LEVELS: Final = tuple(_OPTIONS)
OF_TIMESTEPS: Final = tuple(_TIMESTEPS)
SPACINGS: Final = (*OF_LEVELS, *OF_TIMESTEPS)

_KARRAS_RHO = 7.0
_BETA_SHAPE = 0.6  # both parameters of the beta distribution, as Lee et al. 2024 and diffusers have it
_SERIES_TERMS = 60  # at x <= 1/2 each is at most half of the one before
_NEWTON_STEPS = 12  # the function is convex and almost straight: each doubles the correct digits


def with_spacing(config: SchedulerConfig, name: str | None) -> SchedulerConfig:
    """`config` with the spacing `name`, one of SPACINGS; None is its own. MezzotintError for what EDM does not have."""
    return config if name is None else replace(config, **spacing_options(config, name))


def spacing_options(config: SchedulerConfig, name: str) -> dict[str, Any]:
    """What a file says for the spacing `name`, one of SPACINGS, the switches that are off for it among them.

    MezzotintError for what EDM does not have, if `config` is of it.
    """
    if config.sigma_data is None:
        chosen = {_OPTIONS[name]: True} if name in _OPTIONS else {"timestep_spacing": _TIMESTEPS[name]}
        return {**dict.fromkeys(_OWN, False), **chosen}
    if name not in EDM_SCHEDULES:
        raise MezzotintError(
            f"the checkpoint was trained with the preconditioning of EDM, for which there is no schedule {name!r:.40}; "
            f"choose {' or '.join(EDM_SCHEDULES)}, or leave it away"
        )
    return {"sigma_schedule": name}


def check_spacing(sampler: str, name: str | None, taken: tuple[str, ...]) -> None:
    """Raise MezzotintError where the `sampler`, which takes those of `taken`, cannot be spaced by `name`."""
    if name is not None and name not in taken:
        advice = f"choose {' or '.join(taken)}, or leave it away" if taken else "leave it away: it has its own"
        raise MezzotintError(f"the sampler {sampler} has no schedule {name!r:.40}; {advice}")


def respaced(
    name: str, config: SchedulerConfig, sigma_max: float, sigma_min: float, steps: int
) -> NDArray[np.float64] | None:
    """`steps` levels (N,) between the ends that `config` has, else these two; None where no option is on.

    Raises MezzotintError where two options are on at once, for the sampler called `name`.
    """
    asked = [option for option in _OPTIONS.values() if getattr(config, option)]
    if len(asked) > 1:
        raise MezzotintError(
            f"scheduler_config.json has {' and '.join(asked)}, and the sampler {name} spaces its levels in one way; "
            "leave one of them on"
        )
    if not asked:
        return None
    high = sigma_max if config.sigma_max is None else config.sigma_max
    low = sigma_min if config.sigma_min is None else config.sigma_min
    if config.use_karras_sigmas:
        return karras_sigmas(high, low, steps)
    return exponential_sigmas(high, low, steps) if config.use_exponential_sigmas else beta_sigmas(high, low, steps)


def karras_sigmas(sigma_max: float, sigma_min: float, steps: int, rho: float = _KARRAS_RHO) -> NDArray[np.float64]:
    """`steps` noise levels from `sigma_max` down to `sigma_min` (Karras et al. 2022, equation 5)."""
    ramp = np.linspace(0.0, 1.0, steps)
    start, end = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas: NDArray[np.float64] = (start + ramp * (end - start)) ** rho
    return sigmas


def exponential_sigmas(sigma_max: float, sigma_min: float, steps: int) -> NDArray[np.float64]:
    """`steps` noise levels from `sigma_max` down to `sigma_min`, even in log sigma."""
    return np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), steps))


def beta_sigmas(sigma_max: float, sigma_min: float, steps: int) -> NDArray[np.float64]:
    """`steps` levels from `sigma_max` down to `sigma_min` at a beta distribution's quantiles (Lee et al. 2024)."""
    return sigma_min + beta_quantiles(1.0 - np.linspace(0.0, 1.0, steps), _BETA_SHAPE) * (sigma_max - sigma_min)


def beta_quantiles(shares: NDArray[np.float64], shape: float) -> NDArray[np.float64]:
    """Where the distribution Beta(shape, shape) has these shares, in [0, 1], of its mass below; 0 < shape < 1.

    The mass below x <= 1/2 is x^shape / (shape B) times a power series (Abramowitz and Stegun, 6.6.8 with 15.1.1). It
    is inverted for y = x^shape by Newton's method; the other half mirrors this one.
    """
    lower = np.minimum(shares, 1.0 - shares)
    scale = shape * math.gamma(shape) ** 2 / math.gamma(2.0 * shape)
    ratios = [(k - shape) / k for k in range(1, _SERIES_TERMS)]
    terms = np.cumprod([1.0, *ratios]) * shape / (shape + np.arange(_SERIES_TERMS))
    y = lower * scale  # at or above the solution, from where Newton's method descends to it
    for _ in range(_NEWTON_STEPS):
        x = y ** (1.0 / shape)
        mass = y * np.polynomial.polynomial.polyval(x, terms) / scale
        y = y - (mass - lower) * scale * (1.0 - x) ** (1.0 - shape)
    x = y ** (1.0 / shape)
    return np.where(shares <= 0.5, x, 1.0 - x)
