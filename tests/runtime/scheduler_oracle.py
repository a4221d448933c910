"""diffusers' schedulers as oracles of the samplers, on a smooth nonlinear stand-in for the model."""

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from unittest.mock import patch

import diffusers
import numpy as np
import torch

from mezzotint.arrays import Array
from mezzotint.runtime.samplers.lineup import find_sampler
from mezzotint.runtime.samplers.sampler import Denoise
from mezzotint.runtime.samplers.schedule import Schedule
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from mezzotint.runtime.samplers.spacing import with_spacing

SHAPE = (2, 4, 3, 5)
BETA_PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
Noise: TypeAlias = Callable[[], Array]


@dataclass(frozen=True)
class Oracle:
    """One scheduler of diffusers, and how it differs from the others.

    `coordinates` are those of its x: variance-"exploding", variance-"preserving", or "flow".
    """

    scheduler: Any
    coordinates: str
    options: Mapping[str, Any] = field(default_factory=dict)
    predicts_sample: bool = True

    def from_config(self, options: Mapping[str, Any]) -> Any:
        forced = dict(self.options)
        if "algorithm_type" in forced and not str(options.get("algorithm_type", "++")).endswith("++"):
            forced["algorithm_type"] = str(forced["algorithm_type"]).removesuffix("++")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*algorithm_type.* deprecated", FutureWarning)
            return self.scheduler.from_config({**options, **forced})

    def written(self, **options: Any) -> dict[str, Any]:
        """A scheduler_config.json as diffusers writes it for this scheduler."""
        text = self.scheduler(**{**self.options, **options}).to_json_string()
        file: dict[str, Any] = json.loads(text)
        return file

    def calls_before(self, steps: int) -> list[int]:
        """The model calls, counted from 0, with which each step is complete."""
        if self.scheduler is diffusers.HeunDiscreteScheduler:
            return [*range(1, 2 * steps - 2, 2), 2 * steps - 2]
        if self.scheduler is diffusers.PNDMScheduler and steps > 1:
            return list(range(1, steps + 1))
        return list(range(steps))


BETA_ORACLES = {
    "ddim": Oracle(diffusers.DDIMScheduler, "preserving"),
    "ddpm": Oracle(diffusers.DDPMScheduler, "preserving"),
    "pndm": Oracle(diffusers.PNDMScheduler, "preserving", {"skip_prk_steps": True}, predicts_sample=False),
    "lms": Oracle(diffusers.LMSDiscreteScheduler, "exploding"),
    "euler": Oracle(diffusers.EulerDiscreteScheduler, "exploding"),
    "euler-ancestral": Oracle(diffusers.EulerAncestralDiscreteScheduler, "exploding", predicts_sample=False),
    "heun": Oracle(diffusers.HeunDiscreteScheduler, "exploding"),
    "dpmpp-2m": Oracle(diffusers.DPMSolverMultistepScheduler, "preserving"),
    "dpmpp-2m-sde": Oracle(diffusers.DPMSolverMultistepScheduler, "preserving", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp-2s": Oracle(diffusers.DPMSolverSinglestepScheduler, "preserving"),
    "unipc": Oracle(diffusers.UniPCMultistepScheduler, "preserving"),
    "deis": Oracle(diffusers.DEISMultistepScheduler, "preserving"),
    "lcm": Oracle(diffusers.LCMScheduler, "preserving"),
    "tcd": Oracle(diffusers.TCDScheduler, "preserving"),
}
EDM_ORACLES = {
    "euler": Oracle(diffusers.EDMEulerScheduler, "exploding"),
    "dpmpp-2m": Oracle(diffusers.EDMDPMSolverMultistepScheduler, "exploding"),
    "dpmpp-2m-sde": Oracle(
        diffusers.EDMDPMSolverMultistepScheduler, "exploding", {"algorithm_type": "sde-dpmsolver++"}
    ),
}
ORACLES = {**BETA_ORACLES, "flow-euler": Oracle(diffusers.FlowMatchEulerDiscreteScheduler, "flow")}


def oracle_of(name: str, options: Mapping[str, Any]) -> Oracle:
    """The one for a file with these options: models of EDM have classes of their own."""
    return EDM_ORACLES[name] if "sigma_data" in options else ORACLES[name]


def ddim_config(**options: Any) -> dict[str, Any]:
    """A scheduler_config.json as diffusers writes it for DDIM, with the betas' range of Stable Diffusion."""
    return ORACLES["ddim"].written(**{"beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False, **options})


def options_for(name: str, **options: Any) -> dict[str, Any]:
    """`ddim_config` on Stable Diffusion's betas, which every sampler reads but flow matching; that has its own file."""
    if name == "flow-euler":
        return ORACLES[name].written()
    return ddim_config(**{"beta_schedule": "scaled_linear", **options})


def model(x: Array, timestep: float) -> Array:
    """What the UNet would say to `x` in the coordinates that it was trained on, whatever the prediction type."""
    return 0.6 * np.tanh(1.3 * x) + 0.3 * math.sin(timestep / 170) / (1 + x * x)


def denoiser(schedule: Schedule) -> Denoise:
    """The stand-in as the samplers see it."""

    def denoise(x: Array, sigma: float) -> Array:
        scale = schedule.model_scale(sigma)
        output = model(x / scale, schedule.timestep_at(sigma))
        if (data := schedule.config.sigma_data) is not None:
            sign = -1 if schedule.config.prediction_type == "v_prediction" else 1
            return (data / scale) ** 2 * x + sign * sigma * data / scale * output
        match schedule.config.prediction_type:
            case "epsilon":
                return x - sigma * output
            case "v_prediction":
                return x / scale**2 - output * (sigma / scale)
            case "flow_prediction":
                return x / scale - output * (sigma / scale)
        return output

    return denoise


def noise_source(seed: int = 0) -> Noise:
    """A stream of float64 noise; its first draw is that of a run's start."""
    stream = np.random.default_rng(seed)
    return lambda: stream.standard_normal(SHAPE)


def oracle_trajectory(
    name: str, options: Mapping[str, Any], steps: int, *, eta: float | None = None
) -> Iterator[Array]:
    """diffusers' x after each step, in its own coordinates."""
    noise = noise_source()
    scheduler = prepared(name, options, steps)
    x = torch.from_numpy(noise()) * getattr(scheduler, "init_noise_sigma", 1.0)
    yield from walk(name, scheduler, x, noise, eta=eta)


def prepared(name: str, options: Mapping[str, Any], steps: int) -> Any:
    """diffusers' scheduler, set up for a run in float64."""
    oracle = oracle_of(name, options)
    converts = options.get("prediction_type") == "sample" and not oracle.predicts_sample
    scheduler = oracle.from_config({**options, "prediction_type": "epsilon"} if converts else options)
    scheduler.set_timesteps(steps)
    scheduler.is_told_epsilon_of_x0 = converts
    for levels in ("sigmas", "alphas_cumprod"):  # they stay as diffusers rounds them, but differences of them are exact
        if hasattr(scheduler, levels):
            setattr(scheduler, levels, getattr(scheduler, levels).double())
    return scheduler


def walk(
    name: str, scheduler: Any, x: torch.Tensor, noise: Noise, first: int = 0, *, eta: float | None = None
) -> Iterator[Array]:
    """x after each model call that completes a step, from the call `first` on."""
    told = {} if eta is None else {"eta": eta}
    complete = ORACLES[name].calls_before(scheduler.num_inference_steps)
    with patch.object(sys.modules[type(scheduler).__module__], "randn_tensor", _drawing(noise), create=True):
        for call, timestep in list(enumerate(scheduler.timesteps))[first : complete[-1] + 1]:
            seen = (scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x).numpy()
            output = model(seen, float(timestep))
            if scheduler.is_told_epsilon_of_x0:
                output = _to_epsilon(scheduler, call, timestep, seen, output)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "__array_wrap__", DeprecationWarning)  # numpy on tensors in DEIS
                x = scheduler.step(torch.from_numpy(output), timestep, x, **told).prev_sample
            if call in complete:
                yield x.double().numpy()


def _drawing(noise: Noise) -> Callable[..., torch.Tensor]:
    def randn_tensor(shape: Any, *, dtype: torch.dtype, **_: Any) -> torch.Tensor:
        assert tuple(shape) == SHAPE
        return torch.from_numpy(noise()).to(dtype)

    return randn_tensor


def _to_epsilon(scheduler: Any, call: int, timestep: Any, seen: Array, x0: Array) -> Array:
    """The noise in `seen` if its clean latents are `x0`, for schedulers that cannot be told x0 itself."""
    if hasattr(scheduler, "sigmas"):
        variance = float(scheduler.sigmas[call]) ** 2
    else:
        alpha_bar = float(scheduler.alphas_cumprod[int(timestep)])
        variance = (1 - alpha_bar) / alpha_bar
    return (seen * math.sqrt(1 + variance) - x0) / math.sqrt(variance)


def our_trajectory(
    name: str, options: Mapping[str, Any], steps: int, *, spacing: str | None = None, eta: float | None = None
) -> tuple[list[Array], Array]:
    """Our x after each step, in diffusers' coordinates, and the final latents."""
    noise = noise_source()
    sampler = find_sampler(name)
    schedule = sampler.schedule(with_spacing(SchedulerConfig.from_dict(options), spacing), steps)
    schedule = schedule if eta is None else replace(schedule, eta=eta)
    exploding = oracle_of(name, options).coordinates == "exploding"
    states: list[Array] = []

    def on_step(index: int, x: Array, x0: Array) -> None:
        assert index == len(states)
        assert x0.shape == x.shape == SHAPE
        landed = float(schedule.sigma_pairs[index, 1])
        states.append(x if exploding else x / schedule.model_scale(landed))

    start: Array = noise() * schedule.initial_scale
    x = sampler.sample(denoiser(schedule), start, schedule, on_step, noise)
    return states, schedule.final_latents(x)


def assert_same_trajectory(
    name: str,
    options: Mapping[str, Any],
    steps: int,
    *,
    spacing: str | None = None,
    as_options: Mapping[str, Any] | None = None,
    eta: float | None = None,
) -> None:
    """Every step within 1e-4 of the largest value, and the final latents too.

    diffusers knows no `spacing` by name: it is told `as_options`.
    """
    states, latents = our_trajectory(name, options, steps, spacing=spacing, eta=eta)
    expected = list(oracle_trajectory(name, {**options, **(as_options or {})}, steps, eta=eta))
    assert len(expected) == steps
    assert_same_states(
        [*states, latents], [*expected, expected[-1]], f"{name} with {dict(options)}, schedule {spacing}, eta {eta}"
    )


def assert_same_states(states: Sequence[Array], expected: Sequence[Array], what: str) -> None:
    assert len(states) == len(expected)
    for index, (ours, theirs) in enumerate(zip(states, expected, strict=True)):
        error = np.abs(ours - theirs).max() / np.abs(theirs).max()
        assert error < 1e-4, f"step {index} of {len(states)} differs by {error:.2g}: {what}"
