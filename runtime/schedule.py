"""A sampler's way down through the noise: which levels it visits, and which timestep the model is told at each.

Sigmas are in the variance-exploding convention of Karras et al. 2022: x_VE = x0 + sigma noise, and the model sees
x_VP = x_VE / sqrt(1 + sigma^2). The three ways to space timesteps are those of Lin et al. 2024, table 2.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray
from .errors import MezzotintError
from .noise_levels import interpolate_timesteps
from .scheduler_config import SchedulerConfig

__all__ = ["Schedule", "spaced_timesteps"]

# Neighbouring sigmas of a schedule differ by far more than this, and a sigma's round trip through float32 by less.
_SAME_SIGMA = 1e-6


@dataclass(frozen=True, eq=False)
class Schedule:
    """The steps of one run. Step i starts at `sigmas[i]`, where the model is told `timesteps[i]`.

    A step lands where the next one starts, except in DDIM when the steps do not divide the training timesteps evenly:
    diffusers' DDIM then lands a little off. `sigma_pairs` has both ends of each step, and is what to sample with.
    """

    timesteps: NDArray[np.float64]  # (N,) descending
    sigmas: NDArray[np.float64]  # (N + 1,) descending; the last one is where the run ends
    initial_scale: float  # x at sigmas[0] is unit noise times this
    trained_sigmas: NDArray[np.float64]  # (T,) ascending, one for each training timestep
    landings: NDArray[np.float64] | None = None  # (N,) the sigmas that steps land on, where they are not sigmas[1:]
    clip_range: float | None = None  # the denoiser has to clip x0 to [-clip_range, clip_range]; None is no clipping

    @property
    def sigma_pairs(self) -> NDArray[np.float64]:
        """(N, 2): the sigma that each step starts from, and the sigma it lands on."""
        landings = self.sigmas[1:] if self.landings is None else self.landings
        return np.stack([self.sigmas[:-1], landings], axis=1)

    def timestep_at(self, sigma: float) -> float:
        """The timestep to tell the model at `sigma` > 0: the schedule's own where it has that sigma.

        Elsewhere it is interpolated, linear in log sigma, between the training timesteps.
        """
        starts = self.sigmas[:-1]  # (N,)
        nearest = int(np.argmin(np.abs(starts - sigma)))
        if math.isclose(starts[nearest], sigma, rel_tol=_SAME_SIGMA):
            return float(self.timesteps[nearest])
        return float(interpolate_timesteps(np.array([sigma]), self.trained_sigmas)[0])

    def final_latents(self, x: FloatArray) -> FloatArray:
        """The variance-preserving latents, which the VAE decodes, of a finished run's `x`; same shape and dtype."""
        return x / math.sqrt(1.0 + float(self.sigmas[-1]) ** 2)


def spaced_timesteps(config: SchedulerConfig, steps: int, *, points: int, default: str) -> NDArray[np.float64]:
    """`steps` timesteps, (steps,), descending within [0, T - 1], in the spacing of `config`, else in `default`.

    "linspace" and "leading" put `points` on the training range and keep the first `steps` of them; "linspace" ones are
    not rounded. Raises MezzotintError when the training range has no room for them.
    """
    trained = config.num_train_timesteps
    if not 1 <= steps <= trained:
        raise MezzotintError(f"the number of steps must be between 1 and {trained}, got {steps}")
    spacing = config.timestep_spacing or default
    if spacing == "linspace":
        timesteps = np.linspace(0.0, trained - 1.0, points)[::-1][:steps]
    elif spacing == "leading":
        timesteps = np.arange(points, dtype=np.float64)[::-1][:steps] * (trained // points) + config.steps_offset
    else:
        # arange may add a value of almost zero for some counts; diffusers then takes a step too many, at timestep -1.
        timesteps = np.round(np.arange(trained, 0, -trained / steps)[:steps]) - 1.0
    if timesteps[0] > trained - 1 or (np.diff(np.round(timesteps)) >= 0).any():
        raise MezzotintError(
            f"{steps} steps do not fit {trained} training timesteps with timestep_spacing={spacing!r} and "
            f"steps_offset={config.steps_offset}; ask for fewer steps"
        )
    return timesteps
