"""A sampler's way down through the noise: which levels it visits, and which timestep the model is told at each.

Sigmas are in the variance-exploding convention of Karras et al. 2022: x_VE = x0 + sigma noise, and the model sees
x_VP = x_VE / sqrt(1 + sigma^2). The three ways to space timesteps are those of Lin et al. 2024, table 2.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .noise_levels import interpolate_timesteps
from .scheduler_config import FLOW_PREDICTION, SchedulerConfig

# Neighbouring sigmas of a schedule differ by far more than this, and a sigma's round trip through float32 by less.
_SAME_SIGMA = 1e-6


@dataclass(frozen=True, eq=False)
class Schedule:
    """The steps of one run. Step i starts at `sigmas[i]`, where the model is told `timesteps[i]`.

    A step lands where the next one starts, except in DDIM and PNDM when the steps do not divide the training timesteps
    evenly: diffusers then lands a little off. `sigma_pairs` has both ends of each step.
    """

    config: SchedulerConfig  # what the sampler reads the model's options from
    timesteps: NDArray[np.float64]  # (N,) descending
    sigmas: NDArray[np.float64]  # (N + 1,) descending; the last one is where the run ends
    initial_scale: float  # x at sigmas[0] is unit noise times this
    trained_sigmas: NDArray[np.float64]  # (T,) ascending, one for each training timestep
    landings: NDArray[np.float64] | None = None  # (N,) the sigmas that steps land on, where they are not sigmas[1:]
    selected_from: NDArray[np.int64] | None = (
        None  # descending; of a distilled model, whose timesteps are some of these
    )
    first_step: int = 0  # how many steps of the whole run were left out before this schedule
    eta: float = 0.0  # how much noise an adjustable sampler's steps add: 0 is none, 1 is the most
    # Finished latents are x itself, not what the model would see: in EDM, and above sigma 0 in diffusers' Euler.
    ends_unscaled: bool = False

    def __post_init__(self) -> None:
        """Refuse levels that repeat or rise, between which there is no step; only the end may repeat the last one."""
        steps = np.diff(self.sigmas)  # (N,)
        if not (np.isfinite(self.sigmas).all() and (steps[:-1] < 0.0).all() and steps[-1] <= 0.0):
            raise MezzotintError(
                f"the {len(self.timesteps)} noise levels of this run do not fall from step to step; ask for fewer "
                "steps, or correct scheduler_config.json"
            )

    @property
    def steps(self) -> int:
        """N, the number of steps."""
        return len(self.timesteps)

    @property
    def sigma_pairs(self) -> NDArray[np.float64]:
        """(N, 2): the sigma that each step starts from, and the sigma it lands on."""
        landings = self.sigmas[1:] if self.landings is None else self.landings
        return np.stack([self.sigmas[:-1], landings], axis=1)

    def tail(self, step: int) -> "Schedule":
        """The same run from `step` on, 0 <= step < N. It starts from x = x0 + sigmas[0] noise, a noised image."""
        if not 0 <= step < self.steps:
            raise MezzotintError(f"a run of {self.steps} steps cannot start at step {step}")
        if step == 0:
            return self
        return replace(
            self,
            timesteps=self.timesteps[step:],
            sigmas=self.sigmas[step:],
            initial_scale=float(self.sigmas[step]),
            landings=None if self.landings is None else self.landings[step:],
            first_step=self.first_step + step,
        )

    def shortened(self, strength: float) -> "Schedule":
        """A run of as many steps as this one in the lowest part of what the timesteps were selected from.

        So latent consistency models begin from an image, at the noise level of `strength` in (0, 1]; a schedule that
        selects from nothing has no such run. Raises MezzotintError where that part is shorter than the run.
        """
        assert self.selected_from is not None
        kept = int(len(self.selected_from) * strength)
        if kept < self.steps:
            raise MezzotintError(
                f"strength {strength} of {len(self.selected_from)} distilled timesteps leaves {kept} for {self.steps} "
                "steps; raise it, or ask for fewer steps"
            )
        timesteps = evenly_selected(self.selected_from[len(self.selected_from) - kept :], self.steps)
        levels = self.trained_sigmas[timesteps]  # (N,)
        return replace(
            self,
            timesteps=timesteps.astype(np.float64),
            sigmas=np.append(levels, self.sigmas[-1]),
            initial_scale=float(levels[0]),
        )

    def model_scale(self, sigma: float) -> float:
        """The model sees x divided by this: x_VP, or (1 - s) x0 + s noise with s / (1 - s) = sigma in flow matching.

        In EDM it sees x at the deviation 1, of data whose own is sigma_data.
        """
        if self.config.sigma_data is not None:
            return math.hypot(sigma, self.config.sigma_data)
        return 1.0 + sigma if self.config.prediction_type == FLOW_PREDICTION else math.sqrt(1.0 + sigma * sigma)

    @property
    def steps_of_run(self) -> int:
        """The number of steps of the whole run that this schedule is, or is the tail of."""
        return self.first_step + self.steps

    def clip(self, x0: FloatArray) -> FloatArray:
        """`x0` within the range that `clip_sample` asks for; for the samplers that know this option."""
        limit = self.config.clip_sample_range
        return np.clip(x0, -limit, limit) if self.config.clip_sample else x0

    def threshold(self, x0: FloatArray) -> FloatArray:
        """`x0` (B, ...) under dynamic thresholding (Saharia et al. 2022, section 2.3), for the samplers that know it.

        Each is clipped to the quantile `dynamic_thresholding_ratio` of its magnitudes, at least 1 and at most
        `sample_max_value`, and divided by it.
        """
        config = self.config
        if not config.thresholding:
            return x0
        magnitudes = np.abs(x0).reshape(len(x0), -1)
        quantiles = np.quantile(magnitudes, config.dynamic_thresholding_ratio, axis=1)  # (B,)
        limits = np.minimum(np.maximum(quantiles, 1.0), config.sample_max_value).astype(x0.dtype)
        limits = limits.reshape(-1, *(1,) * (x0.ndim - 1))
        thresholded: FloatArray = np.clip(x0, -limits, limits) / limits
        return thresholded

    def limit(self, x0: FloatArray) -> FloatArray:
        """`x0` after `threshold`, or else `clip`; for the samplers that know both."""
        return self.threshold(x0) if self.config.thresholding else self.clip(x0)

    def timestep_at(self, sigma: float) -> float:
        """The timestep to tell the model at `sigma` > 0: the schedule's own where it has that sigma.

        Elsewhere it is interpolated, linear in log sigma, between the training timesteps; it is T s in flow matching,
        and log(sigma) / 4 in EDM.
        """
        starts = self.sigmas[:-1]  # (N,)
        nearest = int(np.argmin(np.abs(starts - sigma)))
        if math.isclose(starts[nearest], sigma, rel_tol=_SAME_SIGMA):
            return float(self.timesteps[nearest])
        if self.config.sigma_data is not None:
            return math.log(sigma) / 4.0
        if self.config.prediction_type == FLOW_PREDICTION:
            return self.config.num_train_timesteps * sigma / (1.0 + sigma)
        return float(interpolate_timesteps(np.array([sigma]), self.trained_sigmas)[0])

    def final_latents(self, x: FloatArray) -> FloatArray:
        """The latents that the VAE decodes, as the model would see them, of a finished run's `x`; same shape, dtype."""
        return x if self.ends_unscaled else x / self.model_scale(float(self.sigmas[-1]))


def spaced_timesteps(
    config: SchedulerConfig, steps: int, *, points: int, default: str, top: int | None = None
) -> NDArray[np.float64]:
    """`steps` timesteps, (steps,), descending within [0, T - 1], in the spacing of `config`, else in `default`.

    "linspace" and "leading" put `points` on the training range and keep the first `steps` of them; "linspace" ones are
    not rounded. With `top` they lie below it. Raises MezzotintError when the training range has no room for them.
    """
    trained = config.num_train_timesteps
    top = trained if top is None else top
    if not 1 <= steps <= trained:
        raise MezzotintError(f"the number of steps must be between 1 and {trained}, got {steps}")
    spacing = config.timestep_spacing or default
    if spacing == "linspace":
        timesteps = np.linspace(0.0, top - 1.0, points)[::-1][:steps]
    elif spacing == "leading":
        timesteps = np.arange(points, dtype=np.float64)[::-1][:steps] * (top // points) + config.steps_offset
    else:
        # arange may add a value of almost zero for some counts; diffusers then takes a step too many, at timestep -1.
        timesteps = np.round(np.arange(top, 0, -trained / steps)[:steps]) - 1.0
    if len(timesteps) < steps or timesteps[0] > trained - 1 or (np.diff(np.round(timesteps)) >= 0).any():
        raise MezzotintError(
            f"{steps} steps do not fit {trained} training timesteps with timestep_spacing={spacing!r} and "
            f"steps_offset={config.steps_offset}; ask for fewer steps"
        )
    return timesteps


def evenly_selected(timesteps: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """`steps` of the `timesteps`, the first one among them, in their order (Luo et al. 2023, section 4.3)."""
    places = np.floor(np.linspace(0, len(timesteps), steps, endpoint=False)).astype(np.int64)  # (steps,)
    return timesteps[places]


def refuse_options(name: str, config: SchedulerConfig, *options: str) -> None:
    """Raise MezzotintError that names all of these switches that are on and that the sampler `name` does not know."""
    asked = [option for option in options if getattr(config, option)]
    if asked:
        raise lacking(name, " and no ".join(asked))


def lacking(name: str, asked: str) -> MezzotintError:
    """The error that the sampler `name` does not have what the config asks for, such as "solver_order=4"."""
    return MezzotintError(
        f"the sampler {name} has no {asked}, which scheduler_config.json asks for; choose another sampler, or change "
        "the option there"
    )


def refuse_epsilon_at_zero_snr(name: str, config: SchedulerConfig, start: float) -> None:
    """Raise MezzotintError where a model that predicts noise would have to start from nothing but noise."""
    last = config.num_train_timesteps - 1
    if config.rescale_betas_zero_snr and config.prediction_type == "epsilon" and start == last:
        raise MezzotintError(
            f"the sampler {name} cannot start at zero SNR (rescale_betas_zero_snr) with prediction_type='epsilon'; "
            "use timestep_spacing='leading', or a model that predicts v"
        )
