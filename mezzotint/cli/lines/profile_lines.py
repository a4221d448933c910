"""Profiles of a bundle, a line each, for `inspect`."""

from mezzotint.bundle.manifest import Manifest
from mezzotint.bundle.profile import Profile


def profile_lines(manifest: Manifest) -> list[str]:
    """What each runs with, what it promises, and what confirmed that."""
    return [f"profile {name}: {_settings(one)}; {_evidence(one)}" for name, one in manifest.profiles.items()]


def _settings(profile: Profile) -> str:
    settings = profile.settings
    first, end = settings.guidance_interval
    interval = "" if (first, end) == (0.0, 1.0) else f" from {first:.0%} to {end:.0%} of the run"
    cache = "" if settings.cache_interval == 1 else f", the whole denoiser every {settings.cache_interval} calls"
    graphs = "" if profile.variant is None else f", graphs of {profile.variant}"
    return f"{settings.sampler}, {settings.steps} steps, guidance {settings.guidance:g}{interval}{cache}{graphs}"


def _evidence(profile: Profile) -> str:
    one = profile.confirmed
    psnr = "identical images" if one.psnr_db is None else f"{one.psnr_db:g} dB"
    return (
        f"{profile.promise}; {psnr}, SSIM {one.ssim:g} and {one.speed_up:g}x as fast on {one.prompts} "
        f"prompts against {one.against}"
    )
