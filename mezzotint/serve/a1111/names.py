"""AUTOMATIC1111's names of samplers and schedules, and ours, with suffixes as older clients write them."""

from collections.abc import Mapping
from typing import Final

from ..web.refusal import Refusal

SAMPLERS: Final[Mapping[str, str]] = {
    "Euler": "euler",
    "Euler a": "euler-ancestral",
    "Heun": "heun",
    "LMS": "lms",
    "DDIM": "ddim",
    "PLMS": "pndm",
    "UniPC": "unipc",
    "LCM": "lcm",
    "TCD": "tcd",
    "DPM++ 2M": "dpmpp-2m",
    "DPM++ 2M SDE": "dpmpp-2m-sde",
    "DPM++ 2S": "dpmpp-2s",
    "DDPM": "ddpm",
    "DEIS": "deis",
}
SCHEDULES: Final[Mapping[str, str | None]] = {
    "automatic": None,
    "uniform": None,
    "karras": "karras",
    "exponential": "exponential",
    "beta": "beta",
    "sgm_uniform": "sgm_uniform",
}
LABELS: Final[Mapping[str, str]] = {
    "automatic": "Automatic",
    "uniform": "Uniform",
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "sgm_uniform": "SGM Uniform",
}
# What "Automatic" means there with each sampler, where it is not the sampler's plain one.
_AUTOMATIC: Final[Mapping[str, str]] = {"DPM++ 2M": "karras", "DPM++ 2M SDE": "exponential"}
_BY_FOLDED_NAME: Final = {name.lower(): name for name in SAMPLERS} | {
    alias: name for name, ours in SAMPLERS.items() for alias in (ours, f"k_{ours.replace('-', '_')}")
}
_BY_LABEL: Final = {label.lower(): name for name, label in LABELS.items()} | {name: name for name in LABELS}


def find_sampling(sampler: str | None, scheduler: str | None) -> tuple[str, str | None]:
    """Our sampler and schedule for theirs; a schedule may stand behind the sampler's name, as "DPM++ 2M Karras".

    Raises Refusal: 404 "Sampler not found", which clients look for, and 422 for a schedule that there is not.
    """
    name, suffix = _split(sampler or "Euler")
    if name is None:
        raise Refusal(404, "Sampler not found", "Sampler not found", param="sampler_name")
    asked = _BY_LABEL.get((scheduler or "automatic").strip().lower())
    if asked is None:
        known = ", ".join(LABELS.values())
        told = f"there is no scheduler {scheduler!r:.40}; there are {known}"
        raise Refusal(422, "invalid_request", told, param="scheduler")
    if asked == "automatic":  # the suffix decides, or the sampler
        asked = suffix or _AUTOMATIC.get(name, "automatic")
    return SAMPLERS[name], SCHEDULES[asked]


def _split(name: str) -> tuple[str | None, str | None]:
    """A sampler of theirs, and the schedule behind its name."""
    folded = name.strip().lower()
    if folded in _BY_FOLDED_NAME:
        return _BY_FOLDED_NAME[folded], None
    for label, schedule in _BY_LABEL.items():
        if folded.endswith(f" {label}") and folded.removesuffix(f" {label}") in _BY_FOLDED_NAME:
            return _BY_FOLDED_NAME[folded.removesuffix(f" {label}")], schedule
    return None, None


def sampler_label(ours: str | None) -> str:
    """Their name of a sampler of ours; our own where they have none."""
    return next((name for name, known in SAMPLERS.items() if known == ours), ours or "")
