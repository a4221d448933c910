"""What the UNet learns: to find the noise in noisy latents, at any timestep; and how much each timestep counts."""

import torch
from diffusers import DDPMScheduler

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
_HIGH_NOISE_EXTRA = 0.2


def alphas_cumprod() -> torch.Tensor:
    """(T,): the share of the picture in the variance of noisy latents, by timestep."""
    schedule: torch.Tensor = DDPMScheduler(**SCHEDULE).alphas_cumprod
    return schedule


def add_noise(latents: torch.Tensor, noise: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """Noisy latents (B, 4, h, w) at `alphas` (B,) (Ho et al. 2020, equation 4)."""
    picture_share = alphas[:, None, None, None]
    return picture_share.sqrt() * latents + (1.0 - picture_share).sqrt() * noise


def draw_timesteps(count: int, generator: torch.Generator) -> torch.Tensor:
    """(B,) in random order, one from each of `count` equal parts of the schedule: less noise in the gradient."""
    steps = SCHEDULE["num_train_timesteps"]
    assert isinstance(steps, int)
    shares = (torch.rand(1, generator=generator) + torch.arange(count) / count) % 1.0
    timesteps = (shares * steps).long().clamp(0, steps - 1)
    return timesteps[torch.randperm(count, generator=generator)]


def timestep_weights(alphas: torch.Tensor, snr_limit: float, weight_limit: float) -> torch.Tensor:
    """(T,): min-SNR weights for epsilon (Hang et al. 2023, section 3.4), with something extra on high noise.

    There the shape of the picture is decided, and min-SNR alone weighs its error no more than any other.
    """
    snr = alphas / (1.0 - alphas)
    return ((snr.clamp(max=snr_limit) + _HIGH_NOISE_EXTRA) / snr).clamp(max=weight_limit)
