"""A run that two bundles share: one makes the first part of its steps, the other goes on with the latents.

So SDXL's refiner was meant to be used (Podell et al. 2023, section 2.5): it knows the lowest noise levels alone. Where
the run is cut is told in parts of the training timesteps, as diffusers' `denoising_end` and `denoising_start` do.
"""

from dataclasses import dataclass

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .samplers.schedule import Schedule
from .settings import Settings


@dataclass(frozen=True, eq=False)
class HandOver:
    """What the first part of a run left: `latents` (B, C, h, w) as the model sees them, at the part `at` of the run.

    `settings` are those of each image, settled: sampler, steps and guidance are there. `scaling_factor` is that of the
    latents, by which others of another VAE are told apart.
    """

    latents: FloatArray
    settings: tuple[Settings, ...]
    at: float
    scaling_factor: float


def steps_before(schedule: Schedule, at: float) -> int:
    """How many steps of a whole `schedule` begin before the part `at` of the run, in (0, 1).

    Raises MezzotintError where that is none of them, or all.
    """
    if not 0.0 < at < 1.0:
        raise MezzotintError(f"the run is handed over at {at!r:.20}, expected between 0 and 1, such as 0.8")
    trained = schedule.config.num_train_timesteps
    cut = round(trained - at * trained)
    steps = int((schedule.timesteps >= cut).sum())
    if not 0 < steps < schedule.steps:
        raise MezzotintError(
            f"at {at:g} of the run there are {steps} of {schedule.steps} steps done, expected some before and some "
            "after; ask for more steps, or for another part"
        )
    return steps
