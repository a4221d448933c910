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

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

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


def with_spacing(config: SchedulerConfig, name: str | None) -> SchedulerConfig:
    """`config` with the spacing `name`, one of SPACINGS; None is its own. MezzotintError for what EDM does not have."""
    if name is None:
        return config
    if config.sigma_data is not None:
        return _of_edm(config, name)
    changed: dict[str, Any] = dict.fromkeys(_OWN, False)
    changed |= {_OPTIONS[name]: True} if name in _OPTIONS else {"timestep_spacing": _TIMESTEPS[name]}
    return replace(config, **changed)


def _of_edm(config: SchedulerConfig, name: str) -> SchedulerConfig:
    if name not in EDM_SCHEDULES:
        raise MezzotintError(
            f"the checkpoint was trained with the preconditioning of EDM, for which there is no schedule {name!r:.40}; "
            f"choose {' or '.join(EDM_SCHEDULES)}, or leave it away"
        )
    return replace(config, sigma_schedule=name)


def check_spacing(sampler: str, name: str | None, taken: tuple[str, ...]) -> None:
    """Raise MezzotintError where the `sampler`, which takes those of `taken`, cannot be spaced by `name`."""
    if name is not None and name not in taken:
        advice = f"choose {' or '.join(taken)}, or leave it away" if taken else "leave it away: it has its own"
        raise MezzotintError(f"the sampler {sampler} has no schedule {name!r:.40}; {advice}")
