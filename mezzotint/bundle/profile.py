"""A profile: settings for a run that nobody chose, found by measuring what they cost, under a name.

It says what it promises and what was seen when it was made. Where another recipe's graphs keep the promise faster, they
lie in the bundle as a bundle of their own, and `variant` names its folder.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mezzotint.errors import MezzotintError

from .defaults import Defaults
from .records import LEFT_OUT

VARIANTS: Final = "variants"
"""The folder of a bundle in which those of its profiles lie."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")  # part of paths, of the command line, and of models' names


class Goal(StrEnum):
    """What a profile promises: a floor of the median image's fidelity, or a limit of a step's mean milliseconds."""

    PSNR_DB = "psnr_db"
    SSIM = "ssim"
    STEP_MS = "step_ms"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """At least `value` of fidelity, or at most `value` milliseconds a step."""

    goal: Goal
    value: float

    def __str__(self) -> str:
        """Such as "at least 35 dB PSNR"."""
        match self.goal:
            case Goal.PSNR_DB:
                return f"at least {self.value:g} dB PSNR"
            case Goal.SSIM:
                return f"at least {self.value:g} SSIM"
            case Goal.STEP_MS:
                return f"at most {self.value:g} ms a step"


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """What was measured on prompts that the search had not seen: medians over `prompts` images.

    `psnr_db` and `ssim` compare with the images of the graphs and settings in `against`; None where all were identical,
    which is no number of decibels. Times are milliseconds at `cores` of `cpu`; `speed_up` is how often as fast an image
    was as one of the bundle's own settings, in turn with it.
    """

    against: str
    prompts: int
    psnr_db: float | None
    ssim: float
    image_ms: float
    step_ms: float
    speed_up: float
    cpu: str
    cores: int


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Settings, the promise they were chosen for, and what confirmed it.

    `variant` names a folder in VARIANTS; None is the bundle's own graphs.
    """

    settings: Defaults
    promise: Promise
    confirmed: Confirmed
    variant: str | None = field(default=None, metadata=LEFT_OUT)

    def __post_init__(self) -> None:
        """Refuse a folder that could lie elsewhere."""
        if self.variant is not None:
            check_name(self.variant)


def check_name(name: str) -> None:
    """MezzotintError for what cannot be a profile's or a variant's name."""
    if not _NAME.fullmatch(name):
        raise MezzotintError(
            what="a profile's name", got=name, expected="up to 40 small letters, digits, dots, dashes and underscores"
        )


def unknown_profile(where: object, name: str, known: Iterable[str]) -> MezzotintError:
    """What to raise for a profile that the bundle at `where` does not have."""
    names = sorted(known)
    if not names:
        return MezzotintError(
            where=where, what=f"there is no profile {name!r:.60}", advice="make one with `mezzotint tune`"
        )
    return MezzotintError(where=where, what="the profile", got=name, expected=names)
