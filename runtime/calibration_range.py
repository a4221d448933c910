"""Whether a call is within what a quantized bundle was calibrated for.

Activation ranges hold for the latents that calibration saw. Another scheduler, schedule or size, or a number of steps
or a guidance far from the calibrated one, may leave them: the image is generated all the same, and a warning says so.
Nothing is said of what a profile was measured with.
"""

import warnings
from collections.abc import Sequence

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.calibration_record import CalibrationRecord
from mezzotint.bundle.defaults import Defaults

from .settings import Settings

_NO_GUIDANCE = 1.0  # all that are no more are the same
_OWN = "the checkpoint's own"
_FACTOR = 2.0  # steps and guidance within half and double of the calibrated ones pass


class OutsideCalibrationWarning(UserWarning):
    """A call asks for more than the bundle was calibrated for."""


def outside_calibration(
    record: CalibrationRecord | None,
    settings: Settings,
    latent_shape: Sequence[int],
    measured: Defaults | None = None,
) -> list[str]:
    """What of settled `settings` leaves the manifest's calibration `record`, a phrase each; none without a record.

    What is as in the settings of a profile that was `measured` does not.
    """
    if record is None:
        return []
    found = []
    for name, asked, calibrated in (
        ("steps", settings.steps, record.steps),
        ("guidance", settings.guidance, record.guidance),
    ):
        if asked is None or (name == "guidance" and max(asked, calibrated) <= _NO_GUIDANCE):
            continue
        if measured is not None and asked == getattr(measured, name):
            continue
        if not calibrated / _FACTOR <= asked <= calibrated * _FACTOR:
            found.append(f"{name} {asked:g} (calibrated with {calibrated:g})")
    begun = _begun(settings)
    if record.refined_from is not None and 1.0 - begun > _FACTOR * (1.0 - record.refined_from):
        found.append(f"the run from {begun:g} of it on (calibrated from {record.refined_from:g} on)")
    if settings.scheduler not in (record.scheduler, measured.sampler if measured is not None else None):
        found.append(f"scheduler {settings.scheduler} (calibrated with {record.scheduler})")
    scale = max((abs(use.scale) for use in settings.controls), default=0.0)
    if scale > _FACTOR:
        found.append(f"a control at scale {scale:g} (calibrated with 1)")
    if record.schedule != settings.schedule:
        found.append(f"schedule {settings.schedule or _OWN} (calibrated with {record.schedule or _OWN})")
    if record.latent_shape != tuple(latent_shape):
        found.append(f"latents of {list(latent_shape)} (calibrated with {list(record.latent_shape)})")
    return found


def _begun(settings: Settings) -> float:
    """The part of the run, in [0, 1), that the denoiser does not make."""
    if settings.refined_from is not None:
        return settings.refined_from
    return 0.0 if settings.strength is None else 1.0 - settings.strength


def warn_outside_calibration(bundle: Bundle, settings: Settings, latent_shape: Sequence[int]) -> None:
    """Warn once a call, naming everything that leaves the calibration of `bundle`."""
    measured = bundle.profile.settings if bundle.profile is not None else None
    found = outside_calibration(bundle.manifest.calibration, settings, latent_shape, measured)
    if found:
        warnings.warn(
            f"the bundle was not calibrated for {', '.join(found)}; the image may be further from the float model's",
            OutsideCalibrationWarning,
            stacklevel=5,
        )
